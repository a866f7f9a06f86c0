import { type Command, Option } from "commander";
import { parseUser, startStunService } from "../../stun/main.ts";
import { endpointText } from "../../stun/proto/address.ts";
import { issueCredential } from "../../stun/proto/credentials.ts";
import type { TurnLimits } from "../../stun/proto/limits.ts";
import { readSecrets } from "../../stun/secrets-file.ts";
import type { StunEvent } from "../../stun/server.ts";
import { StarlingError } from "../errors.ts";
import type { Logger } from "../options.ts";
import { commandLogger } from "./log.ts";
import { parseDuration, print, printJson, say, warn } from "./output.ts";
import { resolveStunSettings, type StunSettings } from "./stun-settings.ts";

/** `starling stun`: a STUN and TURN server; `starling stun credential`: a time-limited credential for one. */
export function stunCommand(program: Command): void {
  const stun = program.command("stun").description("run a STUN and TURN server (UDP, TCP, TLS)");
  addServerFlags(stun).action(async (flags: Record<string, unknown>) => {
    const settings = resolveStunSettings(flags, flags["config"] as string | undefined);
    const users = (flags["user"] as readonly string[] | undefined) ?? [];
    if (users.length > 0)
      warn("others on this machine can read a password on the command line; --user-file FILE keeps it to you");
    await serve(settings, users, flags["json"] === true);
  });
  stun
    .command("credential")
    .description("print a time-limited credential (what coturn calls use-auth-secret)")
    .option("--secret-file <file>", "file with the server's secret")
    .option("--name <name>", "user that quotas are counted for", "")
    .option("--for <duration>", "how long it is good for", "24h")
    .option("--json", "print JSON")
    .action(async (_flags, command: Command) => {
      // The server's flags have some of the same names: what stands behind `credential` may have been taken as theirs.
      const options = command.optsWithGlobals<{ secretFile?: string; name: string; for: string; json?: boolean }>();
      if (options.secretFile === undefined)
        throw new StarlingError("usage", "name the file of the secret: --secret-file FILE");
      const [secret = ""] = await readSecrets(options.secretFile, Date.now());
      const issued = issueCredential(secret, options.name, parseDuration(options.for), Date.now());
      if (options.json) printJson(issued);
      else print(`${issued.username} ${issued.password}`);
    });
}

function addServerFlags(command: Command): Command {
  return command
    .option("--listen <address...>", "address:port for UDP and TCP (default: 127.0.0.1:3478)")
    .option("--tls-listen <address...>", "address:port for TLS, such as 192.0.2.1:5349 or :443 of an address")
    .option("--tls-cert <file>", "certificate chain, PEM")
    .option("--tls-key <file>", "key of the certificate, PEM")
    .option("--alternate <address>", "a second address:port, for RFC 5780 behaviour discovery")
    .option("--realm <realm>", "realm of the credentials (default: starling)")
    .option("--user <name:password...>", "a user; --user-file keeps passwords off the command line")
    .option("--user-file <file>", "private file with a line NAME:PASSWORD for each user")
    .option("--secret-file <file>", "private file with the secret of time-limited credentials, a line for each")
    .option("--relay-address <address...>", "where to relay from, one of each family (default: from --listen)")
    .option("--external-address <address...>", "what peers see in its place, behind a one-to-one NAT")
    .option("--min-port <port>", "lowest relay port (default: 49152)")
    .option("--max-port <port>", "highest relay port (default: 65535)")
    .option("--allow-peer <range...>", "relay to these peers, which are refused by default, such as 10.1.0.0/16")
    .option("--deny-peer <range...>", "relay to these peers in no case")
    .option("--max-allocations <count>", "allocations at once (default: 10000)")
    .option("--user-allocations <count>", "allocations of one user (default: 128)")
    .option("--max-lifetime <duration>", "longest life of an allocation between refreshes (default: 1h)")
    .option("--user-bandwidth <bytes>", "bytes per second relayed for one user (default: no bound)")
    .option("--total-bandwidth <bytes>", "bytes per second relayed in all (default: no bound)")
    .option("--config <file>", "YAML file with a section stun (default: $STARLING_CONFIG)")
    .addOption(new Option("--log <level>", "log level").choices(["debug", "info", "warn", "error", "silent"]))
    .option("--json", "print the ready line as JSON");
}

async function serve(settings: StunSettings, users: readonly string[], json: boolean): Promise<void> {
  const log = commandLogger(settings.log ?? "info");
  const stopped = Promise.withResolvers<void>();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stopped.resolve());
  const {
    log: _level,
    maxAllocations,
    userAllocations,
    maxLifetime,
    userBandwidth,
    totalBandwidth,
    ...rest
  } = settings;
  const { server, relayAddresses, isStunOnly } = await startStunService({
    ...withoutUndefined(rest),
    listen: settings.listen ?? ["127.0.0.1"],
    realm: settings.realm ?? "starling",
    users: users.map((text) => parseUser(text, "--user")),
    limits: limitsOf(settings),
    onEvent: (event) => logEvent(log, event),
    onTrouble: (error) => log.error("the file of secrets cannot be read again", { error }),
  });
  await using running = server;
  const listening = running.listening.map(({ transport, address, port }) => ({ transport, address, port }));
  if (isStunOnly) say("no --user-file and no --secret-file: answers STUN, relays for nobody");
  if (json)
    print(JSON.stringify({ listening, relayAddresses, realm: settings.realm ?? "starling", relays: !isStunOnly }));
  else print(`ready ${listening.map((at) => `${at.transport}:${endpointText(at)}`).join(" ")}`);
  await stopped.promise;
  log.info("the STUN server stops", { ...server.counters() });
}

function limitsOf(settings: StunSettings): Partial<TurnLimits> {
  const { maxAllocations, userAllocations, maxLifetime, userBandwidth, totalBandwidth } = settings;
  const maxLifetimeMs = maxLifetime === undefined ? undefined : parseDuration(maxLifetime);
  if (maxLifetimeMs !== undefined && maxLifetimeMs < MIN_LIFETIME_MS)
    throw new StarlingError("usage", "an allocation lives for 10s at least");
  return {
    ...(maxAllocations !== undefined && { allocations: maxAllocations }),
    ...(userAllocations !== undefined && { allocationsPerUser: userAllocations }),
    ...(maxLifetimeMs !== undefined && {
      maxLifetimeMs,
      defaultLifetimeMs: Math.min(maxLifetimeMs, DEFAULT_LIFETIME_MS),
    }),
    ...(userBandwidth !== undefined && { userBandwidth: rateOf(userBandwidth) }),
    ...(totalBandwidth !== undefined && { totalBandwidth: rateOf(totalBandwidth) }),
  };
}

/** Below this clients do little but refresh. */
const MIN_LIFETIME_MS = 10_000;
const DEFAULT_LIFETIME_MS = 600_000;

/** A second's worth at once, two of the largest packets at least. */
function rateOf(bytes: number): { perSecond: number; burst: number } {
  return { perSecond: bytes, burst: Math.max(bytes, 131_072) };
}

function logEvent(log: Logger, event: StunEvent): void {
  const { user, transport, client, relayed } = event.allocation;
  const fields = { user, transport, client: endpointText(client), relayed: relayed.map(endpointText) };
  if (event.type === "allocation-started") log.debug("an allocation begins", fields);
  else {
    const { reason, lifeMs, bytesToPeers, bytesToClient } = event;
    log.debug("an allocation ends", { ...fields, reason, lifeMs: Math.round(lifeMs), bytesToPeers, bytesToClient });
  }
}

function withoutUndefined<T extends object>(values: T): { [Key in keyof T]: Exclude<T[Key], undefined> } {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [Key in keyof T]: Exclude<T[Key], undefined> };
}
