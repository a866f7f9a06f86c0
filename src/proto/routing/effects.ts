import type { PeerId } from "../peer-id.ts";
import type { Sign, Signature, Verified, Verify } from "../signed.ts";
import type { Envelope, Purpose, Search, SignedEnvelope } from "./envelope.ts";

/** Everything that goes into the routing machine and comes out of it. */

export type RoutingInput =
  | { readonly type: "link-up"; readonly peer: PeerId }
  | { readonly type: "link-down"; readonly peer: PeerId }
  /** A message of the signal lane. From a peer without a link it is ignored. */
  | { readonly type: "message"; readonly peer: PeerId; readonly bytes: Uint8Array }
  /**
   * Send `contents`, at most 18 KiB, to a member that may have no link with us. With a `request` of the caller's own, its end
   * is told by `delivered` or `unreachable`; without, it is lost in silence.
   */
  | {
      readonly type: "route";
      readonly to: PeerId;
      readonly purpose: Exclude<Purpose, typeof Purpose.receipt>;
      readonly contents: Uint8Array;
      readonly request?: number;
    }
  | Signature<RoutingSignResume>
  | Verified<RoutingVerifyResume>
  | { readonly type: "timeout" };

export type RoutingOutput =
  /** For the signal lane. */
  | { readonly type: "send"; readonly peer: PeerId; readonly bytes: Uint8Array }
  | Sign<RoutingSignResume>
  | Verify<RoutingVerifyResume>
  /** An envelope for us, signed by `from`. */
  | { readonly type: "arrived"; readonly from: PeerId; readonly purpose: number; readonly contents: Uint8Array }
  /** The destination has signed that it has it. */
  | { readonly type: "delivered"; readonly request: number }
  /** No way was found, or no receipt came within 2 s: it may have arrived all the same. */
  | { readonly type: "unreachable"; readonly request: number }
  | { readonly type: "fault"; readonly peer?: PeerId; readonly fault: RoutingFault };

/** `peer` is left out where an honest peer may have caused it. */
export type RoutingFault =
  /** A message that cannot be decoded or is too long, or promises more hops than there are. */
  | "route-malformed"
  /** More than is carried for one link, one source (which is at fault) or strangers; reported once a second, the excess is dropped. */
  | "route-flood"
  /** An envelope from another time: replayed, or its source's clock is wrong. */
  | "route-stale"
  /** An envelope of our own that we have never sent, or sent long ago. */
  | "route-replayed"
  /** A bounce of what was not sent there, or is forgotten. */
  | "route-unsolicited";

export type RoutingSignResume = {
  readonly envelope: Envelope;
  readonly body: Uint8Array;
  readonly request: number | undefined;
};

export type RoutingVerifyResume = {
  /** The link that brought it. */
  readonly peer: PeerId;
  readonly search: Search;
  readonly envelope: Envelope;
  readonly sealed: SignedEnvelope;
};
