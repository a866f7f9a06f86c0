import { RecentMap } from "../bounded.ts";
import type { Instant } from "../machine.ts";
import { observersOf, wantedLinks } from "../overlay/neighbours.ts";
import type { PeerId } from "../peer-id.ts";
import { randomBytes } from "../random.ts";
import { TokenBucket } from "../token-bucket.ts";
import { CaseBook, type Charge, type Review } from "./cases.ts";
import { type Context, Meter, move } from "./context.ts";
import type { MembershipResume, Source } from "./effects.ts";
import {
  ACCUSER_RATE,
  CONFIRMATIONS,
  EVIDENCE_MS,
  MAX_METERED,
  MAX_PAST_CHARGES,
  OWN_ACCUSATION_RATE,
  QUESTION_RATE,
  REFUTATION_WINDOW_MS,
  ROUTED_LEAST_MS,
  ROUTED_UNPROVEN_MS,
  STATEMENT_RATE,
  UNPROVEN_MS,
  VOID_MS,
} from "./limits.ts";
import { encodePayload, encodeTell } from "./messages.ts";
import type { Finding, Prober } from "./probe.ts";
import {
  CHARGE_ID_BYTES,
  encodeSuspicion,
  type Refutation,
  readSuspicion,
  refutationStatement,
  type Suspicion,
  suspicionStatement,
} from "./statements.ts";
import { isThere, type Member } from "./table.ts";

/**
 * From silence to "down": suspicion as in SWIM (Das, Gupta and Motivala, 2002) and Lifeguard, with accusers who must be
 * observers and sign what they say.
 *
 * A member whose own probes found silence accuses, or, when the accused is already under suspicion, joins. Whoever hears
 * of a suspicion tells the accused over its own link if there is one (Lifeguard's buddy system: the suspect must be the
 * first to know), and, if it observes the accused, probes it and joins when there is no answer. Everybody keeps the
 * clocks of {@link CaseBook} for itself and reaches its own verdict; nobody's verdict is news to anybody.
 *
 * An accusation counts if its signature is good and its author observes the accused in the present view, or one from
 * which fresh and suspected members are missing. Whatever is cheap to refuse is refused before a signature is checked.
 *
 * Who holds the accused for down already does not probe it again, but may have what others still need: if it has accused
 * it in its own words, and heard no answer since, it joins one later suspicion as well. After a cut both sides hold half
 * of the cluster for down, so more than one would be a storm.
 *
 * That view may differ from everybody else's for a moment, and what only some believe is not carried to the accused. So before
 * somebody is down on the word of few, the accusers must still be its observers, and the accused is asked in an envelope. When
 * many are silent at once most are not asked: half a cluster would look for the other half, each for each.
 *
 * Nobody honest is ever at fault for what it says. Each member keeps its own accusations within a rate, and others take
 * so much more from it that even what comes late and all at once is within theirs; what exceeds that is hostile, and for a
 * while nothing that its author says counts, for the accused must hear of whatever does. Views
 * differ after cuts and restarts, so an accuser that is no observer in ours is not blamed, and neither is whoever passes
 * on what others have said.
 */
export class Accusations {
  readonly #context: Context;
  readonly #prober: Prober;
  readonly #cases: CaseBook;
  /** Accused about whom our own statement is being signed. */
  readonly #signing = new Set<PeerId>();
  readonly #handlers = new Meter(STATEMENT_RATE);
  readonly #accusers = new Meter(ACCUSER_RATE);
  /** Accusers that have said more than anybody honest says, and until when nothing that they say counts. */
  readonly #void = new RecentMap<PeerId, Instant>(MAX_METERED);
  readonly #own: TokenBucket;
  readonly #questions: TokenBucket;
  /** Whom we have accused, at which start, and have heard nothing of since. */
  readonly #unanswered = new RecentMap<PeerId, number>(MAX_PAST_CHARGES);

  constructor(context: Context, prober: Prober, now: Instant) {
    this.#context = context;
    this.#prober = prober;
    this.#own = new TokenBucket(OWN_ACCUSATION_RATE, now);
    this.#questions = new TokenBucket(QUESTION_RATE, now);
    const { table, links } = context;
    this.#cases = new CaseBook({
      members: () => table.rings.size,
      observers: (accused) => {
        const seat = table.get(accused)?.seat;
        return seat === undefined ? 0 : observersOf(table.rings, seat).size;
      },
      windowMs: (now) => links.windowMs(now),
    });
  }

  get cases(): CaseBook {
    return this.#cases;
  }

  deadline(): Instant | undefined {
    return this.#cases.deadline();
  }

  /** The outcome of one of our own probes. */
  found(finding: Finding, now: Instant): void {
    const { table, self, links } = this.#context;
    if (finding.type === "reached") {
      // By a helper or an envelope, for want of a link: that we have none says nothing from here on.
      if (!links.has(finding.peer)) table.cleared(finding.peer, now);
      return;
    }
    const { peer, startedAt, by } = finding;
    const member = table.get(peer);
    if (member === undefined || !isThere(member.state) || member.clearedAt >= startedAt) return;
    if (!this.#isEvidence(member, by, now)) return;
    this.#cases.silent(peer, now);
    if (table.mayAccuse(self, peer, now)) this.#speak(member, now);
  }

  /** A suspicion of another member, not yet verified. */
  heard(suspicion: Suspicion, source: Source, now: Instant): void {
    const { table, out } = this.#context;
    const { accused, accuser, boot, id } = suspicion;
    const member = table.get(accused);
    const author = table.get(accuser);
    if (member === undefined || author === undefined || author.state === "left" || author.lapsed) {
      out.fault("not-a-member");
      out.verdict(source, "ignore");
    } else if (boot !== member.record.boot || member.state === "left" || this.#cases.isAnswered(id, accused)) {
      // Of an earlier start, or answered: the news of that is merely faster than the suspicion.
      out.fault("stale");
      out.verdict(source, "ignore");
    } else if (this.#isVoid(accuser, now)) {
      // Until it has been silent for a while: members whose clocks differ would believe it again at different moments.
      this.#void.set(accuser, now + VOID_MS);
      out.fault("flood");
      out.verdict(source, "ignore");
    } else if (this.mayCheck(source, now)) {
      const resume: MembershipResume = { of: "suspicion", suspicion, source };
      const from = source.via === "introduction" ? this.#context.self : source.from;
      out.push({ type: "verify", from, statements: [suspicionStatement(suspicion)], resume });
    }
  }

  /** A suspicion whose signature is good. */
  verified(suspicion: Suspicion, source: Source, now: Instant): void {
    const { table, out, self } = this.#context;
    const { accused, accuser, boot, id } = suspicion;
    const member = table.get(accused);
    if (member === undefined || member.record.boot !== boot || member.state === "left") {
      out.verdict(source, "ignore");
    } else if (accuser !== self && (this.#isVoid(accuser, now) || !this.#accusers.admits(accuser, now))) {
      // Of a flood some would take one part and some another, and an accused who never hears of a charge cannot answer it.
      this.#void.set(accuser, now + VOID_MS);
      out.fault("flood", accuser);
      out.verdict(source, "ignore");
    } else if (!table.mayAccuse(accuser, accused, now)) {
      out.fault("not-an-observer");
      out.verdict(source, "ignore");
    } else {
      out.verdict(source, "accept");
      if (!this.#cases.isAnswered(id, accused)) this.#accuse(suspicion, member, now);
    }
  }

  /** Our own suspicion, signed. */
  signed(accused: PeerId, body: Uint8Array, signature: Uint8Array, now: Instant): void {
    this.#signing.delete(accused);
    const suspicion = readSuspicion(body, signature);
    const member = this.#context.table.get(accused);
    if (suspicion === undefined || member === undefined || member.record.boot !== suspicion.boot) return;
    if (member.state === "left" || this.#cases.isAnswered(suspicion.id, accused)) return;
    this.#context.out.broadcast(encodePayload("suspicion", suspicion));
    if (member.state !== "down") this.#unanswered.set(accused, suspicion.boot);
    this.#accuse(suspicion, member, now);
    this.#cases.silent(accused, now);
    // A charge of a smaller id may have come while ours was being signed, and confirmations gather there.
    const foremost = this.#cases.foremost(accused);
    if (foremost !== undefined && foremost.id < suspicion.id) this.#speak(member, now);
  }

  /** An answer of an accused, not yet verified. */
  answered(refutation: Refutation, source: Source, now: Instant): void {
    const { table, out } = this.#context;
    const member = table.get(refutation.accused);
    if (member === undefined) {
      out.fault("not-a-member");
      out.verdict(source, "ignore");
    } else if (member.record.boot > refutation.boot) {
      out.fault("stale");
      out.verdict(source, "ignore");
    } else if (this.mayCheck(source, now)) {
      const resume: MembershipResume = { of: "refutation", refutation, source };
      const from = source.via === "introduction" ? this.#context.self : source.from;
      out.push({ type: "verify", from, statements: [refutationStatement(refutation)], resume });
    }
  }

  /** An answer whose signature is good. */
  answerVerified({ id, accused, boot }: Refutation, source: Source, now: Instant): void {
    const { table, links, out } = this.#context;
    const member = table.get(accused);
    out.verdict(source, member === undefined ? "ignore" : "accept");
    if (member === undefined || member.record.boot !== boot) return;
    this.#unanswered.delete(accused);
    const link = links.of(accused);
    if (link === undefined) table.proven(accused, 0);
    else if (link.misses > 0) link.deaf = true;
    table.cleared(accused, now);
    const concluded = this.#cases.isConcluded(id, accused, boot);
    if (this.#cases.answer(id, accused, now)) move(this.#context, accused, "alive", "answer", now);
    else if (concluded && member.state === "down" && !member.lapsed)
      move(this.#context, accused, "alive", "answer", now);
  }

  /** A new link: its peer is told of what is open against it. */
  tellOpen(peer: PeerId): void {
    for (const { first } of this.#cases.of(peer)?.charges.values() ?? []) this.#tell(first);
  }

  /** Somebody claims that `member` is down: unless it shows itself, it will be. */
  claimed(member: Member, now: Instant): void {
    if (this.#cases.of(member.record.id) !== undefined) return;
    this.#cases.claim(member.record.id, now);
    move(this.#context, member.record.id, "suspect", "claim", now);
  }

  /** A newer record of the same start: no answer to a charge, for it may have been made before, but to a claim it is. */
  renewed(id: PeerId, now: Instant): void {
    this.#unanswered.delete(id);
    if (this.#cases.withdrawClaim(id, now)) move(this.#context, id, "alive", "record", now);
  }

  /** Nothing is open against `id` any more: it has restarted, left, or is out. */
  close(id: PeerId): void {
    this.#cases.close(id);
  }

  /** After a time in which we did not run. */
  thaw(now: Instant): void {
    this.#cases.grant(now + this.#context.links.windowMs(now) + REFUTATION_WINDOW_MS, now);
  }

  timeout(now: Instant): void {
    const bootOf = (accused: PeerId): number => this.#context.table.get(accused)?.record.boot ?? 0;
    const { table, self } = this.#context;
    const review: Review = {
      stands: (accuser, accused) => accuser === self || table.mayAccuse(accuser, accused, now),
      ask: (charge) => this.#ask(charge, now),
    };
    for (;;) {
      const due = this.#cases.takeDue(now, bootOf, review);
      if (due === undefined) return;
      if (due.verdict === "down") move(this.#context, due.accused, "down", "silence", now);
      else move(this.#context, due.accused, "alive", "dismissed", now);
    }
  }

  /** Which silence may be held against a member. */
  #isEvidence(member: Member, by: "link" | "helper" | "route" | "no-path", now: Instant): boolean {
    if (by === "helper") return true;
    const link = this.#context.links.of(member.record.id);
    if (link?.deaf === true) return false;
    // A link that has shown no life of this start may belong to the one before.
    const proven = member.provenBoot === member.record.boot;
    if (link !== undefined && proven) return true;
    // A failed dial says nothing. That a link to a neighbour is lost says a little, until the member has shown that it lives
    // where we cannot reach it. An envelope would have found it there, unless it died right after it had shown that.
    const { knownSince, clearedAt } = member;
    const unheard =
      by === "route"
        ? now - Math.max(knownSince, clearedAt) >= ROUTED_UNPROVEN_MS
        : clearedAt === Number.NEGATIVE_INFINITY && now - knownSince >= UNPROVEN_MS;
    return (proven || unheard) && this.#isNeighbour(member);
  }

  /**
   * Asks the accused itself, before it is down on the word of few whom nobody confirms: it may never have heard of this charge, if
   * those between us did not believe its author. How long it has for its answer, ms.
   */
  #ask({ first, accusers }: Charge, now: Instant): number {
    const { links, out, routing, self } = this.#context;
    if (accusers.includes(self)) return 0;
    const tell = encodeTell(encodePayload("suspicion", first));
    if (links.has(first.accused)) out.send(first.accused, tell);
    else if (!routing) return 0;
    else if (this.#questions.level(QUESTION_RATE, now) >= 1) {
      this.#questions.spend(1, QUESTION_RATE, now);
      out.route(first.accused, tell);
    }
    return Math.max(ROUTED_LEAST_MS, links.windowMs(now));
  }

  /** Whether we should have a link with `member`. */
  #isNeighbour(member: Member): boolean {
    const { table, self } = this.#context;
    const seat = table.rings.seat(self);
    return seat !== undefined && wantedLinks(table.rings, seat).has(member.record.id);
  }

  /** Signs a suspicion of our own: one that is open if there is one, else a new one. */
  #speak({ record }: Member, now: Instant): void {
    const { self, random } = this.#context;
    const open = this.#cases.foremost(record.id);
    if (open !== undefined && (open.accusers.includes(self) || open.accusers.length > CONFIRMATIONS)) return;
    this.#sign(open?.first.idBytes ?? randomBytes(random, CHARGE_ID_BYTES), record, now);
  }

  /** Asks for our signature under an accusation, unless one is asked for or we have said enough for the moment. */
  #sign(chargeId: Uint8Array, { id: accused, boot, incarnation }: Member["record"], now: Instant): void {
    if (this.#signing.has(accused) || this.#own.level(OWN_ACCUSATION_RATE, now) < 1) return;
    this.#own.spend(1, OWN_ACCUSATION_RATE, now);
    const { self, out } = this.#context;
    const body = encodeSuspicion(chargeId, self, accused, boot, incarnation);
    this.#signing.add(accused);
    out.push({ type: "sign", label: "starling/suspicion/1", body, resume: { of: "own-suspicion", accused, body } });
  }

  /** Counts a good accusation and does what it asks for. */
  #accuse(suspicion: Suspicion, member: Member, now: Instant): void {
    const { self, table } = this.#context;
    const { id, accused, accuser } = suspicion;
    if (member.state === "down") {
      // Those who hold it for alive need confirmations.
      if (accuser !== self && table.mayAccuse(self, accused, now)) this.#second(suspicion, member, now);
      return;
    }
    const opened = this.#cases.of(accused)?.charges.has(id) !== true;
    if (!this.#cases.accuse(suspicion, now)) return;
    move(this.#context, accused, "suspect", "silence", now);
    if (opened) this.#tell(suspicion);
    if (accuser === self || !table.mayAccuse(self, accused, now)) return;
    const silentAt = this.#cases.of(accused)?.silentAt ?? Number.NEGATIVE_INFINITY;
    if (now - silentAt < EVIDENCE_MS) this.#speak(member, now);
    else this.#prober.investigate(accused, now);
  }

  /** Joins a suspicion of a member that we have accused before and hold for down, once. */
  #second({ id, idBytes, boot, accused }: Suspicion, { record }: Member, now: Instant): void {
    if (this.#unanswered.get(accused) !== boot || this.#cases.isConcluded(id, accused, boot)) return;
    this.#unanswered.delete(accused);
    this.#cases.conclude(id, accused, boot);
    this.#sign(idBytes, record, now);
  }

  /** Over its own link, if there is one: the accused must be the first to know. */
  #tell(suspicion: Suspicion): void {
    const { links, out } = this.#context;
    if (links.has(suspicion.accused)) out.send(suspicion.accused, encodeTell(encodePayload("suspicion", suspicion)));
  }

  #isVoid(accuser: PeerId, now: Instant): boolean {
    return (this.#void.get(accuser) ?? now) > now;
  }

  /** Whether a statement from `source` may cost us a signature check; answers for it when it may not. */
  mayCheck(source: Source, now: Instant): boolean {
    if (source.via === "introduction" || this.#handlers.admits(source.from, now)) return true;
    this.#context.out.fault("flood");
    this.#context.out.verdict(source, "ignore");
    return false;
  }
}
