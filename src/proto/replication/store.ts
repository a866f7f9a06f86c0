import { hex } from "../bytes.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Random } from "../random.ts";
import { type Batch, versionOf } from "./batch.ts";
import { Bonds } from "./bonds.ts";
import { Bucket } from "./bucket.ts";
import { compareVersions, type Entry, type EntryHead, isSameVersion } from "./entry.ts";
import { type Clock, instantOf } from "./hlc.ts";
import {
  DEFAULT_LIST,
  MAX_LIST,
  MAX_PURGED_PER_STEP,
  type Quotas,
  REMOTE_HEADROOM,
  RETENTION_STEP_MS,
  TOMBSTONE_RETENTION_MS,
} from "./limits.ts";
import { compareKeys } from "./ordered-keys.ts";
import { DEFAULT_POLICY, POLICY_BUCKET, type Policy, parsePolicy } from "./policy.ts";
import { sumBytes } from "./sum.ts";

/**
 * All buckets of this replica, and the one rule by which they change: of two versions of a key the greater one stays.
 *
 * The rule is commutative, associative and idempotent, so replicas that have seen the same versions are equal,
 * whatever came first. Tombstones are versions; past their retention they leave the store and the digests together,
 * at whole minutes, and are refused, so that a replica that still holds one cannot bring it back. The rule knows no
 * author and checks no signature: what reaches it has been verified.
 */

/** An entry as applications see it. */
export interface ReadEntry {
  readonly key: string;
  /** Null for a deletion. Not to be changed. */
  readonly value: Uint8Array | null;
  /** 64 hexadecimal digits that name this version everywhere. */
  readonly version: string;
  readonly author: PeerId;
  readonly clock: Clock;
  /** The millisecond of `clock`. */
  readonly writtenAt: Instant;
}

/** What `list` returns. */
export interface Page {
  readonly entries: readonly ReadEntry[];
  /** Pass as `after` to go on; absent at the end. */
  readonly next?: string;
}

/** Which keys `list` returns. */
export interface ListOptions {
  /** Only keys that begin with it. */
  readonly prefix?: string;
  /** Begin at this key, included. */
  readonly start?: string;
  /** Begin after this key; wins over `start` where both apply and it is not below. */
  readonly after?: string;
  /** 1 to 1000, default 100. */
  readonly limit?: number;
}

/** One line of `buckets` in the status. */
export interface BucketSummary {
  readonly name: string;
  /** Keys that have a value. */
  readonly keys: number;
  /** Bytes of keys and values. */
  readonly bytes: number;
  /** 64 hexadecimal digits, equal on two replicas exactly if they hold the same versions, tombstones included. */
  readonly digest: string;
  readonly replicas: "all" | number;
}

type EntrySize = Pick<EntryHead, "bucket" | "keyBytes" | "size">;

/** How a version stands to what is stored. */
export type Standing = "fresh" | "known" | "superseded" | "expired";

/** What became of a version. */
export type Applied =
  | { readonly type: "stored"; readonly previous: Entry | undefined }
  | { readonly type: "superseded" }
  /** Its author, token or issuing key was revoked before it was written. */
  | { readonly type: "void" }
  | { readonly type: "quota" };

/** The versions held here, and their reads. */
export class Store {
  readonly #quotas: Quotas;
  readonly #random: Random;
  readonly #buckets = new Map<string, Bucket>();
  readonly #bonds = new Bonds();
  readonly #policies = new Map<string, Policy>();
  /** What leaves by itself, by the step at whose end it does. */
  readonly #expiring = new Map<number, Set<Entry>>();
  #earliestStep: number | undefined;
  /** Tombstones stay until the end of this step at least. */
  #heldStep = 0;
  #entries = 0;
  #bytes = 0;
  /** Buckets that are not on every member. */
  #placing = 0;

  constructor(quotas: Quotas, random: Random) {
    this.#quotas = quotas;
    this.#random = random;
  }

  bucket(name: string): Bucket | undefined {
    return this.#buckets.get(name);
  }

  buckets(): Iterable<Bucket> {
    return this.#buckets.values();
  }

  /** The version of a key, tombstone or not. */
  find(bucket: string, key: string): Entry | undefined {
    return this.#buckets.get(bucket)?.find(key);
  }

  /**
   * Says what {@link apply} would make of digest number `index` of `batch`, quotas aside. `fresh` also where two
   * versions of one author and clock are told apart by their values only.
   */
  standing(head: Omit<EntryHead, "valueHash">, batch: Batch, index: number, now: Instant): Standing {
    if (this.#isExpired(head, now)) return "expired";
    const stored = this.find(head.bucket, head.key);
    if (stored === undefined || head.clock > stored.clock) return "fresh";
    if (head.clock < stored.clock || batch.author < stored.batch.author) return "superseded";
    if (batch.author > stored.batch.author) return "fresh";
    return isSameVersion(batch, index, stored.batch, stored.index) ? "known" : "fresh";
  }

  /** Whether a local write fits: `pendingBytes` and `pendingEntries` are local writes not yet stored. */
  fits(bucket: string, key: string, growth: number, pendingBytes: number, pendingEntries: number): boolean {
    const previous = this.find(bucket, key);
    const bytes = growth + pendingBytes - (previous === undefined ? 0 : previous.keyBytes + previous.size);
    return this.#within(bucket, bytes, previous === undefined ? 1 + pendingEntries : pendingEntries, 1);
  }

  #within(name: string, bytes: number, entries: number, headroom: number): boolean {
    const quotas = this.#quotas;
    const bucket = this.#buckets.get(name);
    if (bucket === undefined && this.#buckets.size >= quotas.buckets * headroom) return false;
    if (entries > 0) {
      if (this.#entries + entries > quotas.entries * headroom) return false;
      if ((bucket?.size ?? 0) + entries > quotas.entriesPerBucket * headroom) return false;
    }
    const { maxKeys, maxBytes } = this.policy(name);
    if (entries > 0 && (bucket?.live ?? 0) + entries > (maxKeys ?? Number.POSITIVE_INFINITY) * headroom) return false;
    if (bytes <= 0) return true;
    if ((bucket?.bytes ?? 0) + bytes > (maxBytes ?? Number.POSITIVE_INFINITY) * headroom) return false;
    if (this.#bytes + bytes > quotas.bytes * headroom) return false;
    return (bucket?.bytes ?? 0) + bytes <= quotas.bytesPerBucket * headroom;
  }

  /** Whether a batch fits as a whole where others' writes are concerned. */
  fitsTogether(entries: readonly EntrySize[]): boolean {
    let bytes = 0;
    for (const { keyBytes, size } of entries) bytes += keyBytes + size;
    const bucket = entries[0]?.bucket;
    return bucket === undefined || this.#within(bucket, bytes, entries.length, REMOTE_HEADROOM);
  }

  /** The entry, and all stored ones that are never to be without it. */
  together(entry: Entry): Iterable<Entry> {
    return this.#bonds.together(entry);
  }

  /** Whether nothing that grows this bucket would be accepted from others. */
  isFull(bucket: string): boolean {
    return !this.#within(bucket, 1, 1, REMOTE_HEADROOM);
  }

  /** Stores a verified version if it wins and fits. */
  apply(entry: Entry, now: Instant): Applied {
    if (this.standing(entry, entry.batch, entry.index, now) !== "fresh") return SUPERSEDED;
    const existing = this.find(entry.bucket, entry.key);
    if (existing !== undefined && compareVersions(entry, existing) <= 0) return SUPERSEDED;
    const growth = entry.keyBytes + entry.size - (existing === undefined ? 0 : existing.keyBytes + existing.size);
    if (!this.#within(entry.bucket, growth, existing === undefined ? 1 : 0, REMOTE_HEADROOM)) return QUOTA;
    return { type: "stored", previous: this.#set(entry) };
  }

  /** Takes back a version that an earlier run has stored under a key that is not here. */
  restore(entry: Entry): void {
    this.#set(entry);
  }

  #set(entry: Entry): Entry | undefined {
    let bucket = this.#buckets.get(entry.bucket);
    if (bucket === undefined) {
      bucket = new Bucket(entry.bucket, this.#random);
      this.#buckets.set(entry.bucket, bucket);
    }
    const previous = bucket.set(entry);
    this.#bonds.replace(entry, previous);
    this.#bytes += entry.keyBytes + entry.size - (previous === undefined ? 0 : previous.keyBytes + previous.size);
    if (previous === undefined) this.#entries++;
    else this.#keep(previous);
    this.#expire(entry);
    if (entry.bucket === POLICY_BUCKET) this.#policy(entry);
    return previous;
  }

  #expire(entry: Entry): void {
    const step = this.#lastStep(entry);
    if (step === undefined) return;
    if (this.#earliestStep === undefined || step < this.#earliestStep) this.#earliestStep = step;
    const set = this.#expiring.get(step);
    if (set === undefined) this.#expiring.set(step, new Set([entry]));
    else set.add(entry);
  }

  #keep(entry: Entry): void {
    const step = this.#lastStep(entry);
    if (step !== undefined) this.#expiring.get(step)?.delete(entry);
  }

  /** At the end of which step a version leaves: tombstones after their retention, values after their time to live. */
  #lastStep({ bucket, clock, deleted }: Pick<EntryHead, "bucket" | "clock" | "deleted">): number | undefined {
    const { ttlMs, retentionMs } = this.policy(bucket);
    const life = deleted ? (retentionMs ?? TOMBSTONE_RETENTION_MS) : ttlMs;
    if (life === undefined) return undefined;
    const step = stepOf(clock) + Math.ceil(life / RETENTION_STEP_MS);
    return deleted ? Math.max(step, this.#heldStep) : step;
  }

  #isExpired(head: Pick<EntryHead, "bucket" | "clock" | "deleted">, now: Instant): boolean {
    const step = this.#lastStep(head);
    return step !== undefined && isOver(step, now);
  }

  /** What holds for a bucket. */
  policy(bucket: string): Policy {
    return this.#policies.get(bucket) ?? DEFAULT_POLICY;
  }

  /** Whether any bucket is not on every member. */
  get isPlacing(): boolean {
    return this.#placing > 0;
  }

  #policy({ key, deleted, value }: Entry): void {
    const policy = deleted ? undefined : parsePolicy(value);
    const before = this.policy(key);
    const entries = [...(this.#buckets.get(key)?.all() ?? [])];
    for (const entry of entries) this.#keep(entry);
    if (policy === undefined) this.#policies.delete(key);
    // Nothing is agreed about where agreements are kept.
    else if (key !== POLICY_BUCKET) this.#policies.set(key, policy);
    for (const entry of entries) this.#expire(entry);
    this.#placing += Number(this.policy(key).replicas !== "all") - Number(before.replicas !== "all");
  }

  /** Removes a version that belongs elsewhere. */
  evict(entry: Entry): void {
    this.#keep(entry);
    this.#drop(entry);
  }

  /** The shortest time for which deletions are remembered in any bucket, ms. */
  retentionMs(): number {
    let shortest = TOMBSTONE_RETENTION_MS;
    for (const { retentionMs } of this.#policies.values()) shortest = Math.min(shortest, retentionMs ?? shortest);
    return shortest;
  }

  /** What is older than this may have been deleted without a trace. */
  horizon(bucket: string, now: Instant): Instant {
    return now - (this.policy(bucket).retentionMs ?? TOMBSTONE_RETENTION_MS) + CLOCK_MARGIN_MS;
  }

  /** Keeps all tombstones until then, however old they are. */
  hold(until: Instant): void {
    const step = Math.floor(until / RETENTION_STEP_MS);
    if (step <= this.#heldStep) return;
    const tombstones = this.all().filter(({ deleted }) => deleted);
    for (const entry of tombstones) this.#keep(entry);
    this.#heldStep = step;
    for (const entry of tombstones) this.#expire(entry);
  }

  /** Removes tombstones past their retention, at most a bounded number; `removed` is told of each. */
  purge(now: Instant, removed: (entry: Entry) => void): void {
    let left = MAX_PURGED_PER_STEP;
    let earliest: number | undefined;
    for (const [step, set] of this.#expiring) {
      if (left > 0 && isOver(step, now)) {
        for (const entry of set) {
          if (left-- === 0) break;
          set.delete(entry);
          this.#drop(entry);
          removed(entry);
        }
        if (set.size === 0) {
          this.#expiring.delete(step);
          continue;
        }
      }
      if (earliest === undefined || step < earliest) earliest = step;
    }
    this.#earliestStep = earliest;
  }

  #drop(entry: Entry): void {
    const bucket = this.#buckets.get(entry.bucket);
    if (bucket === undefined) return;
    bucket.drop(entry);
    this.#bonds.replace(undefined, entry);
    this.#entries--;
    this.#bytes -= entry.keyBytes + entry.size;
    if (bucket.size === 0) this.#buckets.delete(entry.bucket);
    if (entry.bucket === POLICY_BUCKET) this.#policy({ ...entry, deleted: true });
  }

  /** When the next version leaves by itself; undefined while there is none. */
  nextPurge(): Instant | undefined {
    return this.#earliestStep === undefined ? undefined : (this.#earliestStep + 1) * RETENTION_STEP_MS;
  }

  get(bucket: string, key: string): ReadEntry | undefined {
    const entry = this.find(bucket, key);
    return entry === undefined || entry.deleted ? undefined : read(entry);
  }

  list(name: string, options: ListOptions): Page {
    const limit = Math.max(1, Math.min(MAX_LIST, Math.floor(options.limit ?? DEFAULT_LIST)));
    const prefix = options.prefix ?? "";
    const start = later(prefix, options.start ?? "");
    const from = later(start, options.after ?? "");
    const exclusive = options.after !== undefined && from === options.after;
    const entries = this.#buckets.get(name)?.list(from, exclusive, prefix, limit + 1) ?? [];
    const page = entries.slice(0, limit).map(read);
    const last = page.at(-1);
    return entries.length > limit && last !== undefined ? { entries: page, next: last.key } : { entries: page };
  }

  /** All versions, tombstones included. */
  all(): Entry[] {
    return [...this.#buckets.values()].flatMap((bucket) => [...bucket.all()]);
  }

  /** Every bucket with content, by name. */
  summaries(): readonly BucketSummary[] {
    return [...this.#buckets.values()]
      .map(({ name, live, bytes, versions }): BucketSummary => {
        return { name, keys: live, bytes, digest: hex(sumBytes(versions.sum)), replicas: this.policy(name).replicas };
      })
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }
}

/** By how much clocks may be off. */
const CLOCK_MARGIN_MS = 2 * RETENTION_STEP_MS;

const SUPERSEDED: Applied = { type: "superseded" };
const QUOTA: Applied = { type: "quota" };

function later(a: string, b: string): string {
  return compareKeys(a, b) >= 0 ? a : b;
}

function stepOf(clock: Clock): number {
  return Math.floor(instantOf(clock) / RETENTION_STEP_MS);
}

/** Decided for a whole minute of clocks at once. */
function isOver(step: number, now: Instant): boolean {
  return (step + 1) * RETENTION_STEP_MS <= now;
}

/** The view of an entry for applications. */
export function read(entry: Entry): ReadEntry {
  return {
    key: entry.key,
    value: entry.deleted ? null : entry.value,
    version: versionOf(entry),
    author: entry.batch.author,
    clock: entry.clock,
    writtenAt: instantOf(entry.clock),
  };
}
