import { type MessageId, messageIdOf, Topic } from "../../src/proto/gossip/messages.ts";
import type { Instant } from "../../src/proto/machine.ts";
import type { PeerId } from "../../src/proto/peer-id.ts";
import { Lane } from "../../src/proto/streams/lanes.ts";
import type { BroadcastCommand, BroadcastEvent } from "./broadcast-node.ts";
import type { SimInput, SimNode, SimOutput } from "./node.ts";

/** What broadcast is measured against: everybody sends what is new over all links but the one that it came from. */
export class FloodNode implements SimNode<BroadcastCommand, BroadcastEvent> {
  readonly #peers = new Set<PeerId>();
  readonly #seen = new Set<MessageId>();

  handle(input: SimInput | BroadcastCommand, _now: Instant): readonly (SimOutput | BroadcastEvent)[] {
    const out: (SimOutput | BroadcastEvent)[] = [];
    switch (input.type) {
      case "link-up":
        this.#peers.add(input.peer);
        break;
      case "link-down":
        this.#peers.delete(input.peer);
        break;
      case "publish":
        this.#flood(input.payload, undefined, out);
        break;
      case "message":
        this.#flood(input.bytes, input.peer, out);
        break;
      default:
        break;
    }
    return out;
  }

  deadline(): undefined {
    return undefined;
  }

  #flood(payload: Uint8Array, from: PeerId | undefined, out: (SimOutput | BroadcastEvent)[]): void {
    const id = messageIdOf(Topic.application, payload);
    if (this.#seen.has(id)) return;
    this.#seen.add(id);
    if (from !== undefined) out.push({ type: "delivered", id, payload, hops: 0 });
    for (const peer of this.#peers) {
      if (peer !== from) out.push({ type: "send", peer, lane: Lane.gossip, bytes: payload });
    }
  }
}
