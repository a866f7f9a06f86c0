import { MAX_HELD_BYTES, MAX_MISSING, MAX_SEEN } from "../../src/proto/gossip/limits.ts";
import { BroadcastKind } from "../../src/proto/gossip/messages.ts";
import { SeededRandom } from "../../src/proto/random.ts";
import { type BroadcastCommand, type BroadcastEvent, BroadcastNode } from "./broadcast-node.ts";
import type { Level, Observation } from "./checkers.ts";
import { FloodNode } from "./flood-node.ts";
import { Ledger } from "./ledger.ts";
import type { NetworkOptions } from "./network.ts";
import type { SimNode } from "./node.ts";
import { ringNeighbours } from "./topology.ts";
import { World } from "./world.ts";

export interface BroadcastWorldOptions {
  readonly nodes: number;
  readonly seed: number;
  /** Rings of the overlay: twice as many links for each node. Default 4. */
  readonly rings?: number;
  readonly network?: NetworkOptions;
  /** Floods instead of broadcasting, for comparison. */
  readonly flood?: boolean;
}

/** How one publication went. */
export interface Spread {
  /** From the publication to the last delivery, ms. */
  readonly lastMs: number;
  /** Copies beyond one for each living node, as a share of them; 0 is perfect. */
  readonly redundancy: number;
  /** Living nodes without it when the time was up. */
  readonly missed: number;
  /** Links that the longest way took. */
  readonly hops: number;
  readonly announcements: number;
  readonly grafts: number;
}

/** A world of broadcasting nodes on ring neighbours, with a ledger and the measurements of each publication. */
export class BroadcastWorld implements Observation {
  readonly world: World<BroadcastCommand, BroadcastEvent>;
  readonly ledger = new Ledger();
  readonly neighbours: readonly (readonly number[])[];
  /** Faults that nodes reported, by name. */
  readonly faults = new Map<string, number>();
  readonly #flood: boolean;
  /** Messages received since the last publication, by kind. */
  readonly #kinds = new Map<number, number>();
  #hops = 0;
  #published = 0;

  constructor(options: BroadcastWorldOptions) {
    const { nodes, seed } = options;
    this.#flood = options.flood === true;
    this.neighbours = ringNeighbours(nodes, options.rings ?? 4, new SeededRandom(seed).fork("topology"));
    this.world = new World<BroadcastCommand, BroadcastEvent>({
      nodes,
      seed,
      ...(options.network === undefined ? {} : { network: options.network }),
      create: (context): SimNode<BroadcastCommand, BroadcastEvent> =>
        this.#flood
          ? new FloodNode()
          : new BroadcastNode(
              context,
              (this.neighbours[context.index] ?? []).map((index) => this.world.idOf(index)),
            ),
      observe: (index, event, now) => this.#observe(index, event, now),
      tap: (message) => {
        const kind = message.bytes[1] ?? -1;
        this.#kinds.set(kind, (this.#kinds.get(kind) ?? 0) + 1);
      },
    });
  }

  get size(): number {
    return this.world.size;
  }

  get now(): number {
    return this.world.now;
  }

  stateOf(index: number): ReturnType<World["stateOf"]> {
    return this.world.stateOf(index);
  }

  bootOf(index: number): number {
    return this.world.bootOf(index);
  }

  *levels(index: number): Generator<Level> {
    const node = this.world.node(index);
    if (!(node instanceof BroadcastNode)) return;
    const { seen, heldBytes, missing } = node.load();
    yield { name: "ids seen", size: seen, limit: MAX_SEEN };
    yield { name: "payload bytes held", size: heldBytes, limit: MAX_HELD_BYTES };
    yield { name: "missing ids", size: missing, limit: MAX_MISSING };
  }

  /** Starts everybody and links all neighbours at once. */
  startLinked(): void {
    for (let index = 0; index < this.size; index++) this.world.start(index);
    this.neighbours.forEach((others, index) => {
      for (const other of others) if (other > index) this.world.connect(index, other);
    });
  }

  /** Has `by` publish something that nobody has published before; returns its name in the ledger. */
  publish(by: number, bytes = 200): string {
    const payload = new Uint8Array(Math.max(8, bytes));
    new DataView(payload.buffer).setUint32(0, this.#published++);
    // A node without any link (rebooted while signaling is down, say) is promised nothing.
    const boots = Array.from({ length: this.size }, (_, index) =>
      this.world.linksOf(index) > 0 ? this.world.bootOf(index) : 0,
    );
    const key = nameOf(payload);
    this.ledger.published(key, by, this.now, boots);
    this.world.command(by, { type: "publish", topic: 2, payload });
    return key;
  }

  /** Publishes, waits for `forMs`, and tells how it went. */
  measure(by: number, forMs = 3_000): Spread {
    this.#kinds.clear();
    this.#hops = 0;
    const begin = this.now;
    const key = this.publish(by);
    this.world.run(forMs);
    const publication = this.ledger.find(key);
    let living = 0;
    let missed = 0;
    for (let index = 0; index < this.size; index++) {
      if (index === by || this.world.stateOf(index) !== "running") continue;
      living++;
      if (publication?.times[index] === 0) missed++;
    }
    const all = [...this.#kinds.values()].reduce((sum, count) => sum + count, 0);
    const copies = this.#flood ? all : (this.#kinds.get(BroadcastKind.payload) ?? 0);
    return {
      lastMs: (publication?.lastAt ?? begin) - begin,
      redundancy: (copies - living) / living,
      missed,
      hops: this.#hops,
      announcements: this.#kinds.get(BroadcastKind.announce) ?? 0,
      grafts: this.#kinds.get(BroadcastKind.graft) ?? 0,
    };
  }

  #observe(index: number, event: BroadcastEvent, now: number): void {
    if (event.type === "fault") this.faults.set(event.fault, (this.faults.get(event.fault) ?? 0) + 1);
    else {
      this.#hops = Math.max(this.#hops, event.hops);
      this.ledger.delivered(nameOf(event.payload), index, this.world.bootOf(index), now);
    }
  }
}

/** What tells publications apart: the counter at the head of each payload. */
function nameOf(payload: Uint8Array): string {
  return `broadcast ${new DataView(payload.buffer, payload.byteOffset, payload.length).getUint32(0)}`;
}
