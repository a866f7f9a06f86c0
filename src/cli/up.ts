import { readFile, stat } from "node:fs/promises";
import { flushCompileCache } from "node:module";
import type { Command } from "commander";
import { type Agent, createAgent } from "../agent.ts";
import { type ControlHandler, serveControl } from "../drivers/control.ts";
import { readStdin } from "../drivers/state/stdin.ts";
import { StarlingError } from "../errors.ts";
import type { AgentOptions, RelayOptions, Settings } from "../options.ts";
import { type AlertFlags, addAlertFlags, agentAlerts, alertWebhook, watchForAlerts } from "./alerts.ts";
import { auditedHandlers } from "./audited-handlers.ts";
import { addCredentialFlags, type CredentialFlags, readCredential } from "./credential.ts";
import { addSettingFlags, flagsOf } from "./flags.ts";
import { guardedHandlers } from "./guarded-handlers.ts";
import { controlHandlers } from "./handlers.ts";
import { limitedHandlers } from "./limited-handlers.ts";
import { commandLogger } from "./log.ts";
import { parseDuration, parseListen, print, say, warn } from "./output.ts";
import { readSecret } from "./secret.ts";
import { resolveSettings } from "./settings.ts";

/** How long a finished agent's process may take to end by itself, ms. */
const EXIT_GRACE_MS = 2_000;

interface UpFlags extends CredentialFlags, AlertFlags {
  readonly inviteFile?: string;
  readonly relay?: string | true;
  readonly relayPublic?: string;
  readonly relayAllow?: readonly string[];
  readonly issuingKey?: string;
  readonly auditCopies?: number;
  readonly keepAudit?: boolean;
  readonly joinTimeout?: string;
  readonly json?: boolean;
}

/** Flags of a command that runs an agent. */
export function addUpFlags(command: Command): Command {
  return addAlertFlags(addCredentialFlags(addSettingFlags(command)))
    .option("--invite-file <file>", "read the invite from a file; - for stdin")
    .option("--relay [address:port]", "relay for the other members at this address (default: 0.0.0.0:3478)")
    .option("--relay-public <address>", "the address by which others reach the relay, behind a one-to-one NAT")
    .option("--relay-allow <range...>", "relay to these peers, which are refused by default, such as 10.1.0.0/16")
    .option("--issuing-key <file>", "issue and renew tokens for others with this key (place.key lies beside it)")
    .option("--audit-copies <n>", "have so many other members keep a copy of the audit log (default: 0)", Number)
    .option("--keep-audit", "keep copies of the audit logs of other members; needs the scope audit:keep")
    .option("--join-timeout <duration>", "how long a first join may take before it fails (default: 60s)")
    .option("--json", "print one line of JSON when it runs");
}

/** `starling up [invite]`: runs an agent until it is told to stop. */
export function upCommand(program: Command): void {
  addUpFlags(
    program.command("up [invite]").description("join the cluster and stay in it until `starling down` or Ctrl-C"),
  )
    .addHelpText(
      "after",
      "\nThe invite is needed for the first start only. $STARLING_INVITE, $STARLING_INVITE_FILE and - (stdin) are taken as well.",
    )
    .action(async (invite: string | undefined, _flags, command: Command) => {
      await runAgent(command, await readInvite(invite, command.opts<UpFlags>().inviteFile));
    });
}

/** What a command that runs an agent adds to the usual. */
interface Extra {
  readonly rtc?: NonNullable<AgentOptions["rtc"]>;
  /** Control commands beyond the usual ones. */
  readonly handlers?: (agent: Agent) => readonly (readonly [string, ControlHandler])[];
}

/** Runs the agent that the flags of `command` describe, and its control socket, to the end. */
export async function runAgent(command: Command, invite: string | undefined, extra: Extra = {}): Promise<void> {
  const passphrase = await readSecret("STARLING_STORE_PASSPHRASE");
  const { values, stateDirectory } = resolveSettings(flagsOf(command));
  const flags = command.opts<UpFlags>();
  const { issuingKey, joinTimeout, json } = flags;
  const relay = relayOf(flags);
  const webhook = await alertWebhook(flags);
  if (values.metrics !== undefined) parseListen(values.metrics);
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort());
  const credential = await readCredential(flags, stateDirectory, invite, interrupted.signal);
  const options: AgentOptions = {
    stateDirectory,
    name: values.name,
    labels: values.labels,
    rtc: extra.rtc ?? values.rtc,
    loopback: values.loopback,
    announce: values.announce,
    localNames: values.localNames,
    ...(values.skipInterfaces && { skipInterfaces: values.skipInterfaces }),
    ...(values.portRange && { portRange: values.portRange }),
    store: values.store,
    ...(passphrase && { storePassphrase: passphrase }),
    logger: commandLogger(values.log),
    signal: interrupted.signal,
    onProgress: (line) => say(`joining: ${line}`),
    ...(issuingKey !== undefined && { issuingKey }),
    ...(relay !== undefined && { relay }),
    ...(flags.auditCopies !== undefined && { auditCopies: flags.auditCopies }),
    ...(flags.keepAudit !== undefined && { keepAudit: flags.keepAudit }),
    ...(joinTimeout !== undefined && { joinTimeoutMs: parseDuration(joinTimeout) }),
    ...(values.signalingTls && { signalingTls: values.signalingTls }),
    ...(values.signaling.length > 0 && { signaling: values.signaling }),
    ...(values.iceServers.length > 0 && { iceServers: values.iceServers }),
    ...(invite !== undefined && { invite }),
    ...(credential !== undefined && { credential }),
  };
  const around = {
    stateDirectory,
    controlCalls: values.controlCalls,
    metrics: values.metrics,
    webhook,
    json: json === true,
    interrupted: interrupted.signal,
  };
  while ((await live(options, around, extra)) === "again");
  // A native stack that never reports its last connection closed must not keep a finished command alive.
  setTimeout(() => process.exit(), EXIT_GRACE_MS).unref();
}

/** What one life of an agent has in common with the next. */
interface Surroundings {
  readonly stateDirectory: string;
  readonly controlCalls: Settings["controlCalls"];
  readonly metrics: string | undefined;
  readonly webhook: Awaited<ReturnType<typeof alertWebhook>>;
  readonly json: boolean;
  readonly interrupted: AbortSignal;
}

/** One life of the agent; another follows where its node key has an heir. Rejects with what ended it. */
async function live(
  options: AgentOptions,
  { stateDirectory, controlCalls, metrics, webhook, json, interrupted }: Surroundings,
  extra: Extra,
): Promise<"again" | "over"> {
  const agent = await createAgent(options);
  let isSucceeded = false;
  const restart = (): void => {
    isSucceeded = true;
    // The command is answered first.
    setImmediate(() => void agent.leave());
  };
  const handlers = controlHandlers(agent, () => agent.leave(), restart);
  for (const [name, handler] of extra.handlers?.(agent) ?? []) handlers.set(name, handler);
  const guarded = limitedHandlers(controlCalls, auditedHandlers(agent, guardedHandlers(agent, handlers)));
  const control = await serveControl(stateDirectory, guarded).catch(async (error: unknown) => {
    await agent.close();
    throw error;
  });
  const observation = await observeAgent(agent, metrics, stateDirectory).catch(async (error: unknown) => {
    await control.close();
    await agent.close();
    throw error;
  });
  using _alerts = webhook && watchForAlerts(webhook, agentAlerts(agent), options.logger ?? commandLogger("info"));
  announce(agent, json);
  // Now and not at the end: the next start is quicker also when this process runs for months or is killed.
  flushCompileCache();
  const leave = (): void => void agent.leave();
  interrupted.addEventListener("abort", leave);
  if (interrupted.aborted) leave();
  const failure = await agent.closed;
  interrupted.removeEventListener("abort", leave);
  await control.close();
  await observation?.close();
  if (failure && !isSucceeded) throw failure;
  return isSucceeded && !interrupted.aborted ? "again" : "over";
}

/** Metrics at `listen`. What renders them is loaded by those who ask for it: it takes as long as an eighth of all the rest. */
async function observeAgent(agent: Agent, listen: string | undefined, stateDirectory: string) {
  if (listen === undefined) return undefined;
  const [{ observe }, { agentMetrics }] = await Promise.all([import("./observe.ts"), import("../agent/metrics.ts")]);
  return observe(listen, stateDirectory, {
    metrics: agentMetrics(agent),
    isReady: () => agent.status().self.state === "joined",
  });
}

/** The relay that the flags describe; undefined where they ask for none. */
function relayOf({ relay, relayPublic, relayAllow }: UpFlags): RelayOptions | undefined {
  if (relay === undefined && (relayPublic !== undefined || relayAllow !== undefined))
    throw new StarlingError("usage", "--relay-public and --relay-allow go with --relay");
  if (relay === undefined) return undefined;
  return {
    ...(typeof relay === "string" && { listen: relay }),
    ...(relayPublic !== undefined && { publicAddress: relayPublic }),
    ...(relayAllow !== undefined && { allowPeers: relayAllow }),
  };
}

function announce(agent: Agent, json: boolean): void {
  const { self } = agent.status();
  if (json) print(JSON.stringify({ id: self.id, name: self.name, cluster: self.cluster }));
  else say(`${self.name} is up as ${self.id}`);
}

/** The invite from the argument, a file, stdin or the environment; undefined when there is none. */
export async function readInvite(argument: string | undefined, file: string | undefined): Promise<string | undefined> {
  if (argument !== undefined && file !== undefined) {
    throw new StarlingError("usage", "give the invite as an argument or with --invite-file, not both");
  }
  const named = argument === undefined ? (file ?? process.env["STARLING_INVITE_FILE"]) : undefined;
  const source = argument === "-" ? "-" : named;
  if (source === "-") return (await readStdin()).toString("utf8");
  if (source) {
    await warnOfReaders(source);
    return readFile(source, "utf8").catch((cause: unknown) => {
      throw new StarlingError("usage", `cannot read the invite from ${source}`, { cause });
    });
  }
  if (argument !== undefined) {
    warn("the invite is a secret, and everybody on this machine can see command lines; prefer --invite-file");
    return argument;
  }
  return process.env["STARLING_INVITE"] || undefined;
}

/** An invite comes by mail and chat, and is kept in files as they are made; it is taken, with a word on who else may read it. */
async function warnOfReaders(file: string): Promise<void> {
  const mode = (await stat(file).catch(() => undefined))?.mode ?? 0;
  if (process.platform !== "win32" && (mode & 0o077) !== 0)
    warn(`the invite is a secret, and others on this machine may read ${file}: chmod 600 ${file}, or remove it`);
}
