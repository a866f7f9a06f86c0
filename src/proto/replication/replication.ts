import { utf8 } from "../bytes.ts";
import { Deadlines, earlier } from "../deadlines.ts";
import { type Instant, type Machine, NOTHING } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { Lane } from "../streams/lanes.ts";
import { Answers } from "./answers.ts";
import { Applying } from "./applying.ts";
import { Changes, type ChangesPage } from "./changes.ts";
import { Conditions } from "./conditions.ts";
import { Conversation } from "./conversation.ts";
import { Copies } from "./copies.ts";
import type { ConditionalWrite, Outlet, ReplicationFault, ReplicationInput, ReplicationOutput } from "./effects.ts";
import { encodeKey, pathOf } from "./entry.ts";
import type { ExchangeTools } from "./exchange.ts";
import { Fetches } from "./fetches.ts";
import { HybridClock } from "./hlc.ts";
import { Intake } from "./intake.ts";
import { Journal } from "./journal.ts";
import { BUSY_RETRY_MS, DEFAULT_QUOTAS, WANT_TOGETHER } from "./limits.ts";
import type { ReplicationOptions } from "./options.ts";
import { Peers } from "./peers.ts";
import type { Policy } from "./policy.ts";
import { Publishing } from "./publishing.ts";
import { Receipts } from "./receipts.ts";
import { Requests } from "./requests.ts";
import { Rounds } from "./rounds.ts";
import { Snapshot } from "./snapshot.ts";
import { type BucketSummary, type ListOptions, type Page, type ReadEntry, Store } from "./store.ts";
import { Tokens } from "./tokens.ts";
import { Wants } from "./wants.ts";
import { Writes } from "./writes.ts";

/**
 * The replicated key-value store: every bucket on every member, in memory, and durable where the host has a store.
 *
 * A write is stamped by a hybrid logical clock (`hlc.ts`), signed in a batch (`writes.ts`, `batch.ts`), stored, and
 * broadcast. A member that is delivered a batch checks it (`intake.ts`) and keeps what wins (`store.ts`): last writer
 * by clock, then author, then value hash. Values above 48 KiB are announced and pulled (`fetches.ts`). What broadcast
 * misses, anti-entropy finds: with each new link and every 30 s (`rounds.ts`), by comparing fingerprints of ever
 * smaller ranges (`exchange.ts`, `answers.ts`) and asking for what is missing from one peer only (`wants.ts`). A
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
  readonly #self: PeerId;
  readonly #store: Store;
  readonly #clock = new HybridClock();
  readonly #tokens: Tokens;
  readonly #changes: Changes;
  readonly #journal: Journal;
  readonly #peers = new Peers();
  readonly #requests = new Requests();
  readonly #wants: Wants;
  readonly #fetches: Fetches;
  readonly #receipts: Receipts;
  readonly #copies: Copies;
  readonly #conditions: Conditions;
  readonly #applying: Applying;
  readonly #writes: Writes;
  readonly #publishing: Publishing;
  readonly #intake: Intake;
  readonly #rounds: Rounds;
  readonly #conversation: Conversation;
  readonly #paused = new Deadlines<PeerId>();
  #members = 1;
  #now: Instant = 0;
  /** Outputs of the input being handled. */
  #out: ReplicationOutput[] = [];

  constructor(options: ReplicationOptions) {
    this.#self = options.self;
    const { restoration } = options;
    this.#store = restoration?.store ?? new Store(options.quotas ?? DEFAULT_QUOTAS);
    this.#changes = new Changes(options.random.fork("cursors"));
    const outlet = this.#outlet();
    this.#journal = new Journal(outlet, this.#changes, this.#clock, restoration);
    this.#tokens = new Tokens(options.tokenOf, (name, token) => this.#journal.token(name, token), restoration?.tokens);
    const requests = this.#requests;
    const store = this.#store;
    this.#wants = new Wants(outlet, requests);
    this.#fetches = new Fetches(outlet, requests, {
      isWanted: ({ head, index }, batch, now) => store.standing(head, batch, index, now) === "fresh",
      mayAsk: (peer) => this.#peers.mayAsk(peer, this.#now),
      fetched: (entry, token, now) => {
        const isStored = this.#applying.apply(entry, token, now, true).type !== "quota";
        if (isStored && entry.batch.digests.length === 32) this.#applying.acknowledge(entry.batch, true, now);
      },
    });
    this.#receipts = new Receipts(outlet);
    this.#copies = new Copies({
      outlet,
      store,
      requests,
      peers: this.#peers,
      storers: options.storers ?? (() => []),
      evict: (entry) => this.#applying.evict(entry),
    });
    this.#applying = new Applying({
      outlet,
      store,
      tokens: this.#tokens,
      changes: this.#changes,
      journal: this.#journal,
      wants: this.#wants,
      peers: this.#peers,
      copies: this.#copies,
      stored: (entry, at) => this.#conditions.stored(entry, at),
      missed: () => this.#rounds.missed(),
    });
    const audience = (bucket: string, path: number) => this.#copies.audience([{ bucket, path }]);
    this.#writes = new Writes(outlet, store, this.#clock, audience, () => {
      const { size, bytes } = this.#receipts;
      return { writes: size, bytes: bytes + this.#journal.bytes };
    });
    this.#conditions = new Conditions({
      outlet,
      store,
      clock: this.#clock,
      requests,
      copies: this.#copies,
      journal: this.#journal,
      scopesOf: options.scopesOf ?? (() => ["*"]),
      writes: this.#writes,
      random: options.random.fork("conditions"),
      peers: this.#peers,
      members: () => this.#members,
    });
    this.#publishing = new Publishing({
      outlet,
      store,
      writes: this.#writes,
      journal: this.#journal,
      receipts: this.#receipts,
      apply: (entry, token, now) => this.#applying.apply(entry, token, now),
      audience: (entries) => this.#copies.audience(entries),
    });
    const { scope } = this.#copies;
    const tools: ExchangeTools = { outlet, store, requests, wants: this.#wants, fetches: this.#fetches, scope };
    this.#intake = new Intake(
      { ...tools, clock: this.#clock, tokens: this.#tokens },
      {
        apply: (entry, token, now) => this.#applying.apply(entry, token, now),
        stored: (batch, isBroadcast, now) => this.#applying.acknowledge(batch, isBroadcast, now),
      },
    );
    this.#rounds = new Rounds(tools, this.#peers, options.random.fork("exchanges"));
    this.#conversation = new Conversation({
      tools,
      peers: this.#peers,
      intake: this.#intake,
      receipts: this.#receipts,
      rounds: this.#rounds,
      answers: new Answers(tools, this.#rounds, this.#tokens),
      shun: (peer, fault, now) => this.#shun(peer, fault, now),
      pause: (peer, now) => this.#pause(peer, now),
      durable: (run, now) => this.#journal.after(run, now),
      copies: this.#copies,
      conditions: this.#conditions,
    });
  }

  #outlet(): Outlet {
    return {
      self: this.#self,
      send: (peer, bytes) => {
        this.#out.push({ type: "send", peer, lane: Lane.data, bytes });
      },
      emit: (output) => {
        if (!this.#conditions.hears(output, this.#now)) this.#out.push(output);
      },
      fault: (peer, fault) => {
        this.#out.push(peer === undefined ? { type: "fault", fault } : { type: "fault", peer, fault });
      },
      isLinked: (peer) => this.#peers.conduct(peer) !== undefined,
    };
  }

  handle(input: ReplicationInput, now: Instant): readonly ReplicationOutput[] {
    this.#now = now;
    this.#take(input, now);
    this.#advance(now);
    this.#journal.flush(now);
    if (this.#out.length === 0) return NOTHING;
    const out = this.#out;
    this.#out = [];
    return out;
  }

  #take(input: ReplicationInput, now: Instant): void {
    switch (input.type) {
      case "message":
        this.#conversation.message(input.peer, input.bytes, now);
        return;
      case "delivered":
        this.#conversation.delivered(input.id, input.from, input.payload, now);
        return;
      case "verified":
        this.#intake.verified(input.resume, input.token, now);
        return;
      case "put":
      case "delete":
        if (isConditional(input)) this.#conditions.begin(input, now);
        else this.#writes.take(input, this.#members, now);
        return;
      case "transaction":
        this.#writes.transact(input, this.#peers.size, this.#members, now);
        return;
      case "signed":
        this.#publishing.signed(input.resume, input.signature, now);
        return;
      case "timeout":
        this.#timeout(now);
        return;
      case "link-up":
        if (this.#peers.conduct(input.peer) !== undefined) this.#linkDown(input.peer, now);
        this.#peers.add(input.peer, now);
        this.#rounds.linkUp(input.peer, now);
        return;
      case "link-down":
        this.#linkDown(input.peer, now);
        return;
      case "members":
        this.#members = Math.max(1, input.count);
        this.#copies.members(now);
        return;
      case "credentials":
        this.#writes.credentials(input.token, input.scopes, input.expiresAt);
        return;
      case "routed":
        this.#conversation.routed(input.peer, input.bytes);
        return;
      case "read":
        this.#read(input, now);
        return;
      case "drain":
        this.#copies.drain(now);
        return;
      case "stored":
        this.#journal.stored(input.sequence, now);
        return;
    }
  }

  deadline(): Instant | undefined {
    const parts = [
      this.#writes,
      this.#requests,
      this.#receipts,
      this.#wants,
      this.#fetches,
      this.#intake,
      this.#rounds,
    ];
    let next = earlier(this.#paused.next(), this.#store.nextPurge());
    for (const part of [...parts, this.#copies, this.#conditions]) next = earlier(next, part.deadline());
    return next;
  }

  /** The value of a key; undefined when there is none. */
  get(bucket: string, key: string): ReadEntry | undefined {
    return this.#store.get(bucket, key);
  }

  /** A page of live keys of a bucket, in the order of their UTF-8 bytes. */
  list(bucket: string, options: ListOptions = {}): Page {
    return this.#store.list(bucket, options);
  }

  /** All buckets with content, by name. */
  buckets(): readonly BucketSummary[] {
    return this.#store.summaries();
  }

  /** The cursor of the latest change: where a watcher that has just read a bucket begins. */
  get cursor(): number {
    return this.#changes.cursor;
  }

  /** Whether this member is to hold the key; if not, only `read` finds it. */
  isMine(bucket: string, key: string): boolean {
    return !this.#copies.isPlacing || this.#copies.scope.isMine(bucket, pathOf(utf8(key)));
  }

  /** Whether any bucket is not on every member: `members` is then told of every change. */
  get isPlacing(): boolean {
    return this.#copies.isPlacing;
  }

  /** What holds for a bucket. */
  policy(bucket: string): Policy {
    return this.#store.policy(bucket);
  }

  /** Everything stored at this instant, to be written down at leisure. */
  snapshot(): Snapshot {
    const { latest: cursor, forgotten } = this.#changes;
    const meta = { clock: this.#clock.last, cursor, forgotten, servedAt: Math.floor(this.#now) };
    return new Snapshot(this.#store.all(), (name) => this.#tokens.byName(name), meta);
  }

  /** What has changed in a bucket after `cursor`, each key once, at most 1,024; `lost` when the cursor is too old. */
  changesSince(cursor: number, bucket: string, prefix = ""): ChangesPage {
    return this.#changes.since(cursor, this.#store, bucket, prefix);
  }

  #read({ request, bucket, key, isQuorum }: Extract<ReplicationInput, { type: "read" }>, now: Instant): void {
    const keyBytes = encodeKey(key);
    if (keyBytes === undefined) this.#out.push({ type: "read", request, entry: undefined });
    else this.#copies.read(request, bucket, pathOf(keyBytes), key, isQuorum, now);
  }

  #linkDown(peer: PeerId, now: Instant): void {
    this.#peers.remove(peer);
    this.#forget(peer, now);
  }

  /** Nothing is expected of the peer any more. */
  #forget(peer: PeerId, now: Instant): void {
    this.#paused.clear(peer);
    this.#conditions.reservations.drop(peer);
    for (const asked of this.#requests.drop(peer)) {
      if (asked.type === "tokens") this.#intake.tokensFailed(asked.names);
      else if (asked.type === "reserve") this.#conditions.lost(asked.request, peer, now);
      else this.#copies.unanswered(asked, now);
    }
    this.#wants.drop(peer);
    this.#fetches.drop(peer, now);
    this.#rounds.linkDown(peer, now);
  }

  #shun(peer: PeerId, fault: ReplicationFault, now: Instant): void {
    const conduct = this.#peers.conduct(peer);
    if (conduct === undefined || conduct.ignored) return;
    conduct.ignored = true;
    this.#forget(peer, now);
    this.#out.push({ type: "fault", peer, fault });
  }

  #pause(peer: PeerId, now: Instant): void {
    const conduct = this.#peers.conduct(peer);
    if (conduct === undefined) return;
    conduct.pausedUntil = now + BUSY_RETRY_MS;
    this.#paused.set(peer, conduct.pausedUntil);
  }

  #timeout(now: Instant): void {
    for (let request = this.#requests.expire(now); request !== undefined; request = this.#requests.expire(now)) {
      this.#conversation.unanswered(request.peer, request.asked, now);
    }
    while (this.#paused.take(now) !== undefined);
    this.#writes.timeout(this.#peers.size, this.#members, now);
    this.#receipts.timeout(this.#peers.ids(), now);
    this.#conditions.timeout(now);
    this.#wants.timeout(now);
    this.#fetches.timeout(now);
    this.#intake.timeout(now);
    this.#store.purge(now, (tombstone) => this.#applying.forget(tombstone));
  }

  /** Everything that is possible after a change is done before the next input. */
  #advance(now: Instant): void {
    const stuck = this.#rounds.advance(now);
    if (stuck !== undefined) this.#shun(stuck, "no-progress", now);
    if (this.#journal.isBehind) return;
    if (this.#wants.size > 0) {
      for (const peer of this.#wants.sources()) {
        const isEarly = this.#rounds.isComparing(peer) && this.#wants.queued(peer) < WANT_TOGETHER;
        if (!isEarly && this.#peers.mayAsk(peer, now)) this.#wants.pump(peer, now);
      }
    }
    this.#fetches.pump(now);
    this.#copies.advance(now);
  }
}

function isConditional(write: Extract<ReplicationInput, { type: "put" | "delete" }>): write is ConditionalWrite {
  return write.ifVersion !== undefined;
}
