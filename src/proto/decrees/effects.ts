import type { Verdict } from "../gossip/broadcast.ts";
import type { MessageId } from "../gossip/messages.ts";
import type { PeerId } from "../peer-id.ts";
import type { Lane } from "../streams/lanes.ts";
import type { Decree, SignedDecree } from "./decree.ts";
import type { HeldMessage } from "./entrance.ts";

/** Everything that goes into the decrees machine and comes out of it. */

export type DecreesInput =
  | { readonly type: "link-up"; readonly peer: PeerId; readonly rttMs: number }
  | { readonly type: "link-down"; readonly peer: PeerId }
  /** A message on a link: about decrees, or any other while the link is not open. */
  | { readonly type: "message"; readonly peer: PeerId; readonly lane: Lane; readonly bytes: Uint8Array }
  /** A broadcast payload, handed on by `from`; is answered by `verdict`. */
  | { readonly type: "delivered"; readonly from: PeerId; readonly id: MessageId; readonly payload: Uint8Array }
  /** Ours to spread, or to take in from outside the mesh. Unchecked. `secrets`: what a rotation commits to. */
  | { readonly type: "decree"; readonly decree: SignedDecree; readonly secrets?: Uint8Array }
  | { readonly type: "timeout" };

export type DecreesOutput =
  | { readonly type: "send"; readonly peer: PeerId; readonly bytes: Uint8Array }
  | { readonly type: "broadcast"; readonly payload: Uint8Array }
  | { readonly type: "verdict"; readonly id: MessageId; readonly verdict: Verdict }
  /** The link may be used: both sides hold the same, and `held` is what the peer has said meanwhile. */
  | { readonly type: "open"; readonly peer: PeerId; readonly rttMs: number; readonly held: readonly HeldMessage[] }
  /** The link is of no use: its peer is revoked, or has not come to terms in time. */
  | { readonly type: "shut"; readonly peer: PeerId; readonly wasOpen: boolean; readonly revoked: boolean }
  /** It is in force here, and to be kept on the disk. */
  | { readonly type: "decreed"; readonly decree: Decree; readonly signed: SignedDecree }
  /** Other secrets are in use, and are to be kept on the disk. */
  | { readonly type: "rekeyed"; readonly epoch: number }
  | { readonly type: "fault"; readonly peer: PeerId; readonly fault: DecreesFault };

export type DecreesFault =
  /** Bytes that are no message about decrees, or no decree. */
  | "decree-malformed"
  /** A decree whose signature does not hold. */
  | "decree-forged"
  /** An answer to no question. */
  | "decree-unasked"
  /** More questions, or more said before the link is open, than an honest member has. */
  | "decree-flood"
  /** Secrets other than those that the rotation commits to. */
  | "secrets-forged";

/** What the machine needs of keys and boxes, given by the host: pure in the simulator. */
export interface SecretsBox {
  /** Seals for the X25519 key that `peer` was admitted with; undefined where no such link stands any more. */
  seal(peer: PeerId, plain: Uint8Array): Uint8Array | undefined;
  /** Opens what `peer` sealed for us; undefined when it did not. */
  open(peer: PeerId, sealed: Uint8Array): Uint8Array | undefined;
}
