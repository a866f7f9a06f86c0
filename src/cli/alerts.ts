import type { Command } from "commander";
import type { SignalingService } from "../../signaling/main.ts";
import { addressBytes } from "../../stun/proto/address.ts";
import { PeerPolicy } from "../../stun/proto/peer-policy.ts";
import type { Agent } from "../agent.ts";
import { systemRandom } from "../drivers/entropy.ts";
import { openWebhook, type Webhook } from "../drivers/webhook.ts";
import { StarlingError } from "../errors.ts";
import { Runner } from "../host/runner.ts";
import type { Logger } from "../options.ts";
import { AGENT_ALERTS, type AgentView } from "../proto/alerts/agent-alerts.ts";
import { type AlertRule, AlertRules } from "../proto/alerts/alert-rules.ts";
import { Outbox, type OutboxInput, type OutboxOutput } from "../proto/alerts/outbox.ts";
import { SERVER_ALERTS, type ServerView } from "../proto/alerts/server-alerts.ts";
import { utf8 } from "../proto/bytes.ts";
import type { ClusterId } from "../proto/trust/cluster-id.ts";
import { readSecret } from "./secret.ts";

/** The alert hook of `starling up` and `starling signal`: looks at either every ten seconds, and tells one endpoint what has begun and what is over. */

export interface AlertFlags {
  readonly alertUrl?: string;
  readonly alertSecretFile?: string;
  readonly alertAllow?: readonly string[];
}

/** The parts of an agent that are looked at. */
type WatchedAgent = Pick<Agent, "status" | "counters">;

/** Who is watched, and by which rules. */
export interface Watched<View> {
  readonly rules: readonly AlertRule<View>[];
  readonly view: () => View;
  /** Says in a message whom it is about. */
  readonly about: () => Readonly<Record<string, unknown>>;
}

const LOOK_EVERY_MS = 10_000;

export function addAlertFlags(command: Command): Command {
  return command
    .option("--alert-url <url>", "POST alerts as signed JSON to this URL (or $STARLING_ALERT_URL)")
    .option(
      "--alert-secret-file <file>",
      "the secret that signs them, mode 0600; - for stdin (or $STARLING_ALERT_SECRET_FILE)",
    )
    .option("--alert-allow <host...>", "hosts of such URLs that may be on this machine or in a private network");
}

/** The endpoint that the flags name; undefined where they name none. Contacts nobody. Throws `usage`, `config-invalid`, `key-file-permissions`. */
export async function alertWebhook(flags: AlertFlags): Promise<Webhook | undefined> {
  const url = flags.alertUrl ?? process.env["STARLING_ALERT_URL"];
  if (url === undefined) return undefined;
  const secret = await readSecret("STARLING_ALERT_SECRET", flags.alertSecretFile);
  if (secret === undefined)
    throw new StarlingError("usage", "alerts are signed: name a file with a secret by --alert-secret-file");
  return openWebhook({
    url,
    secret: utf8(secret),
    allow: flags.alertAllow ?? [],
    mayReach: isPublic,
    now: Date.now,
  });
}

/**
 * Watches until it is disposed of, and tells `webhook`. The body of a message: fields are added, never renamed.
 *
 * @param lookEveryMs default 10 s.
 */
export function watchForAlerts<View>(
  webhook: Webhook,
  { rules, view, about }: Watched<View>,
  log: Logger,
  lookEveryMs = LOOK_EVERY_MS,
): Disposable {
  const runner = new Runner<OutboxInput<string>, OutboxOutput<string>>(
    new Outbox(systemRandom()),
    Date.now,
    () => ({ type: "timeout" }),
    (output) => {
      if (output.type === "dropped") {
        log.warn("an alert was not delivered", { host: webhook.host, reason: output.reason });
        return;
      }
      void webhook.deliver(output.message).then((delivery) => {
        if (delivery === "forbidden")
          log.warn("the host for alerts is on this machine or in a private network; allow it with --alert-allow", {
            host: webhook.host,
          });
        const final = delivery === "refused" || delivery === "forbidden";
        runner.input(delivery === "delivered" ? { type: "delivered" } : { type: "failed", final });
      });
    },
  );
  const watching = new AlertRules(rules);
  const look = (): void => {
    for (const { name, state, summary } of watching.look(view(), Date.now())) {
      const message = { version: 1, alert: name, state, summary, at: new Date().toISOString(), ...about() };
      runner.input({ type: "message", message: JSON.stringify(message) });
    }
  };
  look();
  const timer = setInterval(look, lookEveryMs);
  return {
    [Symbol.dispose]: () => {
      clearInterval(timer);
      runner.close();
    },
  };
}

const policy = new PeerPolicy([], [], []);

/** Whether an address is of the public internet, in any spelling of it. */
function isPublic(address: string): boolean {
  const bytes = addressBytes(address);
  return bytes !== undefined && policy.allows(bytes);
}

/** What of an agent is told. */
export function agentAlerts(agent: WatchedAgent): Watched<AgentView> {
  const about = () => {
    const { id, name, cluster } = agent.status().self;
    return { agent: { id, name, cluster } };
  };
  return { rules: AGENT_ALERTS, view: () => viewOf(agent), about };
}

function viewOf(agent: WatchedAgent): AgentView {
  const { self, members, links, signaling, audit } = agent.status();
  const count = (wanted: string): number => members.filter(({ state }) => state === wanted).length;
  const { faults: all, auditForks } = agent.counters();
  const faults = Object.entries(all).filter(([fault]) => fault.startsWith("admission-"));
  const instantOf = (text: string | null) => (text === null ? undefined : Date.parse(text));
  return {
    tokenExpiresAt: instantOf(self.tokenExpiresAt),
    issuingKeyEndsAt: instantOf(self.issuingKeyExpiresAt),
    members: { alive: count("alive"), suspect: count("suspect"), down: count("down") },
    links: links.length,
    skewMs: Math.max(0, ...signaling.map(({ skewMs = 0 }) => Math.abs(skewMs))),
    denied: faults.reduce((sum, [, times]) => sum + times, 0),
    copiesMissing: audit.copiesWanted - audit.copies.length,
    auditForks,
  };
}

/** What of a signaling server is told. */
export function serverAlerts(
  server: Pick<SignalingService, "counters" | "certificateEndsAt" | "keyEnd" | "names">,
  cluster: ClusterId,
): Watched<ServerView> {
  const view = (): ServerView => {
    const { loginsRefused, connectionsRefusedFull } = server.counters();
    return {
      certificateEndsAt: server.certificateEndsAt,
      issuingKeyEndsAt: server.keyEnd()?.endsAt,
      loginsRefused,
      refusedFull: connectionsRefusedFull,
    };
  };
  return { rules: SERVER_ALERTS, view, about: () => ({ server: { names: server.names, cluster } }) };
}
