import type { Agent } from "../agent.ts";
import type { ControlHandler } from "../drivers/control.ts";
import { StarlingError } from "../errors.ts";
import { COMMAND_RIGHTS, type CommandRight, mayDo, scopeFor } from "../proto/trust/rights.ts";

/**
 * `handlers`, each behind what its row of the table asks for: a command on a bucket or a topic needs the scope of the agent's own token.
 * Throws for a command that has no row: an agent with a door that nobody has thought about does not start.
 */
export function guardedHandlers(
  agent: Pick<Agent, "scopes">,
  handlers: ReadonlyMap<string, ControlHandler>,
): ReadonlyMap<string, ControlHandler> {
  return new Map(Array.from(handlers, ([command, handler]) => [command, guarded(agent, command, handler)]));
}

function guarded(agent: Pick<Agent, "scopes">, command: string, handler: ControlHandler): ControlHandler {
  const row = Object.hasOwn(COMMAND_RIGHTS, command) ? COMMAND_RIGHTS[command] : undefined;
  if (row === undefined) throw new StarlingError("internal", `the control command ${command} declares no right`);
  return async (parameters, emit, signal) => {
    check(agent.scopes, row, parameters);
    return handler(parameters, emit, signal);
  };
}

function check(scopes: readonly string[], { right, on }: CommandRight, parameters: Readonly<Record<string, unknown>>) {
  if (right === "anyone" || right === "owner" || right === "member") return;
  const thing = on === undefined ? "" : parameters[on];
  // What is no name is refused by the command's own check of its parameters.
  if (typeof thing !== "string" || mayDo(scopes, right, thing)) return;
  const message = `this agent's token does not allow ${scopeFor(right, thing)}; ask for an invite with that scope`;
  throw new StarlingError("permission-denied", message);
}
