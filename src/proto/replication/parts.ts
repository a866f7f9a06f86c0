import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { Answers } from "./answers.ts";
import { Applying } from "./applying.ts";
import { Aside } from "./aside.ts";
import { Changes } from "./changes.ts";
import { Comparing } from "./comparing.ts";
import { Conditions } from "./conditions.ts";
import { Conversation } from "./conversation.ts";
import { Copies } from "./copies.ts";
import type { ReplicationFault } from "./effects.ts";
import type { ExchangeTools } from "./exchange.ts";
import { Fetches } from "./fetches.ts";
import { Following } from "./following.ts";
import { HybridClock } from "./hlc.ts";
import { Intake } from "./intake.ts";
import { Journal } from "./journal.ts";
import { Judgement } from "./judgement.ts";
import { DEFAULT_QUOTAS } from "./limits.ts";
import type { ReplicationOptions } from "./options.ts";
import { Outbox } from "./outbox.ts";
import { Peers } from "./peers.ts";
import { Publishing } from "./publishing.ts";
import { Receipts } from "./receipts.ts";
import { Requests } from "./requests.ts";
import { Rounds } from "./rounds.ts";
import type { ServiceRecord } from "./service.ts";
import { Store } from "./store.ts";
import { Tokens } from "./tokens.ts";
import { Wants } from "./wants.ts";
import { Writes } from "./writes.ts";

/** What the parts ask of the whole. */
export interface PartsOwner {
  readonly now: () => Instant;
  readonly members: () => number;
  /** Ends all dealings with a peer. */
  readonly shun: (peer: PeerId, fault: ReplicationFault, now: Instant) => void;
  /** Asks nothing of a peer for a while. */
  readonly pause: (peer: PeerId, now: Instant) => void;
}

/** The parts of a replica, put together. */
export class Parts {
  readonly store: Store;
  readonly clock = new HybridClock();
  readonly tokens: Tokens;
  readonly changes: Changes;
  readonly journal: Journal;
  readonly peers = new Peers();
  readonly requests = new Requests();
  readonly wants: Wants;
  readonly fetches: Fetches;
  readonly receipts: Receipts;
  readonly copies: Copies;
  readonly conditions: Conditions;
  readonly applying: Applying;
  readonly judgement: Judgement;
  readonly writes: Writes;
  readonly publishing: Publishing;
  readonly intake: Intake;
  readonly rounds: Rounds;
  readonly comparing: Comparing;
  readonly following: Following;
  readonly aside: Aside;
  readonly outlet: Outbox;
  readonly conversation: Conversation;
  /** The parts that want to be woken. */
  readonly timed: readonly { deadline(): Instant | undefined }[];

  constructor(options: ReplicationOptions, owner: PartsOwner) {
    const { restoration } = options;
    this.store = restoration?.store ?? new Store(options.quotas ?? DEFAULT_QUOTAS, options.random.fork("versions"));
    this.changes = new Changes(options.random.fork("cursors"));
    const outlet = new Outbox(options.self, this.peers, (output) => this.conditions.hears(output, owner.now()));
    this.outlet = outlet;
    const record = (): ServiceRecord => this.following.service.record;
    this.journal = new Journal(outlet, this.changes, this.clock, record, restoration);
    this.aside = new Aside((row) => this.journal.row(row), restoration?.aside ?? []);
    this.tokens = new Tokens(options.tokenOf, (name, token) => this.journal.token(name, token), restoration?.tokens);
    const faulty = (peer: PeerId, fault: ReplicationFault, now: Instant): void => {
      if (fault === "no-progress") owner.shun(peer, fault, now);
      else outlet.fault(peer, fault);
    };
    const requests = this.requests;
    const store = this.store;
    this.wants = new Wants(outlet, requests);
    this.fetches = new Fetches(outlet, requests, {
      isWanted: ({ head, index }, batch, now) => store.standing(head, batch, index, now) === "fresh",
      mayAsk: (peer) => this.peers.mayAsk(peer, owner.now()),
      fetched: (entry, token, now) => {
        const { type } = this.applying.apply(entry, token, now, true);
        if (type !== "quota" && type !== "void" && entry.batch.digests.length === 32)
          this.applying.acknowledge(entry.batch, true, now);
      },
      superseded: (batch, now) => {
        if (batch.digests.length === 32) this.applying.acknowledge(batch, true, now);
      },
    });
    this.receipts = new Receipts(outlet);
    this.copies = new Copies({
      outlet,
      store,
      requests,
      peers: this.peers,
      storers: options.storers ?? (() => []),
      evict: (entry) => this.applying.evict(entry),
      isAway: () => this.following.service.standing.isAway,
      random: options.random.fork("surveys"),
      durable: (run, now) => this.journal.after(run, now),
      faulty,
    });
    this.judgement = new Judgement({
      store,
      tokens: this.tokens,
      voids: options.voids ?? (() => false),
      withdraw: (entry, now) => this.applying.withdraw(entry, now),
    });
    const { isVoid } = this.judgement;
    this.applying = new Applying({
      outlet,
      store,
      tokens: this.tokens,
      changes: this.changes,
      journal: this.journal,
      wants: this.wants,
      peers: this.peers,
      copies: this.copies,
      aside: this.aside,
      isVoid,
      stored: (entry, at) => this.conditions.stored(entry, at),
      missed: () => this.rounds.missed(),
    });
    const audience = (bucket: string, path: number) => this.copies.audience([{ bucket, path }]);
    this.writes = new Writes(outlet, store, this.clock, audience, () => {
      const { size, bytes } = this.receipts;
      return { writes: size, bytes: bytes + this.journal.bytes };
    });
    this.conditions = new Conditions({
      outlet,
      store,
      clock: this.clock,
      requests,
      copies: this.copies,
      journal: this.journal,
      scopesOf: options.scopesOf ?? (() => ["*"]),
      writes: this.writes,
      random: options.random.fork("conditions"),
      peers: this.peers,
      members: owner.members,
    });
    this.publishing = new Publishing({
      outlet,
      store,
      writes: this.writes,
      journal: this.journal,
      receipts: this.receipts,
      apply: (entry, token, now) => this.applying.apply(entry, token, now),
      audience: (entries) => this.copies.audience(entries),
    });
    const { scope } = this.copies;
    this.following = new Following(
      {
        outlet,
        store,
        peers: this.peers,
        scope,
        applying: this.applying,
        aside: this.aside,
        touch: () => this.journal.touch(),
        isAlone: options.isAlone ?? (() => owner.members() === 1 && this.peers.size === 0),
        turned: (peer, now) => this.rounds.turned(peer, now),
      },
      this.journal.restored,
    );
    this.comparing = new Comparing({
      outlet,
      store,
      scope,
      wants: this.wants,
      fetches: this.fetches,
      peers: this.peers,
      random: options.random.fork("comparisons"),
      finished: (peer, bucket, ending, now) => this.rounds.finished(peer, bucket, ending, now),
      crowded: (peer) => this.rounds.crowded(peer),
      relation: (peer) => this.rounds.relation(peer),
      part: (bucket, ids, now) => this.following.part(bucket, ids, now),
      faulty,
    });
    const tools: ExchangeTools = {
      outlet,
      store,
      requests,
      wants: this.wants,
      fetches: this.fetches,
      scope,
      comparing: this.comparing,
    };
    this.intake = new Intake(
      { ...tools, clock: this.clock, tokens: this.tokens, isVoid },
      {
        apply: (entry, token, now) => this.applying.apply(entry, token, now),
        stored: (batch, isBroadcast, now) => this.applying.acknowledge(batch, isBroadcast, now),
      },
    );
    const comparesFrom = (): Instant => this.copies.comparesFrom(owner.members());
    this.rounds = new Rounds(tools, this.peers, this.following, options.random.fork("exchanges"), comparesFrom);
    this.conversation = new Conversation({
      tools,
      peers: this.peers,
      intake: this.intake,
      receipts: this.receipts,
      rounds: this.rounds,
      answers: new Answers(tools, this.rounds, this.tokens),
      shun: (peer, fault, now) => owner.shun(peer, fault, now),
      pause: (peer, now) => owner.pause(peer, now),
      durable: (run, now) => this.journal.after(run, now),
      copies: this.copies,
      conditions: this.conditions,
      service: this.following.service,
    });
    const { service } = this.following;
    this.timed = [
      ...[requests, this.writes, this.receipts, this.wants, this.fetches, this.intake],
      ...[this.rounds, this.comparing, service, this.copies, this.copies.surveys, this.conditions, this.judgement],
    ];
  }
}
