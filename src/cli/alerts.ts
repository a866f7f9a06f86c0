import type { Command } from "commander";
import { addressBytes } from "../../stun/proto/address.ts";
import { PeerPolicy } from "../../stun/proto/peer-policy.ts";
import { Runner } from "../agent/runner.ts";
import type { Agent } from "../agent.ts";
import { systemRandom } from "../drivers/entropy.ts";
import { readPrivateText } from "../drivers/state/private-files.ts";
import { openWebhook, type Webhook } from "../drivers/webhook.ts";
import { StarlingError } from "../errors.ts";
import type { Logger } from "../options.ts";
import { type Alert, AlertRules, type AlertView } from "../proto/alerts/alert-rules.ts";
import { Outbox, type OutboxInput, type OutboxOutput } from "../proto/alerts/outbox.ts";
import { utf8 } from "../proto/bytes.ts";

/** The alert hook of `starling up`: looks at the agent every ten seconds, and tells one endpoint what has begun and what is over. */

export interface AlertFlags {
  readonly alertUrl?: string;
  readonly alertSecretFile?: string;
  readonly alertAllow?: readonly string[];
}

/** The parts of an agent that are looked at. */
type WatchedAgent = Pick<Agent, "status" | "counters">;

const LOOK_EVERY_MS = 10_000;
const MAX_SECRET_BYTES = 1_024;

export function addAlertFlags(command: Command): Command {
  return command
    .option("--alert-url <url>", "POST alerts as signed JSON to this URL (or $STARLING_ALERT_URL)")
    .option("--alert-secret-file <file>", "the secret that signs them, mode 0600 (or $STARLING_ALERT_SECRET_FILE)")
    .option("--alert-allow <host...>", "hosts of such URLs that may be on this machine or in a private network");
}

/** The endpoint that the flags name; undefined where they name none. Contacts nobody. Throws `usage`, `config-invalid`, `key-file-permissions`. */
export async function alertWebhook(flags: AlertFlags): Promise<Webhook | undefined> {
  const url = flags.alertUrl ?? process.env["STARLING_ALERT_URL"];
  const secretFile = flags.alertSecretFile ?? process.env["STARLING_ALERT_SECRET_FILE"];
  if (url === undefined) return undefined;
  if (secretFile === undefined)
    throw new StarlingError("usage", "alerts are signed: name a file with a secret by --alert-secret-file");
  const secret = await readPrivateText(secretFile, MAX_SECRET_BYTES);
  if (secret === undefined)
    throw new StarlingError("usage", `there is no file ${secretFile} with the secret for alerts`);
  return openWebhook({
    url,
    secret: utf8(secret),
    allow: flags.alertAllow ?? [],
    mayReach: isPublic,
    now: Date.now,
  });
}

/**
 * Watches `agent` until it is disposed of, and tells `webhook`.
 *
 * @param lookEveryMs default 10 s.
 */
export function watchForAlerts(
  webhook: Webhook,
  agent: WatchedAgent,
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
  const rules = new AlertRules();
  const look = (): void => {
    for (const alert of rules.look(viewOf(agent), Date.now()))
      runner.input({ type: "message", message: JSON.stringify(told(alert, agent)) });
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

function viewOf(agent: WatchedAgent): AlertView {
  const { self, members, links, signaling } = agent.status();
  const count = (wanted: string): number => members.filter(({ state }) => state === wanted).length;
  const faults = Object.entries(agent.counters().faults).filter(([fault]) => fault.startsWith("admission-"));
  return {
    tokenExpiresAt: self.tokenExpiresAt === null ? undefined : Date.parse(self.tokenExpiresAt),
    members: { alive: count("alive"), suspect: count("suspect"), down: count("down") },
    links: links.length,
    skewMs: Math.max(0, ...signaling.map(({ skewMs = 0 }) => Math.abs(skewMs))),
    denied: faults.reduce((sum, [, times]) => sum + times, 0),
  };
}

/** The body of a message; fields are added, never renamed. */
function told({ name, state, summary }: Alert, agent: WatchedAgent) {
  const { id, name: node, cluster } = agent.status().self;
  return { version: 1, alert: name, state, summary, at: new Date().toISOString(), agent: { id, name: node, cluster } };
}
