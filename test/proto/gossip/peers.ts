import { Broadcast, type BroadcastInput, type BroadcastOutput } from "../../../src/proto/gossip/broadcast.ts";
import { type BroadcastMessage, decodeBroadcast } from "../../../src/proto/gossip/messages.ts";
import { type PeerId, peerIdOf } from "../../../src/proto/peer-id.ts";

/** A peer whose key is this byte 32 times. */
export function peer(byte: number): PeerId {
  return peerIdOf(new Uint8Array(32).fill(byte));
}

export const SELF = peer(1);
export const [A, B, C] = [peer(10), peer(11), peer(12)];

/** When the tests begin; links have a round trip of 50 ms. */
export const NOW = 1_000_000;
export const RTT_MS = 50;

/** An output with its message decoded, which is what a test wants to see. */
export type Shown =
  | Exclude<BroadcastOutput, { type: "send" }>
  | { type: "send"; peer: PeerId; message: BroadcastMessage };

/** The broadcast core of one member, with everything it says in readable form. */
export class Member {
  readonly broadcast = new Broadcast(SELF);

  /** @param neighbours links that are up from the start. */
  constructor(...neighbours: readonly PeerId[]) {
    for (const neighbour of neighbours) this.up(neighbour);
  }

  input(input: BroadcastInput, now = NOW): Shown[] {
    return this.broadcast.handle(input, now).map((output) => {
      if (output.type !== "send") return output;
      const message = decodeBroadcast(output.bytes);
      if (typeof message === "string") throw new Error(`sent a ${message} message`);
      return { type: "send", peer: output.peer, message };
    });
  }

  up(neighbour: PeerId, now = NOW): Shown[] {
    return this.input({ type: "neighbour-up", peer: neighbour, rttMs: RTT_MS }, now);
  }

  down(neighbour: PeerId): Shown[] {
    return this.input({ type: "neighbour-down", peer: neighbour });
  }

  message(from: PeerId, bytes: Uint8Array, now = NOW): Shown[] {
    return this.input({ type: "message", peer: from, bytes }, now);
  }

  timeout(now: number): Shown[] {
    return this.input({ type: "timeout" }, now);
  }
}
