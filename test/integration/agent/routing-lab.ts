import { type LocalCluster, openLocalCluster } from "../../../examples/local-cluster.ts";
import { chooseStack } from "../../../src/agent/stacks.ts";
import { WrappedConnection } from "../../../src/demo/wrapped-connection.ts";
import type { Agent, AgentOptions, PeerId, RtcConnection, RtcEvent, RtcOptions, RtcStack } from "../../../src/index.ts";
import { until } from "../until.ts";

/**
 * A cluster in one process whose connections can be cut one by one: each agent runs on a stack that knows all its
 * connections. A *cut* connection is closed without a word of ours; a *frozen* one loses every frame and nobody is told, as
 * when a cable is pulled.
 */
export class RoutingLab implements AsyncDisposable {
  readonly cluster: LocalCluster;
  readonly agents: Agent[] = [];
  readonly #stacks = new Map<PeerId, CuttableStack>();

  private constructor(cluster: LocalCluster) {
    this.cluster = cluster;
  }

  /** Starts `count` agents on `rtc`; resolves when all are linked with all. At most 17. */
  static async open(count: number, rtc: "native" | "werift"): Promise<RoutingLab> {
    const lab = new RoutingLab(await openLocalCluster());
    try {
      for (let number = 0; number < count; number++) await lab.join(`agent-${number}`, rtc);
      await lab.complete();
      return lab;
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  async join(name: string, rtc: "native" | "werift", options: AgentOptions = {}): Promise<Agent> {
    const stack = new CuttableStack(await chooseStack(rtc));
    const agent = await this.cluster.join(name, { rtc: stack, ...options });
    this.agents.push(agent);
    this.#stacks.set(agent.id, stack);
    return agent;
  }

  agent(index: number): Agent {
    const agent = this.agents[index];
    if (!agent) throw new Error(`there is no agent ${index}`);
    return agent;
  }

  /** Whether both sides have a link to each other. */
  linked(a: number, b: number): boolean {
    return this.#has(a, b) && this.#has(b, a);
  }

  /** Resolves when everybody is linked with everybody over connections that work, and holds everybody for alive. */
  async complete(withinMs = 30_000): Promise<void> {
    await until(`${this.agents.length} agents are all linked and alive`, () => this.#isWhole(), withinMs);
  }

  /** Whether {@link complete} resolves in time. */
  healed(withinMs: number): Promise<boolean> {
    return this.complete(withinMs).then(
      () => true,
      () => false,
    );
  }

  /** Closes the connection between two agents, from the side of `a`. */
  cut(a: number, b: number): void {
    this.#connection(a, b).close();
  }

  /** The connection between two agents carries nothing any more, and nobody is told. */
  freeze(a: number, b: number): void {
    this.#connection(a, b).frozen = true;
    this.#connection(b, a).frozen = true;
  }

  /** What carried the signals of each link that is younger than `ms`. */
  signaledBy(ms: number): string[] {
    return this.agents.flatMap((agent) =>
      agent
        .status()
        .links.filter(({ sinceMs }) => sinceMs < ms)
        .map((link) => link.signaledBy),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster[Symbol.asyncDispose]();
  }

  #isWhole(): boolean {
    const count = this.agents.length;
    return this.agents.every((agent) => {
      const { members, links } = agent.status();
      const isFrozen = links.some(
        (link) => this.#stacks.get(agent.id)?.find(link.localCandidate, link.remoteCandidate)?.frozen === true,
      );
      return (
        links.length === count - 1 && !isFrozen && members.filter(({ state }) => state === "alive").length === count
      );
    });
  }

  #has(a: number, b: number): boolean {
    return this.agent(a)
      .status()
      .links.some(({ peer }) => peer === this.agent(b).id);
  }

  #connection(a: number, b: number): CuttableConnection {
    const { links } = this.agent(a).status();
    const link = links.find(({ peer }) => peer === this.agent(b).id);
    const found = link && this.#stacks.get(this.agent(a).id)?.find(link.localCandidate, link.remoteCandidate);
    if (!found) throw new Error(`agents ${a} and ${b} have no link`);
    return found;
  }
}

/** A stack that remembers its connections. */
class CuttableStack implements RtcStack {
  readonly name: string;
  readonly maxFrameBytes: number;
  readonly #inner: RtcStack;
  readonly #open = new Set<CuttableConnection>();

  constructor(inner: RtcStack) {
    this.#inner = inner;
    this.name = inner.name;
    this.maxFrameBytes = inner.maxFrameBytes;
  }

  connect(options: RtcOptions, notify: (event: RtcEvent) => void): RtcConnection {
    const inner = this.#inner.connect(options, (event) => {
      if (event.type === "closed") this.#open.delete(connection);
      if (!(connection.frozen && event.type === "frame")) notify(event);
    });
    const connection = new CuttableConnection(inner);
    this.#open.add(connection);
    return connection;
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  find(local: string | null, remote: string | null): CuttableConnection | undefined {
    for (const connection of this.#open) {
      const pair = connection.selectedPair();
      if (!pair) continue;
      const { local: ours, remote: theirs } = pair;
      if (`${ours.kind} ${ours.address}` === local && `${theirs.kind} ${theirs.address}` === remote) return connection;
    }
    return undefined;
  }
}

class CuttableConnection extends WrappedConnection {
  frozen = false;

  override send(frame: Uint8Array): boolean {
    return this.frozen || super.send(frame);
  }
}
