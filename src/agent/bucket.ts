import { StarlingError } from "../errors.ts";
import type { PeerId } from "../proto/peer-id.ts";
import { isBucketName } from "../proto/replication/entry.ts";
import { compareKeys } from "../proto/replication/ordered-keys.ts";
import { type Policy as BucketPolicy, encodePolicy, POLICY_BUCKET, parsePolicy } from "../proto/replication/policy.ts";
import type { ReadEntry } from "../proto/replication/store.ts";
import type { Buckets } from "./buckets.ts";

/** One version of one key. */
export interface Entry {
  readonly key: string;
  /** Undefined: the key was deleted. Not to be changed. */
  readonly value: Uint8Array | undefined;
  /** Names this version everywhere: 64 hexadecimal digits. */
  readonly version: string;
  readonly author: PeerId;
  /** When its author wrote it, by the cluster's hybrid clock. */
  readonly writtenAt: Date;
  /** Of a change that `watch` tells: where to go on after it. Undefined elsewhere. */
  readonly cursor: string | undefined;
  /** The value as UTF-8; the empty string for a deletion. */
  text(): string;
}

/** A write of one key, and on what condition. */
export interface ConditionalWriteOptions extends WriteOptions {
  /**
   * Write only if the key has this version (of {@link Entry.version}, or of what {@link Bucket.put} returned), null: only if it has no value.
   * It then waits for a majority of the key's replicas at least. Needs one to 17 replicas. Default: write whatever is there.
   */
  readonly ifVersion?: string | null;
}

/** One write of several; undefined deletes. */
export type KeyValue = readonly [key: string, value: Uint8Array | string | undefined];

export interface WriteOptions {
  /**
   * How many members must have it before the promise resolves: a number, a majority of the key's replicas, or all of them. This agent
   * counts if it is one of them. Default: 2, or all if fewer.
   */
  readonly replicas?: number | "quorum" | "all";
  /**
   * How long to wait for them, ms, 60,000 at most. Default 10,000. Where more is written than disks and links carry, a write may wait as
   * long before for its turn.
   */
  readonly timeoutMs?: number;
  /** Ends the waiting, not the write. */
  readonly signal?: AbortSignal;
}

export interface WriteResult {
  readonly version: string;
  /** How many members had it, this one included, when the promise resolved. */
  readonly replicas: number;
}

export interface ReadOptions {
  /** `local`: what the nearest replica has. `quorum`: what a majority has. Default `local`. */
  readonly consistency?: "local" | "quorum";
}

export type { Policy as BucketPolicy } from "../proto/replication/policy.ts";

export interface ListOptions {
  readonly prefix?: string;
  /** Begin at this key. */
  readonly start?: string;
  /** End before this key. */
  readonly end?: string;
  /** Default 1,000. */
  readonly limit?: number;
  /** Begin after this key. */
  readonly after?: string;
}

/** A part of a list. */
export interface EntryPage {
  readonly entries: readonly Entry[];
  /** Pass as `after` to go on; undefined at the end. */
  readonly next: string | undefined;
}

export interface WatchOptions {
  readonly prefix?: string;
  /** Begin with what is there. Default false. */
  readonly initial?: boolean;
  /** Go on after the change that had this cursor: also after a restart of this agent, not of another one. */
  readonly cursor?: string;
  readonly signal?: AbortSignal;
}

/** Entries of one page. */
const MAX_PAGE = 1_000;

/** Writes of one `putMany` that are under way at once, and their bytes: a few batches, far below what may wait. */
const MANY_AT_ONCE = 1_024;
const MANY_BYTES = 33_554_432;

/** A named set of keys, replicated to the cluster: of concurrent writes to one key the later wins. Not a lock. */
export class Bucket {
  readonly name: string;
  readonly #buckets: Buckets;

  /** Buckets come from `agent.bucket(name)`. */
  constructor(name: string, buckets: Buckets) {
    this.name = name;
    this.#buckets = buckets;
  }

  /**
   * The newest version that this agent has; of a bucket that is not everywhere, and a key that is not this agent's to hold, what the first
   * replica to answer has. With `quorum`, the newest that a majority of the replicas has: an acknowledged write with `replicas: "quorum"`
   * is then never missed. Undefined when there is none or it was deleted. Rejects with `timeout` when too few replicas answer.
   */
  async get(key: string, options: ReadOptions = {}): Promise<Entry | undefined> {
    const { host } = this.#buckets;
    const isQuorum = options.consistency === "quorum";
    const local = host.get(this.name, key);
    const entry = !isQuorum && host.isMine(this.name, key) ? local : await this.#buckets.read(this.name, key, isQuorum);
    return entry && view(entry);
  }

  /** What is agreed about this bucket. */
  policy(): BucketPolicy {
    return this.#buckets.host.policy(this.name);
  }

  /**
   * Changes what is agreed about this bucket, for everybody; fields that are left out stay, undefined ones go back to their default. Takes
   * the scope `kv:admin:BUCKET`. Rejects as {@link put}, and with `usage` for values out of bounds.
   */
  async setPolicy(change: Partial<BucketPolicy>, options: WriteOptions = {}): Promise<WriteResult> {
    const policy = { ...this.policy(), ...change };
    const value = encodePolicy(policy);
    if (!isBucketName(this.name) || this.name === POLICY_BUCKET || parsePolicy(value) === undefined) {
      const message =
        "a policy has replicas all or 2 to 16, times from a minute to ten years, and whole numbers of keys and bytes";
      throw new StarlingError("usage", message);
    }
    return this.#buckets.write({ type: "put", key: this.name, value }, POLICY_BUCKET, options);
  }

  /**
   * Writes a value of up to 8 MiB, text as UTF-8; bytes are not to be changed until the promise is settled. Rejects with `timeout`
   * when too few members have said in time that they have it (it is written and keeps spreading), `permission-denied` when the token
   * lacks `kv:write:BUCKET`, `limit-reached` over a quota, or when more is written than disks and links carry (nothing was written).
   *
   * With `ifVersion` it rejects with `conflict` when the key has another version, which the error names (`found`); nothing was written then.
   * With `timeout` either nothing was written, or it is not known whether the condition held: the message says which; read the key.
   * Of members that agree who holds the key, no two write over the same version. While they do not (a partition whose sides have
   * given each other up, members that come and go) two may, and the later clock wins. It is no lock.
   */
  async put(key: string, value: Uint8Array | string, options: ConditionalWriteOptions = {}): Promise<WriteResult> {
    checkVersion(options.ifVersion);
    return this.#buckets.write({ type: "put", key, value }, this.name, options);
  }

  /** Deletes a key. As {@link put} otherwise. */
  async delete(key: string, options: ConditionalWriteOptions = {}): Promise<WriteResult> {
    checkVersion(options.ifVersion);
    return this.#buckets.write({ type: "delete", key }, this.name, options);
  }

  /**
   * Writes many keys, a few batches at a time. Resolves when all have what {@link put} waits for, with their number; rejects with the first
   * failure, when some may have been written. Not atomic: see {@link transaction}.
   */
  async putMany(writes: Iterable<KeyValue> | AsyncIterable<KeyValue>, options: WriteOptions = {}): Promise<number> {
    const underWay = new Set<Promise<unknown>>();
    let count = 0;
    let bytes = 0;
    for await (const [key, value] of writes) {
      const write = value === undefined ? this.delete(key, options) : this.put(key, value, options);
      const size = value?.length ?? 0;
      const settled: Promise<unknown> = write.finally(() => {
        underWay.delete(settled);
        bytes -= size;
      });
      underWay.add(settled);
      count++;
      bytes += size;
      while (underWay.size >= MANY_AT_ONCE || bytes >= MANY_BYTES) await Promise.race(underWay);
    }
    await Promise.all(underWay);
    return count;
  }

  /**
   * Writes and deletes up to 64 different keys, 52 KiB in all, that belong together: on every member all of them are there or none is, until
   * later writes replace them one by one. It reads nothing and locks nothing. Resolves and rejects as {@link put}, with the version of
   * the last.
   */
  transaction(writes: Iterable<KeyValue>, options: WriteOptions = {}): Promise<WriteResult> {
    const list = Array.from(writes, ([key, value]) => ({ key, value: value ?? null }));
    return this.#buckets.write({ type: "transaction", writes: list }, this.name, options);
  }

  /** Entries in the order of their keys' UTF-8 bytes. */
  async list(options: ListOptions = {}): Promise<Entry[]> {
    const entries: Entry[] = [];
    let after = options.after;
    for (let rest = options.limit ?? 1_000; rest > 0; ) {
      const page = await this.page({ ...options, limit: rest, ...(after !== undefined && { after }) });
      for (const entry of page.entries) entries.push(entry);
      if (page.next === undefined) break;
      rest -= page.entries.length;
      after = page.next;
    }
    return entries;
  }

  /** One page of a list: up to 1,000 entries, by default 1,000. */
  async page(options: ListOptions = {}): Promise<EntryPage> {
    const { prefix, start, end, after, limit = MAX_PAGE } = options;
    const { entries, next } = this.#buckets.host.list(this.name, {
      limit: Math.min(limit, MAX_PAGE),
      ...(prefix !== undefined && { prefix }),
      ...(start !== undefined && { start }),
      ...(after !== undefined && { after }),
    });
    const inside = end === undefined ? entries : entries.filter(({ key }) => compareKeys(key, end) < 0);
    const isOver =
      inside.length < entries.length || (end !== undefined && next !== undefined && compareKeys(next, end) >= 0);
    return { entries: inside.map((entry) => view(entry)), next: isOver ? undefined : next };
  }

  /**
   * Changes as this agent learns of them, local ones included, until the signal aborts or the agent closes, each when it is durable
   * here. A watcher that falls behind, or goes on from a cursor, gets each changed key once, with its present version; it never misses a
   * key. Where the cursor is too old (deletions since are forgotten) or of another agent, everything is told anew.
   */
  async *watch(options: WatchOptions = {}): AsyncGenerator<Entry, void, undefined> {
    const { host } = this.#buckets;
    const prefix = options.prefix ?? "";
    let cursor = options.cursor === undefined ? host.cursor : parseCursor(options.cursor);
    let anew = options.initial === true && options.cursor === undefined;
    /** Listed, and to be told as changes once they are durable. */
    const listed = new Set<string>();
    while (!options.signal?.aborted && !this.#buckets.closed) {
      if (anew) {
        listed.clear();
        for (const entry of await this.list({ prefix, limit: Number.POSITIVE_INFINITY })) {
          listed.add(entry.version);
          yield entry;
        }
        anew = false;
      }
      const page = host.changesSince(cursor, this.name, prefix);
      cursor = page.cursor;
      anew = page.lost;
      for (const change of page.changes) {
        if (!listed.delete(change.entry.version)) yield view(change.entry, `${change.cursor}`);
      }
      if (anew || page.changes.length > 0 || cursor !== host.cursor) continue;
      listed.clear();
      await this.#buckets.change(options.signal);
    }
  }
}

function checkVersion(version: string | null | undefined): void {
  if (version === undefined || version === null || /^[0-9a-f]{64}$/.test(version)) return;
  throw new StarlingError(
    "usage",
    "ifVersion is a version of 64 hexadecimal digits, or null for a key without a value",
  );
}

/** A cursor that is none is taken for one that is too old. */
function parseCursor(text: string): number {
  return /^\d{1,16}$/.test(text) ? Number(text) : 0;
}

/** A version as applications see it. */
export function view(entry: ReadEntry, cursor?: string): Entry {
  const value = entry.value ?? undefined;
  return {
    key: entry.key,
    value,
    version: entry.version,
    author: entry.author,
    writtenAt: new Date(entry.writtenAt),
    cursor,
    text: () => (value === undefined ? "" : new TextDecoder().decode(value)),
  };
}
