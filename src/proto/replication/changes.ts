import { assert } from "../assert.ts";
import { below, type Random } from "../random.ts";
import { type Entry, NO_VALUE } from "./entry.ts";
import { MAX_CHANGES_PER_READ, MAX_CHANGES_SCANNED } from "./limits.ts";
import { type ReadEntry, read, type Store } from "./store.ts";

/**
 * What has changed at this replica, in order, for watchers that come late, fall behind or come back.
 *
 * Each change gets the next cursor, which stays with the version that it brought: so the latest change of every key is known for
 * as long as the key is, across restarts, and a watcher that goes on from a cursor gets each key that has changed since
 * once, with its present version, in the order of the last changes. It is told of a change when that is durable: no
 * cursor that anybody has seen is given to another change after a crash. Only a removed tombstone is forgotten; whoever was
 * away for longer than it was kept is told so.
 *
 * Cursors of a fresh replica start at a random number, so that those of a store that is gone are recognised as lost.
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

/** Stale items that the log may hold beside as many current ones before it is cleaned. */
const SLACK = 1_024;

/** The latest change of every key, by cursor. */
export class Changes {
  /** By cursor, replaced versions among them until the next cleaning. */
  #log: Entry[] = [];
  #stale = 0;
  #cursor: number;
  /** Changes up to here are durable: what watchers may see. */
  #settled: number;
  #forgotten: number;
  /** What was taken back, as the deletions that watchers are told; not known any more in the next run. */
  readonly #withdrawn = new WeakSet<Entry>();
  #lastWithdrawn = 0;

  constructor(random: Random) {
    // A multiple of 2^20 below 2^51: two stores rarely share cursors, and there is ample room to count up.
    this.#cursor = below(random, 0x8000_0000) * 0x10_0000;
    this.#settled = this.#cursor;
    this.#forgotten = this.#cursor;
  }

  /** Takes up where an earlier run ended: `log` is all that is stored, by cursor. */
  restore(log: Entry[], cursor: number, forgotten: number): void {
    this.#log = log;
    this.#cursor = Math.max(cursor, log.at(-1)?.cursor ?? 0);
    this.#settled = this.#cursor;
    this.#forgotten = forgotten;
  }

  /** The cursor of the latest change, durable or not. */
  get latest(): number {
    return this.#cursor;
  }

  /** The cursor of the latest change that watchers may see. */
  get cursor(): number {
    return this.#settled;
  }

  /** Changes up to here may be missing in the next run. */
  get forgotten(): number {
    return Math.max(this.#forgotten, this.#lastWithdrawn);
  }

  /** Gives the stored version the next cursor; `previous` is the one that it has replaced. */
  add(entry: Entry, previous: Entry | undefined, store: Store): void {
    this.#cursor++;
    entry.cursor = this.#cursor;
    this.#log.push(entry);
    if (previous !== undefined && ++this.#stale > this.#log.length / 2 + SLACK) {
      this.#log = this.#log.filter((item) => this.#isCurrent(item, store));
      this.#stale = 0;
    }
  }

  /** A version is taken back: to watchers its key is deleted. Returns that deletion, with the next cursor. */
  withdraw(entry: Entry, store: Store): Entry {
    const deletion = { ...entry, deleted: true, value: NO_VALUE };
    this.#withdrawn.add(deletion);
    this.add(deletion, entry, store);
    this.#lastWithdrawn = deletion.cursor;
    return deletion;
  }

  /** A tombstone is removed: whoever has not seen it will not. */
  forget(tombstone: Entry): void {
    this.#stale++;
    this.#forgotten = Math.max(this.#forgotten, tombstone.cursor);
  }

  /** Changes up to `cursor` are durable. */
  settle(cursor: number): void {
    assert(cursor >= this.#settled, "changes become durable in their order");
    this.#settled = cursor;
  }

  /** The keys of `bucket` that begin with `prefix` and have changed after `cursor`. */
  since(cursor: number, store: Store, bucket: string, prefix: string): ChangesPage {
    const lost = cursor < this.#forgotten || cursor > this.#settled;
    const changes: Change[] = [];
    let at = lost ? this.#settled : cursor;
    const from = this.#firstAfter(at);
    const until = Math.min(this.#log.length, from + MAX_CHANGES_SCANNED);
    for (let index = from; index < until; index++) {
      const entry = this.#log[index] as Entry;
      if (entry.cursor > this.#settled || changes.length === MAX_CHANGES_PER_READ) return { changes, cursor: at, lost };
      at = entry.cursor;
      if (entry.bucket !== bucket || !entry.key.startsWith(prefix) || !this.#isCurrent(entry, store)) continue;
      changes.push({ cursor: at, bucket, key: entry.key, entry: read(entry) });
    }
    return { changes, cursor: until === this.#log.length ? this.#settled : at, lost };
  }

  #isCurrent(entry: Entry, store: Store): boolean {
    return store.find(entry.bucket, entry.key) === (this.#withdrawn.has(entry) ? undefined : entry);
  }

  #firstAfter(cursor: number): number {
    let low = 0;
    let high = this.#log.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#log[middle] as Entry).cursor <= cursor) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
