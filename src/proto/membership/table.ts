import { MAX_MEMBERS } from "../limits.ts";
import type { Instant } from "../machine.ts";
import { observes } from "../overlay/neighbours.ts";
import { Rings, type RingView } from "../overlay/rings.ts";
import { type RingSeat, seatOf } from "../overlay/seat.ts";
import type { PeerId } from "../peer-id.ts";
import type { TokenFacts } from "../signed.ts";
import { CLOCK_LEEWAY_MS } from "../trust/times.ts";
import { Digest } from "./digest.ts";
import type { Entry } from "./entries.ts";
import { REMEMBER_MS, VIEW_AGE_MS } from "./limits.ts";
import type { MemberRecord } from "./record.ts";

/** What this member holds another for. `down` and `left` are remembered, and stand in no ring. */
export type MemberState = "alive" | "suspect" | "down" | "left";

/** One entry of the list, to read. Records, facts and seats are shared objects; the rest is a few numbers. */
export interface Member {
  readonly record: MemberRecord;
  readonly facts: TokenFacts;
  readonly seat: RingSeat;
  readonly state: MemberState;
  /** When it came into this state; for `down` and `left`, as far as anybody who told us knew. */
  readonly since: Instant;
  /** Since when this start of it has been known as there, without a break. */
  readonly knownSince: Instant;
  /** Since when it has stood in the rings, while it does. */
  readonly seatedSince: Instant;
  /** When this start of it last answered a suspicion, or a probe that did not take a link of ours; minus Infinity: never. */
  readonly clearedAt: Instant;
  /** The boot count of which a link has shown life; 0: none. */
  readonly provenBoot: number;
  /** Its token has expired: it is remembered here, for a retry, and told to nobody. */
  readonly lapsed: boolean;
}

type Row = { -readonly [Field in keyof Member]: Member[Field] };

/**
 * The membership list: one row per member, the rings over those that are there, and the digest over those that are told
 * to others, all three changed together. It decides nothing.
 */
export class MemberTable {
  readonly #rows = new Map<PeerId, Row>();
  readonly #rings = new Rings();
  readonly #digest = new Digest();
  readonly #counts = { alive: 0, suspect: 0, down: 0, left: 0 };
  /** No row needs the clock's attention before this. */
  #dueAt: Instant = Number.POSITIVE_INFINITY;

  /** @param self stands in the rings from the start, also before its own record is signed. */
  constructor(self: RingSeat) {
    this.#rings.insert(self);
  }

  get rings(): RingView {
    return this.#rings;
  }

  get digest(): Digest {
    return this.#digest;
  }

  get size(): number {
    return this.#rows.size;
  }

  /** Members by state, oneself included. */
  get counts(): Readonly<Record<MemberState, number>> {
    return this.#counts;
  }

  get(id: PeerId): Member | undefined {
    return this.#rows.get(id);
  }

  all(): IterableIterator<Member> {
    return this.#rows.values();
  }

  /**
   * Stores a record, new or in place of the one that there was. `since`: when the member came into `state`.
   * False, and nothing changed, when the list is full.
   */
  put(record: MemberRecord, facts: TokenFacts, state: MemberState, since: Instant, now: Instant): boolean {
    const old = this.#rows.get(record.id);
    if (old === undefined && this.#rows.size >= MAX_MEMBERS && !this.#makeRoom()) return false;
    if (old !== undefined) this.#unhook(old);
    const same = old !== undefined && isThere(old.state) && old.record.boot === record.boot;
    const row: Row = {
      record,
      facts,
      seat: old !== undefined && samePlace(old.facts, facts) ? old.seat : seatOf(record.id, facts.place),
      state,
      since,
      knownSince: same ? old.knownSince : now,
      seatedSince: old !== undefined && isThere(old.state) ? old.seatedSince : now,
      clearedAt: same ? old.clearedAt : Number.NEGATIVE_INFINITY,
      provenBoot: old?.provenBoot ?? 0,
      lapsed: false,
    };
    this.#rows.set(record.id, row);
    this.#hook(row);
    return true;
  }

  /** Changes the state of a member that is in the list. */
  move(id: PeerId, state: MemberState, now: Instant): void {
    const row = this.#rows.get(id);
    if (row === undefined || row.state === state) return;
    this.#unhook(row);
    if (isThere(state) && !isThere(row.state)) {
      row.seatedSince = now;
      row.knownSince = now;
    }
    row.state = state;
    row.since = now;
    this.#hook(row);
  }

  /** Its token has expired: it is down, and told to nobody. */
  lapse(id: PeerId, now: Instant): void {
    const row = this.#rows.get(id);
    if (row === undefined || row.lapsed) return;
    this.#unhook(row);
    row.lapsed = true;
    if (isThere(row.state)) {
      row.state = "down";
      row.since = now;
    }
    this.#hook(row);
  }

  cleared(id: PeerId, now: Instant): void {
    const row = this.#rows.get(id);
    if (row !== undefined) row.clearedAt = now;
  }

  /** A link has shown that the start `boot` of this member lives. */
  proven(id: PeerId, boot: number): void {
    const row = this.#rows.get(id);
    if (row !== undefined) row.provenBoot = boot;
  }

  remove(id: PeerId): void {
    const row = this.#rows.get(id);
    if (row === undefined) return;
    this.#unhook(row);
    this.#rings.remove(id);
    this.#rows.delete(id);
  }

  /**
   * Whether an accusation of `accused` by `accuser` has effect: the accuser observes it in the current view, or in one
   * from which members that came within 30 s, or are suspected, are missing.
   */
  mayAccuse(accuser: PeerId, accused: PeerId, now: Instant): boolean {
    const observer = this.#rows.get(accuser)?.seat;
    const subject = this.#rows.get(accused)?.seat;
    if (observer === undefined || subject === undefined) return false;
    return observes(this.#rings, observer, subject, (id) => {
      const row = this.#rows.get(id);
      return row !== undefined && (row.state === "suspect" || now - row.seatedSince < VIEW_AGE_MS);
    });
  }

  /** Whether `id` is told to others. */
  static isShared(member: Member): boolean {
    return !member.lapsed;
  }

  /** What an exchange says about a member. */
  static entryOf(member: Member, now: Instant): Entry {
    const { id, key, boot, incarnation, status, fingerprint } = member.record;
    const gone = !isThere(member.state);
    const ageSeconds = gone ? Math.max(0, now - member.since) / 1_000 : 0;
    return { id, key, boot, incarnation, status, fingerprint, down: member.state === "down", ageSeconds };
  }

  /** When the list wants {@link due} to be asked; Infinity when never. */
  get dueAt(): Instant {
    return this.#dueAt;
  }

  /** The members whose tokens have expired, and those that are to be forgotten. */
  due(now: Instant): { readonly lapsed: readonly Member[]; readonly forgotten: readonly Member[] } {
    const lapsed: Member[] = [];
    const forgotten: Member[] = [];
    this.#dueAt = Number.POSITIVE_INFINITY;
    for (const row of this.#rows.values()) {
      const at = dueOf(row);
      if (at > now) this.#dueAt = Math.min(this.#dueAt, at);
      else if (isThere(row.state) || !isOver(row, now)) lapsed.push(row);
      else forgotten.push(row);
    }
    return { lapsed, forgotten };
  }

  /** Rings, digest, counts and clock follow the rows: off before a row changes, on after. */
  #hook(row: Row): void {
    this.#counts[row.state]++;
    if (isThere(row.state)) this.#rings.insert(row.seat);
    else this.#rings.remove(row.record.id);
    if (!row.lapsed) this.#digest.toggle(row.record, row.state === "down");
    this.#dueAt = Math.min(this.#dueAt, dueOf(row));
  }

  #unhook(row: Row): void {
    this.#counts[row.state]--;
    if (!row.lapsed) this.#digest.toggle(row.record, row.state === "down");
  }

  /** Forgets the member that has been gone for longest; false when nobody is gone. */
  #makeRoom(): boolean {
    let oldest: Row | undefined;
    for (const row of this.#rows.values()) {
      if (!isThere(row.state) && (oldest === undefined || row.since < oldest.since)) oldest = row;
    }
    if (oldest === undefined) return false;
    this.remove(oldest.record.id);
    return true;
  }
}

/** Whether a member in this state stands in the rings. */
export function isThere(state: MemberState): boolean {
  return state === "alive" || state === "suspect";
}

/** When the next thing happens to a row by the clock alone. */
function dueOf(row: Row): Instant {
  const expiry = row.facts.expiresAt + CLOCK_LEEWAY_MS;
  if (isThere(row.state)) return expiry;
  // A tombstone must outlive every older record of its member, and those die with their tokens.
  if (row.state === "left") return expiry;
  return row.lapsed ? row.since + REMEMBER_MS : Math.min(expiry, row.since + REMEMBER_MS);
}

function isOver(row: Row, now: Instant): boolean {
  return row.state === "left" || now >= row.since + REMEMBER_MS;
}

function samePlace(a: TokenFacts, b: TokenFacts): boolean {
  return a.place.length === b.place.length && a.place.every((byte, index) => byte === b.place[index]);
}
