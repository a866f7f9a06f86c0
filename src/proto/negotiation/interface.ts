import type { PeerId } from "../peer-id.ts";
import type { Random } from "../random.ts";
import type { RefusalReason } from "../session/refusal.ts";
import type { Role } from "../session/transcript.ts";
import type { RtcCommand } from "./attempt.ts";
import type { AbortReason, DialResult, Ignored, NegotiationFault, RoundReport } from "./outcome.ts";
import type { DialPlan, PairingLimits } from "./plan.ts";
import type { RtcEvent } from "./rtc.ts";
import type { Signal } from "./signal.ts";

/** What goes into and comes out of a {@link Negotiation}, and how one is set up. */

export interface NegotiationOptions {
  readonly self: PeerId;
  /** The one peer that this machine pairs with. */
  readonly peer: PeerId;
  /** For dial ids and jitter: the system's CSPRNG outside tests. */
  readonly random: Random;
  /** The plans for an effort that begins, 1 to 16; default `DEFAULT_LADDER`. An answerer goes by its own plan for the rung that the offer names. */
  readonly ladder?: () => readonly DialPlan[];
  /** What differs from `PAIRING_LIMITS`. */
  readonly limits?: Partial<PairingLimits>;
}

export type NegotiationInput =
  /** Connect to the peer; joins the effort under way, if any. `ladder` is for this effort only. */
  | { readonly type: "dial"; readonly ladder?: readonly DialPlan[] }
  /** Have the peer dial us; joins the effort under way, if any. */
  | { readonly type: "ask" }
  /** A signal whose envelope has been opened, checked and found to be from the peer. */
  | { readonly type: "signal"; readonly signal: Signal }
  /** What the connection of `attempt` reports. */
  | { readonly type: "rtc"; readonly attempt: number; readonly event: RtcEvent }
  /** Admission on the channel of `attempt` has ended. */
  | { readonly type: "admitted"; readonly attempt: number }
  | {
      readonly type: "refused";
      readonly attempt: number;
      readonly by: "local" | "remote" | "channel";
      readonly reason: RefusalReason;
    }
  /** End the effort. `unreachable` counts only for as long as the effort depends on signals. */
  | { readonly type: "abort"; readonly reason: AbortReason }
  | { readonly type: "timeout" };

export type NegotiationOutput =
  /**
   * Make a connection and name it `attempt`, a number that this machine uses once. It ends with exactly one `discard`, or
   * is handed over by an outcome that is ok.
   */
  | { readonly type: "connect"; readonly attempt: number; readonly initiator: boolean; readonly plan: DialPlan }
  | { readonly type: "rtc"; readonly attempt: number; readonly command: RtcCommand }
  /** Seal, sign and send to the peer, with the head as it is. */
  | { readonly type: "signal"; readonly signal: Signal }
  /** Close the connection, if it is still open, and forget it. */
  | { readonly type: "discard"; readonly attempt: number }
  /**
   * The channel is open: begin admission. Fingerprints (32 bytes) are those of the descriptions; where the stack tells
   * what the peer presented, that one counts.
   */
  | {
      readonly type: "opened";
      readonly attempt: number;
      readonly role: Role;
      readonly localFingerprint: Uint8Array;
      readonly remoteFingerprint: Uint8Array;
    }
  /** The end of an effort, exactly one for each. `wanted`: a `dial` or an `ask` of ours is part of it. */
  | {
      readonly type: "outcome";
      /** The dial that linked, or the last one tried; both ends of a link report the same. */
      readonly dial: Uint8Array;
      readonly wanted: boolean;
      readonly result: DialResult;
      /** The connections that were tried, oldest first; the latest `MAX_REPORTS` of them. */
      readonly rounds: readonly RoundReport[];
    }
  | { readonly type: "ignored"; readonly why: Ignored }
  | { readonly type: "fault"; readonly peer: PeerId; readonly fault: NegotiationFault };
