import { earlier } from "../deadlines.ts";
import type { Instant, Machine } from "../machine.ts";
import type { RingView } from "../overlay/rings.ts";
import { type RingSeat, seatOf } from "../overlay/seat.ts";
import type { PeerId } from "../peer-id.ts";
import type { Random } from "../random.ts";
import type { TokenFacts } from "../signed.ts";
import { Lane } from "../streams/lanes.ts";
import { Accusations } from "./accusations.ts";
import type { Case } from "./cases.ts";
import { type Context, Outbox } from "./context.ts";
import { Defence } from "./defence.ts";
import { Disputes } from "./disputes.ts";
import type {
  MembershipFault,
  MembershipInput,
  MembershipOutput,
  MembershipResume,
  MemberToken,
  Source,
  Standing,
} from "./effects.ts";
import { Exchange } from "./exchange.ts";
import { SETTLING_MS } from "./limits.ts";
import { Links } from "./links.ts";
import { LocalHealth } from "./local-health.ts";
import { decodeMessage, decodePayload, decodeTell, encodePayload, type Payload } from "./messages.ts";
import { Prober } from "./probe.ts";
import { type MemberProfile, RecordShelf } from "./record.ts";
import { Records } from "./records.ts";
import { Retries } from "./retries.ts";
import { SelfRecord } from "./self-record.ts";
import { type Member, MemberTable } from "./table.ts";

/**
 * Who is in the cluster: SWIM with Lifeguard, over observers that a ring computation names, with everything signed.
 *
 * Its parts, each a file: `probe` finds silence, `accusations` and `cases` make suspicions and verdicts of it, `defence`
 * refutes, `records` and `self-record` keep what members say of themselves, `exchange` makes two lists equal, `disputes`
 * settles who is alive when two lists do not agree, `retries` looks for the lost. This file hands inputs to them.
 *
 * What it trusts: signatures and tokens that its driver has checked, the peer at the other end of a link, the author of a
 * routed envelope, and nobody's opinion. A member's word about itself is believed in the order of its own counting; a
 * word about another has effect only as a signed accusation by one of its observers, and the accused can answer it.
 *
 * A process that did not run for a while (stopped, swapped out, asleep) hears of it first by a call far past its own
 * deadline. Whatever it was waiting for then is void, and open suspicions get a fresh window, for the answers may stand
 * in its queues.
 */
export class Membership implements Machine<MembershipInput, MembershipOutput> {
  readonly #context: Context;
  readonly #prober: Prober;
  readonly #accusations: Accusations;
  readonly #defence: Defence;
  readonly #own: SelfRecord;
  readonly #records: Records;
  readonly #disputes: Disputes;
  readonly #exchange: Exchange;
  readonly #retries: Retries;
  readonly #seat: RingSeat;
  /** Wants a first call at once, to have its record signed. */
  #begun = false;
  #deadline: Instant;
  /** When any part but the prober wants a call: nearly all inputs are probes, which change nothing for the others. */
  #othersAt: Instant = NEVER;

  constructor(options: MembershipOptions, now: Instant) {
    const { self, boot, profile, token, random, like } = options;
    const { routing = false, localHealth = true, shelf = new RecordShelf() } = options;
    this.#seat = seatOf(self, token.facts.place);
    const context: Context = {
      self,
      random: random.fork("membership"),
      table: new MemberTable(this.#seat, shelf),
      links: new Links(),
      health: new LocalHealth(localHealth),
      shelf,
      out: new Outbox(),
      routing,
    };
    this.#context = context;
    if (like !== undefined) context.table.copy(like.#context.table);
    this.#prober = new Prober(context, now);
    this.#accusations = new Accusations(context, this.#prober, now);
    this.#defence = new Defence(context, this.#accusations);
    this.#own = new SelfRecord(context, boot, profile, token);
    this.#records = new Records(context, this.#accusations, this.#own);
    this.#disputes = new Disputes(context, this.#accusations, this.#prober, this.#own);
    this.#exchange = new Exchange(context, this.#records, this.#disputes, now);
    this.#retries = new Retries(context, now);
    this.#deadline = now;
  }

  handle(input: MembershipInput, now: Instant): readonly MembershipOutput[] {
    const pace = this.#context.health.paceOf(now - this.#deadline);
    if (pace === "frozen") this.#thaw(now);
    if (pace !== "prompt") this.#context.links.ranLate(now);
    const probes =
      input.type === "timeout" ? now < this.#othersAt : input.type === "message" && input.lane === Lane.probe;
    this.#apply(input, now);
    const findings = this.#prober.take();
    for (const finding of findings) this.#accusations.found(finding, now);
    if (!probes || findings.length > 0 || pace === "frozen") this.#othersAt = this.#nextOfOthers();
    if (this.#begun) this.#deadline = this.#own.hasLeft ? NEVER : Math.min(this.#prober.deadline(), this.#othersAt);
    return this.#context.out.take();
  }

  deadline(): Instant | undefined {
    return this.#deadline === NEVER ? undefined : this.#deadline;
  }

  /** Our own seat, for the overlay. */
  get seat(): RingSeat {
    return this.#seat;
  }

  /** The rings over all members that are there, oneself included. Changed before any output about it is returned. */
  get rings(): RingView {
    return this.#context.table.rings;
  }

  /** Everybody in the list, oneself included, those that are down or have left too. */
  members(): IterableIterator<Member> {
    return this.#context.table.all();
  }

  member(id: PeerId): Member | undefined {
    return this.#context.table.get(id);
  }

  /** Whether both `peer` and this member have been there for long enough to have made the links that the rings ask for. */
  isSettled(peer: PeerId, now: Instant): boolean {
    const { table, self } = this.#context;
    return [peer, self].every((id) => now - (table.get(id)?.knownSince ?? now) >= SETTLING_MS);
  }

  /** What is open against a member. */
  suspicion(id: PeerId): Case | undefined {
    return this.#accusations.cases.of(id);
  }

  /** The bytes of a member's record, for `introduced` elsewhere or later; undefined when there is none. */
  record(id: PeerId): Uint8Array | undefined {
    const member = this.#context.table.get(id);
    return member === undefined ? undefined : encodePayload("record", member.record);
  }

  statistics(): MembershipStatistics {
    const { table, out, health } = this.#context;
    const { frames, broadcasts, checks, faults } = out.counts;
    return { members: { ...table.counts }, health: health.score, frames, broadcasts, checks, faults: new Map(faults) };
  }

  #apply(input: MembershipInput, now: Instant): void {
    switch (input.type) {
      case "message":
        this.#message(input.peer, input.lane, input.bytes, now);
        break;
      case "timeout":
        this.#timeout(now);
        break;
      case "routed":
        this.#routed(input.from, input.bytes, now);
        break;
      case "delivered":
        this.#delivered(input.bytes, { via: "broadcast", from: input.from, id: input.id }, now);
        break;
      case "verified":
        this.#verified(input.resume, input.token, now);
        break;
      case "signed":
        this.#signed(input.resume, input.signature, now);
        break;
      case "link-up":
        this.#linkUp(input.peer, input.rttMs, now);
        break;
      case "link-down":
        this.#linkDown(input.peer, input.deliberate, now);
        break;
      case "introduced":
        for (const bytes of input.records) this.#introduced(bytes, input.standing === "present", now);
        break;
      case "update":
        this.#own.update(input.profile ?? {}, input.token);
        break;
      case "leave":
        this.#prober.stop();
        this.#own.leave();
        break;
      case "revoke":
        this.#records.revoke(input.target, now);
        break;
    }
  }

  #message(peer: PeerId, lane: Lane, bytes: Uint8Array, now: Instant): void {
    const { links, table, out, shelf } = this.#context;
    const link = links.of(peer);
    if (link === undefined) return;
    if (table.stateOf(peer) === "down") this.#disputes.remind(table.get(peer) as Member, now);
    if (lane === Lane.probe) {
      this.#prober.frame(link, bytes, now);
      return;
    }
    const message = lane === Lane.gossip ? decodeMessage(bytes, shelf) : undefined;
    if (message === undefined) out.fault("malformed", peer);
    else if (message.type === "tell") this.#payload(message.payload, { via: "link", from: peer }, now);
    else this.#exchange.message(peer, message, now);
  }

  /** Out of an envelope: a word about a suspicion, for want of a link, or a frame of a probe. */
  #routed(from: PeerId, bytes: Uint8Array, now: Instant): void {
    const told = decodeTell(bytes, this.#context.shelf);
    if (told === undefined) this.#prober.routed(from, bytes, now);
    else this.#payload(told, { via: "route", from }, now);
  }

  #delivered(bytes: Uint8Array, source: Source, now: Instant): void {
    const { out, shelf } = this.#context;
    const payload = decodePayload(bytes, shelf);
    if (payload !== undefined) this.#payload(payload, source, now);
    else {
      // Broadcast blames the bringer for what we reject.
      out.fault("malformed");
      out.verdict(source, "reject");
    }
  }

  #payload(payload: Payload, source: Source, now: Instant): void {
    switch (payload.type) {
      case "record":
        this.#records.offered(payload.record, HERE, source, false, now);
        break;
      case "suspicion":
        if (payload.suspicion.accused === this.#context.self)
          this.#defence.heard(payload.suspicion, source, this.#own.boot, now);
        else this.#accusations.heard(payload.suspicion, source, now);
        break;
      case "refutation":
        this.#accusations.answered(payload.refutation, source, now);
        break;
      case "notice":
        this.#disputes.noticed(payload.named, source, now);
        break;
    }
  }

  #verified(resume: MembershipResume, facts: TokenFacts | undefined, now: Instant): void {
    switch (resume.of) {
      case "record":
        if (facts !== undefined) this.#recordVerified(resume, facts, now);
        break;
      case "suspicion":
        if (resume.suspicion.accused === this.#context.self)
          this.#defence.verified(resume.suspicion, resume.source, this.#own.boot, this.#own.incarnation);
        else this.#accusations.verified(resume.suspicion, resume.source, now);
        break;
      case "refutation":
        this.#accusations.answerVerified(resume.refutation, resume.source, now);
        break;
      default:
        break;
    }
  }

  #recordVerified(resume: Extract<MembershipResume, { of: "record" }>, facts: TokenFacts, now: Instant): void {
    const { record, source, standing } = resume;
    const known = this.#context.table.get(record.id);
    if (!this.#records.verified(record, facts, standing, source, now)) return;
    // A link that we have may belong to the start before this one: find out.
    if (known !== undefined && known.record.boot < record.boot && this.#context.links.has(record.id))
      this.#prober.investigate(record.id, now);
    if (source.via === "link") {
      this.#exchange.learnt(record, now);
      // Told by its subject over its own link: that link is of this very start.
      if (source.from === record.id) this.#context.table.proven(record.id, record.boot);
    }
    if (source.via === "introduction") this.#context.out.push({ type: "introduced", peer: record.id });
  }

  #signed(resume: MembershipResume, signature: Uint8Array, now: Instant): void {
    switch (resume.of) {
      case "own-record":
        this.#own.signed(resume.draft, resume.body, signature, resume.facts, now);
        break;
      case "own-suspicion":
        this.#accusations.signed(resume.accused, resume.body, signature, now);
        break;
      case "own-refutation":
        this.#defence.signed(resume.id, resume.body, signature, resume.askedBy);
        break;
      default:
        break;
    }
  }

  #linkUp(peer: PeerId, rttMs: number, now: Instant): void {
    const { links, table } = this.#context;
    links.open(peer, rttMs, now);
    const member = table.get(peer);
    if (member !== undefined) table.proven(peer, member.record.boot);
    this.#prober.linkUp(peer);
    this.#accusations.tellOpen(peer);
    this.#exchange.linkUp(peer, now);
  }

  #linkDown(peer: PeerId, deliberate: boolean, now: Instant): void {
    const { links, table } = this.#context;
    if (!links.close(peer)) return;
    this.#exchange.linkDown(peer, now);
    this.#prober.linkDown(peer);
    if (deliberate) table.proven(peer, 0);
    else this.#prober.investigate(peer, now);
  }

  #introduced(bytes: Uint8Array, present: boolean, now: Instant): void {
    const payload = decodePayload(bytes, this.#context.shelf);
    if (payload?.type !== "record") {
      this.#context.out.fault("malformed");
      return;
    }
    const standing: Standing = present ? HERE : { there: false, ageMs: 0 };
    this.#records.offered(payload.record, standing, { via: "introduction" }, true, now);
  }

  #timeout(now: Instant): void {
    if (!this.#begun) {
      this.#begun = true;
      this.#own.begin();
    }
    if (this.#own.hasLeft) return;
    this.#prober.timeout(now);
    if (now < this.#othersAt) return;
    this.#accusations.timeout(now);
    this.#disputes.timeout(now);
    this.#exchange.timeout(now);
    this.#own.timeout(now);
    this.#records.timeout(now);
    this.#retries.timeout(now);
  }

  #nextOfOthers(): Instant {
    const certain = Math.min(this.#retries.deadline(), this.#context.table.dueAt);
    const disputed = earlier(this.#accusations.deadline(), this.#disputes.deadline());
    return earlier(earlier(certain, disputed), earlier(this.#own.deadline(), this.#exchange.deadline())) ?? certain;
  }

  /** What we were waiting for while we did not run says nothing about anybody but us. */
  #thaw(now: Instant): void {
    if (!this.#begun) return;
    this.#context.health.worse(2);
    this.#prober.thaw(now);
    this.#accusations.thaw(now);
  }
}

/** What a membership machine is made of. */
export interface MembershipOptions {
  readonly self: PeerId;
  /** How often this agent has started, 1 or more; higher than at any earlier start under this key. */
  readonly boot: number;
  readonly profile: MemberProfile;
  readonly token: MemberToken;
  readonly random: Random;
  /** Whether `route` outputs are carried out. Default false: members without a link are probed through helpers only. */
  readonly routing?: boolean;
  /** What members of one process share. Default: a shelf of its own. */
  readonly shelf?: RecordShelf;
  /** Whether this member watches its own health, as in Lifeguard. Default true; false is for comparison only. */
  readonly localHealth?: boolean;
  /**
   * Another member of this process, with the same shelf, whose list this one begins with. A simulation of thousands that is
   * to begin as a mesh that has long been one need not tell each of them of all others.
   */
  readonly like?: Membership;
}

/** Counts since the start; `members` as of now. */
export interface MembershipStatistics {
  readonly members: Readonly<Record<"alive" | "suspect" | "down" | "left", number>>;
  /** Local health, 0 (well) to 8. */
  readonly health: number;
  /** Messages sent on links, and envelopes. */
  readonly frames: number;
  readonly broadcasts: number;
  /** Signature checks asked for. */
  readonly checks: number;
  readonly faults: ReadonlyMap<MembershipFault, number>;
}

const NEVER = Number.POSITIVE_INFINITY;
const HERE: Standing = { there: true };
