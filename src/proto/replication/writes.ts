import { sha256 } from "../hash.ts";
import type { Instant } from "../machine.ts";
import { type PeerId, publicKeyOf } from "../peer-id.ts";
import { batchBody, mayWrite } from "./batch.ts";
import type { Draft, DraftWrite, Outlet, Refusal, ReplicationInput } from "./effects.ts";
import { type EntryHead, encodeKey, entryDigest, isBucketName, NO_HASH, NO_VALUE, pathOf } from "./entry.ts";
import { type Clock, type HybridClock, instantOf } from "./hlc.ts";
import {
  DEFAULT_WRITE_TIMEOUT_MS,
  HASH_STEP_BYTES,
  MAX_BATCH_BYTES,
  MAX_BATCH_ENTRIES,
  MAX_BATCH_SPAN_MS,
  MAX_INLINE_VALUE_BYTES,
  MAX_PENDING_BYTES,
  MAX_PENDING_REQUESTS,
  MAX_REPLICAS,
  MAX_VALUE_BYTES,
  MAX_WRITE_TIMEOUT_MS,
} from "./limits.ts";
import type { Store } from "./store.ts";
import { tokenHash } from "./tokens.ts";

/**
 * From a local write to a draft to be signed.
 *
 * A write gets its clock at once and waits until the end of the event-loop turn (the deadline is the write's own
 * instant), so that the writes of one turn share a signature: up to 64, 52 KiB and one second of clocks to a batch. A
 * value above 48 KiB makes a batch alone. One step takes about 8 ms of hashing, pieces of large values included; what
 * is left is done in the next step, at once. Nothing is readable before it is signed.
 */

interface Credentials {
  readonly token: string;
  readonly tokenHash: Uint8Array;
  readonly scopes: readonly string[];
  readonly expiresAt: Instant;
}

type Write = Extract<ReplicationInput, { readonly type: "put" | "delete" }>;

type Transaction = Extract<ReplicationInput, { readonly type: "transaction" }>;

/** What one write takes in a batch beside its key and value, bytes. */
const WRITE_BYTES = 160;

/** What one write costs beside its value, in bytes hashed: three digests of a block or two. */
const WRITE_WORK = 1_024;

interface Pending {
  readonly write: Write;
  readonly keyBytes: Uint8Array;
  readonly value: Uint8Array;
  readonly clock: Clock;
  readonly replicas: number;
}

interface Hashing {
  readonly pending: Pending;
  readonly hash: ReturnType<typeof sha256.create>;
  offset: number;
}

/** Local writes on their way to be signed. */
export class Writes {
  readonly #outlet: Outlet;
  readonly #store: Store;
  readonly #clock: HybridClock;
  readonly #audience: (bucket: string, path: number) => readonly PeerId[] | undefined;
  readonly #underWay: () => { writes: number; bytes: number };
  readonly #authorKey: Uint8Array;
  #credentials: Credentials | undefined;
  #pending: Pending[] = [];
  readonly #hashing: Hashing[] = [];
  #dueAt: Instant | undefined;
  /** Writes and bytes taken and not yet signed. */
  #count = 0;
  #bytes = 0;

  /**
   * @param audience who is to hold a key; undefined: everybody.
   * @param underWay writes that are signed and not answered, and bytes of values that wait for the disk or for receipts.
   */
  constructor(
    outlet: Outlet,
    store: Store,
    clock: HybridClock,
    audience: (bucket: string, path: number) => readonly PeerId[] | undefined,
    underWay: () => { writes: number; bytes: number },
  ) {
    this.#audience = audience;
    this.#outlet = outlet;
    this.#store = store;
    this.#clock = clock;
    this.#underWay = underWay;
    this.#authorKey = publicKeyOf(outlet.self);
  }

  credentials(token: string, scopes: readonly string[], expiresAt: Instant): void {
    this.#credentials = { token, tokenHash: tokenHash(token), scopes, expiresAt };
  }

  /** Takes a write or refuses it. `members`: how many store. */
  take(write: Write, members: number, now: Instant): void {
    const accepted = this.#accept(write, members, now);
    if (accepted === undefined) return;
    const pending = { ...accepted, clock: this.#clock.tick(now) };
    if (pending.value.length > MAX_INLINE_VALUE_BYTES) this.#hashLater(pending);
    else this.#pending.push(pending);
    this.#dueAt ??= now;
  }

  /** Takes a write whose clock others know already, or refuses it; it makes a batch of its own at once. */
  takeAt(write: Write, clock: Clock, links: number, members: number, now: Instant): void {
    const accepted = this.#accept(write, members, now);
    if (accepted === undefined) return;
    const pending = { ...accepted, clock };
    if (pending.value.length <= MAX_INLINE_VALUE_BYTES) {
      this.#sign([draftWrite(pending, sha256(pending.value))], links, members);
      return;
    }
    this.#hashLater(pending);
    this.#dueAt ??= now;
  }

  #hashLater(pending: Pending): void {
    this.#hashing.push({ pending, hash: sha256.create(), offset: 0 });
  }

  #accept(write: Write, members: number, now: Instant): Omit<Pending, "clock"> | undefined {
    const value = write.type === "put" ? write.value : NO_VALUE;
    const keyBytes = encodeKey(write.key);
    const refusal = this.refusalOf(write, members, now);
    if (refusal !== undefined || keyBytes === undefined) {
      this.#outlet.emit({ type: "refused", request: write.request, reason: refusal ?? "bad-key" });
      return undefined;
    }
    this.#count++;
    this.#bytes += value.length;
    // Copied: the caller may go on using its buffer. The slice of one of Node's own is no copy.
    return { write, keyBytes, value: new Uint8Array(value), replicas: this.#replicas(write, members) };
  }

  /** Why a write would be refused; undefined when it would be taken. */
  refusalOf(write: Write, members: number, now: Instant): Refusal | undefined {
    const size = write.type === "put" ? write.value.length : 0;
    return this.#refusal(write, size, encodeKey(write.key), this.#replicas(write, members), now);
  }

  /** How many members a write waits for. */
  #replicas({ bucket, replicas }: Pick<Write, "bucket" | "replicas">, members: number): number {
    if (typeof replicas === "number") return replicas;
    const policy = this.#store.policy(bucket);
    const all = policy.replicas === "all" ? members : Math.min(policy.replicas, members);
    if (replicas === "all") return all;
    return replicas === "quorum" ? Math.floor(all / 2) + 1 : Math.min(2, all);
  }

  #refusal(
    write: { readonly bucket: string; readonly key: string },
    size: number,
    keyBytes: Uint8Array | undefined,
    replicas: number,
    now: Instant,
  ): Refusal | undefined {
    if (!isBucketName(write.bucket)) return "bad-bucket";
    if (keyBytes === undefined) return "bad-key";
    if (size > MAX_VALUE_BYTES) return "too-large";
    if (!Number.isSafeInteger(replicas) || replicas < 1 || replicas > MAX_REPLICAS) return "bad-replicas";
    const credentials = this.#credentials;
    if (credentials === undefined || now >= credentials.expiresAt) return "forbidden";
    if (!mayWrite(credentials.scopes, write.bucket, write.key)) return "forbidden";
    const { writes, bytes } = this.#underWay();
    if (this.#count + writes >= MAX_PENDING_REQUESTS) return "quota";
    if (size > 0 && this.#bytes + bytes + size > MAX_PENDING_BYTES) return "quota";
    const growth = keyBytes.length + size;
    return this.#store.fits(write.bucket, write.key, growth, this.#bytes, this.#count) ? undefined : "quota";
  }

  /** Takes writes that belong together or refuses them all; they make a batch of their own at once. */
  transact(transaction: Transaction, links: number, members: number, now: Instant): void {
    const { request, bucket, writes, timeoutMs } = transaction;
    const replicas = this.#replicas(transaction, members);
    const refusal = this.#transactionRefusal(transaction, replicas, now);
    if (refusal !== undefined) {
      this.#outlet.emit({ type: "refused", request, reason: refusal });
      return;
    }
    const drafts = writes.map(({ key, value }): DraftWrite => {
      const write = {
        ...(value === null ? { type: "delete" } : { type: "put", value }),
        request,
        bucket,
        key,
      } as Write;
      const waits = timeoutMs === undefined ? write : { ...write, timeoutMs };
      const keyBytes = encodeKey(key) ?? NO_VALUE;
      const copy = value === null ? NO_VALUE : new Uint8Array(value);
      return draftWrite({ write: waits, keyBytes, value: copy, clock: this.#clock.tick(now), replicas }, sha256(copy));
    });
    this.#count += drafts.length;
    for (const { head } of drafts) this.#bytes += head.size;
    this.#sign(drafts, links, members, true);
  }

  #transactionRefusal({ bucket, writes }: Transaction, replicas: number, now: Instant): Refusal | undefined {
    if (writes.length === 0 || writes.length > MAX_BATCH_ENTRIES) return "too-large";
    if (new Set(writes.map(({ key }) => key)).size !== writes.length) return "bad-key";
    let bytes = 0;
    for (const { key, value } of writes) {
      const keyBytes = encodeKey(key);
      const refusal = this.#refusal({ bucket, key }, value?.length ?? 0, keyBytes, replicas, now);
      if (refusal !== undefined) return refusal;
      bytes += (keyBytes?.length ?? 0) + (value?.length ?? 0) + WRITE_BYTES;
    }
    return bytes > MAX_BATCH_BYTES ? "too-large" : undefined;
  }

  /** A draft has been signed: its writes no longer count as pending. */
  signed(draft: Draft): void {
    this.#count -= draft.writes.length;
    for (const { head } of draft.writes) this.#bytes -= head.size;
  }

  deadline(): Instant | undefined {
    return this.#dueAt;
  }

  /** Emits what is ready to be signed. `links` and `members` decide how many others are asked to acknowledge. */
  timeout(links: number, members: number, now: Instant): void {
    if (this.#dueAt === undefined || this.#dueAt > now) return;
    const open = new Map<string, { writes: DraftWrite[]; bytes: number }>();
    let taken = 0;
    for (let work = 0; taken < this.#pending.length && work < HASH_STEP_BYTES; taken++) {
      const pending = this.#pending[taken] as Pending;
      const write = draftWrite(pending, sha256(pending.value));
      const size = write.head.size + write.head.keyBytes + WRITE_BYTES;
      work += size + WRITE_WORK;
      // Writes share a batch with those that go to the same members.
      const audience = this.#audience(write.head.bucket, write.path)?.join() ?? "";
      const batch = open.get(audience) ?? { writes: [], bytes: 0 };
      open.set(audience, batch);
      const first = batch.writes[0];
      const isFull =
        first !== undefined &&
        (batch.writes.length === MAX_BATCH_ENTRIES ||
          batch.bytes + size > MAX_BATCH_BYTES ||
          instantOf(write.head.clock) - instantOf(first.head.clock) >= MAX_BATCH_SPAN_MS);
      if (isFull) {
        this.#sign(batch.writes, links, members);
        batch.writes = [];
        batch.bytes = 0;
      }
      batch.writes.push(write);
      batch.bytes += size;
    }
    for (const { writes } of open.values()) this.#sign(writes, links, members);
    this.#pending = this.#pending.slice(taken);
    this.#hashStep(links, members);
    this.#dueAt = this.#hashing.length + this.#pending.length > 0 ? now : undefined;
  }

  #hashStep(links: number, members: number): void {
    const hashing = this.#hashing[0];
    if (hashing === undefined) return;
    const { value } = hashing.pending;
    const end = Math.min(value.length, hashing.offset + HASH_STEP_BYTES);
    hashing.hash.update(value.subarray(hashing.offset, end));
    hashing.offset = end;
    if (end < value.length) return;
    this.#hashing.shift();
    this.#sign([draftWrite(hashing.pending, hashing.hash.digest())], links, members);
  }

  #sign(writes: readonly DraftWrite[], links: number, members: number, isAtomic = false): void {
    const credentials = this.#credentials;
    const first = writes[0];
    const last = writes.at(-1);
    if (credentials === undefined || first === undefined || last === undefined) return;
    const digests = new Uint8Array(writes.length * 32);
    let replicas = 1;
    for (let index = 0; index < writes.length; index++) {
      const { head, replicas: asked } = writes[index] as DraftWrite;
      digests.set(entryDigest(this.#authorKey, head, encodeKey(head.key) ?? NO_VALUE), index * 32);
      replicas = Math.max(replicas, asked);
    }
    const header = {
      author: this.#outlet.self,
      tokenHash: credentials.tokenHash,
      first: first.head.clock,
      last: last.head.clock,
      acks: ackShare(replicas - 1, links, members),
      isAtomic,
      digests,
    };
    const audience = this.#audience(first.head.bucket, first.path);
    const resume: Draft = { token: credentials.token, header, audience, writes };
    this.#outlet.emit({ type: "sign", label: "starling/batch/1", body: batchBody(header), resume });
  }
}

/**
 * Which share of the members without a link acknowledges: none if links suffice, else enough for twice what is asked.
 */
function ackShare(others: number, links: number, members: number): number {
  if (others <= links) return 0;
  return Math.min(65_535, Math.ceil((2 * 65_535 * others) / Math.max(1, members - 1 - links)));
}

function draftWrite(pending: Pending, hash: Uint8Array): DraftWrite {
  const { write, keyBytes, value, clock, replicas } = pending;
  const deleted = write.type === "delete";
  const head: EntryHead = {
    bucket: write.bucket,
    key: write.key,
    keyBytes: keyBytes.length,
    clock,
    deleted,
    size: value.length,
    valueHash: deleted ? NO_HASH : hash,
  };
  const asked = write.timeoutMs ?? DEFAULT_WRITE_TIMEOUT_MS;
  const timeoutMs = asked >= 0 ? Math.min(MAX_WRITE_TIMEOUT_MS, asked) : 0;
  return { head, path: pathOf(keyBytes), value, request: write.request, replicas, timeoutMs };
}
