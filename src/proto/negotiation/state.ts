import type { Instant } from "../machine.ts";
import type { Attempt } from "./attempt.ts";
import type { NegotiationOutput } from "./interface.ts";
import type { Climb } from "./ladder.ts";
import type { DialFailure, DialResult, RoundReport } from "./outcome.ts";

/** Where a negotiation stands. */

/** What stays the same from the first wish to the outcome, whoever ends up dialing. */
export interface Effort {
  /** A wish of our own side is part of it. */
  wanted: boolean;
  climb: Climb;
  /** The connections of the effort that are over, oldest first; at most {@link MAX_REPORTS}. */
  readonly rounds: RoundReport[];
  /** Connections made because the peer offered. */
  answers: number;
}

interface Engaged {
  readonly effort: Effort;
  /** The dial under way, 16 bytes. */
  readonly dial: Uint8Array;
  /** The round under way; the next one while pausing, the last one while awaiting, 0 while asking. */
  readonly round: number;
}

/** A connection is being made: by our offer, or by the peer's. */
export interface Connecting extends Engaged {
  readonly type: "calling" | "answering";
  /** The attempt's number to the outside. */
  readonly id: number;
  readonly attempt: Attempt;
}

export type State =
  | { readonly type: "idle" }
  /** We wait for the offer that we have asked for. */
  | (Engaged & { readonly type: "asking" })
  | Connecting
  /** Our round failed; the next one begins shortly. */
  | (Engaged & { readonly type: "pausing"; readonly failure: DialFailure })
  /** The peer's round failed; its next offer is awaited. */
  | (Engaged & { readonly type: "awaiting"; readonly failure: DialFailure });

/** What is waited for beside the connection's own limits: the whole effort, the next round, the peer, the next ask. */
export type Slot = "effort" | "pause" | "patience" | "ask";

/** Reports that an effort keeps: an honest one has a handful. */
export const MAX_REPORTS = 16;

/** Takes down what a connection came to, before it is left. */
export function report({ effort, attempt }: Connecting, now: Instant, failure?: DialFailure): void {
  if (effort.rounds.push(attempt.report(now, failure)) > MAX_REPORTS) effort.rounds.shift();
}

/** How the effort of `state` ended. */
export function outcomeOf({ effort, dial }: Exclude<State, { type: "idle" }>, result: DialResult): NegotiationOutput {
  const { wanted, rounds } = effort;
  return { type: "outcome", dial, wanted, result, rounds };
}

export function isConnecting(state: State): state is Connecting {
  return state.type === "calling" || state.type === "answering";
}

/** The failure to report when `state` ends for `reason`; between rounds the last round's says more. */
export function failureOf(state: Exclude<State, { type: "idle" }>, reason: DialFailure["reason"]): DialFailure {
  if (state.type === "pausing" || state.type === "awaiting") return state.failure;
  return { stage: isConnecting(state) ? state.attempt.stage : "signaling", reason };
}
