import { RecentMap } from "../bounded.ts";
import { Deadlines } from "../deadlines.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import {
  BUMP_SPACING_MS,
  CONFIRMATIONS,
  MAX_CHARGES,
  MAX_PAST_CHARGES,
  MAX_QUESTIONS,
  SOLE_ACCUSER_MS,
} from "./limits.ts";
import type { Suspicion } from "./statements.ts";

/**
 * The open suspicions: who is accused under which ids, by whom, since when, and what is known of ids that are past.
 *
 * Each id is a *charge* with a clock of its own, because an answer ends the charge whose id it signs and no other. The
 * first accuser opens it, other observers join it. A *claim* is a charge without accusers: somebody told us, unsigned,
 * that the member is down, and we wait a little longer than for a sole accuser.
 *
 * Observers who accuse at the same moment open several charges. They agree on the smallest id without a word: whoever has
 * evidence joins that one too, so that confirmations gather in one place.
 */
export interface Charge {
  readonly id: string;
  /** The suspicion that opened it. */
  readonly first: Suspicion;
  readonly since: Instant;
  /** Those who signed it, the first accuser first. */
  readonly accusers: readonly PeerId[];
}

/** What is open against one member. */
export interface Case {
  readonly accused: PeerId;
  readonly charges: ReadonlyMap<string, Charge>;
  /** When somebody's claim was first heard; undefined: there is none. */
  readonly claimedAt: Instant | undefined;
  /** When our own probe last went unanswered. */
  readonly silentAt: Instant;
}

/** What the clock of a charge depends on beside the charge, asked for whenever the clock is set. */
export interface Measures {
  /** Members that count as there. */
  members(): number;
  /** How many observers `accused` has. */
  observers(accused: PeerId): number;
  /** The refutation window, ms. */
  windowMs(now: Instant): number;
}

/** What is looked at before a verdict on the word of few. */
export interface Review {
  /** Whether what `accuser` says of `accused` still has effect. */
  stands(accuser: PeerId, accused: PeerId): boolean;
  /** Puts a charge to its accused; how long it has for the answer, ms, and 0 where it need not or cannot be asked. */
  ask(charge: Charge): number;
}

export class CaseBook {
  readonly #measures: Measures;
  readonly #cases = new Map<PeerId, MutableCase>();
  readonly #deadlines = new Deadlines<PeerId>();
  /** Answered ids, with their accused: `id accused`. */
  readonly #answered = new RecentMap<string, true>(MAX_PAST_CHARGES);
  /** Ids under which members were found down, with the start that was meant. */
  readonly #concluded = new RecentMap<string, number>(MAX_PAST_CHARGES);

  constructor(measures: Measures) {
    this.#measures = measures;
  }

  get size(): number {
    return this.#cases.size;
  }

  of(accused: PeerId): Case | undefined {
    return this.#cases.get(accused);
  }

  deadline(): Instant | undefined {
    return this.#deadlines.next();
  }

  /** Whether `accused` has answered the suspicion of this id. */
  isAnswered(id: string, accused: PeerId): boolean {
    return this.#answered.has(`${id} ${accused}`);
  }

  /** Whether `accused` was found down, at its start `boot`, under this id. */
  isConcluded(id: string, accused: PeerId, boot: number): boolean {
    return this.#concluded.get(`${id} ${accused}`) === boot;
  }

  /** Remembers that `accused` is down, at its start `boot`, under this id. */
  conclude(id: string, accused: PeerId, boot: number): void {
    this.#concluded.set(`${id} ${accused}`, boot);
  }

  /** The charge that confirmations gather on: the one of the smallest id. */
  foremost(accused: PeerId): Charge | undefined {
    let foremost: Charge | undefined;
    for (const charge of this.#cases.get(accused)?.charges.values() ?? []) {
      if (foremost === undefined || charge.id < foremost.id) foremost = charge;
    }
    return foremost;
  }

  /**
   * Counts an accuser for the charge of its suspicion, opening it if need be. False, and nothing changed, when it is counted already,
   * when it has opened a charge of its own before and would open a second, or when there are too many.
   */
  accuse(suspicion: Suspicion, now: Instant): boolean {
    const { id, accused, accuser } = suspicion;
    const existing = this.#cases.get(accused);
    const charge = existing?.charges.get(id);
    if (charge?.accusers.includes(accuser)) return false;
    if (charge !== undefined) charge.accusers.push(accuser);
    else {
      const charges = existing?.charges ?? new Map<string, MutableCharge>();
      if (charges.size >= MAX_CHARGES) return false;
      for (const other of charges.values()) if (other.accusers[0] === accuser) return false;
      this.#open(accused).charges.set(id, { id, first: suspicion, since: now, accusers: [accuser] });
    }
    this.#arm(accused, now);
    return true;
  }

  /** Somebody says that `accused` is down. */
  claim(accused: PeerId, now: Instant): void {
    this.#open(accused).claimedAt ??= now;
    this.#arm(accused, now);
  }

  /** Our own probe of `accused` went unanswered. */
  silent(accused: PeerId, now: Instant): void {
    const entry = this.#cases.get(accused);
    if (entry !== undefined) entry.silentAt = now;
  }

  /** `accused` has answered this id. True when that was the last that was open against it. */
  answer(id: string, accused: PeerId, now: Instant): boolean {
    this.#answered.set(`${id} ${accused}`, true);
    const entry = this.#cases.get(accused);
    if (entry === undefined) return false;
    entry.charges.delete(id);
    // Life is life: an answer to anything refutes what nobody signed.
    entry.claimedAt = undefined;
    if (entry.charges.size === 0) {
      this.close(accused);
      return true;
    }
    this.#arm(accused, now);
    return false;
  }

  /** The claim against `accused` is void. True when nothing else was open against it. */
  withdrawClaim(accused: PeerId, now: Instant): boolean {
    const entry = this.#cases.get(accused);
    if (entry?.claimedAt === undefined) return false;
    entry.claimedAt = undefined;
    if (entry.charges.size > 0) {
      this.#arm(accused, now);
      return false;
    }
    this.close(accused);
    return true;
  }

  /** Forgets what is open against `accused`. */
  close(accused: PeerId): void {
    this.#cases.delete(accused);
    this.#deadlines.clear(accused);
  }

  /**
   * Takes the next accused whose time is up, and closes its case; undefined when there is none. `bootOf`: the start that
   * it was accused at. Late answers to its charges are recognised by {@link isConcluded}. A case that rests on too few accusers
   * is reviewed first, and `dismissed` when nothing of it stands.
   */
  takeDue(
    now: Instant,
    bootOf: (accused: PeerId) => number,
    review: Review,
  ): { readonly accused: PeerId; readonly verdict: "down" | "dismissed" } | undefined {
    for (let accused = this.#deadlines.take(now); accused !== undefined; accused = this.#deadlines.take(now)) {
      const entry = this.#cases.get(accused);
      if (entry === undefined) continue;
      const isOfFew = this.#isOfFew(entry);
      if (isOfFew) prune(entry, review);
      if (isOfFew && entry.charges.size === 0 && entry.claimedAt === undefined) {
        this.close(accused);
        return { accused, verdict: "dismissed" };
      }
      // Observers have come or gone and stalls have been seen since the clock was set.
      if (this.#dueOf(entry, now) > now) {
        this.#arm(accused, now);
        continue;
      }
      const patienceMs = isOfFew ? askAgain(entry, review) : 0;
      if (patienceMs > 0) {
        entry.notBefore = now + patienceMs;
        this.#arm(accused, now);
        continue;
      }
      for (const id of entry.charges.keys()) this.conclude(id, accused, bootOf(accused));
      this.close(accused);
      return { accused, verdict: "down" };
    }
    return undefined;
  }

  /** Nobody is down before `until`: answers may have been waiting while we did not run. */
  grant(until: Instant, now: Instant): void {
    for (const entry of this.#cases.values()) {
      entry.notBefore = until;
      this.#arm(entry.accused, now);
    }
  }

  /** Whether there are charges, and none of them has the confirmations that end it early. */
  #isOfFew({ accused, charges }: MutableCase): boolean {
    const needed = Math.min(CONFIRMATIONS, this.#measures.observers(accused) - 1);
    for (const { accusers } of charges.values()) if (needed > 0 && accusers.length > needed) return false;
    return charges.size > 0;
  }

  #open(accused: PeerId): MutableCase {
    let entry = this.#cases.get(accused);
    if (entry === undefined) {
      const never = Number.NEGATIVE_INFINITY;
      entry = { accused, charges: new Map(), claimedAt: undefined, silentAt: never, notBefore: never, asked: 0 };
      this.#cases.set(accused, entry);
    }
    return entry;
  }

  #arm(accused: PeerId, now: Instant): void {
    const entry = this.#cases.get(accused);
    if (entry !== undefined) this.#deadlines.set(accused, this.#dueOf(entry, now));
  }

  #dueOf(entry: MutableCase, now: Instant): Instant {
    const members = this.#measures.members();
    const windowMs = this.#measures.windowMs(now);
    const observers = this.#measures.observers(entry.accused);
    let due = entry.claimedAt === undefined ? Number.POSITIVE_INFINITY : entry.claimedAt + claimMs(members);
    for (const { since, accusers } of entry.charges.values()) {
      due = Math.min(due, since + suspicionMs(accusers.length - 1, observers - 1, members, windowMs));
    }
    return Math.max(due, entry.notBefore);
  }
}

/**
 * How long a suspicion runs from its beginning, ms, by the Lifeguard rule: the maximum for a sole accuser, falling with
 * the logarithm of the confirmations to the window when all that are needed are there.
 *
 * @param others observers besides the first accuser; three of them are needed, or all, if there are fewer.
 */
export function suspicionMs(confirmations: number, others: number, members: number, windowMs: number): number {
  const most = Math.max(windowMs, soleAccuserMs(members));
  const needed = Math.min(CONFIRMATIONS, others);
  if (needed < 1) return most;
  if (confirmations >= needed) return windowMs;
  return most - (most - windowMs) * ((SHRINK[needed] as readonly number[])[confirmations] as number);
}

/** How long a sole accuser has to wait, ms: grows with the binary digits of the number of members, as gossip takes. */
export function soleAccuserMs(members: number): number {
  return SOLE_ACCUSER_MS * (32 - Math.clz32(members));
}

/** How long a mere claim runs, ms: its subject may have to wait until it may sign another record. */
export function claimMs(members: number): number {
  return soleAccuserMs(members) + BUMP_SPACING_MS;
}

/** By needed confirmations, then by those that are there: log(there + 1) / log(needed + 1). */
const SHRINK: readonly (readonly number[])[] = [[], [0], [0, 0.631], [0, 0.5, 0.792]];

interface MutableCharge extends Charge {
  readonly accusers: PeerId[];
}

interface MutableCase extends Case {
  readonly charges: Map<string, MutableCharge>;
  claimedAt: Instant | undefined;
  silentAt: Instant;
  /** The case is not decided before this. */
  notBefore: Instant;
  /** How often the accused was asked before a verdict on the word of few. */
  asked: number;
}

/** Takes out who accuses without effect by now, and charges of nobody else. */
function prune({ accused, charges }: MutableCase, review: Review): void {
  for (const [id, { accusers }] of charges) {
    for (let index = accusers.length - 1; index >= 0; index--) {
      if (!review.stands(accusers[index] as PeerId, accused)) accusers.splice(index, 1);
    }
    if (accusers.length === 0) charges.delete(id);
  }
}

/** Puts a charge to the accused, a few times in all; how long it has for the answer, ms. */
function askAgain(entry: MutableCase, review: Review): number {
  const [charge] = entry.charges.values();
  if (charge === undefined || entry.asked >= MAX_QUESTIONS) return 0;
  entry.asked++;
  return review.ask(charge);
}
