import type { Instant } from "../machine.ts";
import type { Atlas } from "../overlay/atlas.ts";
import type { RingSeat } from "../overlay/seat.ts";
import type { TokenFacts } from "../signed.ts";
import type { MemberRecord, Vouched } from "./record.ts";

/** What this member holds another for. `down` and `left` are remembered, and stand in no ring. */
export type MemberState = "alive" | "suspect" | "down" | "left";

/** One entry of the list, to read: always as the list is. Records, facts and seats are shared objects; the rest is a few numbers. */
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

/** What few members differ in from what their `since` tells. */
export interface Note {
  knownSince: Instant;
  seatedSince: Instant;
  clearedAt: Instant;
  provenBoot: number;
}

/**
 * The rows of a membership list, in columns by the atlas's numbers: a record, a byte and a time for each member, 17 bytes,
 * because a list of 10,000 that is kept by 10,000 members of one process has no room for more. Most members
 * have come and stayed; of those that are linked, were suspected or have restarted there is a {@link Note}.
 */
export class Columns {
  readonly atlas: Atlas;
  /** By number; undefined: no member of the list. */
  vouched: (Vouched | undefined)[] = [];
  readonly notes = new Map<number, Note>();
  #standings = new Uint8Array(0);
  #since = new Float64Array(0);

  constructor(atlas: Atlas) {
    this.atlas = atlas;
  }

  /** Numbers below this may be members. */
  get length(): number {
    return this.#standings.length;
  }

  /** Whether the member of this number is in the list. */
  has(number: number): boolean {
    return ((this.#standings[number] ?? 0) & STATE) !== 0;
  }

  state(number: number): MemberState {
    return STATES[(this.#standings[number] as number) & STATE] as MemberState;
  }

  lapsed(number: number): boolean {
    return ((this.#standings[number] as number) & LAPSED) !== 0;
  }

  since(number: number): Instant {
    return this.#since[number] as number;
  }

  set(number: number, vouched: Vouched, state: MemberState, lapsed: boolean, since: Instant): void {
    if (number >= this.#standings.length) this.#grow(this.atlas.size);
    this.vouched[number] = vouched;
    this.#standings[number] = STATES.indexOf(state) | (lapsed ? LAPSED : 0);
    this.#since[number] = since;
  }

  clear(number: number): void {
    this.vouched[number] = undefined;
    this.#standings[number] = 0;
    this.notes.delete(number);
  }

  /** The note of a member, to be changed; it begins with what its absence says. */
  note(number: number): Note {
    let note = this.notes.get(number);
    if (note === undefined) {
      const since = this.since(number);
      note = { knownSince: since, seatedSince: since, clearedAt: Number.NEGATIVE_INFINITY, provenBoot: 0 };
      this.notes.set(number, note);
    }
    return note;
  }

  /** The rows become those of `other`, which shares the atlas: each seat is held once more. */
  copy(other: Columns): void {
    this.vouched = other.vouched.slice();
    this.#standings = other.#standings.slice();
    this.#since = other.#since.slice();
    this.notes.clear();
    for (const [number, note] of other.notes) this.notes.set(number, { ...note });
    for (let number = 0; number < this.length; number++) if (this.has(number)) this.atlas.share(number);
  }

  #grow(size: number): void {
    const length = size + (size >> 2);
    const vouched = new Array<Vouched | undefined>(length);
    for (let number = 0; number < this.vouched.length; number++) vouched[number] = this.vouched[number];
    this.vouched = vouched;
    const standings = new Uint8Array(length);
    standings.set(this.#standings);
    this.#standings = standings;
    const since = new Float64Array(length);
    since.set(this.#since);
    this.#since = since;
  }
}

/** One row of the columns. */
export class Row implements Member {
  readonly #columns: Columns;
  readonly number: number;

  constructor(columns: Columns, number: number) {
    this.#columns = columns;
    this.number = number;
  }

  get record(): MemberRecord {
    return (this.#columns.vouched[this.number] as Vouched).record;
  }

  get facts(): TokenFacts {
    return (this.#columns.vouched[this.number] as Vouched).facts;
  }

  get seat(): RingSeat {
    return (this.#columns.vouched[this.number] as Vouched).seat;
  }

  get state(): MemberState {
    return this.#columns.state(this.number);
  }

  get since(): Instant {
    return this.#columns.since(this.number);
  }

  get knownSince(): Instant {
    return this.#columns.notes.get(this.number)?.knownSince ?? this.since;
  }

  get seatedSince(): Instant {
    return this.#columns.notes.get(this.number)?.seatedSince ?? this.since;
  }

  get clearedAt(): Instant {
    return this.#columns.notes.get(this.number)?.clearedAt ?? Number.NEGATIVE_INFINITY;
  }

  get provenBoot(): number {
    return this.#columns.notes.get(this.number)?.provenBoot ?? 0;
  }

  get lapsed(): boolean {
    return this.#columns.lapsed(this.number);
  }
}

/** The low bits of a standing: the state, or 0 for no member. */
const STATE = 7;
const LAPSED = 8;
const STATES: readonly (MemberState | undefined)[] = [undefined, "alive", "suspect", "down", "left"];
