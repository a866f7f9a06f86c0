import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { expect } from "vitest";
import { startSignalingService } from "../../../signaling/main.ts";
import type { SignalingServer } from "../../../signaling/server.ts";
import { type Agent, createAgent } from "../../../src/agent.ts";
import { nodeCrypto } from "../../../src/drivers/crypto.ts";
import { createCluster } from "../../../src/drivers/state/create-cluster.ts";
import { readSigningKeyFile } from "../../../src/drivers/state/key-file.ts";
import { openStateDirectory } from "../../../src/drivers/state-directory.ts";
import { issuersOf, type Mint, openMint } from "../../../src/issuer/mint.ts";
import type { AgentOptions } from "../../../src/options.ts";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import type { Cluster } from "../../../src/proto/trust/cluster.ts";
import type { NodeIdentity, SigningKey } from "../../../src/proto/trust/crypto.ts";
import { encodeInvite } from "../../../src/proto/trust/invite.ts";

/** Whole clusters in this process, on loopback, with a signaling server that is honest and issues nothing. */

export const crypto = nodeCrypto();

/** A state directory with a key of its own and nothing else. */
export interface Node {
  readonly folder: string;
  readonly identity: NodeIdentity;
}

/** Nobody logs a word; what a test wants to know it asks the counters. */
const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

/** How long anything may take that the agents do by themselves, ms: many times what it does take. */
const PATIENCE_MS = 15_000;

export class Lab {
  readonly cluster: Cluster;
  readonly issuingKey: SigningKey;
  readonly issuingKeyFile: string;
  /** Beside it. */
  readonly rootKeyFile: string;
  readonly mint: Mint;
  readonly server: SignalingServer;
  readonly #folder: string;
  readonly #agents: Agent[] = [];
  readonly #closing: (() => Promise<void>)[] = [];
  #nodes = 0;

  private constructor(
    folder: string,
    cluster: Cluster,
    issuingKey: SigningKey,
    issuingKeyFile: string,
    mint: Mint,
    server: SignalingServer,
  ) {
    this.#folder = folder;
    this.issuingKeyFile = issuingKeyFile;
    this.rootKeyFile = join(dirname(issuingKeyFile), "root.key");
    this.cluster = cluster;
    this.issuingKey = issuingKey;
    this.mint = mint;
    this.server = server;
  }

  static async open(): Promise<Lab> {
    const folder = await mkdtemp(join(tmpdir(), "starling-attack-"));
    const { cluster, issuingKeyFile } = await createCluster(join(folder, "root"), {}, crypto);
    const issuers = issuersOf(cluster, crypto);
    const mint = await openMint({
      keyFile: issuingKeyFile,
      clusterId: cluster.clusterId,
      issuers: () => issuers,
      crypto,
    });
    const issuingKey = await readSigningKeyFile(issuingKeyFile, crypto);
    if (issuingKey === undefined) throw new Error("a cluster has an issuing key");
    const server = await startSignalingService({ cluster, listen: { host: "127.0.0.1", port: 0 }, log: SILENT });
    const signaling = [`ws://127.0.0.1:${server.port}`];
    return new Lab(folder, { ...cluster, signaling }, issuingKey, issuingKeyFile, mint, server);
  }

  /** Where the honest server listens. */
  get url(): string {
    return `ws://127.0.0.1:${this.server.port}`;
  }

  async node(): Promise<Node> {
    const folder = join(this.#folder, `node-${++this.#nodes}`);
    await using state = await openStateDirectory(folder, crypto);
    return { folder, identity: crypto.nodeIdentity(state.nodeKey.seed) };
  }

  /** A member token; `endsInMs` from now, negative for one that has ended, the leeway of clocks not counted. */
  async token(subject: PeerId, endsInMs = 3_600_000): Promise<string> {
    const lifeMs = Math.max(60_000, endsInMs);
    const issued = await this.mint.issueMemberToken({ subject, lifeMs }, Date.now() + endsInMs - lifeMs);
    if (!issued.ok) throw new Error(issued.fault);
    return issued.token;
  }

  /** Starts an agent by an invite for its own key. */
  async agent(
    node: Node,
    change: { readonly cluster?: Cluster; readonly token?: string; readonly options?: AgentOptions } = {},
  ): Promise<Agent> {
    const { cluster = this.cluster, options } = change;
    const text = change.token ?? (await this.token(node.identity.id));
    const invite = encodeInvite({ cluster, token: { kind: "member", text } });
    const agent = await createAgent({ stateDirectory: node.folder, name: "node", rtc: "auto", invite, ...options });
    this.#agents.push(agent);
    return agent;
  }

  /** Two honest members with a link, whose every loss is noted from here on. */
  async pair(cluster?: Cluster): Promise<Pair> {
    const nodes = [await this.node(), await this.node()] as const;
    const change = cluster ? { cluster } : {};
    const left = await this.agent(nodes[0], change);
    const right = await this.agent(nodes[1], change);
    const pair = new Pair(left, right);
    await pair.linked();
    return pair;
  }

  /** Closes something with the lab, before its agents. */
  onClose(close: () => Promise<void>): void {
    this.#closing.push(close);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.#closing) await close();
    await Promise.all(this.#agents.map((agent) => agent.close()));
    await this.server.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** Two members that an attack on one of them, or beside them, shall cost nothing. */
export class Pair {
  readonly left: Agent;
  readonly right: Agent;
  #lost = 0;
  #writes = 0;

  constructor(left: Agent, right: Agent) {
    this.left = left;
    this.right = right;
  }

  async linked(): Promise<void> {
    const { left, right } = this;
    await until("the honest pair to link", () => hasLink(left, right.id) && hasLink(right, left.id));
    for (const [agent, other] of [
      [left, right],
      [right, left],
    ] as const) {
      agent.addEventListener("linkdown", (event) => {
        if (event.peer === other.id) this.#lost++;
      });
    }
  }

  /** The two have kept their link all the time, know each other as alive, and a value written here is read there. */
  async unharmed(): Promise<void> {
    const { left, right } = this;
    const key = `after-${++this.#writes}`;
    const written = await left.bucket("attack").put(key, key, { replicas: 2 });
    expect(written.replicas).toBeGreaterThanOrEqual(2);
    await until("a write to spread", async () => (await right.bucket("attack").get(key))?.text() === key);
    expect(this.#lost).toBe(0);
    expect(left.members().find(({ id }) => id === right.id)?.state).toBe("alive");
    expect(right.members().find(({ id }) => id === left.id)?.state).toBe("alive");
  }
}

export function hasLink(agent: Agent, peer: PeerId): boolean {
  return agent.status().links.some((link) => link.peer === peer);
}

/** How often `agent` has counted a fault. */
export function faults(agent: Agent, name: string): number {
  return agent.counters().faults[name] ?? 0;
}

/** Waits for something that happens by itself; the failure says what did not. */
export async function until(
  what: string,
  happened: () => boolean | Promise<boolean>,
  patienceMs = PATIENCE_MS,
): Promise<void> {
  const end = performance.now() + patienceMs;
  while (!(await happened())) {
    if (performance.now() > end) throw new Error(`waited in vain for ${what}`);
    await pause(20);
  }
}
