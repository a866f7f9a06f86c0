import { earlier } from "../deadlines.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { fraction, pick } from "../random.ts";
import { type Context, Meter } from "./context.ts";
import { bucketOf } from "./digest.ts";
import type { Disputes } from "./disputes.ts";
import type { Standing } from "./effects.ts";
import { ENTRY_BYTES, type Entry, KEY_BYTES, packEntries, packKeys } from "./entries.ts";
import {
  BUCKETS,
  BULK_RECORDS,
  BUSY_MS,
  CLAIM_AGE_MS,
  EXCHANGE_MESSAGE_BYTES,
  EXCHANGE_MS,
  EXCHANGE_RATE,
  REMEMBER_MS,
  RIPPLE_MS,
  SOLICITED_MS,
} from "./limits.ts";
import {
  encodeClaims,
  encodeDigest,
  encodeEntries,
  encodePayload,
  encodeSums,
  encodeWant,
  type LinkMessage,
} from "./messages.ts";
import { compareRecords, type MemberRecord } from "./record.ts";
import type { Records } from "./records.ts";
import { isThere, MemberTable } from "./table.ts";
import { Transfers } from "./transfers.ts";

/**
 * Push-pull: two members make their lists equal. On every new link, and every half minute with one link at random, as the
 * backstop of everything that broadcast may lose.
 *
 *     A: digest of all      B: (equal: silence)  sums of 64 buckets
 *     A: what I hold in the buckets that differ, in short
 *     B: the records that you lack or have older; keys of those that I lack or have older; members that I hold for down
 *     A: those records
 *
 * Two equal lists of 10,000 cost one message of 12 bytes. The lower PeerId begins on a new link. A member into which records
 * are pouring begins and answers nothing else until they stop, so that a newcomer learns the list once and not from each
 * of its links. What an exchange has taught is passed on: broadcast when it is little, and otherwise by exchanges with
 * all other links, each of which costs only what is still different.
 */
export class Exchange {
  readonly #context: Context;
  readonly #records: Records;
  readonly #disputes: Disputes;
  readonly #transfers: Transfers;
  readonly #steps = new Meter(EXCHANGE_RATE);
  /** Peers that may send records, until when. Only links, of which there are few. */
  readonly #solicited = new Map<PeerId, Instant>();
  /** How many of our digests a peer may still answer. */
  readonly #begun = new Map<PeerId, number>();
  /** Exchanges put off while we were busy. */
  readonly #waiting = new Set<PeerId>();
  #busyUntil: Instant = Number.NEGATIVE_INFINITY;
  #nextAt: Instant;
  #rippleAt: Instant | undefined;
  /** What the exchanges since the last ripple have taught: the first few, and how many in all. */
  #news: MemberRecord[] = [];
  #newsCount = 0;

  constructor(context: Context, records: Records, disputes: Disputes, now: Instant) {
    this.#context = context;
    this.#records = records;
    this.#disputes = disputes;
    this.#transfers = new Transfers(context);
    this.#nextAt = now + this.#interval();
  }

  deadline(): Instant | undefined {
    let next: Instant | undefined = earlier(this.#nextAt, this.#transfers.deadline());
    if (this.#rippleAt !== undefined) next = earlier(next, Math.max(this.#rippleAt, this.#busyUntil));
    return this.#waiting.size > 0 ? earlier(next, this.#busyUntil) : next;
  }

  linkUp(peer: PeerId, now: Instant): void {
    if (this.#context.self < peer) this.#begin(peer, now);
  }

  linkDown(peer: PeerId): void {
    this.#solicited.delete(peer);
    this.#begun.delete(peer);
    this.#waiting.delete(peer);
    this.#transfers.linkDown(peer);
  }

  timeout(now: Instant): void {
    this.#transfers.timeout(now);
    if (now >= this.#nextAt) {
      this.#nextAt = now + this.#interval();
      const link = pick(this.#context.random, [...this.#context.links.all()]);
      if (link !== undefined) this.#begin(link.peer, now);
    }
    if (now < this.#busyUntil) return;
    for (const peer of this.#waiting) {
      this.#waiting.delete(peer);
      this.#begin(peer, now);
    }
    if (this.#rippleAt !== undefined && now >= this.#rippleAt) this.#ripple(now);
  }

  message(from: PeerId, message: Exclude<LinkMessage, { type: "tell" }>, now: Instant): void {
    if (!this.#steps.admits(from, now)) {
      this.#context.out.fault("flood", from);
      return;
    }
    switch (message.type) {
      case "digest":
        this.#digest(from, message.root, now);
        break;
      case "sums":
        this.#sums(from, message.sums, now);
        break;
      case "entries":
        this.#entries(from, message.mask, message.entries, now);
        break;
      case "records":
        this.#carried(from, message, now);
        break;
      case "want":
        this.#transfers.add(from, message.ids, now);
        break;
      case "claims":
        for (const entry of message.entries) this.#disputes.claimed(from, entry, now);
        break;
    }
  }

  /** A record that came by an exchange was good and new. */
  learnt(record: MemberRecord, now: Instant): void {
    this.#newsCount++;
    if (this.#news.length < BULK_RECORDS) this.#news.push(record);
    this.#rippleAt ??= now + RIPPLE_MS;
  }

  #begin(peer: PeerId, now: Instant): void {
    const { links, out, table } = this.#context;
    if (!links.has(peer)) return;
    if (now < this.#busyUntil) this.#waiting.add(peer);
    else {
      this.#begun.set(peer, Math.min(MAX_BEGUN, (this.#begun.get(peer) ?? 0) + 1));
      out.send(peer, encodeDigest(table.digest.root()));
    }
  }

  #digest(from: PeerId, root: Uint8Array, now: Instant): void {
    const { out, table } = this.#context;
    const own = table.digest.root();
    if (own.every((byte, index) => byte === root[index])) return;
    if (now < this.#busyUntil) {
      this.#waiting.add(from);
      return;
    }
    this.#expect(from, now);
    out.send(from, encodeSums(table.digest.sums()));
  }

  #sums(from: PeerId, sums: Uint8Array, now: Instant): void {
    const { out, table } = this.#context;
    const begun = this.#begun.get(from) ?? 0;
    if (begun === 0) {
      out.fault("unsolicited", from);
      return;
    }
    this.#begun.set(from, begun - 1);
    const buckets = new Set(table.digest.differing(sums));
    if (buckets.size === 0) return;
    this.#expect(from, now);
    const byBucket = new Map<number, Entry[]>();
    for (const bucket of buckets) byBucket.set(bucket, []);
    for (const member of table.all()) {
      if (MemberTable.isShared(member))
        byBucket.get(bucketOf(member.record.id))?.push(MemberTable.entryOf(member, now));
    }
    let mask = new Uint8Array(BUCKETS / 8);
    let entries: Entry[] = [];
    for (const [bucket, held] of byBucket) {
      if (entries.length > 0 && (entries.length + held.length) * ENTRY_BYTES > EXCHANGE_MESSAGE_BYTES) {
        out.send(from, encodeEntries(mask, packEntries(entries)));
        mask = new Uint8Array(BUCKETS / 8);
        entries = [];
      }
      mask[bucket >> 3] = (mask[bucket >> 3] as number) | (1 << (bucket & 7));
      for (const entry of held) entries.push(entry);
    }
    out.send(from, encodeEntries(mask, packEntries(entries)));
  }

  /** Compares what the peer holds in some buckets with what we hold there. */
  #entries(from: PeerId, mask: Uint8Array, entries: readonly Entry[], now: Instant): void {
    if (!this.#isExpected(from, now)) return;
    const { table } = this.#context;
    const theirs = new Set<PeerId>();
    const push: PeerId[] = [];
    const want: Uint8Array[] = [];
    const claims: Entry[] = [];
    for (const entry of entries) {
      theirs.add(entry.id);
      const member = table.get(entry.id);
      const order = member === undefined ? 1 : compareRecords(entry, member.record);
      if (member === undefined || order > 0) {
        if (isWorthHaving(entry)) want.push(entry.key);
      } else if (order < 0) push.push(entry.id);
      else if (entry.down && isThere(member.state)) this.#disputes.claimed(from, entry, now);
      else if (!entry.down && member.state === "down" && !member.lapsed && now - member.since >= CLAIM_AGE_MS)
        claims.push(MemberTable.entryOf(member, now));
    }
    for (const member of table.all()) {
      const bucket = bucketOf(member.record.id);
      const covered = ((mask[bucket >> 3] as number) >> (bucket & 7)) & 1;
      if (covered === 1 && !theirs.has(member.record.id) && MemberTable.isShared(member)) push.push(member.record.id);
    }
    this.#reply(from, want, claims);
    this.#transfers.add(from, push, now);
  }

  #reply(to: PeerId, want: readonly Uint8Array[], claims: readonly Entry[]): void {
    const { out } = this.#context;
    const keys = Math.floor(EXCHANGE_MESSAGE_BYTES / KEY_BYTES);
    for (let at = 0; at < want.length; at += keys) out.send(to, encodeWant(packKeys(want.slice(at, at + keys))));
    const fit = Math.floor(EXCHANGE_MESSAGE_BYTES / ENTRY_BYTES);
    for (let at = 0; at < claims.length; at += fit) out.send(to, encodeClaims(packEntries(claims.slice(at, at + fit))));
  }

  #carried(from: PeerId, { records }: Extract<LinkMessage, { type: "records" }>, now: Instant): void {
    if (!this.#isExpected(from, now)) return;
    this.#expect(from, now);
    let checks = 0;
    for (const { record, down, ageSeconds } of records) {
      const standing: Standing = down || record.status === "left" ? { there: false, ageMs: ageSeconds * 1_000 } : HERE;
      if (this.#records.offered(record, standing, { via: "link", from }, true, now)) checks++;
    }
    if (checks >= BULK_RECORDS) this.#busyUntil = now + BUSY_MS;
  }

  /** Passes on what exchanges have taught. */
  #ripple(now: Instant): void {
    const { out, table, links } = this.#context;
    this.#rippleAt = undefined;
    const few = this.#newsCount <= BULK_RECORDS && table.size > 2 * this.#newsCount;
    if (few) for (const record of this.#news) out.broadcast(encodePayload("record", record));
    else for (const { peer } of links.all()) this.#begin(peer, now);
    this.#news = [];
    this.#newsCount = 0;
  }

  #expect(peer: PeerId, now: Instant): void {
    this.#solicited.set(peer, now + SOLICITED_MS);
  }

  #isExpected(from: PeerId, now: Instant): boolean {
    if ((this.#solicited.get(from) ?? Number.NEGATIVE_INFINITY) >= now) return true;
    this.#context.out.fault("unsolicited", from);
    return false;
  }

  #interval(): number {
    return EXCHANGE_MS * (0.5 + fraction(this.#context.random));
  }
}

/** Whether a record is worth asking for: not one of a member that others are about to forget. */
function isWorthHaving(entry: Entry): boolean {
  return !entry.down || entry.ageSeconds * 1_000 < REMEMBER_MS * 0.9;
}

/** Digests of ours that one peer may owe an answer to: equal ones are never answered. */
const MAX_BEGUN = 3;

const HERE: Standing = { there: true };
