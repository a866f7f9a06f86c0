import type { MessageId } from "../gossip/messages.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Answers } from "./answers.ts";
import type { Conditions } from "./conditions.ts";
import type { Copies } from "./copies.ts";
import type { ExchangeTools } from "./exchange.ts";
import type { Intake } from "./intake.ts";
import { EntriesState, encodeHeld, encodeVerdict, type ReplicationMessage } from "./messages.ts";
import { decodeMessage } from "./parse-message.ts";
import type { Conduct, Peers } from "./peers.ts";
import type { Receipts } from "./receipts.ts";
import type { Asked } from "./requests.ts";
import type { Rounds } from "./rounds.ts";
import type { Service } from "./service.ts";
import { type VersionId, versionId } from "./version-id.ts";

/**
 * Messages from linked peers: each goes to the part that it concerns, if the peer may send it.
 *
 * A request is answered unless the peer has had more answers than its share, or we were away and are asked what we hold, then with `busy`. An answer must be to a
 * request of ours to this very peer, and of the kind that was asked for. What breaks these rules is a fault of the
 * peer and has no other effect.
 */

/** What conversations need beyond the parts of an exchange. */
export interface ConversationParts {
  readonly tools: ExchangeTools;
  readonly peers: Peers;
  readonly intake: Intake;
  readonly receipts: Receipts;
  readonly rounds: Rounds;
  readonly answers: Answers;
  /** Ends all dealings with a peer. */
  readonly shun: (peer: PeerId, fault: "no-progress" | "flood", now: Instant) => void;
  /** Runs what waits for everything stored so far to be durable. */
  readonly durable: (run: (now: Instant) => void, now: Instant) => void;
  readonly copies: Copies;
  readonly conditions: Conditions;
  readonly service: Service;
  /** Asks nothing of a peer for a while. */
  readonly pause: (peer: PeerId, now: Instant) => void;
}

type Request = Extract<
  ReplicationMessage,
  { readonly type: "root" | "want" | "tokens-wanted" | "fetch" | "hold" | "read" | "reserve" }
>;
type Answer = Extract<
  ReplicationMessage,
  { readonly type: "verdict" | "buckets" | "entries" | "tokens" | "fragment" | "lacking" | "held" | "reserved" }
>;

/** Of who was away and has not followed anybody yet this is not asked: what it holds may have been deleted, and go again. */
const OF_WHAT_IS_HELD: ReadonlySet<Request["type"]> = new Set(["hold", "read", "reserve"]);

/** An acknowledgement counts less than other messages: a busy author gets one per batch and link. */
const ACK_COST = 0.25;

/** What linked peers say and are answered. */
export class Conversation {
  readonly #parts: ConversationParts;

  constructor(parts: ConversationParts) {
    this.#parts = parts;
  }

  /** Takes what was broadcast. */
  delivered(id: MessageId, from: PeerId, payload: Uint8Array, now: Instant): void {
    const { tools, intake } = this.#parts;
    const message = decodeMessage(payload);
    if (typeof message !== "string" && message.type === "batch") {
      intake.take([message.parcel], from, id, now);
      return;
    }
    tools.outlet.emit({ type: "verdict", id, verdict: "reject" });
    tools.outlet.fault(undefined, typeof message === "string" ? message : "malformed");
  }

  /** Takes the content of a routed envelope. */
  routed(peer: PeerId, bytes: Uint8Array): void {
    const message = decodeMessage(bytes);
    if (typeof message !== "string" && message.type === "ack") this.#parts.receipts.acknowledge(peer, message.first);
    else this.#parts.tools.outlet.fault(peer, typeof message === "string" ? message : "unsolicited");
  }

  /** Takes a message from a peer; one that is not linked, or is shunned, is not heard. */
  message(peer: PeerId, bytes: Uint8Array, now: Instant): void {
    const { peers, tools, shun } = this.#parts;
    const conduct = peers.conduct(peer);
    if (conduct === undefined || conduct.ignored) return;
    const message = decodeMessage(bytes);
    const cost = typeof message !== "string" && message.type === "ack" ? ACK_COST : 1;
    if (!conduct.received(cost, now)) shun(peer, "flood", now);
    else if (typeof message === "string") tools.outlet.fault(peer, message);
    else this.#dispatch(peer, conduct, message, now);
  }

  #dispatch(peer: PeerId, conduct: Conduct, message: ReplicationMessage, now: Instant): void {
    const { tools, intake, receipts, rounds } = this.#parts;
    switch (message.type) {
      case "batch":
        intake.take([message.parcel], peer, undefined, now);
        return;
      case "ack":
        receipts.acknowledge(peer, message.first);
        return;
      case "reconcile": {
        const isRefused = !rounds.isAdmitted(peer) || !conduct.mayAsk(now);
        rounds.renew(peer, now);
        rounds.heard(peer);
        tools.comparing.message(peer, message.bucket, message.bytes, isRefused, now);
        return;
      }
      case "survey": {
        const { bucket, slots, bytes } = message;
        const isRefused = !conduct.mayAsk(now) || this.#isAway;
        this.#parts.copies.surveys.request(peer, bucket, slots, bytes, isRefused, now);
        return;
      }
      case "surveyed":
        this.#parts.copies.surveys.answer(peer, message.bucket, message.bytes, now);
        return;
      case "done":
        rounds.done(peer, message.more, now);
        return;
      case "standing":
        conduct.standing = message.standing;
        this.#parts.service.heard(message.standing, now);
        rounds.turn(peer, now);
        return;
      case "have":
        tools.fetches.noteSource(message.id, peer);
        return;
      case "release":
        this.#parts.conditions.reservations.release(peer, message.seq, message.bucket, message.key);
        return;
      case "root":
      case "want":
      case "tokens-wanted":
      case "fetch":
      case "hold":
      case "read":
      case "reserve":
        this.#request(peer, conduct, message, now);
        return;
      default:
        this.#answer(peer, conduct, message, now);
        return;
    }
  }

  get #isAway(): boolean {
    return this.#parts.service.standing.isAway;
  }

  #request(peer: PeerId, conduct: Conduct, request: Request, now: Instant): void {
    const { answers, rounds } = this.#parts;
    if (!conduct.mayAsk(now) || (this.#isAway && OF_WHAT_IS_HELD.has(request.type))) {
      this.#reply(peer, conduct, encodeVerdict(request.seq, true), now);
      return;
    }
    switch (request.type) {
      case "root":
        this.#reply(peer, conduct, answers.root(peer, request.seq, request.salt, request.root, now), now);
        return;
      case "want": {
        const { messages, entries } = answers.want(request.seq, request.groups);
        conduct.moved += entries;
        rounds.renew(peer, now);
        for (const message of messages) this.#reply(peer, conduct, message, now);
        return;
      }
      case "tokens-wanted":
        this.#reply(peer, conduct, answers.tokens(request.seq, request.hashes), now);
        return;
      case "fetch":
        this.#reply(peer, conduct, answers.fetch(peer, request.seq, request), now);
        return;
      case "read":
        this.#reply(peer, conduct, answers.read(request.seq, request.bucket, request.key), now);
        return;
      case "reserve": {
        const later = this.#parts.conditions.reservations.reserve(peer, request.seq, request.wish, now);
        if (later === undefined) conduct.answered(0, now);
        else this.#reply(peer, conduct, answers.read(request.seq, later.bucket, later.key), now);
        return;
      }
      case "hold": {
        const held = answers.hold(peer, request.bucket, request.items, now);
        // What is said to be held is on the disk. By then the link may be another one, on which nothing was asked.
        this.#parts.durable((at) => {
          if (this.#parts.peers.conduct(peer) === conduct)
            this.#reply(peer, conduct, encodeHeld(request.seq, held), at);
        }, now);
      }
    }
  }

  #reply(peer: PeerId, conduct: Conduct, bytes: Uint8Array, now: Instant): void {
    conduct.answered(bytes.length, now);
    this.#parts.tools.outlet.send(peer, bytes);
  }

  #answer(peer: PeerId, conduct: Conduct, answer: Answer, now: Instant): void {
    const { tools } = this.#parts;
    const isFollowed =
      (answer.type === "entries" && answer.state === EntriesState.follows) ||
      (answer.type === "reserved" && answer.state === "granted");
    const asked = isFollowed ? tools.requests.renew(peer, answer.seq, now) : tools.requests.settle(peer, answer.seq);
    if (asked === "late") return;
    if (asked !== "never" && this.#take(peer, conduct, asked, answer, now)) return;
    tools.requests.settle(peer, answer.seq);
    tools.outlet.fault(peer, "unsolicited");
  }

  /** False when the answer is not to what was asked. */
  #take(peer: PeerId, conduct: Conduct, asked: Asked, answer: Answer, now: Instant): boolean {
    const { tools, rounds, intake } = this.#parts;
    if (answer.type === "verdict" && answer.busy) {
      this.#refused(peer, asked, now);
      return true;
    }
    switch (asked.type) {
      case "root":
        if (answer.type === "verdict") rounds.verdict(peer, asked.salt, false, now);
        else if (answer.type === "buckets") rounds.buckets(peer, asked.salt, answer.buckets, now);
        else return this.#mistaken(peer, asked, now);
        return true;
      case "want":
        if (answer.type !== "entries") return this.#mistaken(peer, asked, now);
        return this.#entries(peer, conduct, asked.ids, answer, now) || this.#mistaken(peer, asked, now);
      case "tokens":
        if (answer.type !== "tokens") return this.#mistaken(peer, asked, now);
        intake.tokens(answer.tokens, asked.names, now);
        return true;
      case "fetch":
        if (answer.type === "lacking") tools.fetches.failed(asked.run, now);
        else if (answer.type !== "fragment") return this.#mistaken(peer, asked, now);
        else if (!tools.fetches.fragment(asked.run, asked.offset, answer.bytes, now))
          tools.outlet.fault(peer, "bad-value");
        return true;
      case "hold":
        if (answer.type !== "held") return this.#mistaken(peer, asked, now);
        this.#parts.copies.handoff.answered(asked.task, asked.entries, bitsOf(answer.bits, asked.entries.length), now);
        return true;
      case "read":
        if (answer.type !== "entries" || !this.#parts.copies.reads.answered(asked.request, answer.parcels))
          return this.#mistaken(peer, asked, now);
        intake.take(answer.parcels, peer, undefined, now);
        return true;
      case "reserve":
        return this.#reserved(peer, asked, answer, now) || this.#mistaken(peer, asked, now);
    }
  }

  #reserved(peer: PeerId, asked: Extract<Asked, { type: "reserve" }>, answer: Answer, now: Instant): boolean {
    const { conditions, intake } = this.#parts;
    if (answer.type === "reserved") conditions.answered(asked.request, peer, answer.state, answer.clock, now);
    else if (answer.type === "entries") {
      intake.take(answer.parcels, peer, undefined, now);
      conditions.lost(asked.request, peer, now);
    } else return false;
    return true;
  }

  /** The peer answers something else: as if it had not answered, and its fault. */
  #mistaken(peer: PeerId, asked: Asked, now: Instant): false {
    this.unanswered(peer, asked, now);
    return false;
  }

  /** False when what came is not what was asked for. */
  #entries(
    peer: PeerId,
    conduct: Conduct,
    ids: readonly VersionId[],
    { state, parcels }: Extract<Answer, { readonly type: "entries" }>,
    now: Instant,
  ): boolean {
    const asked = new Set(ids);
    const delivered = new Set<VersionId>();
    for (const { batch, entries } of parcels) {
      const ids = entries.map(({ path, head, index }) => versionId(path, head.clock, batch, index));
      // Of a batch whose entries belong together all come when one was asked for.
      if (batch.isAtomic ? !ids.some((id) => asked.has(id)) : !ids.every((id) => asked.has(id))) return false;
      for (const id of ids) delivered.add(id);
    }
    if (!this.#parts.tools.wants.answered(peer, ids, state, delivered, now)) return false;
    if (!conduct.delivered(delivered.size)) this.#parts.shun(peer, "no-progress", now);
    else this.#parts.intake.take(parcels, peer, undefined, now);
    return true;
  }

  /** The peer is busy. */
  #refused(peer: PeerId, asked: Asked, now: Instant): void {
    const { tools, rounds, intake, pause } = this.#parts;
    if (asked.type === "root") {
      rounds.verdict(peer, asked.salt, true, now);
      return;
    }
    pause(peer, now);
    if (asked.type === "want") tools.wants.refused(peer, asked.ids);
    else if (asked.type === "fetch") tools.fetches.interrupt(asked.run, now);
    else if (asked.type === "hold" || asked.type === "read") this.#parts.copies.unanswered(asked, now);
    else if (asked.type === "reserve") this.#parts.conditions.lost(asked.request, peer, now);
    else intake.tokensFailed(asked.names);
  }

  /** A request has gone unanswered. */
  unanswered(peer: PeerId, asked: Asked, now: Instant): void {
    const { tools, rounds, intake } = this.#parts;
    if (asked.type === "root") rounds.abandon(peer, now);
    else if (asked.type === "tokens") intake.tokensFailed(asked.names);
    else if (asked.type === "fetch") tools.fetches.failed(asked.run, now);
    else if (asked.type === "hold" || asked.type === "read") this.#parts.copies.unanswered(asked, now);
    else if (asked.type === "reserve") this.#parts.conditions.lost(asked.request, peer, now);
    else {
      tools.wants.failed(peer, asked.ids);
      rounds.seek(peer, now);
      if (this.#parts.peers.conduct(peer)?.delivered(0) === false) this.#parts.shun(peer, "no-progress", now);
    }
  }
}

function bitsOf(bits: Uint8Array, count: number): boolean[] {
  return Array.from({ length: count }, (_, index) => (((bits[index >> 3] ?? 0) >> (index & 7)) & 1) === 1);
}
