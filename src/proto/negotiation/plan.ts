import { assert } from "../assert.ts";
import { below, type Random } from "../random.ts";
import { signalLimits } from "./signal.ts";

/**
 * How a connection is to be tried. A ladder is a list of plans, the cheapest first; every rung gets a few rounds before the
 * next one. The ladder of one rung is the default: what the stack does by itself is right for most pairs.
 */
export interface DialPlan {
  /** Which stack, by its word: `auto` or a stack's own name (`native`, `werift`, …). */
  readonly stack: string;
  /** `relay` uses TURN only. */
  readonly policy: "all" | "relay";
  /** Which of the agent's lists of ICE servers, by position. */
  readonly iceServers: number;
  /** What differs from {@link STAGE_LIMITS} on this rung. */
  readonly stageLimits?: Partial<StageLimits>;
}

/** What a dial goes through, in order; a failure names the one that it ended in. */
export type Stage = "signaling" | "ice" | "dtls" | "channel" | "admission";

/** The longest that one round may stay in each stage, ms. */
export type StageLimits = Readonly<Record<Stage, number>>;

/** Every stage ends within its limit or the round is given up and a fresh connection is tried. */
export const STAGE_LIMITS: StageLimits = {
  /** From the order to connect to the peer's answer: two trips over a routed path and a stack that starts cold. */
  signaling: 6_000,
  /** The slowest stack falls back from TURN/UDP to TCP after 6 s, twice where a STUN server is silent. */
  ice: 15_000,
  /** Lost first flights are resent after 1 s, 2 s; a stack that lost its last flight never goes on. */
  dtls: 5_000,
  /** Two round trips of SCTP, whose smallest retransmission time-out is 1 s. */
  channel: 5_000,
  /** Beyond admission's own 5 s: it is the one to say what went wrong. */
  admission: 6_000,
};

/** The default ladder. */
export const DEFAULT_LADDER: readonly DialPlan[] = [{ stack: "auto", policy: "all", iceServers: 0 }];

/** Bounds and tempers of a pairing beyond one connection. */
export interface PairingLimits {
  /** Connections tried on each rung. */
  readonly roundsPerRung: number;
  /** Connections that one effort makes because the peer offered; further offers are passed over. */
  readonly answersPerEffort: number;
  /** The longest from the first input to the outcome, all rounds included, ms. */
  readonly effortMs: number;
  /** First pause before a fresh connection, ms; doubles each time, and is jittered by half up and down. */
  readonly pauseMs: number;
  readonly longestPauseMs: number;
  /** How long an answerer whose round failed waits for the next offer, ms. */
  readonly patienceMs: number;
  /** How long an asker waits for the offer, and how often it repeats itself meanwhile, ms. */
  readonly askMs: number;
  readonly askEveryMs: number;
  /** Signals that open a dial are not taken when they are older than what the same peer has said within this time, ms. */
  readonly lateWindowMs: number;
}

export const PAIRING_LIMITS: PairingLimits = {
  /** Set-ups that lose a packet at the wrong moment fail once in four or so; three in a row is another cause. */
  roundsPerRung: 3,
  /** Twice what the peer's ladder of a few rungs asks for; each costs a certificate check, sockets and candidates. */
  answersPerEffort: 24,
  /** The overlay has another candidate by then, and nobody waits longer in front of a screen. */
  effortMs: 90_000,
  /** Long enough for the peer to notice the same failure, short enough not to be felt. */
  pauseMs: 250,
  longestPauseMs: 4_000,
  /** The dialer may still sit in its longest stage, then pauses and offers. */
  patienceMs: 25_000,
  /** Two repetitions may be lost. */
  askMs: 12_000,
  askEveryMs: 4_000,
  /** Far beyond the delay of any route, far below what a restarted peer with a slower clock would mind. */
  lateWindowMs: 30_000,
};

/** `ladder`, which has 1 to 16 rungs. */
export function checkedLadder(ladder: readonly DialPlan[]): readonly DialPlan[] {
  assert(ladder.length >= 1 && ladder.length <= signalLimits.rungs, "a ladder has 1 to 16 rungs");
  return ladder;
}

/** The rung for `round` (from 1); undefined beyond the end of the ladder. */
export function rungOf(round: number, rungs: number, roundsPerRung: number): number | undefined {
  const rung = Math.floor((round - 1) / roundsPerRung);
  return rung < rungs && round <= signalLimits.rounds ? rung : undefined;
}

/** How long to wait before `round` (2 or more), ms: doubles each time up to its bound, give or take a half. */
export function pauseBefore(round: number, limits: PairingLimits, random: Random): number {
  let pauseMs = limits.pauseMs;
  for (let done = 2; done < round && pauseMs < limits.longestPauseMs; done++) pauseMs *= 2;
  pauseMs = Math.min(pauseMs, limits.longestPauseMs);
  return pauseMs / 2 + below(random, pauseMs + 1);
}
