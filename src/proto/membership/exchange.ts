import { earlier } from "../deadlines.ts";
import type { Instant } from "../machine.ts";
import { prefixOf } from "../overlay/atlas.ts";
import type { PeerId } from "../peer-id.ts";
import { fraction, pick } from "../random.ts";
import { type Context, Meter } from "./context.ts";
import type { Disputes } from "./disputes.ts";
import type { Standing } from "./effects.ts";
import { ENTRY_BYTES, type Entry, packEntries } from "./entries.ts";
import { PREFIX_BYTES, packPrefixes, prefixesIn } from "./heads.ts";
import {
  BULK_RECORDS,
  CLAIM_AGE_MS,
  CROWD_MS,
  EXCHANGE_MESSAGE_BYTES,
  EXCHANGE_MS,
  EXCHANGE_RATE,
  REMEMBER_MS,
  RIPPLE_MS,
  SMALL_LIST,
  SOLICITED_MS,
  TURN_ANSWER_MS,
  TURN_RECORDS_MS,
} from "./limits.ts";
import {
  encodeClaims,
  encodeDigest,
  encodeEntries,
  encodeHeads,
  encodePayload,
  encodeSums,
  encodeWant,
  type LinkMessage,
} from "./messages.ts";
import { compareRecords, type MemberRecord } from "./record.ts";
import type { Records } from "./records.ts";
import { isThere, MemberTable } from "./table.ts";
import { Transfers } from "./transfers.ts";
import { Turn } from "./turn.ts";

/**
 * Push-pull: two members make their lists equal. On every new link, and every half minute with one link at random, as the
 * backstop of everything that broadcast may lose.
 *
 *     A: digest of all      B: (equal: silence)  sums of 64 buckets
 *     A: what I hold in the buckets that differ, in 12 bytes each
 *     B: the records that you lack; whom I lack; of whom we hold different things, in 53 bytes each
 *     A: the records that you lack or have older; whom I have older; members that I hold for down
 *
 * Two equal lists of 10,000 cost one message of 15 bytes. The lower PeerId begins on a new link. A member makes its list
 * equal with one other at a time (`turn.ts`), so that a newcomer learns the list once and not from each of its links. What an
 * exchange has taught is passed on: broadcast when it is little and the times are quiet, and otherwise by exchanges with
 * all other links, each of which costs only what is still different. When everybody joins at once nothing is broadcast.
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
  readonly #turn = new Turn();
  #nextAt: Instant;
  #rippleAt: Instant | undefined;
  /** What the exchanges since the last ripple have taught: the first few, and how many in all. */
  #news: MemberRecord[] = [];
  #newsCount = 0;
  /** Much was learnt since then, or we have just begun: others are joining too. */
  #crowdedUntil: Instant;

  constructor(context: Context, records: Records, disputes: Disputes, now: Instant) {
    this.#context = context;
    this.#records = records;
    this.#disputes = disputes;
    this.#transfers = new Transfers(context);
    this.#nextAt = now + this.#interval();
    this.#crowdedUntil = now + CROWD_MS;
  }

  deadline(): Instant | undefined {
    const next = earlier(earlier(this.#nextAt, this.#transfers.deadline()), this.#turn.deadline());
    return this.#turn.isIdle ? earlier(next, this.#rippleAt) : next;
  }

  linkUp(peer: PeerId, now: Instant): void {
    if (this.#context.self < peer) this.#begin(peer, now);
  }

  linkDown(peer: PeerId, now: Instant): void {
    this.#solicited.delete(peer);
    this.#begun.delete(peer);
    this.#turn.linkDown(peer, now);
    this.#transfers.linkDown(peer);
  }

  timeout(now: Instant): void {
    this.#transfers.timeout(now);
    if (now >= this.#nextAt) {
      this.#nextAt = now + this.#interval();
      const link = pick(this.#context.random, [...this.#context.links.all()]);
      if (link !== undefined) this.#begin(link.peer, now);
    }
    this.#goOn(now);
    if (this.#turn.isIdle && this.#rippleAt !== undefined && now >= this.#rippleAt) this.#ripple(now);
  }

  message(from: PeerId, message: Exclude<LinkMessage, { type: "tell" }>, now: Instant): void {
    if (!this.#steps.admits(from, now)) {
      this.#context.out.fault("flood", from);
      return;
    }
    switch (message.type) {
      case "digest":
        this.#digest(from, message, now);
        break;
      case "sums":
        this.#sums(from, message, now);
        break;
      case "heads":
        this.#heads(from, message, now);
        break;
      case "entries":
        this.#entries(from, message.entries, now);
        break;
      case "records":
        this.#carried(from, message, now);
        break;
      case "want":
        this.#wanted(from, message.prefixes, now);
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
    this.#turn.wait(peer);
    this.#goOn(now);
  }

  /** Begins with whoever waits, if nobody is at it. */
  #goOn(now: Instant): void {
    const { links, out, table } = this.#context;
    for (;;) {
      const peer = this.#turn.next(!this.#isLong(0), now);
      if (peer === undefined) break;
      if (!links.has(peer)) continue;
      this.#begun.set(peer, Math.min(MAX_BEGUN, (this.#begun.get(peer) ?? 0) + 1));
      out.send(peer, encodeDigest(table.digest.root(), table.size));
    }
  }

  #digest(from: PeerId, { root, size }: Extract<LinkMessage, { type: "digest" }>, now: Instant): void {
    const { self, out, table } = this.#context;
    const own = table.digest.root();
    if (own.every((byte, index) => byte === root[index])) return;
    // Where both have begun, the lower one goes on.
    if (self < from && this.#turn.isBegun(from, now)) return;
    if (this.#isLong(size) && !this.#turn.grant(from, now)) {
      this.#turn.wait(from);
      return;
    }
    this.#expect(from, now);
    out.send(from, encodeSums(table.digest.sums(), table.size));
  }

  #sums(from: PeerId, { sums, size }: Extract<LinkMessage, { type: "sums" }>, now: Instant): void {
    const { out, table } = this.#context;
    const begun = this.#begun.get(from) ?? 0;
    if (begun === 0) {
      out.fault("unsolicited", from);
      return;
    }
    this.#begun.set(from, begun - 1);
    const differing = table.digest.differing(sums);
    if (differing === undefined) return;
    if (this.#isLong(size) && !this.#turn.engage(from, TURN_ANSWER_MS, now)) {
      this.#turn.wait(from);
      return;
    }
    this.#expect(from, now);
    for (const { mask, heads } of table.heads(differing, EXCHANGE_MESSAGE_BYTES))
      out.send(from, encodeHeads(mask, heads));
  }

  /** Whether one of two lists is so long that it had better come from one side only. */
  #isLong(theirs: number): boolean {
    return Math.max(this.#context.table.size, theirs) > SMALL_LIST;
  }

  /** Compares what the peer holds in some buckets with what we hold there. */
  #heads(from: PeerId, { mask, heads }: Extract<LinkMessage, { type: "heads" }>, now: Instant): void {
    if (!this.#isExpected(from, now)) return;
    const { table, out } = this.#context;
    const { missing, differing, beyond } = table.compare(mask, heads);
    if (missing.length === 0) this.#turn.end(from, now);
    else if (this.#isLong(missing.length)) this.#turn.engage(from, TURN_ANSWER_MS, now);
    this.#want(from, missing);
    const entries = differing.map((member) => MemberTable.entryOf(member, now));
    for (const packed of packedEntries(entries)) out.send(from, encodeEntries(packed));
    this.#transfers.add(from, beyond, now);
  }

  /** Members of whom the peer holds something else. */
  #entries(from: PeerId, entries: readonly Entry[], now: Instant): void {
    if (!this.#isExpected(from, now)) return;
    const { table, out } = this.#context;
    const push: PeerId[] = [];
    const want: number[] = [];
    const claims: Entry[] = [];
    for (const entry of entries) {
      const member = table.get(entry.id);
      const order = member === undefined ? 1 : compareRecords(entry, member.record);
      const prefix = prefixOf(entry.key);
      if (member === undefined || order > 0) {
        if (isWorthHaving(entry)) want.push(prefix);
      } else if (order < 0) push.push(entry.id);
      else if (entry.down && isThere(member.state)) this.#disputes.claimed(from, entry, now);
      else if (!entry.down && member.state === "down" && !member.lapsed && now - member.since >= CLAIM_AGE_MS)
        claims.push(MemberTable.entryOf(member, now));
      // The peer may have met the beginning of one key with that of another.
      for (const { record } of table.under(prefix)) if (record.id !== entry.id) push.push(record.id);
    }
    this.#want(from, want);
    for (const packed of packedEntries(claims)) out.send(from, encodeClaims(packed));
    if (push.length > 0) this.#transfers.add(from, push, now);
  }

  #want(from: PeerId, prefixes: readonly number[]): void {
    const fit = EXCHANGE_MESSAGE_BYTES / PREFIX_BYTES;
    for (let at = 0; at < prefixes.length; at += fit)
      this.#context.out.send(from, encodeWant(packPrefixes(prefixes.slice(at, at + fit))));
  }

  #wanted(from: PeerId, prefixes: Uint8Array, now: Instant): void {
    const ids: PeerId[] = [];
    for (const prefix of prefixesIn(prefixes))
      for (const { record } of this.#context.table.under(prefix)) ids.push(record.id);
    this.#transfers.add(from, ids, now);
  }

  #carried(from: PeerId, { records, more }: Extract<LinkMessage, { type: "records" }>, now: Instant): void {
    if (!this.#isExpected(from, now)) return;
    this.#expect(from, now);
    if (more) this.#turn.engage(from, TURN_RECORDS_MS, now);
    else this.#turn.end(from, now);
    for (const { record, down, ageSeconds } of records) {
      if (!isWorthHaving({ down, ageSeconds })) continue;
      const standing: Standing = down || record.status === "left" ? { there: false, ageMs: ageSeconds * 1_000 } : HERE;
      this.#records.offered(record, standing, { via: "link", from }, true, now);
    }
  }

  /** Passes on what exchanges have taught. */
  #ripple(now: Instant): void {
    const { out, table, links } = this.#context;
    this.#rippleAt = undefined;
    const few = this.#newsCount <= BULK_RECORDS && table.size > 2 * this.#newsCount;
    if (!few) this.#crowdedUntil = now + CROWD_MS;
    if (now >= this.#crowdedUntil) for (const record of this.#news) out.broadcast(encodePayload("record", record));
    else for (const { peer } of links.all()) this.#turn.wait(peer);
    this.#news = [];
    this.#newsCount = 0;
    this.#goOn(now);
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
function isWorthHaving({ down, ageSeconds }: Pick<Entry, "down" | "ageSeconds">): boolean {
  return !down || ageSeconds * 1_000 < REMEMBER_MS * 0.9;
}

function* packedEntries(entries: readonly Entry[]): Generator<Uint8Array> {
  const fit = Math.floor(EXCHANGE_MESSAGE_BYTES / ENTRY_BYTES);
  for (let at = 0; at < entries.length; at += fit) yield packEntries(entries.slice(at, at + fit));
}

/**
 * Digests of ours that one peer may owe an answer to: one each ripple for the ten seconds by which a machine may be late on which many
 * agents join at once. Equal ones are never answered.
 */
const MAX_BEGUN = 32;

const HERE: Standing = { there: true };
