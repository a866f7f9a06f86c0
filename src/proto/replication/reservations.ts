import { equalBytes } from "../bytes.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { mayWrite } from "./batch.ts";
import type { Outlet } from "./effects.ts";
import { digestOf, type Entry, encodeKey, pathOf } from "./entry.ts";
import { aheadMs, type Clock, type HybridClock } from "./hlc.ts";
import type { Journal } from "./journal.ts";
import { MAX_AHEAD_MS, MAX_PROMISES, MAX_RESERVATIONS, RESERVATION_MS } from "./limits.ts";
import { encodeReserved, type ReservationState, type ReservationWish } from "./messages.ts";
import type { Conduct, Peers } from "./peers.ts";
import type { Store } from "./store.ts";

/**
 * A replica's part in conditional writes: which keys are reserved here, for whom, and until when.
 *
 * A reservation is granted when the asker means the same replicas, this replica has nothing later than the version that the condition
 * names, and nobody else holds the key. It ends when the write that it was for is stored, which the asker is then told (*kept*);
 * when any other version is stored, when its link goes, after ten seconds: the asker is not told, and does not count this replica.
 *
 * With each grant goes a promise: no reservation is granted to a write with an earlier clock than one that this replica has granted
 * before. So of two writes that both had a majority the later granted one wins, also where the earlier one comes out of a drawer
 * long after. Promises outlive a crash: the clock moves past the granted one, and that is durable before the grant is said.
 */

/** What the replica's part needs. */
export interface ReservationTools {
  readonly outlet: Outlet;
  readonly store: Store;
  readonly clock: HybridClock;
  readonly journal: Journal;
  readonly peers: Peers;
  /** Names the members whose majority decides about a key. */
  readonly viewOf: (bucket: string, path: number) => Uint8Array;
  /** What a member's token grants. */
  readonly scopesOf: (member: PeerId) => readonly string[] | undefined;
}

interface Reservation {
  readonly peer: PeerId;
  /** The asker's number of its request. */
  readonly seq: number;
  /** Of the write that it is for. */
  readonly clock: Clock;
  readonly until: Instant;
  /** The link over which it was asked for; undefined: it is our own. */
  readonly link: Conduct | undefined;
}

/** The keys that are reserved here. */
export class Reservations {
  readonly #tools: ReservationTools;
  /** By bucket and key. */
  readonly #held = new Map<string, Reservation>();
  readonly #counts = new Map<PeerId, number>();
  readonly #promised = new Map<string, Clock>();
  /** Promised of every key that is not remembered by itself. */
  #floor: Clock;
  /** Told what becomes of our own. */
  readonly #own: (seq: number, state: ReservationState, clock: Clock, now: Instant) => void;

  /** @param own told what becomes of reservations that this member asks of itself. */
  constructor(
    tools: ReservationTools,
    own: (seq: number, state: ReservationState, clock: Clock, now: Instant) => void,
  ) {
    this.#tools = tools;
    this.#own = own;
    this.#floor = tools.clock.last;
  }

  /** Answers a member that wants a key for a conditional write; the version that stands in its way, if one does. */
  reserve(peer: PeerId, seq: number, wish: ReservationWish, now: Instant): Entry | undefined {
    const { clock, journal, store } = this.#tools;
    const name = nameOf(wish.bucket, wish.key);
    const entry = store.find(wish.bucket, wish.key);
    if (entry !== undefined && isLater(entry, wish)) return entry;
    const refusal = this.#refusal(peer, name, wish, now);
    const link = this.#tools.peers.conduct(peer);
    const reservation = { peer, seq, clock: wish.clock, until: now + RESERVATION_MS, link };
    if (refusal !== undefined) {
      this.#say(reservation, refusal, refusal === "behind" ? this.#promiseOf(name) : 0, now);
      return undefined;
    }
    this.#end(name);
    this.#held.set(name, reservation);
    this.#counts.set(peer, (this.#counts.get(peer) ?? 0) + 1);
    this.#promise(name, wish.clock);
    clock.observe(wish.clock, now);
    journal.touch();
    journal.after((at) => this.#say(reservation, "granted", 0, at), now);
    return undefined;
  }

  #refusal(peer: PeerId, name: string, wish: ReservationWish, now: Instant): ReservationState | undefined {
    const { viewOf, scopesOf } = this.#tools;
    const keyBytes = encodeKey(wish.key);
    if (keyBytes === undefined || !mayWrite(scopesOf(peer) ?? [], wish.bucket, wish.key)) return "unwilling";
    if (!equalBytes(viewOf(wish.bucket, pathOf(keyBytes)), wish.view)) return "unwilling";
    const held = this.#held.get(name);
    if (held !== undefined && held.until > now) return "taken";
    if (wish.clock <= this.#promiseOf(name)) return "behind";
    return aheadMs(wish.clock, now) > MAX_AHEAD_MS || !this.#hasRoom(peer, now) ? "unwilling" : undefined;
  }

  #promiseOf(name: string): Clock {
    return this.#promised.get(name) ?? this.#floor;
  }

  #promise(name: string, clock: Clock): void {
    if (this.#promised.size === MAX_PROMISES) {
      for (const promised of this.#promised.values()) this.#floor = Math.max(this.#floor, promised);
      this.#promised.clear();
    }
    this.#promised.set(name, clock);
  }

  #hasRoom(peer: PeerId, now: Instant): boolean {
    if ((this.#counts.get(peer) ?? 0) < MAX_RESERVATIONS) return true;
    for (const [name, { until }] of this.#held) if (until <= now) this.#end(name);
    return (this.#counts.get(peer) ?? 0) < MAX_RESERVATIONS;
  }

  #end(name: string): void {
    const held = this.#held.get(name);
    if (held === undefined) return;
    this.#held.delete(name);
    const left = (this.#counts.get(held.peer) ?? 1) - 1;
    if (left > 0) this.#counts.set(held.peer, left);
    else this.#counts.delete(held.peer);
  }

  /** A version is stored here: what is reserved of its key ends, kept or broken. */
  stored({ bucket, key, batch, clock }: Entry, now: Instant): void {
    const name = nameOf(bucket, key);
    const held = this.#held.get(name);
    if (held === undefined) return;
    this.#end(name);
    if (held.peer !== batch.author || held.clock !== clock || held.until <= now) return;
    this.#tools.journal.after((at) => this.#say(held, "kept", 0, at), now);
  }

  /** The asker needs the key no more. */
  release(peer: PeerId, seq: number, bucket: string, key: string): void {
    const name = nameOf(bucket, key);
    const held = this.#held.get(name);
    if (held?.peer === peer && held.seq === seq) this.#end(name);
  }

  /** The link is gone, and with it all that was reserved over it. */
  drop(peer: PeerId): void {
    for (const [name, held] of this.#held) if (held.peer === peer) this.#end(name);
  }

  /** Over another link than the one that brought it nobody has asked. */
  #say({ peer, seq, link }: Reservation, state: ReservationState, clock: Clock, now: Instant): void {
    const { outlet, peers } = this.#tools;
    if (peer === outlet.self) this.#own(seq, state, clock, now);
    else if (peers.conduct(peer) === link) outlet.send(peer, encodeReserved(seq, state, clock));
  }
}

/** Whether the stored version is none that a condition on `basis` has seen. */
function isLater(entry: Entry, { basis }: ReservationWish): boolean {
  if (basis === undefined || entry.clock > basis.clock) return true;
  return entry.clock === basis.clock && !equalBytes(digestOf(entry).subarray(0, 8), basis.digest);
}

/** A bucket's name holds no slash. */
function nameOf(bucket: string, key: string): string {
  return `${bucket}/${key}`;
}
