import type { PeerId } from "../../src/proto/peer-id.ts";
import { type Random, shuffle } from "../../src/proto/random.ts";

/** How long a member that died without a word is still introduced, ms: the server's own keep-alive. */
const PRESENCE_OUTLIVES_MS = 30_000;

/** How many members a newcomer is told of. */
const INTRODUCTIONS = 8;

interface Presence {
  /** Undefined until the member has presented itself. */
  record: Uint8Array | undefined;
  goneAt: number;
}

/** The signaling server as the mesh sees it: who is there, and introductions of a few of them. It can be down. */
export class Bootstrap {
  up = true;
  readonly #random: Random;
  readonly #present = new Map<PeerId, Presence>();

  constructor(random: Random) {
    this.#random = random;
  }

  /** A member logs in. */
  login(peer: PeerId): void {
    this.#present.set(peer, { record: undefined, goneAt: Number.POSITIVE_INFINITY });
  }

  /** A member that is logged in says what others are to know of it. */
  present(peer: PeerId, record: Uint8Array): void {
    const presence = this.#present.get(peer);
    if (presence !== undefined) presence.record = record;
  }

  /** The member's process ended at `now`; the service finds out later. */
  lost(peer: PeerId, now: number): void {
    const presence = this.#present.get(peer);
    if (presence !== undefined) presence.goneAt = now;
  }

  /** The service was restarted: it remembers nobody. */
  forget(): void {
    this.#present.clear();
  }

  /** The records of a few members for `asker`, at random. */
  introductions(asker: PeerId, now: number): readonly Uint8Array[] {
    const candidates: Uint8Array[] = [];
    for (const [peer, { record, goneAt }] of this.#present) {
      if (now - goneAt > PRESENCE_OUTLIVES_MS) this.#present.delete(peer);
      else if (peer !== asker && record !== undefined) candidates.push(record);
    }
    return shuffle(this.#random, candidates).slice(0, INTRODUCTIONS);
  }
}
