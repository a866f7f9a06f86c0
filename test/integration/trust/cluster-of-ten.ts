import { startSignalingService } from "../../../signaling/main.ts";
import { prepare } from "../../../src/agent/prepare.ts";
import { Agent } from "../../../src/agent.ts";
import { encodeInvite } from "../../../src/proto/trust/invite.ts";
import { hasLink, type Lab, type Node, until } from "../attack/lab.ts";

/** Real agents in one process, on loopback: what the tests of revocation and rotation need of them. */

export const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

/** Starts `count` agents; resolves when each has a link with every other. */
export async function mesh(lab: Lab, count: number, signaling: readonly string[] = [lab.url]): Promise<Agent[]> {
  const agents = await Promise.all(
    Array.from({ length: count }, async (_, number) =>
      lab.agent(await lab.node(), { options: { name: `node-${number}`, signaling } }),
    ),
  );
  await meshed(agents);
  return agents;
}

/** Waits until each of these agents has a link with every other. */
export async function meshed(agents: readonly Agent[]): Promise<void> {
  await until("a full mesh", () => agents.every((a) => agents.every((b) => a === b || hasLink(a, b.id))), 60_000);
}

/** An agent that does as it likes: no revocation, not even its own, means anything to it. It speaks for its node as long as it can. */
export async function unrepentant(lab: Lab, node: Node, signaling: readonly string[] = [lab.url]): Promise<Agent> {
  const invite = encodeInvite({
    cluster: lab.cluster,
    token: { kind: "member", text: await lab.token(node.identity.id) },
  });
  const prepared = await prepare({ stateDirectory: node.folder, name: "outlaw", invite, signaling });
  const { decrees } = prepared.trust;
  decrees.accept = () => ({ outcome: "known" });
  decrees.voids = () => false;
  const agent = await Agent.start(prepared, undefined);
  lab.onClose(() => agent.close());
  return agent;
}

/** A second front door of the same cluster. */
export async function anotherServer(lab: Lab): Promise<string> {
  const server = await startSignalingService({
    cluster: lab.cluster,
    listen: { host: "127.0.0.1", port: 0 },
    log: SILENT,
  });
  lab.onClose(() => server.close());
  return `ws://127.0.0.1:${server.port}`;
}

/** Whether this agent has neither a link with the other nor takes it for a member that is there. */
export function isRidOf(agent: Agent, other: string): boolean {
  const member = agent.members().find(({ id }) => id === other);
  return !agent.status().links.some(({ peer }) => peer === other) && (member === undefined || member.state === "down");
}
