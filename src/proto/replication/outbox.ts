import { NOTHING } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { Lane } from "../streams/lanes.ts";
import type { Outlet, ReplicationFault, ReplicationOutput } from "./effects.ts";
import type { Peers } from "./peers.ts";

/** What the parts of the core have to say, until the input that caused it has been handled. */
export class Outbox implements Outlet {
  readonly self: PeerId;
  readonly #peers: Peers;
  readonly #hears: (output: ReplicationOutput) => boolean;
  #out: ReplicationOutput[] = [];

  /** @param hears takes an output that was meant for a part of the core; true when it did. */
  constructor(self: PeerId, peers: Peers, hears: (output: ReplicationOutput) => boolean) {
    this.self = self;
    this.#hears = hears;
    this.#peers = peers;
  }

  send(peer: PeerId, bytes: Uint8Array): void {
    this.#out.push({ type: "send", peer, lane: Lane.data, bytes });
  }

  emit(output: ReplicationOutput): void {
    if (!this.#hears(output)) this.#out.push(output);
  }

  fault(peer: PeerId | undefined, fault: ReplicationFault): void {
    this.#out.push(peer === undefined ? { type: "fault", fault } : { type: "fault", peer, fault });
  }

  isLinked(peer: PeerId): boolean {
    return this.#peers.conduct(peer) !== undefined;
  }

  /** Everything since the last time, in order. */
  take(): readonly ReplicationOutput[] {
    if (this.#out.length === 0) return NOTHING;
    const out = this.#out;
    this.#out = [];
    return out;
  }
}
