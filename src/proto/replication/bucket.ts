import type { Random } from "../random.ts";
import type { Entry } from "./entry.ts";
import { OrderedKeys } from "./ordered-keys.ts";
import { Versions } from "./versions.ts";

/**
 * One bucket in memory: the winning version of each key, by key; the live keys in order; sum and ids of
 * all versions, tombstones included. Decides nothing: {@link Store} says which version wins.
 */
export class Bucket {
  readonly name: string;
  readonly versions: Versions;
  readonly #entries = new Map<string, Entry>();
  readonly #keys = new OrderedKeys();
  #live = 0;
  #bytes = 0;

  constructor(name: string, random: Random) {
    this.name = name;
    this.versions = new Versions(random);
  }

  /** Versions held, tombstones included. */
  get size(): number {
    return this.#entries.size;
  }

  /** Keys that have a value. */
  get live(): number {
    return this.#live;
  }

  /** Bytes of keys and values, tombstones' keys included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The version of `key`, tombstone or not. */
  find(key: string): Entry | undefined {
    return this.#entries.get(key);
  }

  /** Every version held, tombstones included. */
  all(): IterableIterator<Entry> {
    return this.#entries.values();
  }

  /** Makes `entry` the version of its key and returns the one it replaces. */
  set(entry: Entry): Entry | undefined {
    const previous = this.#entries.get(entry.key);
    if (previous !== undefined) this.#forget(previous);
    this.#entries.set(entry.key, entry);
    this.versions.add(entry);
    this.#bytes += entry.keyBytes + entry.size;
    if (!entry.deleted) this.#live++;
    const wasLive = previous !== undefined && !previous.deleted;
    if (wasLive && entry.deleted) this.#keys.remove(entry.key);
    if (!wasLive && !entry.deleted) this.#keys.add(entry.key);
    return previous;
  }

  /** Removes a stored version without a trace. */
  drop(entry: Entry): void {
    this.#entries.delete(entry.key);
    if (!entry.deleted) this.#keys.remove(entry.key);
    this.#forget(entry);
  }

  #forget(entry: Entry): void {
    this.versions.remove(entry);
    this.#bytes -= entry.keyBytes + entry.size;
    if (!entry.deleted) this.#live--;
  }

  /** Live entries in key order from `from` (exclusive if told) that begin with `prefix`, at most `limit`. */
  list(from: string, exclusive: boolean, prefix: string, limit: number): readonly Entry[] {
    const keys: string[] = [];
    this.#keys.collect(keys, from, exclusive, prefix, limit);
    return keys.map((key) => this.#entries.get(key) as Entry);
  }
}
