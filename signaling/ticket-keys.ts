import { randomBytes } from "node:crypto";
import type { Instant } from "../src/proto/machine.ts";

/** A key under which tickets are sealed. */
export interface TicketKey {
  /** 8 bytes, at random: what a ticket names it by. */
  readonly id: Uint8Array;
  /** 32 bytes. */
  readonly key: Uint8Array;
  readonly madeAt: Instant;
}

/** How long a ticket is taken, ms: as long as a member token counts by default. */
export const TICKET_LIFE_MS = 24 * 3_600_000;

/** How long a key seals, ms. Whoever steals it later reads the tickets of a day, and so of the day after what they are good for. */
const SEALING_MS = 24 * 3_600_000;

/** Keys in a ring: the one that seals, and those whose tickets still live. */
export const MAX_TICKET_KEYS = 3;

/**
 * The keys of one server's tickets. Each seals for a day and opens for as long as its last ticket lives. Kept on disk, so that a server
 * that was killed knows those who come back.
 */
export class TicketKeys {
  readonly #keep: (keys: readonly TicketKey[]) => Promise<void> | void;
  #keeping: Promise<void> | void = undefined;
  #keys: readonly TicketKey[];

  /** @param kept keys of an earlier process, the newest first. `keep` is handed all of them whenever there is another, and does not reject. */
  constructor(kept: readonly TicketKey[], keep: (keys: readonly TicketKey[]) => Promise<void> | void) {
    this.#keys = kept.slice(0, MAX_TICKET_KEYS);
    this.#keep = keep;
  }

  /** Has a key that seals, and has it kept. */
  async prepare(now: Instant): Promise<void> {
    this.current(now);
    await this.#keeping;
  }

  /** The key that seals; another one each day. */
  current(now: Instant): TicketKey {
    const [newest] = this.#keys;
    // A key of the future was made under a clock that has been set back since.
    if (newest !== undefined && now >= newest.madeAt && now < newest.madeAt + SEALING_MS) return newest;
    const made = { id: bytes(8), key: bytes(32), madeAt: now };
    this.#keys = [made, ...this.#keys.filter((key) => isAlive(key, now))].slice(0, MAX_TICKET_KEYS);
    this.#keeping = this.#keep(this.#keys);
    return made;
  }

  /** The key of this id, while tickets under it can live. */
  find(id: Uint8Array, now: Instant): TicketKey | undefined {
    return this.#keys.find((key) => isAlive(key, now) && key.id.every((byte, index) => byte === id[index]));
  }
}

function isAlive({ madeAt }: TicketKey, now: Instant): boolean {
  return now >= madeAt && now < madeAt + SEALING_MS + TICKET_LIFE_MS;
}

function bytes(length: number): Uint8Array {
  return new Uint8Array(randomBytes(length));
}
