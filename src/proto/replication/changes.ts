import { below, type Random } from "../random.ts";
import { MAX_CHANGES, MAX_CHANGES_PER_READ } from "./limits.ts";
import { type ReadEntry, read, type Store } from "./store.ts";

/**
 * What has changed at this agent, in order, for watchers that come late or fall behind.
 *
 * Each change gets the next cursor. Only the names of the keys are kept: a watcher that catches up gets each changed
 * key once, with its present version, in the order of the last changes, so memory does not depend on the size of
 * values. Cursors start at a random number, so that one from before a restart is recognised as lost instead of
 * skipping changes.
 */

/** A key's present version, and the cursor of its latest change. */
export interface Change {
  readonly cursor: number;
  readonly bucket: string;
  readonly key: string;
  readonly entry: ReadEntry;
}

/** What a watcher that catches up is told. */
export interface ChangesPage {
  readonly changes: readonly Change[];
  /** Where to go on. */
  readonly cursor: number;
  /** Changes between the cursor asked for and the first here are not known: read the bucket anew. */
  readonly lost: boolean;
}

interface Name {
  readonly bucket: string;
  readonly key: string;
}

/** The latest changes, by cursor. */
export class Changes {
  readonly #names: Name[] = [];
  readonly #first: number;
  #cursor: number;

  constructor(random: Random) {
    // A multiple of 2^20 below 2^51: two runs rarely share cursors, and there is ample room to count up.
    this.#first = below(random, 0x8000_0000) * 0x10_0000;
    this.#cursor = this.#first;
  }

  /** The cursor of the latest change. */
  get cursor(): number {
    return this.#cursor;
  }

  /** Records a change and returns its cursor. */
  add(bucket: string, key: string): number {
    this.#names[this.#cursor % MAX_CHANGES] = { bucket, key };
    this.#cursor++;
    return this.#cursor;
  }

  /** The keys of `bucket` that begin with `prefix` and have changed after `cursor`. */
  since(cursor: number, store: Store, bucket: string, prefix: string): ChangesPage {
    const oldest = Math.max(this.#first, this.#cursor - MAX_CHANGES);
    const lost = cursor < oldest || cursor > this.#cursor;
    const found = new Map<string, number>();
    let at = lost ? oldest : cursor;
    for (; at < this.#cursor && found.size < MAX_CHANGES_PER_READ; at++) {
      const name = this.#names[at % MAX_CHANGES];
      if (name?.bucket !== bucket || !name.key.startsWith(prefix)) continue;
      // Set anew, so that the map's order is that of the last changes.
      found.delete(name.key);
      found.set(name.key, at + 1);
    }
    const changes: Change[] = [];
    for (const [key, changedAt] of found) {
      const entry = store.find(bucket, key);
      if (entry !== undefined) changes.push({ cursor: changedAt, bucket, key, entry: read(entry) });
    }
    return { changes, cursor: at, lost };
  }
}
