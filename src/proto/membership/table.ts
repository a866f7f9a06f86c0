import { assert } from "../assert.ts";
import { MAX_MEMBERS } from "../limits.ts";
import type { Instant } from "../machine.ts";
import { observes } from "../overlay/neighbours.ts";
import { Rings, type RingView } from "../overlay/rings.ts";
import type { RingSeat } from "../overlay/seat.ts";
import type { PeerId } from "../peer-id.ts";
import type { TokenFacts } from "../signed.ts";
import { CLOCK_LEEWAY_MS } from "../trust/times.ts";
import { Columns, type Member, type MemberState, Row } from "./columns.ts";
import { Digest } from "./digest.ts";
import type { Entry } from "./entries.ts";
import { compareHeads, type Difference, membersUnder, packHeads } from "./heads.ts";
import { REMEMBER_MS, VIEW_AGE_MS } from "./limits.ts";
import { type MemberRecord, RecordShelf, type Vouched } from "./record.ts";

export type { Member, MemberState } from "./columns.ts";

/**
 * The membership list: one row per member, the rings over those that are there, and the digest over those that are told
 * to others, all three changed together. It decides nothing.
 */
export class MemberTable {
  readonly #shelf: RecordShelf;
  readonly #columns: Columns;
  readonly #rings: Rings;
  readonly #digest = new Digest();
  readonly #counts = { alive: 0, suspect: 0, down: 0, left: 0 };
  #size = 0;
  /** No row needs the clock's attention before this. */
  #dueAt: Instant = Number.POSITIVE_INFINITY;

  /**
   * @param self stands in the rings from the start, also before its own record is signed.
   * @param shelf shared with other lists of this process, or this one's own.
   */
  constructor(self: RingSeat, shelf = new RecordShelf()) {
    this.#shelf = shelf;
    this.#columns = new Columns(shelf.atlas);
    this.#rings = new Rings(shelf.atlas);
    this.#rings.insert(self);
  }

  get rings(): RingView {
    return this.#rings;
  }

  get digest(): Digest {
    return this.#digest;
  }

  get size(): number {
    return this.#size;
  }

  /** Members by state, oneself included. */
  get counts(): Readonly<Record<MemberState, number>> {
    return this.#counts;
  }

  get(id: PeerId): Member | undefined {
    const number = this.#numberOf(id);
    return number < 0 ? undefined : new Row(this.#columns, number);
  }

  /** As `get(id)?.state`. */
  stateOf(id: PeerId): MemberState | undefined {
    const number = this.#numberOf(id);
    return number < 0 ? undefined : this.#columns.state(number);
  }

  /** As `get(id)?.record`. */
  recordOf(id: PeerId): MemberRecord | undefined {
    const number = this.#numberOf(id);
    return number < 0 ? undefined : this.#columns.vouched[number]?.record;
  }

  *all(): IterableIterator<Member> {
    for (const number of this.#numbers()) yield new Row(this.#columns, number);
  }

  /** Begins as another list that shares the shelf; this one must be new. */
  copy(other: MemberTable): void {
    assert(this.#size === 0 && other.#shelf === this.#shelf, "a new list begins with another one of the same shelf");
    this.#columns.copy(other.#columns);
    this.#rings.copy(other.#rings);
    this.#digest.copy(other.#digest);
    Object.assign(this.#counts, other.#counts);
    this.#size = other.#size;
    this.#dueAt = other.#dueAt;
  }

  /**
   * Stores a record, new or in place of the one that there was. `since`: when the member came into `state`.
   * False, and nothing changed, when the list is full.
   */
  put(record: MemberRecord, facts: TokenFacts, state: MemberState, since: Instant, now: Instant): boolean {
    const columns = this.#columns;
    const old = this.#numberOf(record.id);
    if (old < 0 && this.#size >= MAX_MEMBERS && !this.#makeRoom()) return false;
    const before = old < 0 ? undefined : columns.vouched[old];
    const vouched = this.#shelf.vouch(record, facts, before);
    const number = this.#shelf.atlas.hold(vouched.seat);
    if (before === undefined) {
      columns.set(number, vouched, state, false, since);
      if (since !== now) this.#date(number, now, now, Number.NEGATIVE_INFINITY, 0);
    } else {
      const row = new Row(columns, old);
      const { seatedSince, knownSince, clearedAt, provenBoot } = row;
      const stayed = isThere(row.state);
      const same = stayed && before.record.boot === record.boot;
      this.#unhook(old);
      if (number !== old) columns.clear(old);
      this.#shelf.atlas.release(old);
      columns.set(number, vouched, state, false, since);
      const cleared = same ? clearedAt : Number.NEGATIVE_INFINITY;
      // Of the links of one that was down nothing is known.
      this.#date(number, same ? knownSince : now, stayed ? seatedSince : now, cleared, stayed ? provenBoot : 0);
    }
    if (before === undefined) this.#size++;
    this.#hook(number);
    return true;
  }

  /** Changes the state of a member that is in the list. */
  move(id: PeerId, state: MemberState, now: Instant): void {
    const number = this.#numberOf(id);
    if (number < 0 || this.#columns.state(number) === state) return;
    const { knownSince, seatedSince, clearedAt, provenBoot, lapsed } = new Row(this.#columns, number);
    const returns = isThere(state) && !isThere(this.#columns.state(number));
    this.#unhook(number);
    this.#columns.set(number, this.#columns.vouched[number] as Vouched, state, lapsed, now);
    this.#date(number, returns ? now : knownSince, returns ? now : seatedSince, clearedAt, provenBoot);
    this.#hook(number);
  }

  /** Its token has expired: it is down, and told to nobody. */
  lapse(id: PeerId, now: Instant): void {
    const number = this.#numberOf(id);
    if (number < 0 || this.#columns.lapsed(number)) return;
    const columns = this.#columns;
    const state = columns.state(number);
    const since = columns.since(number);
    this.#unhook(number);
    const vouched = columns.vouched[number] as Vouched;
    if (isThere(state)) columns.set(number, vouched, "down", true, now);
    else columns.set(number, vouched, state, true, since);
    this.#hook(number);
  }

  cleared(id: PeerId, now: Instant): void {
    const number = this.#numberOf(id);
    if (number >= 0) this.#columns.note(number).clearedAt = now;
  }

  /** A link has shown that the start `boot` of this member lives. */
  proven(id: PeerId, boot: number): void {
    const number = this.#numberOf(id);
    if (number >= 0) this.#columns.note(number).provenBoot = boot;
  }

  remove(id: PeerId): void {
    const number = this.#numberOf(id);
    if (number < 0) return;
    this.#unhook(number);
    this.#rings.remove(id);
    this.#columns.clear(number);
    this.#shelf.atlas.release(number);
    this.#size--;
  }

  /**
   * Whether an accusation of `accused` by `accuser` has effect: the accuser observes it in the current view, or in one
   * from which members that came within 30 s, or are suspected, are missing.
   */
  mayAccuse(accuser: PeerId, accused: PeerId, now: Instant): boolean {
    const observer = this.get(accuser)?.seat;
    const subject = this.get(accused)?.seat;
    if (observer === undefined || subject === undefined) return false;
    return observes(this.#rings, observer, subject, (id) => {
      const row = this.get(id);
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

  /** See {@link packHeads}. */
  heads(mask: Uint8Array, mostBytes: number): ReturnType<typeof packHeads> {
    return packHeads(this.#columns, mask, mostBytes);
  }

  /** See {@link compareHeads}. */
  compare(mask: Uint8Array, heads: Uint8Array): Difference {
    return compareHeads(this.#columns, mask, heads);
  }

  /** The members whose keys begin with `prefix`. */
  under(prefix: number): readonly Member[] {
    return membersUnder(this.#columns, prefix);
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
    for (const row of this.all()) {
      const at = dueOf(row);
      if (at > now) this.#dueAt = Math.min(this.#dueAt, at);
      else if (isThere(row.state) || !isOver(row, now)) lapsed.push(row);
      else forgotten.push(row);
    }
    return { lapsed, forgotten };
  }

  #numberOf(id: PeerId): number {
    const { atlas } = this.#shelf;
    let number = atlas.find(id);
    while (number >= 0 && !this.#columns.has(number)) number = atlas.other(number);
    return number;
  }

  *#numbers(): IterableIterator<number> {
    for (let number = 0; number < this.#columns.length; number++) if (this.#columns.has(number)) yield number;
  }

  /** Notes what does not follow from `since`. */
  #date(number: number, knownSince: Instant, seatedSince: Instant, clearedAt: Instant, provenBoot: number): void {
    const since = this.#columns.since(number);
    const follows = knownSince === since && seatedSince === since;
    if (follows && clearedAt === Number.NEGATIVE_INFINITY && provenBoot === 0) this.#columns.notes.delete(number);
    else Object.assign(this.#columns.note(number), { knownSince, seatedSince, clearedAt, provenBoot });
  }

  /** Rings, digest, counts and clock follow the rows: off before a row changes, on after. */
  #hook(number: number): void {
    const row = new Row(this.#columns, number);
    const { state, record } = row;
    this.#counts[state]++;
    if (isThere(state)) this.#rings.insert(row.seat);
    else this.#rings.remove(record.id);
    if (!row.lapsed) this.#digest.toggle(record, state === "down");
    this.#dueAt = Math.min(this.#dueAt, dueOf(row));
  }

  #unhook(number: number): void {
    const { state, lapsed, record } = new Row(this.#columns, number);
    this.#counts[state]--;
    if (!lapsed) this.#digest.toggle(record, state === "down");
  }

  /** Forgets the member that has been gone for longest; false when nobody is gone. */
  #makeRoom(): boolean {
    let oldest: Member | undefined;
    for (const row of this.all()) {
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

/** Whether this start of a member has given no sign of life: not on a link of ours, nor by anybody else. */
export function isUnheard({ provenBoot, clearedAt, record }: Member): boolean {
  return provenBoot !== record.boot && clearedAt === Number.NEGATIVE_INFINITY;
}

/** When the next thing happens to a row by the clock alone. */
function dueOf(row: Member): Instant {
  const expiry = row.facts.expiresAt + CLOCK_LEEWAY_MS;
  if (isThere(row.state)) return expiry;
  // A tombstone must outlive every older record of its member, and those die with their tokens.
  if (row.state === "left") return expiry;
  return row.lapsed ? row.since + REMEMBER_MS : Math.min(expiry, row.since + REMEMBER_MS);
}

function isOver(row: Member, now: Instant): boolean {
  return row.state === "left" || now >= row.since + REMEMBER_MS;
}
