import { RecentMap } from "../bounded.ts";
import { hex } from "../bytes.ts";
import type { Instant } from "../machine.ts";
import { attemptLimits } from "./attempt.ts";
import type { Candidate } from "./sdp.ts";
import { type Signal, type SignalBody, signalLimits } from "./signal.ts";

/**
 * What is remembered of the dials with one peer, so that late, repeated and early signals find their place.
 *
 * Within a dial, sequences tell a repetition. Across dials, the sender's times do: an offer or an ask that is older than
 * what the same peer has offered, answered or asked since is late. That memory is short, because a peer that starts again may
 * come back with its clock set behind.
 */

/** Bounds of the memory that one peer can fill. */
export const memoryLimits = {
  /** Dials: an honest pair has one or two at a time. The one touched longest ago is forgotten. */
  dials: 32,
  /** Rounds for which candidates may arrive before their offer. */
  earlyRounds: 4,
};

/** One dial, current or over. */
export class DialRecord {
  /** Signals that we have sent in it: the next sequence. */
  sent = 0;
  /** Why its signals are no longer taken; `told`: it failed, and the peer knows. */
  ended: "no" | "linked" | "failed" | "told" = "no";
  readonly #seen = new Uint32Array(signalLimits.sequence / 32);

  /** Marks the peer's `sequence`, which is within its bound; false when it has been seen. */
  see(sequence: number): boolean {
    const word = sequence >>> 5;
    const bit = 1 << (sequence & 31);
    const seen = this.#seen[word] as number;
    this.#seen[word] = seen | bit;
    return (seen & bit) === 0;
  }
}

export class DialMemory {
  readonly #dials = new RecentMap<string, DialRecord>(memoryLimits.dials);
  readonly #early = new RecentMap<string, Candidate[]>(memoryLimits.earlyRounds);
  readonly #lateWindowMs: number;
  /** Our last signal's time. */
  #spoken = 0;
  /** The newest time of the peer's offers, answers and asks, and until when it matters. */
  #heard = { time: 0, until: 0 };

  constructor(lateWindowMs: number) {
    this.#lateWindowMs = lateWindowMs;
  }

  /** The record of `dial`, made when there is none. */
  of(dial: Uint8Array): DialRecord {
    const key = hex(dial);
    const record = this.#dials.get(key) ?? new DialRecord();
    this.#dials.set(key, record);
    return record;
  }

  /** Gives our `body` its head; undefined when the dial has used up its sequences. */
  stamp(dial: Uint8Array, body: SignalBody, now: Instant): Signal | undefined {
    const record = this.of(dial);
    if (record.sent >= signalLimits.sequence) return undefined;
    this.#spoken = Math.max(Math.floor(now), this.#spoken + 1);
    return { dial, sequence: record.sent++, time: this.#spoken, ...body };
  }

  /** Takes note of a signal that has not been seen; true when it opens a dial and the peer has moved on since. */
  hear(signal: Signal, now: Instant): boolean {
    const opens = signal.kind === "offer" || signal.kind === "ask";
    // Candidates and rejects may be about a dial that the sender has left.
    if (!opens && signal.kind !== "answer") return false;
    const current = now < this.#heard.until;
    if (current && signal.time < this.#heard.time) return opens;
    this.#heard = { time: signal.time, until: now + this.#lateWindowMs };
    return false;
  }

  /** Keeps candidates for an offer that has yet to come; false when there are too many. */
  hold(dial: Uint8Array, round: number, candidates: readonly Candidate[]): boolean {
    const key = `${hex(dial)}/${round}`;
    const held = this.#early.get(key) ?? [];
    if (held.length + candidates.length > attemptLimits.candidates) return false;
    for (const candidate of candidates) held.push(candidate);
    this.#early.set(key, held);
    return true;
  }

  /** The candidates kept for a round, which are no longer kept. */
  release(dial: Uint8Array, round: number): readonly Candidate[] {
    const key = `${hex(dial)}/${round}`;
    const held = this.#early.get(key) ?? [];
    this.#early.delete(key);
    return held;
  }
}
