import { StarlingError } from "../errors.ts";
import { utf8 } from "../proto/bytes.ts";
import type { ChangesPage } from "../proto/replication/changes.ts";
import type { Refusal, ReplicationInput, ReplicationOutput } from "../proto/replication/effects.ts";
import { DEFAULT_WRITE_TIMEOUT_MS, MAX_WRITE_TIMEOUT_MS } from "../proto/replication/limits.ts";
import type { Policy } from "../proto/replication/policy.ts";
import type { Replication } from "../proto/replication/replication.ts";
import type { ListOptions, Page, ReadEntry } from "../proto/replication/store.ts";
import type { ConditionalWriteOptions, WriteResult } from "./bucket.ts";
import { WriteGate } from "./write-gate.ts";

/** What buckets need of the agent. */
export interface BucketHost {
  write(input: WriteRequest): void;
  get(bucket: string, key: string): ReadEntry | undefined;
  list(bucket: string, options: ListOptions): Page;
  readonly cursor: number;
  changesSince(cursor: number, bucket: string, prefix: string): ChangesPage;
  /** Whether this agent is to hold the key. */
  isMine(bucket: string, key: string): boolean;
  read(request: number, bucket: string, key: string, isQuorum: boolean): void;
  policy(bucket: string): Policy;
  drain(): void;
}

/** A write as the replication core takes it. */
export type WriteRequest = What<Uint8Array> & {
  readonly request: number;
  readonly bucket: string;
  readonly replicas?: number | "quorum" | "all";
  readonly timeoutMs?: number;
  readonly ifVersion?: string | null;
};

/** What is to be written. The replica takes bytes, and copies them; a caller's value may be text. */
export type What<Value = Uint8Array | string> =
  | { readonly type: "put"; readonly key: string; readonly value: Value }
  | { readonly type: "delete"; readonly key: string }
  | {
      readonly type: "transaction";
      readonly writes: readonly { readonly key: string; readonly value: Value | null }[];
    };

/** All buckets of an agent: lets writes in, pairs them with their answers and wakes watchers. */
export class Buckets {
  readonly host: BucketHost;
  readonly #writes = new Map<number, PromiseWithResolvers<WriteResult>>();
  readonly #reads = new Map<number, PromiseWithResolvers<ReadEntry | undefined>>();
  readonly #gate = new WriteGate();
  #drained: PromiseWithResolvers<void> | undefined;
  #requests = 0;
  #changed = Promise.withResolvers<void>();
  closed = false;

  constructor(host: BucketHost) {
    this.host = host;
  }

  write(what: What, bucket: string, options: ConditionalWriteOptions): Promise<WriteResult> {
    if (this.closed) return Promise.reject(new StarlingError("closed", "the agent has closed"));
    const { signal, replicas, timeoutMs, ifVersion } = options;
    if (signal?.aborted) return Promise.reject(new StarlingError("aborted"));
    const request = ++this.#requests;
    const answer = Promise.withResolvers<WriteResult>();
    this.#writes.set(request, answer);
    const abort = (): void => {
      this.#writes.delete(request);
      const isWritten = !this.#gate.withdraw(request);
      const detail = isWritten ? "the write goes on, nobody waits for it" : "nothing was written";
      answer.reject(new StarlingError("aborted", detail));
    };
    signal?.addEventListener("abort", abort, { once: true });
    this.#gate.come(request, {
      bytes: sizeOf(what),
      patienceMs: Math.min(timeoutMs ?? DEFAULT_WRITE_TIMEOUT_MS, MAX_WRITE_TIMEOUT_MS),
      turnAway: () => {
        this.#writes.delete(request);
        answer.reject(refusal("quota"));
      },
      enter: () =>
        this.host.write({
          ...encoded(what),
          request,
          bucket,
          ...(replicas !== undefined && { replicas }),
          ...(timeoutMs !== undefined && { timeoutMs }),
          ...(ifVersion !== undefined && { ifVersion }),
        }),
    });
    return answer.promise.finally(() => signal?.removeEventListener("abort", abort));
  }

  /** Reads a key from other replicas. */
  read(bucket: string, key: string, isQuorum: boolean): Promise<ReadEntry | undefined> {
    if (this.closed) return Promise.reject(new StarlingError("closed", "the agent has closed"));
    const request = ++this.#requests;
    const answer = Promise.withResolvers<ReadEntry | undefined>();
    this.#reads.set(request, answer);
    this.host.read(request, bucket, key, isQuorum);
    return answer.promise;
  }

  /** Resolves when others hold what this agent has held for them, or after `ms`. */
  async drain(ms: number): Promise<void> {
    const drained = Promise.withResolvers<void>();
    this.#drained = drained;
    const timer = setTimeout(drained.resolve, ms);
    this.host.drain();
    await drained.promise;
    clearTimeout(timer);
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
  event(output: BucketOutput): void {
    if (output.type === "changed") {
      this.#changed.resolve();
      this.#changed = Promise.withResolvers<void>();
      return;
    }
    if (output.type === "drained") {
      this.#drained?.resolve();
      return;
    }
    if (output.type === "read" || output.type === "unreadable") {
      const reading = this.#reads.get(output.request);
      this.#reads.delete(output.request);
      if (output.type === "read") reading?.resolve(output.entry);
      else reading?.reject(unreadable(output.reason));
      return;
    }
    const answer = this.#writes.get(output.request);
    this.#writes.delete(output.request);
    this.#gate.left(output.request);
    if (output.type === "acknowledged") answer?.resolve({ version: output.version, replicas: output.replicas });
    else if (output.type === "refused") answer?.reject(refusal(output.reason));
    else if (output.type === "conflict") answer?.reject(conflict(output.found));
    else answer?.reject(unacknowledged(output.replicas, output.reason));
  }

  close(): void {
    this.closed = true;
    this.#gate.close();
    for (const answer of this.#writes.values()) answer.reject(new StarlingError("closed", "the agent has closed"));
    for (const answer of this.#reads.values()) answer.reject(new StarlingError("closed", "the agent has closed"));
    this.#writes.clear();
    this.#reads.clear();
    this.#drained?.resolve();
    this.#changed.resolve();
  }
}

type BucketOutput = Extract<
  ReplicationOutput,
  { type: "acknowledged" | "unacknowledged" | "refused" | "conflict" | "changed" | "read" | "unreadable" | "drained" }
>;

/** About the bytes of its values: of a text its length stands for them. */
function sizeOf(what: What): number {
  if (what.type === "delete") return 0;
  if (what.type === "put") return what.value.length;
  return what.writes.reduce((sum, { value }) => sum + (value?.length ?? 0), 0);
}

/** The same with all values in bytes. */
function encoded(what: What): What<Uint8Array> {
  if (what.type === "delete") return what;
  if (what.type === "put") return { ...what, value: bytesOf(what.value) };
  return {
    ...what,
    writes: what.writes.map(({ key, value }) => ({ key, value: value === null ? null : bytesOf(value) })),
  };
}

function bytesOf(value: Uint8Array | string): Uint8Array {
  return typeof value === "string" ? utf8(value) : value;
}

function unreadable(reason: "unreachable" | "timeout" | "quota"): StarlingError {
  if (reason === "quota") return new StarlingError("limit-reached", "too many reads are under way; try again later");
  const message = "too few members that hold the key have answered; try again, or read with consistency local";
  return new StarlingError("timeout", message);
}

function unacknowledged(replicas: number, reason: "timeout" | "undecided"): StarlingError {
  const members = `only ${replicas} ${replicas === 1 ? "member has" : "members have"} the write so far; it keeps spreading`;
  if (reason === "timeout") return new StarlingError("timeout", members);
  return new StarlingError("timeout", `${members}, and may lose to a rival; read the key to see what stands`);
}

function conflict(found: string | null): StarlingError {
  const state = found === null ? "there is no value under the key" : `the key has version ${found}`;
  const message = `nothing was written: ${state}; read it, and write again over what you have read`;
  return new StarlingError("conflict", message, { found });
}

function refusal(reason: Refusal): StarlingError {
  switch (reason) {
    case "too-large":
      return new StarlingError("limit-reached", "a value has at most 8 MiB, a transaction 64 keys and 52 KiB");
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
      return new StarlingError("usage", "a key has 1 to 512 bytes of well-formed text, and is in a transaction once");
    case "bad-replicas":
      return new StarlingError("usage", "replicas is a whole number from 1 to 64");
    case "no-majority":
      return new StarlingError(
        "timeout",
        "nothing was written: in this time no majority of the key's replicas could be had; they are cut off, changing, or busy with another conditional write",
      );
    case "too-many-replicas":
      return new StarlingError(
        "limit-reached",
        "a conditional write needs a key on at most 17 members; give the bucket a number of copies (`starling bucket create NAME --replicas 3`)",
      );
    case "forbidden":
      return new StarlingError("permission-denied", "this agent's token does not allow writing to the bucket");
  }
}

/** Buckets over the replication core; `input` hands it a request. */
export function bucketHost(
  replication: () => Replication,
  input: (request: WriteRequest | Extract<ReplicationInput, { type: "read" | "drain" }>) => void,
): BucketHost {
  return {
    write: input,
    isMine: (bucket, key) => replication().isMine(bucket, key),
    read: (request, bucket, key, isQuorum) => input({ type: "read", request, bucket, key, isQuorum }),
    policy: (bucket) => replication().policy(bucket),
    drain: () => input({ type: "drain" }),
    get: (bucket, key) => replication().get(bucket, key),
    list: (bucket, options) => replication().list(bucket, options),
    get cursor() {
      return replication().cursor;
    },
    changesSince: (cursor, bucket, prefix) => replication().changesSince(cursor, bucket, prefix),
  };
}
