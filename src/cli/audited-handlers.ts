import type { Agent } from "../agent.ts";
import type { ControlHandler } from "../drivers/control.ts";
import { StarlingError } from "../errors.ts";

/** Commands that change nothing and are not written down; every other one is. */
const READS: ReadonlySet<string> = new Set([
  "status",
  "ping",
  "kv.get",
  "kv.list",
  "kv.watch",
  "keys.list",
  "topic.subscribe",
]);

/** `handlers`, with every call that may change something in the agent's audit log: what, on which key or member, and its end. */
export function auditedHandlers(
  agent: Pick<Agent, "audit">,
  handlers: ReadonlyMap<string, ControlHandler>,
): ReadonlyMap<string, ControlHandler> {
  const audited = new Map<string, ControlHandler>();
  for (const [command, handler] of handlers) {
    audited.set(command, READS.has(command) ? handler : auditedHandler(agent, command, handler));
  }
  return audited;
}

function auditedHandler(agent: Pick<Agent, "audit">, command: string, handler: ControlHandler): ControlHandler {
  return async (parameters, emit, signal) => {
    const call = { action: "control.call", actor: "local", target: targetOf(command, parameters) } as const;
    try {
      const result = await handler(parameters, emit, signal);
      agent.audit.record({ ...call, outcome: "ok" });
      return result;
    } catch (error) {
      const reason = error instanceof StarlingError ? error.code : "internal";
      agent.audit.record({ ...call, outcome: reason === "permission-denied" ? "denied" : "failed", reason });
      throw error;
    }
  };
}

/** The command and what it names; never a value, which may be a secret. */
function targetOf(command: string, parameters: Readonly<Record<string, unknown>>): string {
  const named = ["bucket", "key", "peer", "target", "topic"].flatMap((name) => {
    const value = parameters[name];
    return typeof value === "string" ? [`${name}=${value}`] : [];
  });
  return [command, ...named].join(" ");
}
