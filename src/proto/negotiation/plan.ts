import { assert } from "../assert.ts";
import { below, type Random } from "../random.ts";
import { signalLimits } from "./signal.ts";

/** The ways to a TURN server, the cheapest first. */
export const TRANSPORTS = ["udp", "tcp", "tls"] as const;
export type Transport = (typeof TRANSPORTS)[number];

/**
 * What a connection is made with: a TURN server over UDP and the fastest stack, which also finds every direct path; one over TCP, or
 * over TLS, with a stack that can; or none at all, on either side, for a link that is relayed and would rather not be. Their numbers on the
 * wire are their places here: append only.
 */
export const RUNGS = [...TRANSPORTS, "direct"] as const;
export type Rung = (typeof RUNGS)[number];

/** How a connection is to be tried. A ladder is a list of plans in the order in which they are tried. */
export interface DialPlan {
  readonly rung: Rung;
  /** `relay` uses TURN only. */
  readonly policy: "all" | "relay";
  /**
   * When no STUN or TURN server has answered so long after both descriptions were known, and no path was found by then, UDP is
   * held to be blocked and the round ends, ms. Absent: not judged, as where no other rung is left.
   */
  readonly udpWithinMs?: number;
  /** Connections tried on this rung; default `PairingLimits.roundsPerRung`. */
  readonly rounds?: number;
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

/** The ladder of an agent that knows no TURN server over TCP or TLS. */
export const DEFAULT_LADDER: readonly DialPlan[] = [{ rung: "udp", policy: "all" }];

/**
 * How long servers get to answer over UDP, ms: STUN repeats a lost request after 500 ms (RFC 8489), so both have to be lost; and with
 * 1 s more for each step of the dial over TCP a pair without UDP is linked within 4 s.
 */
export const UDP_WITHIN_MS = 800;

/** The rungs that need no UDP. */
const STREAMS = ["tcp", "tls"] as const;

/** ICE over UDP where another rung is left, ms: checks are sent five times in it, and a pair that has a path finds it in 1 s. */
const UDP_ICE_MS = 6_000;
/** ICE through TURN over TCP or TLS, ms: measured 0.7 to 1.8 s; a lost segment costs TCP 1 s. */
const STREAM_ICE_MS = 8_000;

/** The ladder of a dial that tries whether a relayed link can be direct: once, and briefly, for it is tried again. */
export const DIRECT_LADDER: readonly DialPlan[] = [
  { rung: "direct", policy: "all", rounds: 1, stageLimits: { ice: 4_000 } },
];

/** The ladder of an agent with TURN servers over TCP, over TLS, or neither. */
export function ladderFor(ways: { readonly tcp: boolean; readonly tls: boolean }): readonly DialPlan[] {
  const streams = STREAMS.filter((rung) => ways[rung]).map(streamPlan);
  if (streams.length === 0) return DEFAULT_LADDER;
  return [{ rung: "udp", policy: "all", udpWithinMs: UDP_WITHIN_MS, stageLimits: { ice: UDP_ICE_MS } }, ...streams];
}

function streamPlan(rung: Rung): DialPlan {
  return { rung, policy: "all", stageLimits: { ice: STREAM_ICE_MS } };
}

/** `ladder`, and the rungs over TCP and TLS that it lacks: for a peer without UDP, whose servers may speak what ours do not. */
export function withStreams(ladder: readonly DialPlan[]): readonly DialPlan[] {
  const missing = STREAMS.filter((rung) => !ladder.some((plan) => plan.rung === rung));
  return [...ladder, ...missing.map(streamPlan)];
}

/** The plan by which to answer an offer of rung number `rung`; a rung that the ladder lacks is answered all the same. */
export function planOf(ladder: readonly DialPlan[], rung: number): DialPlan {
  const name = RUNGS[rung] ?? "udp";
  return ladder.find((plan) => plan.rung === name) ?? { rung: name, policy: "all" };
}

/** Bounds and tempers of a pairing beyond one connection. */
export interface PairingLimits {
  /** Connections tried on each rung; where ICE finds no path the next rung comes at once, if there is one. */
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

/** How long to wait before `round` (2 or more), ms: doubles each time up to its bound, give or take a half. */
export function pauseBefore(round: number, limits: PairingLimits, random: Random): number {
  let pauseMs = limits.pauseMs;
  for (let done = 2; done < round && pauseMs < limits.longestPauseMs; done++) pauseMs *= 2;
  pauseMs = Math.min(pauseMs, limits.longestPauseMs);
  return pauseMs / 2 + below(random, pauseMs + 1);
}
