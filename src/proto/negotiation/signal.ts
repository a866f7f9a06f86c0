import { MAX_SDP_LENGTH } from "../limits.ts";
import { decode, encode, type WireValue } from "../wire/codec.ts";
import { integer, list, text, tuple } from "../wire/shape.ts";
import { type Candidate, isCandidate } from "./sdp.ts";

/**
 * What two peers tell each other before they have a link: offers, answers, candidates, the wish to be dialed, the end.
 *
 * A signal's head (dial, sequence, time) is part of what its sender signs (`session/envelope.ts`) and is not repeated in
 * the body, so that the two cannot disagree. A *dial* is one effort to pair, named by 16 random bytes; a *round* is one
 * connection within it: the first connection is round 1, each fresh one after a failure is one higher.
 */

/** Bounds of signals. */
export const signalLimits = {
  /** An encoded body, bytes: the longest SDP plus its head. */
  bodyBytes: MAX_SDP_LENGTH + 64,
  /** Candidates in one signal: what a stack with several interfaces yields within one batching delay. */
  candidates: 16,
  /** Rounds of one dial: the highest that fits a ladder of a dozen rungs with several tries each. */
  rounds: 64,
  /** Rungs of a ladder. */
  rungs: 16,
  /** Signals of one dial from one side: rounds times a handful, with room; more is a loop or an attack. */
  sequence: 1_024,
};

export interface SignalHead {
  /** 16 bytes: which dial this belongs to. */
  readonly dial: Uint8Array;
  /** From 0, one higher for each signal of the same sender in the same dial. */
  readonly sequence: number;
  /** When it was made, whole milliseconds by the sender's clock; strictly increasing per sender and peer. */
  readonly time: number;
}

/** Why a side gives up a round or a dial. All but `failed` and `no-udp` end the whole dial. */
export type RejectReason =
  /** This round failed here; the next offer is welcome. */
  | "failed"
  /** The same, because no server answers here over UDP: the next offer had better do without. */
  | "no-udp"
  /** No round is left, or patience is. */
  | "gave-up"
  /** The application or the overlay no longer wants the link. */
  | "aborted"
  /** No room for another link. */
  | "busy"
  /** Admission said no: another connection would not change that. */
  | "refused"
  /** The description must not reach a stack. */
  | "bad-description";

/** Whether a rejection ends a round only. */
export function isRoundOnly(reason: RejectReason): boolean {
  return reason === "failed" || reason === "no-udp";
}

export type SignalBody =
  | {
      readonly kind: "offer";
      readonly round: number;
      /** The sender's way to its TURN server, by its place in `RUNGS`. */
      readonly rung: number;
      readonly sdp: string;
    }
  | { readonly kind: "answer"; readonly round: number; readonly sdp: string }
  | { readonly kind: "candidates"; readonly round: number; readonly candidates: readonly Candidate[] }
  /** Please dial me under this dial id. */
  | { readonly kind: "ask" }
  | { readonly kind: "reject"; readonly round: number; readonly reason: RejectReason };

export type Signal = SignalHead & SignalBody;

/** One kind of signal. */
export type SignalOf<Kind extends Signal["kind"]> = Extract<Signal, { kind: Kind }>;

/**
 * The answer to an offer or an ask that an agent will not even negotiate about, because it has no room or closes.
 *
 * @param now in milliseconds; becomes the signal's time.
 */
export function decline(signal: SignalOf<"offer" | "ask">, reason: "busy" | "aborted", now: number): Signal {
  const round = signal.kind === "offer" ? signal.round : 0;
  return { dial: signal.dial, sequence: 0, time: Math.floor(now), kind: "reject", round, reason };
}

const OFFER = 1;
const ANSWER = 2;
const CANDIDATES = 3;
const ASK = 4;
const REJECT = 5;

/** Wire codes are the positions in this list: append only. */
const REASONS: readonly RejectReason[] = [
  "failed",
  "gave-up",
  "aborted",
  "busy",
  "refused",
  "bad-description",
  "no-udp",
];

/** The body of `signal` as the payload of an envelope; the head travels beside it. */
export function encodeSignalBody(signal: SignalBody): Uint8Array {
  switch (signal.kind) {
    case "offer":
      return encode([OFFER, signal.round, signal.rung, signal.sdp]);
    case "answer":
      return encode([ANSWER, signal.round, signal.sdp]);
    case "candidates":
      return encode([CANDIDATES, signal.round, signal.candidates.map((each) => [each.candidate, each.mid])]);
    case "ask":
      return encode([ASK]);
    case "reject":
      return encode([REJECT, signal.round, REASONS.indexOf(signal.reason)]);
  }
}

/** The body in `payload`; undefined when it is not exactly one well-formed body. Never throws. */
export function decodeSignalBody(payload: Uint8Array): SignalBody | undefined {
  if (payload.length > signalLimits.bodyBytes) return undefined;
  const decoded = decode(payload, { depth: 3, items: 8 + 3 * signalLimits.candidates });
  if (!decoded.ok || !Array.isArray(decoded.value)) return undefined;
  const items: readonly WireValue[] = decoded.value;
  if (items[0] === ASK) return items.length === 1 ? { kind: "ask" } : undefined;
  // A side that rejects an ask has seen no round yet: 0.
  const round = integer(items[1], items[0] === REJECT ? 0 : 1, signalLimits.rounds);
  if (round === undefined) return undefined;
  switch (items[0]) {
    case OFFER: {
      const rung = integer(items[2], 0, signalLimits.rungs - 1);
      const sdp = text(items[3], MAX_SDP_LENGTH);
      return items.length === 4 && rung !== undefined && sdp !== undefined
        ? { kind: "offer", round, rung, sdp }
        : undefined;
    }
    case ANSWER: {
      const sdp = text(items[2], MAX_SDP_LENGTH);
      return items.length === 3 && sdp !== undefined ? { kind: "answer", round, sdp } : undefined;
    }
    case CANDIDATES: {
      const candidates = list(items[2], signalLimits.candidates, candidateOf);
      return items.length === 3 && candidates !== undefined ? { kind: "candidates", round, candidates } : undefined;
    }
    case REJECT: {
      const reason = REASONS[integer(items[2]) ?? -1];
      return items.length === 3 && reason !== undefined ? { kind: "reject", round, reason } : undefined;
    }
    default:
      return undefined;
  }
}

function candidateOf(value: WireValue): Candidate | undefined {
  const pair = tuple(value, 2);
  const candidate = text(pair?.[0], 1_024);
  const mid = text(pair?.[1], 16);
  return candidate !== undefined && mid !== undefined && isCandidate(candidate, mid) ? { candidate, mid } : undefined;
}
