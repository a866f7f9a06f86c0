import { setTimeout as pause } from "node:timers/promises";
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

/** An agent whose clock is ahead of everybody's. */
export async function ahead(lab: Lab, node: Node, token: string, ms: number): Promise<Agent> {
  const invite = encodeInvite({ cluster: lab.cluster, token: { kind: "member", text: token } });
  const prepared = await prepare({ stateDirectory: node.folder, name: "ahead", invite, signaling: [lab.url] });
  const agent = await Agent.start({ ...prepared, now: () => prepared.now() + ms }, undefined);
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

/** The links that these agents lose from here on, but for those with `except`, each with when, who and why. */
export function linksLost(agents: readonly Agent[], ...except: readonly string[]): () => readonly string[] {
  const lost: string[] = [];
  const began = performance.now();
  for (const agent of agents) {
    agent.addEventListener("linkdown", ({ peer, reason }) => {
      const afterMs = Math.round(performance.now() - began);
      if (!except.includes(peer)) lost.push(`${afterMs} ms: ${agent.id} lost ${peer}: ${reason}`);
    });
  }
  return () => lost;
}

/** Writes to a bucket without a pause, by one agent after the other, each on two of them. */
export class Writer {
  last = "";
  #writes = 0;
  #failed = 0;
  #stopped = false;
  readonly #running: Promise<void>;

  constructor(agents: readonly Agent[]) {
    this.#running = this.#run(agents);
  }

  async stop(): Promise<{ readonly writes: number; readonly failed: number }> {
    this.#stopped = true;
    await this.#running;
    return { writes: this.#writes, failed: this.#failed };
  }

  async #run(agents: readonly Agent[]): Promise<void> {
    while (!this.#stopped) {
      const key = `key-${this.#writes}`;
      const agent = agents[this.#writes++ % agents.length] as Agent;
      await agent
        .bucket("app")
        .put(key, key, { replicas: 2, timeoutMs: 10_000 })
        .then(() => {
          this.last = key;
        })
        .catch(() => {
          this.#failed++;
        });
      await pause(10);
    }
  }
}
