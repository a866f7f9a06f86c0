/**
 * Two reconcilers and the link between them: messages take half a round trip, slices of work take no time. Counts what
 * passes and collects what each side is told.
 */
import type { PeerId } from "../../../src/proto/peer-id.ts";
import { type Random, SeededRandom } from "../../../src/proto/random.ts";
import type { IdList } from "../../../src/proto/reconcile/id-list.ts";
import { IdSet } from "../../../src/proto/reconcile/id-set.ts";
import {
  type ReconcileInput,
  type ReconcileOptions,
  type ReconcileOutput,
  Reconciler,
} from "../../../src/proto/reconcile/reconciler.ts";

export const ALICE = "alice" as PeerId;
export const BOB = "bob" as PeerId;

/** What a round trip takes by the clock of the machines. */
const ROUND_TRIP_MS = 50;

/** An id as text. */
export function nameOf(a: number, b: number, c: number, d: number): string {
  return [a, b, c, d].map((word) => word.toString(16).padStart(8, "0")).join("");
}

/** The names of listed ids. */
export function namesOf(list: IdList): string[] {
  return Array.from({ length: list.length }, (_, index) =>
    nameOf(list.word(index, 0), list.word(index, 1), list.word(index, 2), list.word(index, 3)),
  );
}

/** `count` random ids as words. */
export function randomIds(random: Random, count: number): Uint32Array {
  return new Uint32Array(count * 4).map(() => random.u32());
}

/** Adds ids number `from` up to, without, `to`. */
export function addIds(set: IdSet, ids: Uint32Array, from = 0, to: number = ids.length / 4): IdSet {
  for (let at = from * 4; at < to * 4; at += 4) {
    set.add(ids[at] as number, ids[at + 1] as number, ids[at + 2] as number, ids[at + 3] as number);
  }
  return set;
}

/** A set without ids. */
export function emptySet(): IdSet {
  return new IdSet(new SeededRandom(99));
}

/** A set of these ids. */
export function setOf(ids: Uint32Array): IdSet {
  return addIds(emptySet(), ids);
}

interface Side {
  readonly name: PeerId;
  readonly machine: Reconciler;
  readonly missing: Set<string>;
  readonly surplus: Set<string>;
}

interface Message {
  readonly at: number;
  readonly to: Side;
  readonly from: Side;
  readonly bytes: Uint8Array;
}

/** One exchange between two sets, by default from Alice's side. */
export class Pair {
  readonly alice: Side;
  readonly bob: Side;
  readonly events: ReconcileOutput[] = [];
  bytes = 0;
  messages = 0;
  /** Time in both machines, and the longest call, ms. */
  spentMs = 0;
  longestMs = 0;
  /** When the asking side was through, in round trips. */
  roundTrips = 0;
  /** May change or drop what passes. */
  tamper: (bytes: Uint8Array, from: PeerId) => Uint8Array | undefined = (bytes) => bytes;
  /** Called before each message is delivered. */
  meanwhile: () => void = () => {};
  #time = 0;
  readonly #clock: () => number;
  readonly #queue: Message[] = [];

  constructor(alice: IdSet, bob: IdSet, seed = 1, options: ReconcileOptions = {}, clock: () => number = () => 0) {
    const random = new SeededRandom(seed);
    const side = (name: PeerId, set: IdSet): Side => ({
      name,
      machine: new Reconciler(set, random.fork(name), options),
      missing: new Set(),
      surplus: new Set(),
    });
    this.alice = side(ALICE, alice);
    this.bob = side(BOB, bob);
    this.#clock = clock;
  }

  /** Runs an exchange to its end. */
  run(): this {
    this.apply(this.alice, { type: "start", peer: BOB });
    return this.settle();
  }

  /** Delivers everything that is under way, and everything that comes of it. */
  settle(): this {
    for (let message = this.#queue.shift(); message !== undefined; message = this.#queue.shift()) {
      this.#time = message.at;
      this.meanwhile();
      this.apply(message.to, { type: "message", peer: message.from.name, bytes: message.bytes });
    }
    return this;
  }

  /** Applies an input, and gives the machine as many slices as it wants. */
  apply(side: Side, input: ReconcileInput): void {
    this.#step(side, input);

    while ((side.machine.deadline() ?? Number.POSITIVE_INFINITY) <= this.#time * ROUND_TRIP_MS) {
      this.#step(side, { type: "timeout" });
    }
  }

  #step(side: Side, input: ReconcileInput): void {
    const before = this.#clock();
    const outputs = side.machine.handle(input, this.#time * ROUND_TRIP_MS);
    const spent = this.#clock() - before;
    this.spentMs += spent;
    this.longestMs = Math.max(this.longestMs, spent);
    for (const output of outputs) this.#take(side, output);
  }

  #take(side: Side, output: ReconcileOutput): void {
    if (output.type === "send") {
      const bytes = this.tamper(output.bytes, side.name);
      if (bytes === undefined) return;
      this.bytes += bytes.length;
      this.messages++;
      const to = side === this.alice ? this.bob : this.alice;
      this.#queue.push({ at: this.#time + 0.5, to, from: side, bytes });
      return;
    }
    this.events.push(output);
    if (output.type === "difference") {
      for (const name of namesOf(output.missing)) side.missing.add(name);
      for (const name of namesOf(output.surplus)) side.surplus.add(name);
    }
    if (output.type === "finished") this.roundTrips = Math.ceil(this.#time);
  }

  /** What exchanges have ended with. */
  get endings(): string[] {
    return this.events.flatMap((event) => (event.type === "finished" ? [event.ending] : []));
  }

  /** The faults, each with whose they are. */
  get faults(): string[] {
    return this.events.flatMap((event) => (event.type === "fault" ? [`${event.peer} ${event.fault}`] : []));
  }
}
