import { Deadlines, earlier } from "../deadlines.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { below, pick, type Random, randomBytes } from "../random.ts";
import type { Ending } from "../reconcile/reconciler.ts";
import { Exchange, type ExchangeTools } from "./exchange.ts";
import type { Following } from "./following.ts";
import {
  BUSY_RETRY_MS,
  EXCHANGE_INTERVAL_MS,
  EXCHANGE_SPREAD_MS,
  LEASE_IDLE_MS,
  LEASE_MAX_MS,
  RIPPLE_SPREAD_MS,
} from "./limits.ts";
import { encodeDone, encodeRoot } from "./messages.ts";
import type { Peers } from "./peers.ts";
import type { Relation } from "./service.ts";
import { fingerprint, ROOT_BYTES, SALT_BYTES } from "./sum.ts";

/**
 * With whom this replica exchanges, and when.
 *
 * A link that comes up is compared once, by its side with the lower id; every 30 s that link is which has waited longest: what only
 * two of many replicas have in common only they can compare. Two equal replicas find out with one message each way. Where they differ, a replica takes part in one exchange at a time, on
 * either side, and answers `busy` to others until what it lacks has arrived: a member that comes up with many links
 * is told of everything by one of them, and the others then find it equal. What an exchange brings that is too old to
 * be on its way by broadcast makes a replica compare its other links at once, so news crosses a mesh that was cut hop
 * by hop. A side that is busy is asked again soon; a member that has just come back is busy, and asks nobody, until it knows the others
 * (`copies.ts`). Nobody can keep a replica for itself: a lease ends after 20 s, and its own turn comes next.
 */

type Phase =
  | { readonly type: "idle" }
  | { readonly type: "asking"; readonly peer: PeerId; readonly salt: Uint8Array }
  | { readonly type: "comparing"; readonly exchange: Exchange };

/** The peer whose exchange with us is under way. */
interface Lease {
  readonly peer: PeerId;
  readonly since: Instant;
  until: Instant;
}

const IDLE: Phase = { type: "idle" };

/** The turns of a replica's exchanges. */
export class Rounds {
  readonly #tools: ExchangeTools;
  readonly #peers: Peers;
  readonly #random: Random;
  readonly #following: Following;
  readonly #comparesFrom: () => Instant;
  /** When each peer's turn is. */
  readonly #due = new Deadlines<PeerId>();
  /** The links, and first that with which we have begun nothing for longest. */
  readonly #links = new Set<PeerId>();
  #phase: Phase = IDLE;
  #lease: Lease | undefined;
  #periodicAt: Instant | undefined;
  /** An exchange has brought what a broadcast had missed. */
  #hasNews = false;

  /** @param comparesFrom from when on what is held here may be compared. */
  constructor(tools: ExchangeTools, peers: Peers, following: Following, random: Random, comparesFrom: () => Instant) {
    this.#comparesFrom = comparesFrom;
    this.#following = following;
    this.#tools = tools;
    this.#peers = peers;
    this.#random = random;
  }

  linkUp(peer: PeerId, now: Instant): void {
    this.#periodicAt ??= now + this.#interval();
    this.#links.add(peer);
    if (this.#tools.outlet.self < peer) this.#due.set(peer, now + below(this.#random, EXCHANGE_SPREAD_MS));
  }

  linkDown(peer: PeerId, now: Instant): void {
    this.#due.clear(peer);
    this.#links.delete(peer);
    this.#tools.comparing.drop(peer, now);
    if (this.#lease?.peer === peer) this.#lease = undefined;
    if (this.#peer() === peer) this.#elsewhere(peer, now);
    if (this.#peers.size === 0) this.#periodicAt = undefined;
  }

  #peer(): PeerId | undefined {
    if (this.#phase.type === "idle") return undefined;
    return this.#phase.type === "asking" ? this.#phase.peer : this.#phase.exchange.peer;
  }

  #interval(): number {
    return EXCHANGE_INTERVAL_MS * 0.75 + below(this.#random, EXCHANGE_INTERVAL_MS / 2);
  }

  #retry(peer: PeerId, now: Instant): void {
    this.#due.set(peer, now + BUSY_RETRY_MS + below(this.#random, 2 * BUSY_RETRY_MS));
  }

  /** Ends what is under way with `peer` and turns to another link: what was left undone may be had there. */
  #elsewhere(peer: PeerId, now: Instant): void {
    this.#phase = IDLE;
    const other = pick(
      this.#random,
      [...this.#peers.ids()].filter((candidate) => candidate !== peer),
    );
    if (other !== undefined) this.#due.set(other, now);
  }

  /** A request of ours to `peer` has gone unanswered. */
  abandon(peer: PeerId, now: Instant): void {
    if (this.#peer() === peer) this.#elsewhere(peer, now);
  }

  /** An exchange has brought an entry that its broadcast had missed: the other links may lack it too. */
  missed(): void {
    this.#hasNews = true;
  }

  #ripple(now: Instant): void {
    this.#hasNews = false;
    for (const peer of this.#peers.ids()) {
      const at = now + below(this.#random, RIPPLE_SPREAD_MS);
      if ((this.#due.at(peer) ?? at) >= at) this.#due.set(peer, at);
    }
  }

  /** Entries that `peer` listed have not come: another link is asked soon. */
  seek(peer: PeerId, now: Instant): void {
    if (this.#phase.type === "idle") this.#elsewhere(peer, now);
  }

  /** What we are has changed: exchanges go another way now. */
  turned(peer: PeerId, now: Instant): void {
    const relation = this.relation(peer);
    if (relation !== "we-follow" && relation !== "equals") return;
    this.#due.set(peer, now + below(this.#random, EXCHANGE_SPREAD_MS));
  }

  /** What a peer is has changed: it may be our turn. */
  turn(peer: PeerId, now: Instant): void {
    if (this.relation(peer) === "we-follow") this.#due.set(peer, now);
  }

  /** How we exchange with a peer. */
  relation(peer: PeerId): Relation {
    const conduct = this.#peers.conduct(peer);
    return conduct === undefined ? "wait" : this.#following.service.relation(conduct.standing);
  }

  /** All that `peer` has and we lack, and the reverse, has gone over. */
  served(peer: PeerId, now: Instant): void {
    this.#following.served(peer, now);
  }

  /** Whether a replica that differs from us may go on: we are in no other exchange. */
  admit(peer: PeerId, now: Instant): boolean {
    const relation = this.relation(peer);
    if (relation === "wait" || relation === "we-follow" || this.#comparesFrom() > now) return false;
    if (this.#phase.type === "comparing") return false;
    if (this.#phase.type === "asking" && this.#phase.peer === peer) {
      // Both have asked at once: the lower id goes on.
      if (this.#tools.outlet.self < peer) return false;
      this.#phase = IDLE;
    }
    if (this.#lease !== undefined && this.#lease.peer !== peer) return false;
    if (this.#lease === undefined && this.#tools.wants.flowsUntil() > now) return false;
    this.#lease ??= { peer, since: now, until: now };
    this.renew(peer, now);
    return true;
  }

  /** Whether `peer` may compare with us: its exchange is the one under way. */
  isAdmitted(peer: PeerId): boolean {
    return this.#lease?.peer === peer;
  }

  /** A message of our exchange with `peer`, if there is one. */
  heard(peer: PeerId): void {
    if (this.#phase.type === "comparing" && this.#phase.exchange.peer === peer) this.#phase.exchange.messages++;
  }

  /** A message of `peer`'s exchange with us. */
  renew(peer: PeerId, now: Instant): void {
    const lease = this.#lease;
    if (lease?.peer === peer) lease.until = Math.min(now + LEASE_IDLE_MS, lease.since + LEASE_MAX_MS);
  }

  /** `peer`'s exchange with us is over; `more`: we have not been told of everything. */
  done(peer: PeerId, more: boolean, now: Instant): void {
    if (this.#lease?.peer === peer) this.#lease = undefined;
    if (more) this.#due.set(peer, now);
    else this.served(peer, now);
  }

  /** The answer to the root that we sent with `salt`: equal, or busy. */
  verdict(peer: PeerId, salt: Uint8Array, busy: boolean, now: Instant): void {
    if (this.#phase.type !== "asking" || this.#phase.salt !== salt) return;
    this.#phase = IDLE;
    if (busy) this.#retry(peer, now);
    else this.served(peer, now);
  }

  /** A comparison of ours with `peer` is over. */
  finished(peer: PeerId, bucket: string, ending: Ending, now: Instant): void {
    const phase = this.#phase;
    if (phase.type !== "comparing" || phase.exchange.peer !== peer || phase.exchange.finished(bucket, ending)) return;
    this.#phase = IDLE;
    this.#retry(peer, now);
  }

  /** There is no room for all that `peer` has and we lack. */
  crowded(peer: PeerId): void {
    if (this.#phase.type === "comparing" && this.#phase.exchange.peer === peer) this.#phase.exchange.more = true;
  }

  /** The answer to the root that we sent with `salt`: we differ. */
  buckets(peer: PeerId, salt: Uint8Array, theirs: ReadonlyMap<string, Uint8Array>, now: Instant): void {
    if (this.#phase.type !== "asking" || this.#phase.salt !== salt) return;
    if (this.#lease !== undefined) {
      // Somebody else's exchange has begun while we waited.
      this.#phase = IDLE;
      this.#tools.outlet.send(peer, encodeDone(false));
      this.#retry(peer, now);
      return;
    }
    const exchange = new Exchange(peer, salt, this.#tools);
    this.#phase = { type: "comparing", exchange };
    const conduct = this.#peers.conduct(peer);
    if (conduct !== undefined) conduct.moved = 0;
    exchange.begin(theirs);
  }

  /** Whether what is wanted from `peer` may become much more at once. */
  isComparing(peer: PeerId): boolean {
    return this.#phase.type === "comparing" && this.#phase.exchange.peer === peer && this.#phase.exchange.isComparing;
  }

  /** Goes on as far as it can. Returns a peer with whom exchanges do not get anywhere, if one has turned out so. */
  advance(now: Instant): PeerId | undefined {
    const lease = this.#lease;
    if (lease !== undefined && lease.until <= now) {
      this.#lease = undefined;
      this.#tools.comparing.drop(lease.peer, now);
    }
    if (this.#periodicAt !== undefined && this.#periodicAt <= now) {
      this.#periodicAt = now + this.#interval();
      const [peer] = this.#links;
      if (peer !== undefined && this.#due.at(peer) === undefined) this.#due.set(peer, now);
    }
    if (this.#phase.type === "comparing") {
      const { exchange } = this.#phase;
      exchange.pump(now);
      if (exchange.isOver) return this.#finish(exchange, now);
    }
    if (!this.#isFree() || Math.max(this.#tools.wants.flowsUntil(), this.#comparesFrom()) > now) return undefined;
    if (this.#hasNews) this.#ripple(now);
    this.#start(now);
    return undefined;
  }

  #isFree(): boolean {
    return this.#phase.type === "idle" && this.#lease === undefined;
  }

  #finish(exchange: Exchange, now: Instant): PeerId | undefined {
    const { peer, more, messages } = exchange;
    this.#phase = IDLE;
    this.#tools.outlet.send(peer, encodeDone(more));
    if (!more) this.served(peer, now);
    const conduct = this.#peers.conduct(peer);
    if (more && conduct !== undefined && conduct.moved > 0) this.#due.set(peer, now);
    return conduct === undefined || conduct.exchanged(messages) ? undefined : peer;
  }

  #start(now: Instant): void {
    for (let peer = this.#due.take(now); peer !== undefined; peer = this.#due.take(now)) {
      this.#links.delete(peer);
      this.#links.add(peer);
      if (!this.#peers.mayAsk(peer, now)) continue;
      const relation = this.relation(peer);
      if (relation === "wait" || relation === "they-follow") continue;
      const salt = randomBytes(this.#random, SALT_BYTES);
      const root = fingerprint(salt, this.#tools.scope.total(peer), ROOT_BYTES);
      const seq = this.#tools.requests.issue(peer, { type: "root", salt }, now);
      this.#phase = { type: "asking", peer, salt };
      this.#tools.outlet.send(peer, encodeRoot(seq, salt, root));
      return;
    }
  }

  deadline(): Instant | undefined {
    const next = earlier(this.#periodicAt, this.#lease?.until);
    const due = this.#isFree() ? (this.#hasNews ? 0 : this.#due.next()) : undefined;
    return due === undefined
      ? next
      : earlier(next, Math.max(due, this.#tools.wants.flowsUntil(), this.#comparesFrom()));
  }
}
