import { base32, fromBase32 } from "./bytes.ts";

declare const peerId: unique symbol;

/**
 * A peer's identity: its 32-byte Ed25519 public key in lower-case base32 without padding, 52 characters. The key *is* the
 * name, so a signature needs no directory to be checked. The type is nominal: {@link parsePeerId} is the only way in.
 */
export type PeerId = string & { readonly [peerId]: true };

/** The identity of a 32-byte Ed25519 public key. */
export function peerIdOf(publicKey: Uint8Array): PeerId {
  return base32(publicKey) as PeerId;
}

/** Parses canonical text; undefined when it is not the identity of 32 bytes. */
export function parsePeerId(text: string): PeerId | undefined {
  if (text.length !== 52) return undefined;
  return fromBase32(text)?.length === 32 ? (text as PeerId) : undefined;
}

/** The 32-byte public key that `id` names. */
export function publicKeyOf(id: PeerId): Uint8Array {
  return fromBase32(id) as Uint8Array;
}

/** The first 8 characters, for people; never compared. */
export function shortId(id: PeerId): string {
  return id.slice(0, 8);
}
