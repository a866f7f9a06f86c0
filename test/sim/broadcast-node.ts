import { Deadlines, earlier } from "../../src/proto/deadlines.ts";
import {
  Broadcast,
  type BroadcastFault,
  type BroadcastInput,
  type BroadcastLoad,
} from "../../src/proto/gossip/broadcast.ts";
import type { MessageId, Topic } from "../../src/proto/gossip/messages.ts";
import type { Instant } from "../../src/proto/machine.ts";
import type { PeerId } from "../../src/proto/peer-id.ts";
import { Lane } from "../../src/proto/streams/lanes.ts";
import type { NodeContext, SimInput, SimNode, SimOutput } from "./node.ts";

/** What a {@link BroadcastNode} is told from outside. */
export type BroadcastCommand = { readonly type: "publish"; readonly topic: Topic; readonly payload: Uint8Array };

/** What a {@link BroadcastNode} tells. */
export type BroadcastEvent =
  | { readonly type: "delivered"; readonly id: MessageId; readonly payload: Uint8Array; readonly hops: number }
  | { readonly type: "fault"; readonly peer: PeerId; readonly fault: BroadcastFault };

/** Dials again after a failure or a loss, ms: long enough that a partition does not become a storm. */
const REDIAL_MS = 2_000;

/** First byte of a payload that every consumer refuses, for scenarios with forged content. */
export const FORGED = 0xff;

/**
 * The smallest node that broadcasts: the broadcast core over a fixed set of wanted neighbours. A node that
 * starts dials them all; of a link that ends later the lower id dials again. It accepts every payload but {@link FORGED} ones.
 */
export class BroadcastNode implements SimNode<BroadcastCommand, BroadcastEvent> {
  readonly #broadcast: Broadcast;
  readonly #self: PeerId;
  readonly #redials = new Deadlines<PeerId>();

  /** @param wanted the peers to hold links to. */
  constructor(context: NodeContext, wanted: readonly PeerId[]) {
    this.#broadcast = new Broadcast(context.id);
    this.#self = context.id;
    for (const peer of wanted) this.#redials.set(peer, context.now);
  }

  handle(input: SimInput | BroadcastCommand, now: Instant): readonly (SimOutput | BroadcastEvent)[] {
    switch (input.type) {
      case "link-up":
        this.#redials.clear(input.peer);
        return this.#apply({ type: "neighbour-up", peer: input.peer, rttMs: input.rttMs }, now, []);
      case "dial-failed":
        this.#redials.set(input.peer, now + REDIAL_MS);
        return [];
      case "link-down":
        if (this.#self < input.peer) this.#redials.set(input.peer, now + REDIAL_MS);
        return this.#apply({ type: "neighbour-down", peer: input.peer }, now, []);
      case "message":
        return this.#apply(input, now, []);
      case "publish":
        return this.#apply(input, now, []);
      case "timeout": {
        const out: (SimOutput | BroadcastEvent)[] = [];
        for (let peer = this.#redials.take(now); peer !== undefined; peer = this.#redials.take(now)) {
          out.push({ type: "dial", peer });
        }
        return this.#apply(input, now, out);
      }
      default:
        return [];
    }
  }

  deadline(): Instant | undefined {
    return earlier(this.#broadcast.deadline(), this.#redials.next());
  }

  load(): BroadcastLoad {
    return this.#broadcast.load();
  }

  #apply(input: BroadcastInput, now: Instant, out: (SimOutput | BroadcastEvent)[]): (SimOutput | BroadcastEvent)[] {
    for (const output of this.#broadcast.handle(input, now)) {
      if (output.type === "send") {
        out.push({ type: "send", peer: output.peer, lane: Lane.gossip, bytes: output.bytes });
      } else if (output.type === "deliver") {
        const { id, payload, hops } = output;
        const verdict = payload[0] === FORGED ? "reject" : "accept";
        if (verdict === "accept") out.push({ type: "delivered", id, payload, hops });
        this.#apply({ type: "verdict", id, verdict }, now, out);
      } else out.push(output);
    }
    return out;
  }
}
