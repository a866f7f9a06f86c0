import { publicKeyOf } from "../peer-id.ts";
import { decode, encode } from "../wire/codec.ts";
import { bytes, integer, peer, tuple } from "../wire/shape.ts";
import type { Entry } from "./entry.ts";
import { instantOf } from "./hlc.ts";
import { MAX_ASIDE, MAX_ASIDE_BYTES, MAX_VALUE_BYTES } from "./limits.ts";
import { type RowChange, Space, type StoredRow } from "./rows.ts";
import { type ReadEntry, read } from "./store.ts";

/**
 * What was written here while this replica was away, and is too old to be given to others: somebody may have deleted the key since,
 * and nobody would know. It is in no bucket. It stays until its key is written again here, which is how it is brought back: on purpose.
 */

/** A value that was set aside. */
export interface AsideEntry {
  readonly bucket: string;
  readonly entry: ReadEntry;
}

const VERSION = 1;

/** The values that were set aside, oldest first, in memory and in rows. */
export class Aside {
  readonly #entries = new Map<string, AsideEntry>();
  #bytes = 0;
  readonly #store: (row: RowChange) => void;

  /** @param store makes a change to a row durable. */
  constructor(store: (row: RowChange) => void, rows: readonly StoredRow[]) {
    this.#store = store;
    for (const row of rows) {
      const entry = parse(row);
      if (entry !== undefined) this.#set(row.name, entry);
    }
  }

  entries(): AsideEntry[] {
    return [...this.#entries.values()];
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Sets a value aside; beyond the bounds the oldest give way. */
  put(entry: Entry): void {
    const name = `${entry.bucket}/${entry.key}`;
    const { author } = entry.batch;
    const value = encode([VERSION, entry.clock, publicKeyOf(author), entry.deleted ? null : entry.value]);
    this.#set(name, { bucket: entry.bucket, entry: read(entry) });
    this.#store({ space: Space.aside, name, value });
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= MAX_ASIDE && this.#bytes <= MAX_ASIDE_BYTES) return;
      this.#drop(oldest);
    }
  }

  /** The key has been written again. */
  release(bucket: string, key: string): void {
    const name = `${bucket}/${key}`;
    if (this.#entries.has(name)) this.#drop(name);
  }

  #set(name: string, entry: AsideEntry): void {
    this.#bytes += sizeOf(entry) - sizeOf(this.#entries.get(name));
    this.#entries.set(name, entry);
  }

  #drop(name: string): void {
    this.#bytes -= sizeOf(this.#entries.get(name));
    this.#entries.delete(name);
    this.#store({ space: Space.aside, name, value: undefined });
  }
}

function sizeOf(aside: AsideEntry | undefined): number {
  return aside?.entry.value?.length ?? 0;
}

/** Undefined for a row that does not parse. */
function parse({ name, value }: StoredRow): AsideEntry | undefined {
  const slash = name.indexOf("/");
  const decoded = decode(value, { depth: 1, items: 8 });
  const fields = decoded.ok ? tuple(decoded.value, 4) : undefined;
  const clock = integer(fields?.[1]);
  const author = peer(fields?.[2]);
  const content = fields?.[3] === null ? null : bytes(fields?.[3], MAX_VALUE_BYTES)?.slice();
  if (slash < 1 || fields?.[0] !== VERSION || clock === undefined || author === undefined) return undefined;
  if (content === undefined) return undefined;
  const key = name.slice(slash + 1);
  const entry = { key, value: content, version: "", author, clock, writtenAt: instantOf(clock) };
  return { bucket: name.slice(0, slash), entry };
}
