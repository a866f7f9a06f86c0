import type { Instant } from "../machine.ts";
import { type PeerId, publicKeyOf } from "../peer-id.ts";
import { decode, encode } from "../wire/codec.ts";
import { bytes, bytesOf, integer, peer, text, tuple } from "../wire/shape.ts";
import type { VerifyAuthority } from "./crypto.ts";
import { type IssuerList, issuerOf } from "./issuers.ts";
import { allows } from "./scopes.ts";
import { isTime } from "./times.ts";

/**
 * A revocation: an issuing key's signed word that one node key is no member from an instant on, whatever tokens it holds.
 *
 * It counts if the key stands in the list of issuers with a ceiling that covers {@link SCOPE_REVOKE}. Of two for one
 * member the earlier `since` holds. There is no way back: a machine that was revoked by mistake joins with a new key.
 * Whoever has accepted a revocation keeps it, also when its issuing key is later withdrawn.
 */
export interface Revocation {
  readonly subject: PeerId;
  /** Everything that the subject signs from here on is void. */
  readonly since: Instant;
  /** Names the issuing key. */
  readonly kid: string;
}

/** A revocation with the issuing key's signature over it: what gossip carries. */
export interface SignedRevocation {
  readonly body: Uint8Array;
  /** 64 bytes, label `starling/revocation/1`. */
  readonly signature: Uint8Array;
}

/** What the ceiling of an issuing key must cover if its revocations are to count. */
export const SCOPE_REVOKE = "member:revoke";

/** An encoded revocation with its signature, bytes. */
export const MAX_REVOCATION_BYTES = 160;

/** The bytes that the issuing key signs. */
export function encodeRevocation(revocation: Revocation): Uint8Array {
  return encode([revocation.kid, publicKeyOf(revocation.subject), revocation.since]);
}

/** The form in which a signed revocation travels and is kept. */
export function encodeSignedRevocation(signed: SignedRevocation): Uint8Array {
  return encode([signed.body, signed.signature]);
}

/** The opposite of {@link encodeSignedRevocation}; undefined for anything else. Nothing is checked but the shape. */
export function decodeSignedRevocation(encoded: Uint8Array): SignedRevocation | undefined {
  if (encoded.length > MAX_REVOCATION_BYTES) return undefined;
  const decoded = decode(encoded, { depth: 1, items: 3 });
  const fields = decoded.ok ? tuple(decoded.value, 2) : undefined;
  const body = bytes(fields?.[0], MAX_REVOCATION_BYTES);
  const signature = bytesOf(fields?.[1], 64);
  return body === undefined || signature === undefined
    ? undefined
    : { body: body.slice(), signature: signature.slice() };
}

/** The revocation, if an issuing key that may revoke signed it; undefined otherwise. Never throws. */
export function acceptRevocation(
  signed: SignedRevocation,
  issuers: IssuerList,
  verifyAuthority: VerifyAuthority,
): Revocation | undefined {
  const decoded = decode(signed.body, { depth: 1, items: 4 });
  const fields = decoded.ok ? tuple(decoded.value, 3) : undefined;
  const kid = text(fields?.[0], 16);
  const subject = peer(fields?.[1]);
  const since = integer(fields?.[2]);
  if (kid === undefined || subject === undefined || since === undefined || !isTime(since)) return undefined;
  const issuer = issuerOf(issuers, kid);
  if (issuer === undefined || !allows(issuer.scopes, SCOPE_REVOKE)) return undefined;
  return verifyAuthority(issuer.publicKey, "starling/revocation/1", signed.body, signed.signature)
    ? { kid, subject, since }
    : undefined;
}
