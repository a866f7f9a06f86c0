import { equalBytes } from "../bytes.ts";
import type { Ignored } from "./outcome.ts";
import type { SignalOf } from "./signal.ts";
import { isConnecting, type State } from "./state.ts";

/**
 * Who gives way when both sides have begun something.
 *
 * Two offers that cross: the lower PeerId keeps its own, the higher drops its own and answers, as in "perfect negotiation"
 * of the WebRTC specification. But only offers that really cross: once the peer has answered ours, or our round has
 * failed, an offer of its own that is not late says that it has given ours up, and is taken. The same holds for an ask. Two
 * asks that cross: the lower PeerId dials.
 */
export type Verdict = "take" | "wrong-role" | Ignored;

/** Whether to answer `offer`. @param late its sender has moved on since. @param lower our PeerId is the lower one. */
export function judgeOffer(state: State, offer: SignalOf<"offer">, late: boolean, lower: boolean): Verdict {
  if (isUnderWay(state, offer.dial)) {
    if (state.type === "calling" || state.type === "pausing") return "wrong-role";
    return state.type === "asking" || offer.round > roundOf(state) ? "take" : "stale-round";
  }
  if (late) return "late";
  const crossed = state.type === "calling" && state.attempt.stage === "signaling";
  return crossed && lower ? "glare" : "take";
}

/** Whether to dial because of `ask`. */
export function judgeAsk(state: State, ask: SignalOf<"ask">, late: boolean, lower: boolean): Verdict {
  // Our offer is on its way already.
  if (isUnderWay(state, ask.dial) || state.type === "calling" || state.type === "pausing") return "engaged";
  if (late) return "late";
  return state.type === "asking" && !lower ? "glare" : "take";
}

/** What to do with candidates: feed the connection, keep them for an offer that has yet to come, or nothing. */
export function judgeCandidates(state: State, signal: SignalOf<"candidates">): "feed" | "hold" | "stale-round" {
  if (!isUnderWay(state, signal.dial)) return "hold";
  if (isConnecting(state) && signal.round === state.round) return "feed";
  const mayCome = state.type !== "calling" && state.type !== "pausing" && signal.round > roundOf(state);
  return mayCome ? "hold" : "stale-round";
}

function roundOf(state: State): number {
  return state.type === "idle" ? 0 : state.round;
}

/** Whether `dial` is the one under way. */
export function isUnderWay(state: State, dial: Uint8Array): boolean {
  return state.type !== "idle" && equalBytes(state.dial, dial);
}
