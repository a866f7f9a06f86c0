import { Deadlines } from "../deadlines.ts";
import { type Instant, type Machine, NOTHING } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { fraction, type Random } from "../random.ts";

/**
 * When a session gets another connection.
 *
 * A session that has lost its connection and has application streams is dialed for at once, and again after every dial that
 * fails, ever more slowly; both sides do so, and negotiation decides whose offer counts. One without streams is left to the
 * overlay, which dials whom it wants. A session whose connection stands gets another beneath it when somebody asks for that:
 * the two sides make it while the first one carries on, so that nothing is lost by trying, and after a few failures it is
 * left at that. Signals may be lost with the path that they took: who has heard nothing for a while begins anew. Anything
 * that changes about this machine's network, or the ways of its signals, makes that worth while at once.
 *
 * It makes no connection and knows no path; whoever asks for a renewal has judged that it is worth one.
 */
export class Renewals implements Machine<RenewalsInput, RenewalsOutput> {
  readonly #random: Random;
  readonly #efforts = new Map<PeerId, Effort>();
  readonly #deadlines = new Deadlines<PeerId>();

  constructor(random: Random) {
    this.#random = random.fork("renewals");
  }

  deadline(): Instant | undefined {
    return this.#deadlines.next();
  }

  handle(input: RenewalsInput, now: Instant): readonly RenewalsOutput[] {
    switch (input.type) {
      case "detached":
        return input.busy ? this.#begin(input.peer, "dial", now) : this.#forget(input.peer);
      case "renew":
        return this.#efforts.has(input.peer) ? NOTHING : this.#begin(input.peer, "renew", now);
      case "attached":
      case "over":
        return this.#forget(input.peer);
      case "failed":
        return this.#failed(input.peer, now);
      case "changed":
        for (const peer of this.#efforts.keys()) this.#deadlines.set(peer, now);
        return this.#due(now);
      case "timeout":
        return this.#due(now);
    }
  }

  #begin(peer: PeerId, way: Effort["way"], now: Instant): readonly RenewalsOutput[] {
    this.#efforts.set(peer, { way, failures: 0, step: "waiting" });
    this.#deadlines.set(peer, now);
    return this.#due(now);
  }

  #due(now: Instant): readonly RenewalsOutput[] {
    const out: RenewalsOutput[] = [];
    for (let peer = this.#deadlines.take(now); peer !== undefined; peer = this.#deadlines.take(now)) {
      const effort = this.#efforts.get(peer);
      if (effort === undefined) continue;
      if (effort.step === "trying") out.push({ type: "give-up", peer });
      effort.step = "trying";
      this.#deadlines.set(peer, now + (FIRST_PATIENCE_MS << Math.min(effort.failures, MAX_DOUBLINGS)));
      out.push({ type: effort.way, peer });
    }
    return out;
  }

  #failed(peer: PeerId, now: Instant): readonly RenewalsOutput[] {
    const effort = this.#efforts.get(peer);
    if (effort === undefined || effort.step === "waiting") return NOTHING;
    effort.failures++;
    if (effort.way === "renew" && effort.failures >= MAX_RENEWALS) return this.#forget(peer);
    const pauseMs = Math.min(FIRST_PAUSE_MS << Math.min(effort.failures - 1, MAX_DOUBLINGS), LONGEST_PAUSE_MS);
    effort.step = "waiting";
    this.#deadlines.set(peer, now + pauseMs * (0.5 + fraction(this.#random) / 2));
    return NOTHING;
  }

  #forget(peer: PeerId): readonly RenewalsOutput[] {
    this.#efforts.delete(peer);
    this.#deadlines.clear(peer);
    return NOTHING;
  }
}

/** Why a link that stands gets another connection. */
export type RenewalReason =
  /** The address that it uses has gone. */
  | "moved"
  /** This machine slept: the other end may have given the connection up. */
  | "woke"
  /** The TURN credential that it uses runs out. */
  | "credential"
  /** There may be a shorter way. */
  | "better-path";

interface Effort {
  /** What it asks for: a dial where there is no connection, or another beneath the one that stands. */
  readonly way: "dial" | "renew";
  failures: number;
  step: "trying" | "waiting";
}

export type RenewalsInput =
  /** A session has lost its connection. `busy`: it has application streams. */
  | { readonly type: "detached"; readonly peer: PeerId; readonly busy: boolean }
  /** It has one again, or another. */
  | { readonly type: "attached"; readonly peer: PeerId }
  /** The session is over. */
  | { readonly type: "over"; readonly peer: PeerId }
  /** A dial with the peer ended without a connection. */
  | { readonly type: "failed"; readonly peer: PeerId }
  /** Another connection is wanted beneath one that stands. */
  | { readonly type: "renew"; readonly peer: PeerId }
  /** This machine's network, or the way of its signals, is not what it was. */
  | { readonly type: "changed" }
  | { readonly type: "timeout" };

export type RenewalsOutput =
  /** Dial the peer, with which there is no connection. */
  | { readonly type: "dial"; readonly peer: PeerId }
  /** Make another connection beneath the one that stands. */
  | { readonly type: "renew"; readonly peer: PeerId }
  /** End the dial under way if no signal of the peer has come yet: ours may have gone the way of the path. */
  | { readonly type: "give-up"; readonly peer: PeerId };

/**
 * What a lost signal costs, more with each failure in case the way is just slow. The mesh gives a letter up after 2 s and hands it
 * to a server; the letters after it go there at once.
 */
const FIRST_PATIENCE_MS = 2_500;
const MAX_DOUBLINGS = 5;

/** A failed dial has tried for seconds by itself; what fails at once has no way for signals, which may come back soon. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8_000;

/** Efforts for a connection beneath one that works. */
const MAX_RENEWALS = 3;
