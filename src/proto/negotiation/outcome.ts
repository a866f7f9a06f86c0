import type { RefusalReason } from "../session/refusal.ts";
import type { Role } from "../session/transcript.ts";
import type { Rung, Stage } from "./plan.ts";
import type { SdpFault } from "./sdp.ts";
import type { RejectReason } from "./signal.ts";

/** Why our own side ends an effort by `abort`. */
export type AbortReason =
  /** Nobody wants the link any more. */
  | "aborted"
  /** The signaling path says that the peer is not there. */
  | "unreachable"
  /** This agent is closing. */
  | "closing";

/** Why a round or a whole effort failed before admission. */
export type FailureReason =
  | AbortReason
  /** The stage's limit, the asker's patience, or the whole effort's. */
  | "timeout"
  /** The stack closed the connection. */
  | "closed"
  /** The peer's description was refused before the stack saw it. */
  | "bad-description"
  /** No STUN or TURN server answers over UDP, and there is a way without. */
  | "no-udp"
  /** Our own stack made a description that we would refuse. */
  | "bad-local-description"
  /** The peer said so. */
  | `peer-${RejectReason}`;

/** Where and why it failed; in the stage `admission` the reason may be admission's own. */
export interface DialFailure {
  readonly stage: Stage;
  readonly reason: FailureReason | RefusalReason;
  /** Where admission refused: who did. `remote` with a token's fault means our token. */
  readonly by?: "local" | "remote" | "channel";
}

/** One connection of an effort, in hindsight: what people ask about. */
export interface RoundReport {
  readonly role: Role;
  readonly rung: Rung;
  readonly tookMs: number;
  /** What each side offered, `kind address:port`, as many as `attemptLimits.described`. */
  readonly local: readonly string[];
  readonly remote: readonly string[];
  /** Where and why it ended; absent when it became the link. */
  readonly failure?: DialFailure;
}

/** How an effort ended. */
export type DialResult =
  | { readonly ok: true; readonly attempt: number; readonly role: Role; readonly rung: Rung }
  | { readonly ok: false; readonly failure: DialFailure };

/** Why a signal was passed over; noise of an honest but lossy and reordering path, to be counted. */
export type Ignored =
  /** The same dial and sequence again. */
  | "duplicate"
  /** Of a dial that is over. */
  | "late-dial"
  /** Of a dial that we do not know and that this signal cannot open. */
  | "foreign-dial"
  /** Of a round that is over or is not ours. */
  | "stale-round"
  /** Opens a dial, but its sender has said something newer since. */
  | "late"
  /** Both dialed; the peer's offer gives way to ours. */
  | "glare"
  /** An ask for what is already under way. */
  | "engaged"
  /** More candidates than are held or taken. */
  | "surplus";

/** What only a broken or hostile peer does. */
export type NegotiationFault =
  | SdpFault
  /** A second description that differs from the first of its connection. */
  | "description-changed"
  /** An offer in a dial that is ours, an answer in a dial that is the peer's. */
  | "wrong-role"
  /** A sequence beyond the bound of a dial. */
  | "too-many-signals";

/** What the peer is told when a connection fails here for good. */
export function rejectionFor(failure: DialFailure): RejectReason {
  if (failure.stage === "admission") return "refused";
  return failure.reason === "bad-description" ? "bad-description" : "gave-up";
}

/** Whether a round failed because one of the sides reaches no server over UDP. */
export function isUdpBlocked({ reason }: DialFailure): boolean {
  return reason === "no-udp" || reason === "peer-no-udp";
}
