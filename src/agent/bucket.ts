import { StarlingError } from "../errors.ts";
import { utf8 } from "../proto/bytes.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { ChangesPage } from "../proto/replication/changes.ts";
import type { Refusal, ReplicationOutput } from "../proto/replication/effects.ts";
import type { Replication } from "../proto/replication/replication.ts";
import type { Page, ReadEntry, ListOptions as StoreListOptions } from "../proto/replication/store.ts";

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
  /** The value as UTF-8; the empty string for a deletion. */
  text(): string;
}

export interface WriteOptions {
  /** How many members must have it before the promise resolves, this one included. Default: 2, or all if fewer. */
  readonly replicas?: number;
  /** How long to wait for them, ms, 60,000 at most. Default 10,000. */
  readonly timeoutMs?: number;
  /** Ends the waiting, not the write. */
  readonly signal?: AbortSignal;
}

export interface WriteResult {
  readonly version: string;
  /** How many members had it, this one included, when the promise resolved. */
  readonly replicas: number;
}

export interface ListOptions {
  readonly prefix?: string;
  /** Default 1,000. */
  readonly limit?: number;
  /** Begin after this key. */
  readonly after?: string;
}

export interface WatchOptions {
  readonly prefix?: string;
  /** Begin with what is there. Default false. */
  readonly initial?: boolean;
  readonly signal?: AbortSignal;
}

/** What buckets need of the agent. */
export interface BucketHost {
  write(input: WriteRequest): void;
  get(bucket: string, key: string): ReadEntry | undefined;
  list(bucket: string, options: StoreListOptions): Page;
  readonly cursor: number;
  changesSince(cursor: number, bucket: string, prefix: string): ChangesPage;
}

/** A write as the replication core takes it. */
export type WriteRequest = ({ readonly type: "put"; readonly value: Uint8Array } | { readonly type: "delete" }) & {
  readonly request: number;
  readonly bucket: string;
  readonly key: string;
  readonly replicas?: number;
  readonly timeoutMs?: number;
};

/** A named set of keys, replicated to the cluster: of concurrent writes to one key the later wins. Not a lock. */
export class Bucket {
  readonly name: string;
  readonly #buckets: Buckets;

  /** Buckets come from `agent.bucket(name)`. */
  constructor(name: string, buckets: Buckets) {
    this.name = name;
    this.#buckets = buckets;
  }

  /** The newest version that this agent has; undefined when there is none or it was deleted. */
  async get(key: string): Promise<Entry | undefined> {
    const entry = this.#buckets.host.get(this.name, key);
    return entry && view(entry);
  }

  /**
   * Writes a value of up to 8 MiB, text as UTF-8. Rejects with `timeout` when too few members have said in time that they have it
   * (it is written and keeps spreading), `permission-denied` when the token lacks `kv:write:BUCKET`, `limit-reached` over a quota.
   */
  put(key: string, value: Uint8Array | string, options: WriteOptions = {}): Promise<WriteResult> {
    const bytes = typeof value === "string" ? utf8(value) : value.slice();
    return this.#buckets.write({ type: "put", value: bytes }, this.name, key, options);
  }

  /** Deletes a key. As {@link put} otherwise. */
  delete(key: string, options: WriteOptions = {}): Promise<WriteResult> {
    return this.#buckets.write({ type: "delete" }, this.name, key, options);
  }

  /** Entries in the order of their keys. */
  async list(options: ListOptions = {}): Promise<Entry[]> {
    const entries: Entry[] = [];
    let { after } = options;
    for (let rest = options.limit ?? 1_000; rest > 0; ) {
      const page = this.#buckets.host.list(this.name, {
        limit: Math.min(rest, 1_000),
        ...(options.prefix !== undefined && { prefix: options.prefix }),
        ...(after !== undefined && { after }),
      });
      for (const entry of page.entries) entries.push(view(entry));
      if (page.next === undefined) break;
      rest -= page.entries.length;
      after = page.next;
    }
    return entries;
  }

  /**
   * Changes as this agent learns of them, local ones included, until the signal aborts or the agent closes. A watcher that
   * falls behind gets each changed key once, with its present version; it never misses a key.
   */
  async *watch(options: WatchOptions = {}): AsyncGenerator<Entry, void, undefined> {
    const { host } = this.#buckets;
    const prefix = options.prefix ?? "";
    let { cursor } = host;
    let anew = options.initial === true;
    while (!options.signal?.aborted && !this.#buckets.closed) {
      if (anew) {
        for (const entry of await this.list({ prefix, limit: Number.POSITIVE_INFINITY })) yield entry;
        anew = false;
      }
      const page = host.changesSince(cursor, this.name, prefix);
      cursor = page.cursor;
      anew = page.lost;
      for (const change of page.changes) yield view(change.entry);
      if (!anew && page.changes.length === 0 && cursor === host.cursor) await this.#buckets.change(options.signal);
    }
  }
}

/** All buckets of an agent: pairs writes with their answers and wakes watchers. */
export class Buckets {
  readonly host: BucketHost;
  readonly #writes = new Map<number, PromiseWithResolvers<WriteResult>>();
  #requests = 0;
  #changed = Promise.withResolvers<void>();
  closed = false;

  constructor(host: BucketHost) {
    this.host = host;
  }

  write(
    what: { readonly type: "put"; readonly value: Uint8Array } | { readonly type: "delete" },
    bucket: string,
    key: string,
    options: WriteOptions,
  ): Promise<WriteResult> {
    if (this.closed) return Promise.reject(new StarlingError("closed", "the agent has closed"));
    const { signal, replicas, timeoutMs } = options;
    if (signal?.aborted) return Promise.reject(new StarlingError("aborted"));
    const request = ++this.#requests;
    const answer = Promise.withResolvers<WriteResult>();
    this.#writes.set(request, answer);
    const abort = (): void => {
      this.#writes.delete(request);
      answer.reject(new StarlingError("aborted", "the write goes on, nobody waits for it"));
    };
    signal?.addEventListener("abort", abort, { once: true });
    this.host.write({
      ...what,
      request,
      bucket,
      key,
      ...(replicas !== undefined && { replicas }),
      ...(timeoutMs !== undefined && { timeoutMs }),
    });
    return answer.promise.finally(() => signal?.removeEventListener("abort", abort));
  }

  /** Resolves at the next change of any bucket, or when `signal` aborts or the agent closes. */
  async change(signal: AbortSignal | undefined): Promise<void> {
    if (!signal) return this.#changed.promise;
    const aborted = Promise.withResolvers<void>();
    const abort = (): void => aborted.resolve();
    signal.addEventListener("abort", abort, { once: true });
    await Promise.race([this.#changed.promise, aborted.promise]);
    signal.removeEventListener("abort", abort);
  }

  /** What the replication core says about writes and changes. */
  event(output: Extract<ReplicationOutput, { type: "acknowledged" | "unacknowledged" | "refused" | "changed" }>): void {
    if (output.type === "changed") {
      this.#changed.resolve();
      this.#changed = Promise.withResolvers<void>();
      return;
    }
    const answer = this.#writes.get(output.request);
    this.#writes.delete(output.request);
    if (output.type === "acknowledged") answer?.resolve({ version: output.version, replicas: output.replicas });
    else if (output.type === "refused") answer?.reject(refusal(output.reason));
    else {
      const { replicas } = output;
      const message = `only ${replicas} ${replicas === 1 ? "member has" : "members have"} the write so far; it keeps spreading`;
      answer?.reject(new StarlingError("timeout", message));
    }
  }

  close(): void {
    this.closed = true;
    for (const answer of this.#writes.values()) answer.reject(new StarlingError("closed", "the agent has closed"));
    this.#writes.clear();
    this.#changed.resolve();
  }
}

function refusal(reason: Refusal): StarlingError {
  switch (reason) {
    case "too-large":
      return new StarlingError("limit-reached", "a value has at most 8 MiB");
    case "quota":
      return new StarlingError(
        "limit-reached",
        "the bucket is full, or too many writes are under way; try again later",
      );
    case "bad-bucket":
      return new StarlingError(
        "usage",
        "a bucket's name has 1 to 64 of a-z 0-9 . _ - and begins with a letter or digit",
      );
    case "bad-key":
      return new StarlingError("usage", "a key has 1 to 512 bytes of well-formed text");
    case "bad-replicas":
      return new StarlingError("usage", "replicas is a whole number from 1 to 64");
    case "forbidden":
      return new StarlingError("permission-denied", "this agent's token does not allow writing to the bucket");
  }
}

function view(entry: ReadEntry): Entry {
  const value = entry.value ?? undefined;
  return {
    key: entry.key,
    value,
    version: entry.version,
    author: entry.author,
    writtenAt: new Date(entry.writtenAt),
    text: () => (value === undefined ? "" : new TextDecoder().decode(value)),
  };
}

/** Buckets over the replication core; `write` hands it a request. */
export function bucketHost(replication: () => Replication, write: (request: WriteRequest) => void): BucketHost {
  return {
    write,
    get: (bucket, key) => replication().get(bucket, key),
    list: (bucket, options) => replication().list(bucket, options),
    get cursor() {
      return replication().cursor;
    },
    changesSince: (cursor, bucket, prefix) => replication().changesSince(cursor, bucket, prefix),
  };
}
