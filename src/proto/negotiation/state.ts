import type { Attempt } from "./attempt.ts";
import type { DialFailure } from "./outcome.ts";
import type { DialPlan } from "./plan.ts";

/** Where a negotiation stands. */

/** What stays the same from the first wish to the outcome, whoever ends up dialing. */
export interface Effort {
  /** A wish of our own side is part of it. */
  wanted: boolean;
  readonly ladder: readonly DialPlan[];
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

export function isConnecting(state: State): state is Connecting {
  return state.type === "calling" || state.type === "answering";
}

/** The failure to report when `state` ends for `reason`; between rounds the last round's says more. */
export function failureOf(state: Exclude<State, { type: "idle" }>, reason: DialFailure["reason"]): DialFailure {
  if (state.type === "pausing" || state.type === "awaiting") return state.failure;
  return { stage: isConnecting(state) ? state.attempt.stage : "signaling", reason };
}
