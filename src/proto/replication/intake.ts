import { assert } from "../assert.ts";
import { equalBytes, hex } from "../bytes.ts";
import type { MessageId } from "../gossip/messages.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { TokenFacts } from "../signed.ts";
import { type Batch, keep, mayWrite, type Parcel, type ParcelEntry, statementOf } from "./batch.ts";
import type { Arrival, Outlet } from "./effects.ts";
import type { Entry } from "./entry.ts";
import type { Fetches } from "./fetches.ts";
import { aheadMs, type HybridClock, instantOf } from "./hlc.ts";
import {
  MAX_AHEAD_MS,
  MAX_FORWARDED_AHEAD_MS,
  MAX_PARKED,
  MAX_TOKENS_ASKED,
  MAX_TOKENS_PER_REQUEST,
  PARKED_FOR_MS,
} from "./limits.ts";
import { encodeTokensWanted } from "./messages.ts";
import type { Requests } from "./requests.ts";
import type { Applied, Store } from "./store.ts";
import type { Tokens } from "./tokens.ts";
import { type VersionId, versionId } from "./version-id.ts";
import type { Wants } from "./wants.ts";

/**
 * The way of other members' batches into the store.
 *
 * In this order, cheapest first: the clock is not in the future; something in it is news here; its author's token is
 * known, or is asked of whoever sent the batch; the signature holds and the token was valid *at the batch's clock*
 * (an effect); the token allows its author to write to each bucket. Only then does anything change: the store, the
 * local clock, what is wanted. Whether a batch is valid never depends on when it is looked at, so replicas agree
 * about it for ever.
 *
 * Whoever sent a batch answers for its form and its signature, because every honest member checks both before passing
 * it on; its author answers for what it signed.
 */

/** What the rest of the core does for the intake. */
export interface IntakeOwner {
  /** Stores a verified entry. */
  apply(entry: Entry, token: string, now: Instant): Applied;
  /** The whole batch is stored here, or something later: its author may want to know. */
  stored(batch: Batch, isBroadcast: boolean, now: Instant): void;
}

/** Parcels that wait for tokens. */
interface Parked {
  readonly parcels: readonly Parcel[];
  readonly from: PeerId;
  readonly delivery: MessageId | undefined;
  readonly until: Instant;
}

/** The parts that the intake works with. */
export interface IntakeTools {
  readonly outlet: Outlet;
  readonly store: Store;
  readonly clock: HybridClock;
  readonly tokens: Tokens;
  readonly requests: Requests;
  readonly wants: Wants;
  readonly fetches: Fetches;
  readonly isVoid: (batch: Batch, token: string) => boolean;
}

/** What stands between a parcel and the store. */
export class Intake {
  readonly #tools: IntakeTools;
  readonly #owner: IntakeOwner;
  /** Oldest first, hence in the order of their time-outs. */
  #parked: Parked[] = [];
  /** Hashes of tokens asked for. */
  readonly #asked = new Set<string>();

  constructor(tools: IntakeTools, owner: IntakeOwner) {
    this.#tools = tools;
    this.#owner = owner;
  }

  /** Takes parcels that `from` sent, or forwarded as the broadcast `delivery`. */
  take(parcels: readonly Parcel[], from: PeerId, delivery: MessageId | undefined, now: Instant): void {
    const waiting: Parcel[] = [];
    for (const parcel of parcels) if (!this.#consider(parcel, from, delivery, now)) waiting.push(parcel);
    if (waiting.length === 0) return;
    this.#parked.push({ parcels: waiting, from, delivery, until: now + PARKED_FOR_MS });
    const oldest = this.#parked.length > MAX_PARKED ? this.#parked.shift() : undefined;
    if (oldest !== undefined) this.#giveUp(oldest);
    this.#askTokens(waiting, from, now);
  }

  /** False when the author's token is not known yet. */
  #consider(parcel: Parcel, from: PeerId, delivery: MessageId | undefined, now: Instant): boolean {
    const { outlet, tokens } = this.#tools;
    const { batch, entries } = parcel;
    const ahead = aheadMs(batch.last, now);
    if (ahead > MAX_AHEAD_MS) {
      this.#refuse(parcel, delivery, ahead > MAX_FORWARDED_AHEAD_MS ? "reject" : "ignore");
      if (ahead > MAX_FORWARDED_AHEAD_MS) outlet.fault(delivery === undefined ? from : undefined, "clock-ahead");
      else outlet.emit({ type: "deferred", peer: from, author: batch.author, aheadMs: ahead });
      return true;
    }
    const news = entries.filter((entry) => this.#isNews(entry, batch, from, now));
    if (news.length === 0) {
      this.#verdict(delivery, this.#isProven(parcel) ? "accept" : "ignore");
      // A late write pushed by its author, which has not heard that it is here already.
      if (from === batch.author && !this.#isPulling(parcel, now)) this.#owner.stored(batch, false, now);
      return true;
    }
    const token = tokens.find(batch.tokenHash, batch.author);
    if (token === undefined) return false;
    const isWhole = entries.length * 32 === batch.digests.length;
    outlet.emit({
      type: "verify",
      from,
      statements: [statementOf(batch)],
      token,
      at: instantOf(batch.last),
      resume: { parcel: { batch, entries: news }, isWhole, token, from, delivery },
    });
    return true;
  }

  /** Whether the entry would change anything. What would not is no longer wanted. */
  #isNews(entry: ParcelEntry, batch: Batch, from: PeerId, now: Instant): boolean {
    const { store, fetches, wants } = this.#tools;
    const id = idIn(batch, entry);
    const isNews =
      store.standing(entry.head, batch, entry.index, now) === "fresh" &&
      !(entry.value === undefined && fetches.noteSource(id, from));
    if (!isNews) wants.settle(id);
    return isNews;
  }

  /** Whether this very signature has been verified: an entry of the batch is stored or being pulled. */
  #isProven({ batch, entries }: Parcel): boolean {
    const { store, fetches } = this.#tools;
    return entries.some((entry) => {
      const { bucket, key } = entry.head;
      const known = store.find(bucket, key)?.batch ?? fetches.batchOf(idIn(batch, entry));
      return known !== undefined && equalBytes(known.signature, batch.signature);
    });
  }

  /** Of a parcel that is no news: whether something of it is still on its way, and nothing later here. */
  #isPulling({ batch, entries }: Parcel, now: Instant): boolean {
    return entries.some(({ head, index }) => this.#tools.store.standing(head, batch, index, now) === "fresh");
  }

  #verdict(delivery: MessageId | undefined, verdict: "accept" | "reject" | "ignore"): void {
    if (delivery !== undefined) this.#tools.outlet.emit({ type: "verdict", id: delivery, verdict });
  }

  /** Drops a parcel: nothing of it is on its way any more. */
  #refuse({ batch, entries }: Parcel, delivery: MessageId | undefined, verdict: "reject" | "ignore"): void {
    for (const entry of entries) this.#tools.wants.settle(idIn(batch, entry));
    this.#verdict(delivery, verdict);
  }

  #giveUp({ parcels, delivery }: Parked): void {
    for (const parcel of parcels) this.#refuse(parcel, delivery, "ignore");
  }

  #askTokens(parcels: readonly Parcel[], from: PeerId, now: Instant): void {
    const { outlet, requests } = this.#tools;
    if (!outlet.isLinked(from)) return;
    let hashes: Uint8Array[] = [];
    let names: string[] = [];
    const ask = (): void => {
      outlet.send(from, encodeTokensWanted(requests.issue(from, { type: "tokens", names }, now), hashes));
      hashes = [];
      names = [];
    };
    for (const { batch } of parcels) {
      const name = hex(batch.tokenHash);
      if (this.#asked.has(name) || this.#asked.size >= MAX_TOKENS_ASKED) continue;
      this.#asked.add(name);
      names.push(name);
      hashes.push(batch.tokenHash);
      if (names.length === MAX_TOKENS_PER_REQUEST) ask();
    }
    if (names.length > 0) ask();
  }

  /** Tokens have come: what waits for them goes on. */
  tokens(tokens: readonly string[], names: readonly string[], now: Instant): void {
    this.tokensFailed(names);
    for (const token of tokens) this.#tools.tokens.offer(token, names);
    const parked = this.#parked;
    this.#parked = [];
    for (const { parcels, from, delivery, until } of parked) {
      const waiting = parcels.filter((parcel) => !this.#consider(parcel, from, delivery, now));
      if (waiting.length > 0) this.#parked.push({ parcels: waiting, from, delivery, until });
    }
  }

  /** These tokens have been asked for in vain; the next batch that needs them asks again. */
  tokensFailed(names: readonly string[]): void {
    for (const name of names) this.#asked.delete(name);
  }

  /** Signature and token hold. */
  verified(arrival: Arrival, facts: TokenFacts | undefined, now: Instant): void {
    const { parcel, token, from, delivery } = arrival;
    const { batch, entries } = parcel;
    const { outlet, clock, tokens, fetches, store, isVoid } = this.#tools;
    assert(facts?.subject === batch.author, "a batch is verified with its author's token");
    if (!entries.every(({ head }) => mayWrite(facts.scopes, head.bucket, head.key))) {
      this.#refuse(parcel, delivery, "reject");
      outlet.fault(batch.author, "forbidden");
      return;
    }
    // Revoked while it was being verified; whoever passed it on may not know yet.
    if (isVoid(batch, token)) {
      this.#refuse(parcel, delivery, "ignore");
      return;
    }
    this.#verdict(delivery, "accept");
    if (!tokens.hasRoomFor(batch.tokenHash)) {
      this.#refuse(parcel, undefined, "ignore");
      outlet.fault(undefined, "quota");
      return;
    }
    if (batch.isAtomic && !store.fitsTogether(entries.map(({ head }) => head))) {
      this.#refuse(parcel, undefined, "ignore");
      outlet.fault(undefined, "quota");
      return;
    }
    clock.observe(batch.last, now);
    let isStored = arrival.isWhole;
    for (const entry of entries) {
      if (entry.value === undefined) {
        fetches.add(entry, batch, token, from, now);
        this.#tools.wants.settle(idIn(batch, entry));
        isStored = false;
      } else if (this.#owner.apply(keep(batch, entry, entry.value), token, now).type === "quota") isStored = false;
    }
    if (isStored) this.#owner.stored(batch, delivery !== undefined, now);
  }

  deadline(): Instant | undefined {
    return this.#parked[0]?.until;
  }

  /** Gives up what has waited too long for a token. */
  timeout(now: Instant): void {
    for (let oldest = this.#parked[0]; oldest !== undefined && oldest.until <= now; oldest = this.#parked[0]) {
      this.#parked.shift();
      this.#giveUp(oldest);
    }
  }
}

function idIn(batch: Batch, entry: ParcelEntry): VersionId {
  return versionId(entry.path, entry.head.clock, batch, entry.index);
}
