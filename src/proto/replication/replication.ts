import { utf8 } from "../bytes.ts";
import { Deadlines, earlier } from "../deadlines.ts";
import type { Instant, Machine } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { AsideEntry } from "./aside.ts";
import type { ChangesPage } from "./changes.ts";
import type { ConditionalWrite, ReplicationFault, ReplicationInput, ReplicationOutput } from "./effects.ts";
import { pathOf } from "./entry.ts";
import { BUSY_RETRY_MS, WANT_TOGETHER } from "./limits.ts";
import type { ReplicationOptions } from "./options.ts";
import { Parts } from "./parts.ts";
import type { Policy } from "./policy.ts";
import type { Standing } from "./service.ts";
import { Snapshot } from "./snapshot.ts";
import type { BucketSummary, ListOptions, Page, ReadEntry } from "./store.ts";

/**
 * The replicated key-value store: every bucket on every member, in memory, and durable where the host has a store.
 *
 * A write is stamped by a hybrid logical clock (`hlc.ts`), signed in a batch (`writes.ts`, `batch.ts`), stored, and
 * broadcast. A member that is delivered a batch checks it (`intake.ts`) and keeps what wins (`store.ts`): last writer
 * by clock, then author, then value hash. Values above 48 KiB are announced and pulled (`fetches.ts`). What broadcast
 * misses, anti-entropy finds: with each new link and every 30 s (`rounds.ts`) two replicas compare the sums of their
 * buckets, and sketches of those that differ (`exchange.ts`, `comparing.ts`); what is missing is asked of one peer only (`wants.ts`). A
 * write is acknowledged when enough members say that they hold it (`receipts.ts`).
 *
 * A durable replica says nothing about a write before its store has it (`journal.ts`): the author broadcasts and a
 * member acknowledges only then, and what a replica has acknowledged it has again after a crash (`restoration.ts`).
 *
 * It decides what is stored and who is told. It does not decide who may write (the token does), whom to link to, or
 * how a broadcast travels. It trusts the driver's verification and clock, and nothing that a peer says: a lie about
 * what a peer holds costs a few messages and in the end the peer its say; an entry without its author's signature and
 * token never reaches the store.
 *
 * This is no consensus: two members may write one key at once, both writes are acknowledged, and the later clock wins
 * everywhere. A conditional write asks a majority of the key's replicas first (`conditions.ts`).
 */

/** One member's replica of all buckets: a machine, and pure reads of what is stored. */
export class Replication implements Machine<ReplicationInput, ReplicationOutput> {
  readonly #parts: Parts;
  readonly #paused = new Deadlines<PeerId>();
  #members = 1;
  #now: Instant = 0;

  constructor(options: ReplicationOptions) {
    this.#parts = new Parts(options, {
      now: () => this.#now,
      members: () => this.#members,
      shun: (peer, fault, now) => this.#shun(peer, fault, now),
      pause: (peer, now) => this.#pause(peer, now),
    });
  }

  handle(input: ReplicationInput, now: Instant): readonly ReplicationOutput[] {
    this.#now = now;
    this.#parts.following.service.begin(now);
    this.#take(input, now);
    this.#advance(now);
    if (this.#parts.journal.flush()) this.#parts.following.service.stored(now);
    return this.#parts.outlet.take();
  }

  #take(input: ReplicationInput, now: Instant): void {
    switch (input.type) {
      case "message":
        this.#parts.conversation.message(input.peer, input.bytes, now);
        return;
      case "delivered":
        this.#parts.conversation.delivered(input.id, input.from, input.payload, now);
        return;
      case "verified":
        this.#parts.intake.verified(input.resume, input.token, now);
        return;
      case "put":
      case "delete":
        if (isConditional(input)) this.#parts.conditions.begin(input, now);
        else this.#parts.writes.take(input, this.#members, now);
        return;
      case "transaction":
        this.#parts.writes.transact(input, this.#parts.peers.size, this.#members, now);
        return;
      case "signed":
        this.#parts.publishing.signed(input.resume, input.signature, now);
        return;
      case "timeout":
        this.#timeout(now);
        return;
      case "link-up":
        if (this.#parts.peers.conduct(input.peer) !== undefined) this.#linkDown(input.peer, now);
        this.#parts.peers.add(input.peer, now);
        this.#parts.following.tell(input.peer);
        this.#parts.rounds.linkUp(input.peer, now);
        return;
      case "link-down":
        this.#linkDown(input.peer, now);
        return;
      case "members":
        this.#members = Math.max(1, input.count);
        this.#parts.copies.members(now);
        return;
      case "credentials":
        this.#parts.writes.credentials(input.token, input.scopes, input.expiresAt);
        return;
      case "routed":
        this.#parts.conversation.routed(input.peer, input.bytes);
        return;
      case "read":
        this.#parts.copies.take(input, now);
        return;
      case "judge":
        this.#parts.judgement.begin(now);
        return;
      case "drain":
        this.#parts.copies.drain(now);
        return;
      case "stored":
        this.#parts.journal.stored(input.sequence, now);
        return;
    }
  }

  deadline(): Instant | undefined {
    let next = earlier(this.#paused.next(), this.#parts.store.nextPurge());
    for (const part of this.#parts.timed) next = earlier(next, part.deadline());
    return next;
  }

  /** The value of a key; undefined when there is none. */
  get(bucket: string, key: string): ReadEntry | undefined {
    return this.#parts.store.get(bucket, key);
  }

  /** A page of live keys of a bucket, in the order of their UTF-8 bytes. */
  list(bucket: string, options: ListOptions = {}): Page {
    return this.#parts.store.list(bucket, options);
  }

  /** All buckets with content, by name. */
  buckets(): readonly BucketSummary[] {
    return this.#parts.store.summaries();
  }

  /** The cursor of the latest change: where a watcher that has just read a bucket begins. */
  get cursor(): number {
    return this.#parts.changes.cursor;
  }

  /** Whether this member is to hold the key; if not, only `read` finds it. */
  isMine(bucket: string, key: string): boolean {
    return !this.#parts.copies.isPlacing || this.#parts.copies.scope.isMine(bucket, pathOf(utf8(key)));
  }

  /** Whether any bucket is not on every member: `members` is then told of every change. */
  get isPlacing(): boolean {
    return this.#parts.copies.isPlacing;
  }

  /** What holds for a bucket. */
  policy(bucket: string): Policy {
    return this.#parts.store.policy(bucket);
  }

  /** Everything stored at this instant, to be written down at leisure. */
  snapshot(): Snapshot {
    const { latest: cursor, forgotten } = this.#parts.changes;
    const meta = { clock: this.#parts.clock.last, cursor, forgotten, service: this.#parts.following.service.record };
    return new Snapshot(this.#parts.store.all(), (name) => this.#parts.tokens.byName(name), meta);
  }

  /** Whether this replica knows what was deleted. */
  get standing(): Standing {
    return this.#parts.following.service.standing;
  }

  /** What was written here while this replica was away, and is kept apart. */
  setAside(): readonly AsideEntry[] {
    return this.#parts.aside.entries();
  }

  /** What has changed in a bucket after `cursor`, each key once, at most 1,024; `lost` when the cursor is too old. */
  changesSince(cursor: number, bucket: string, prefix = ""): ChangesPage {
    return this.#parts.changes.since(cursor, this.#parts.store, bucket, prefix);
  }

  #linkDown(peer: PeerId, now: Instant): void {
    this.#parts.peers.remove(peer);
    this.#forget(peer, now);
  }

  /** Nothing is expected of the peer any more. */
  #forget(peer: PeerId, now: Instant): void {
    this.#paused.clear(peer);
    this.#parts.conditions.reservations.drop(peer);
    for (const asked of this.#parts.requests.drop(peer)) {
      if (asked.type === "tokens") this.#parts.intake.tokensFailed(asked.names);
      else if (asked.type === "reserve") this.#parts.conditions.lost(asked.request, peer, now);
      else this.#parts.copies.unanswered(asked, now);
    }
    this.#parts.wants.drop(peer);
    this.#parts.fetches.drop(peer, now);
    this.#parts.copies.surveys.drop(peer, now);
    this.#parts.rounds.linkDown(peer, now);
  }

  #shun(peer: PeerId, fault: ReplicationFault, now: Instant): void {
    const conduct = this.#parts.peers.conduct(peer);
    if (conduct === undefined || conduct.ignored) return;
    conduct.ignored = true;
    this.#forget(peer, now);
    this.#parts.outlet.emit({ type: "fault", peer, fault });
  }

  #pause(peer: PeerId, now: Instant): void {
    const conduct = this.#parts.peers.conduct(peer);
    if (conduct === undefined) return;
    conduct.pausedUntil = now + BUSY_RETRY_MS;
    this.#paused.set(peer, conduct.pausedUntil);
  }

  #timeout(now: Instant): void {
    for (
      let request = this.#parts.requests.expire(now);
      request !== undefined;
      request = this.#parts.requests.expire(now)
    ) {
      this.#parts.conversation.unanswered(request.peer, request.asked, now);
    }
    while (this.#paused.take(now) !== undefined);
    this.#parts.writes.timeout(this.#parts.peers.size, this.#members, now);
    this.#parts.receipts.timeout(this.#parts.peers.askable(now), now);
    this.#parts.conditions.timeout(now);
    this.#parts.judgement.timeout(now);
    this.#parts.wants.timeout(now);
    this.#parts.fetches.timeout(now);
    this.#parts.intake.timeout(now);
    this.#parts.comparing.timeout(now);
    this.#parts.copies.surveys.timeout(now);
    this.#parts.following.service.timeout(now);
    this.#parts.store.purge(now, (tombstone) => this.#parts.applying.forget(tombstone));
  }

  /** Everything that is possible after a change is done before the next input. */
  #advance(now: Instant): void {
    const stuck = this.#parts.rounds.advance(now);
    if (stuck !== undefined) this.#shun(stuck, "no-progress", now);
    this.#parts.copies.advance(now);
    if (this.#parts.journal.isBehind) return;
    if (this.#parts.wants.size > 0) {
      for (const peer of this.#parts.wants.sources()) {
        const isEarly = this.#parts.rounds.isComparing(peer) && this.#parts.wants.queued(peer) < WANT_TOGETHER;
        if (!isEarly && this.#parts.peers.mayAsk(peer, now)) this.#parts.wants.pump(peer, now);
      }
    }
    this.#parts.fetches.pump(now);
  }
}

function isConditional(write: Extract<ReplicationInput, { type: "put" | "delete" }>): write is ConditionalWrite {
  return write.ifVersion !== undefined;
}
