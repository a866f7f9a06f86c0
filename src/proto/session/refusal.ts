import { FrameKind } from "../wire/frame-kind.ts";

/**
 * Why admission fails, and how much of it a stranger is told.
 *
 * Locally every cause has its own word. On the wire the words thin out: before the peer's MAC has been checked it may be
 * anybody, and whoever probes for the cluster key, for the identity that we expect or for our parser's rules shall learn
 * one thing only, that it was refused. Three causes are told all the same, because they help an honest operator and tell a
 * stranger nothing that our own hello does not: no common version, an unknown key epoch, our own identity. What is wrong
 * with a token is told to holders of the cluster key: a token is looked at only after the MAC.
 */

/** What a driver may answer to the check of a peer's token and signature. */
export type TokenRefusal =
  | "expired"
  | "not-yet-valid"
  /** Bound to another PeerId. */
  | "wrong-subject"
  /** Of another cluster, or of an issuing key that the cluster does not know. */
  | "wrong-issuer"
  | "revoked"
  /** Valid, but not for being a member. */
  | "scope"
  /** The token's signature or the proof's. */
  | "bad-signature";

/** Every reason for which admission ends without a link. */
export type RefusalReason =
  | TokenRefusal
  /** No version in common. */
  | "version-mismatch"
  /** A hello or another frame that does not parse. */
  | "malformed"
  | "oversized"
  /** Anything but hello, proof, ready and refusal before admission. */
  | "frame-before-admission"
  /** A frame of the handshake that is not due: a second hello, a proof before the hello. */
  | "out-of-order"
  /** The peer claims our own identity. */
  | "self"
  /** Somebody else than the one that was dialed. */
  | "unexpected-peer"
  /** No cluster key of that epoch here. */
  | "unknown-epoch"
  /** Not proven: another cluster key, other certificates than ours, or an echo. */
  | "bad-mac"
  /** Five seconds are over. */
  | "timeout"
  /** The channel closed first. */
  | "closed"
  /** The peer refused and does not say why. */
  | "unspecified";

/** Wire codes are the positions in this list: append only. Position 0 stands for whatever is not told. */
const TOLD: readonly RefusalReason[] = [
  "unspecified",
  "version-mismatch",
  "unknown-epoch",
  "self",
  "timeout",
  "expired",
  "not-yet-valid",
  "wrong-subject",
  "wrong-issuer",
  "revoked",
  "scope",
];

/** The refusal frame for `reason`: its kind and one byte. */
export function encodeRefusal(reason: RefusalReason): Uint8Array {
  return Uint8Array.of(FrameKind.refusal, Math.max(0, TOLD.indexOf(reason)));
}

/** The reason that a refusal frame gives; `unspecified` for unknown codes and any other form. Never throws. */
export function decodeRefusal(frame: Uint8Array): RefusalReason {
  return (frame.length === 2 ? TOLD[frame[1] as number] : undefined) ?? "unspecified";
}
