import type { Instant } from "../../src/proto/machine.ts";
import type { PeerId } from "../../src/proto/peer-id.ts";
import { Lane } from "../../src/proto/streams/lanes.ts";
import type { NodeContext, SimInput, SimNode, SimOutput } from "./node.ts";

/** How often a node probes one of its peers, ms: as the agent does. */
const PROBE_INTERVAL_MS = 500;

const PROBE = 1;
const ANSWER = 2;

/** A node that does nothing but probe its links in turn and answer probes: the heartbeat of a mesh without its brain. */
export class PulseNode implements SimNode {
  readonly #peers: PeerId[] = [];
  #next = 0;
  #probeAt: Instant;
  /** Probes answered by others. */
  answered = 0;

  constructor(context: NodeContext) {
    this.#probeAt = context.now + (context.random.u32() % PROBE_INTERVAL_MS);
  }

  handle(input: SimInput, now: Instant): readonly SimOutput[] {
    switch (input.type) {
      case "message":
        if (input.bytes[0] === PROBE) return [this.#send(input.peer, ANSWER, input.bytes[1] as number)];
        this.answered++;
        return [];
      case "timeout": {
        if (now < this.#probeAt) return [];
        this.#probeAt = now + PROBE_INTERVAL_MS;
        const peer = this.#peers[this.#next++ % this.#peers.length];
        return peer === undefined ? [] : [this.#send(peer, PROBE, this.#next & 255)];
      }
      case "link-up":
        this.#peers.push(input.peer);
        return [];
      case "link-down":
        this.#peers.splice(this.#peers.indexOf(input.peer), 1);
        return [];
      default:
        return [];
    }
  }

  deadline(): Instant {
    return this.#probeAt;
  }

  #send(peer: PeerId, kind: number, sequence: number): SimOutput {
    const bytes = new Uint8Array(40);
    bytes[0] = kind;
    bytes[1] = sequence;
    return { type: "send", peer, lane: Lane.probe, bytes };
  }
}
