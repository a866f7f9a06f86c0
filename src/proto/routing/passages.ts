import { RecentMap } from "../bounded.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { EnvelopeKey, Search, SignedEnvelope } from "./envelope.ts";
import { HELD_FOR_MS, MAX_HELD_BYTES, MAX_PASSAGES } from "./limits.ts";

/** An envelope that has come by here: what has been tried with it, and its bytes while another way may be needed. */
export interface Passage {
  readonly key: EnvelopeKey;
  readonly source: PeerId;
  readonly destination: PeerId;
  readonly id: Uint8Array;
  /** The envelope that it says has arrived, if it is a receipt. */
  readonly receiptOf: EnvelopeKey | undefined;
  /** Who handed it to us; undefined: it is our own. */
  previous: PeerId | undefined;
  /** Who has been handed it, the latest last. */
  readonly tried: PeerId[];
  /** Those of them that have sent it back, or are gone. */
  readonly returned: PeerId[];
  /** How often it was sent again where it had been sent. */
  repeats: number;
  search: Search;
  /** Undefined: it is at its destination, or no longer kept. */
  held: SignedEnvelope | undefined;
  readonly at: Instant;
}

/** The envelopes of the last minutes, bounded in number, and in bytes as far as they are held. */
export class Passages {
  readonly #all = new RecentMap<EnvelopeKey, Passage>(MAX_PASSAGES);
  /** Those whose bytes are held, the oldest first. */
  readonly #held = new Map<EnvelopeKey, Passage>();
  #heldBytes = 0;

  get size(): number {
    return this.#all.size;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  find(key: EnvelopeKey): Passage | undefined {
    return this.#all.get(key);
  }

  add(passage: Passage): void {
    const forgotten = this.#all.set(passage.key, passage);
    if (forgotten !== undefined) this.#drop(this.#held.get(forgotten));
    if (passage.held === undefined) return;
    this.#held.set(passage.key, passage);
    this.#heldBytes += passage.held.body.length;
    for (const [, oldest] of this.#held) {
      const isFresh = passage.at - oldest.at < HELD_FOR_MS;
      if (isFresh && this.#heldBytes <= MAX_HELD_BYTES) return;
      this.#drop(oldest);
    }
  }

  /** No other way will be tried: the bytes may go. */
  release(passage: Passage): void {
    this.#drop(passage);
  }

  /** Those that were last handed to `peer` and can be sent another way. */
  lastTried(peer: PeerId): Passage[] {
    const found: Passage[] = [];
    for (const passage of this.#held.values()) if (passage.tried.at(-1) === peer) found.push(passage);
    return found;
  }

  #drop(passage: Passage | undefined): void {
    if (passage?.held === undefined || !this.#held.delete(passage.key)) return;
    this.#heldBytes -= passage.held.body.length;
    passage.held = undefined;
  }
}
