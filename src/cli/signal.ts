import { join } from "node:path";
import { type Command, Option } from "commander";
import type { TurnOptions } from "../../signaling/grants.ts";
import { startSignalingService } from "../../signaling/main.ts";
import { signalingMetrics } from "../../signaling/metrics.ts";
import type { TlsFiles } from "../../signaling/tls.ts";
import type { AuditLog } from "../audit.ts";
import { systemClock } from "../drivers/clock.ts";
import { nodeCrypto } from "../drivers/crypto.ts";
import { openAuditLog } from "../drivers/state/audit-log.ts";
import { ISSUING_KEY_FILE } from "../drivers/state/create-cluster.ts";
import { DECREES_FILE, readDecreeFile, writeDecreeFile } from "../drivers/state/decree-file.ts";
import { createSigningKeyFile, readSigningKeyFile } from "../drivers/state/key-file.ts";
import { acquireLock, LOCK_FILE } from "../drivers/state/lock.ts";
import { ensurePrivateFolder, exists } from "../drivers/state/private-files.ts";
import { readTicketKeys, TICKET_KEYS_FILE, writeTicketKeys } from "../drivers/state/ticket-key-file.ts";
import { StarlingError } from "../errors.ts";
import { apiKeyWay } from "../issuer/api-key-way.ts";
import { certificateWay } from "../issuer/certificate-way.ts";
import { oidcWay } from "../issuer/oidc-way.ts";
import type { Logger, Settings } from "../options.ts";
import { type AlertFlags, addAlertFlags, alertWebhook, serverAlerts, watchForAlerts } from "./alerts.ts";
import { addStateFlag, flagsOf } from "./flags.ts";
import { DEFAULT_SIGNALING_PORT } from "./init.ts";
import { readClusterOf } from "./invite.ts";
import { commandLogger } from "./log.ts";
import { observe } from "./observe.ts";
import { parseDuration, parseListen, print, say } from "./output.ts";
import { ownRoles, readSettingsFile, resolveStateDirectory } from "./settings.ts";
import { signalSettings } from "./signal-settings.ts";

/** In the state directory of a signaling server: the key of its audit log, and the log. */
export const SIGNAL_KEY_FILE = "signal.key";
export const SIGNAL_AUDIT_FOLDER = "audit-signal";

interface SignalOptions extends AlertFlags {
  readonly listen: string;
  readonly publicName?: readonly string[];
  readonly issuingKey?: string;
  readonly issuer: boolean;
  readonly turn?: readonly string[];
  readonly turnSecretFile?: string;
  readonly turnLife: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly clientCa?: string;
  readonly config?: string;
  readonly metrics?: string;
  readonly audit?: string;
  readonly log: Settings["log"];
  readonly json?: boolean;
}

/** `starling signal`: the front door of a cluster, and an issuer where an issuing key is at hand. */
export function signalCommand(program: Command): void {
  const command = program
    .command("signal")
    .description("run a signaling server for the cluster of the state directory");
  addAlertFlags(addStateFlag(command))
    .option(
      "--listen <address>",
      "host:port to listen on; port 0 takes a free one",
      `127.0.0.1:${DEFAULT_SIGNALING_PORT}`,
    )
    .option("--public-name <name...>", "host:port by which agents call it, where that is none of its own addresses")
    .option(
      "--issuing-key <file>",
      "issue tokens with this key (default: issuing.key in the state directory, if it is there)",
    )
    .option("--tls-cert <file>", "serve wss:// with this certificate (PEM); read again when it changes")
    .option("--tls-key <file>", "the certificate's private key (PEM)")
    .option("--client-ca <file>", "ask for a client certificate by one of these authorities (PEM)")
    .option("--config <file>", "configuration file with a section signal (default: config.yaml in the state directory)")
    .option("--metrics <address>", "answer Prometheus on host:port, /healthz and /readyz too (default: nowhere)")
    .option("--audit <folder>", "write the audit log there (default: audit-signal in the state directory)")
    .option("--turn <url...>", "STUN and TURN servers for members: stun:, turn:, turns:")
    .option("--turn-secret-file <file>", "private file with the secret that the TURN servers know (use-auth-secret)")
    .option("--turn-life <duration>", "how long a member's credential is good for", "1h")
    .option("--no-issuer", "issue no tokens, also where an issuing key is at hand")
    .addOption(
      new Option("--log <level>", "log level").choices(["debug", "info", "warn", "error", "silent"]).default("info"),
    )
    .option("--json", "print one line of JSON when it listens")
    .action(async (options: SignalOptions, command: Command) => {
      const stateDirectory = resolveStateDirectory(flagsOf(command).state);
      const cluster = await readClusterOf(command);
      const issuingKeyFile = options.issuer
        ? (options.issuingKey ?? (await ifThere(join(stateDirectory, ISSUING_KEY_FILE))))
        : undefined;
      const tls = tlsFilesOf(options);
      const { values } = readSettingsFile(options.config, stateDirectory);
      const { limits, oidc, certificates } = signalSettings(values.signal, ownRoles(values));
      const waysIn = [
        apiKeyWay(stateDirectory),
        ...(oidc ? [oidcWay(oidc, cluster.clusterId)] : []),
        ...(certificates ? [certificateWay(certificates, cluster.clusterId)] : []),
      ];
      if (options.metrics !== undefined) parseListen(options.metrics);
      const webhook = await alertWebhook(options);
      const stopped = Promise.withResolvers<void>();
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stopped.resolve());
      const log = commandLogger(options.log);
      await using audit = await openSignalAudit(stateDirectory, options.audit, log);
      const decreesFile = join(stateDirectory, DECREES_FILE);
      const ticketsFile = join(stateDirectory, TICKET_KEYS_FILE);
      await using server = await startSignalingService({
        cluster,
        audit,
        listen: parseListen(options.listen),
        limits,
        waysIn,
        log,
        ...(options.turn && { turn: turnOptions(options.turn, options) }),
        ...(tls && { tls }),
        ...(options.publicName && { names: options.publicName }),
        ...(issuingKeyFile !== undefined && { issuingKeyFile }),
        decrees: await readDecreeFile(decreesFile),
        ticketKeys: {
          kept: await readTicketKeys(ticketsFile),
          keep: (keys) =>
            writeTicketKeys(ticketsFile, keys).catch((error: unknown) =>
              log.error("keys of tickets cannot be kept on the disk", { error: String(error) }),
            ),
        },
        keep: (decrees) =>
          void writeDecreeFile(decreesFile, decrees).catch((error: unknown) =>
            log.error("decrees cannot be kept on the disk", { error: String(error) }),
          ),
      });
      await using _observation = await observe(options.metrics, stateDirectory, {
        metrics: signalingMetrics(server),
        isReady: () => true,
      });
      using _alerts = webhook && watchForAlerts(webhook, serverAlerts(server, cluster.clusterId), log);
      const url = `${tls ? "wss" : "ws"}://${server.host.includes(":") ? `[${server.host}]` : server.host}:${server.port}`;
      if (options.json)
        print(JSON.stringify({ url, host: server.host, port: server.port, issuer: issuingKeyFile !== undefined }));
      say(`signaling for cluster ${cluster.name} on ${url}${issuingKeyFile ? ", issuing tokens" : ""}`);
      if (!issuingKeyFile)
        say("it issues no tokens: newcomers need a member that does (starling up --issuing-key FILE)");
      await stopped.promise;
    });
}

/** The certificate that the flags name; throws `usage` for half of it. */
function tlsFilesOf({ tlsCert, tlsKey, clientCa }: SignalOptions): TlsFiles | undefined {
  if (tlsCert === undefined && tlsKey === undefined && clientCa === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined)
    throw new StarlingError("usage", "--tls-cert and --tls-key go together, and --client-ca with both");
  return { certFile: tlsCert, keyFile: tlsKey, ...(clientCa !== undefined && { clientCaFile: clientCa }) };
}

/** The server's audit log, signed by a key of its own: an agent may run from the same state directory. */
async function openSignalAudit(stateDirectory: string, folder: string | undefined, log: Logger): Promise<AuditLog> {
  const crypto = nodeCrypto();
  const path = join(stateDirectory, SIGNAL_KEY_FILE);
  let key = await readSigningKeyFile(path, crypto);
  if (key === undefined) {
    const seed = crypto.generateNodeKey();
    key = { seed, publicKey: crypto.authority(seed).publicKey };
    await createSigningKeyFile(path, key, "the key by which the signaling server signs its audit log");
  }
  const home = folder ?? join(stateDirectory, SIGNAL_AUDIT_FOLDER);
  await ensurePrivateFolder(home);
  const lock = await acquireLock(join(home, LOCK_FILE));
  const owner = crypto.nodeIdentity(key.seed);
  const audit = await openAuditLog({ folder: home, owner, crypto, now: systemClock(), log });
  const close = async (): Promise<void> => {
    await audit.close();
    await lock.release();
  };
  return { record: (event) => audit.record(event), close, [Symbol.asyncDispose]: close };
}

function turnOptions(urls: readonly string[], { turnSecretFile, turnLife }: SignalOptions): TurnOptions {
  return {
    urls,
    lifeMs: parseDuration(turnLife),
    ...(turnSecretFile !== undefined && { secretFile: turnSecretFile }),
  };
}

async function ifThere(path: string): Promise<string | undefined> {
  return (await exists(path)) ? path : undefined;
}
