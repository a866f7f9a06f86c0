import type { Agent } from "../agent.ts";
import { StarlingError } from "../errors.ts";
import type { PeerId } from "../proto/peer-id.ts";

/** A member by id, by a unique prefix of its id, or by a unique name. */
export function resolvePeer(agent: Agent, text: string): PeerId {
  const members = agent.members().filter((member) => member.id !== agent.id);
  const named = members.filter((member) => member.name === text);
  const matches = named.length > 0 ? named : members.filter((member) => member.id.startsWith(text));
  const [match, another] = matches;
  if (match === undefined)
    throw new StarlingError("not-found", `no other member has the name or id ${JSON.stringify(text)}`);
  if (another !== undefined) {
    throw new StarlingError("usage", `${JSON.stringify(text)} fits ${matches.length} members; write more of the id`);
  }
  return match.id;
}
