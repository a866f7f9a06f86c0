import { concat } from "../bytes.ts";
import { sha256 } from "../hash.ts";
import type { Instant } from "../machine.ts";
import { publicKeyOf } from "../peer-id.ts";
import type { Aside } from "./aside.ts";
import type { Batch } from "./batch.ts";
import type { Changes } from "./changes.ts";
import type { Copies } from "./copies.ts";
import type { Outlet } from "./effects.ts";
import type { Entry } from "./entry.ts";
import { instantOf } from "./hlc.ts";
import type { Journal } from "./journal.ts";
import { MAX_WRITE_TIMEOUT_MS, MISSED_AFTER_MS } from "./limits.ts";
import { encodeAck } from "./messages.ts";
import type { Peers } from "./peers.ts";
import { POLICY_BUCKET } from "./policy.ts";
import { type Applied, read, type Store } from "./store.ts";
import type { Tokens } from "./tokens.ts";
import { idOf } from "./version-id.ts";
import type { Wants } from "./wants.ts";

/** What follows from a version that is stored or removed. */
export interface ApplyingTools {
  readonly outlet: Outlet;
  readonly store: Store;
  readonly tokens: Tokens;
  readonly changes: Changes;
  readonly journal: Journal;
  readonly wants: Wants;
  readonly peers: Peers;
  readonly copies: Copies;
  readonly isVoid: (batch: Batch, token: string) => boolean;
  /** A version is stored: reservations of its key end. */
  readonly stored: (entry: Entry, now: Instant) => void;
  readonly aside: Aside;
  /** An exchange has brought what its broadcast had missed. */
  readonly missed: () => void;
}

/** Puts versions into the store and takes them out, with everything that hangs on them: proofs, rows, watchers, copies. */
export class Applying {
  readonly #tools: ApplyingTools;
  readonly #selfKey: Uint8Array;

  constructor(tools: ApplyingTools) {
    this.#tools = tools;
    this.#selfKey = publicKeyOf(tools.outlet.self);
  }

  /** Stores a verified or own entry, and tells watchers. `isPulled`: it was a large value. */
  apply(entry: Entry, token: string, now: Instant, isPulled = false): Applied {
    const { outlet, store, tokens, changes, journal, wants, peers, copies, aside, stored, missed, isVoid } =
      this.#tools;
    const applied: Applied = isVoid(entry.batch, token) ? { type: "void" } : store.apply(entry, now);
    const id = idOf(entry);
    const source = wants.sourceOf(id);
    wants.settle(id);
    if (applied.type === "quota") outlet.fault(undefined, "quota");
    if (applied.type !== "stored") return applied;
    const conduct = source === undefined ? undefined : peers.conduct(source);
    if (conduct !== undefined) conduct.moved++;
    if ((isPulled || source !== undefined) && instantOf(entry.clock) < now - MISSED_AFTER_MS) missed();
    tokens.retain(entry.batch.tokenHash, token);
    if (applied.previous !== undefined) tokens.release(applied.previous.batch.tokenHash);
    changes.add(entry, applied.previous, store);
    journal.put(entry, applied.previous);
    copies.stored(entry, now);
    stored(entry, now);
    if (entry.batch.author === outlet.self) aside.release(entry.bucket, entry.key);
    const { bucket, key, cursor } = entry;
    journal.after(() => outlet.emit({ type: "changed", cursor, bucket, key, entry: read(entry) }), now);
    return applied;
  }

  /** A version has left by itself. */
  forget(entry: Entry): void {
    this.#tools.tokens.release(entry.batch.tokenHash);
    this.#tools.changes.forget(entry);
    this.#tools.journal.drop(entry);
  }

  /** A version goes that whoever we follow does not have; what was written after `gapFrom` is set aside. */
  part(entry: Entry, gapFrom: Instant): void {
    const { store, aside } = this.#tools;
    store.evict(entry);
    this.forget(entry);
    if (instantOf(entry.clock) > gapFrom && !entry.deleted) aside.put(entry);
  }

  /** A version that others hold is not to be here. */
  evict(entry: Entry): void {
    const { store, tokens, journal } = this.#tools;
    store.evict(entry);
    tokens.release(entry.batch.tokenHash);
    journal.drop(entry);
  }

  /** A version is void since somebody was revoked. */
  withdraw(entry: Entry, now: Instant): void {
    const { outlet, store, tokens, changes, journal, copies } = this.#tools;
    store.evict(entry);
    tokens.release(entry.batch.tokenHash);
    const deletion = changes.withdraw(entry, store);
    journal.drop(entry, deletion);
    if (entry.bucket === POLICY_BUCKET) copies.stored(entry, now);
    const { bucket, key, cursor } = deletion;
    journal.after(() => outlet.emit({ type: "changed", cursor, bucket, key, entry: read(deletion) }), now);
  }

  /** Tells the author of a batch that it is stored here, where that may still matter to it, when it is durable. */
  acknowledge(batch: Batch, isBroadcast: boolean, now: Instant): void {
    const { outlet, journal } = this.#tools;
    const { author, first, last, acks } = batch;
    if (author === outlet.self || instantOf(last) < now - MAX_WRITE_TIMEOUT_MS) return;
    journal.after(() => {
      if (outlet.isLinked(author)) outlet.send(author, encodeAck(first));
      else if (isBroadcast && acks > 0 && this.#lot(batch) <= acks) {
        outlet.emit({ type: "route", to: author, bytes: encodeAck(first) });
      }
    }, now);
  }

  /** 0 to 65535, by chance but the same whenever asked: who acknowledges a batch without a link to its author. */
  #lot(batch: Batch): number {
    const hash = sha256(concat(batch.digests.subarray(0, 32), this.#selfKey));
    return ((hash[0] as number) << 8) | (hash[1] as number);
  }
}
