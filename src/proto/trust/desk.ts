import type { Instant } from "../machine.ts";
import { type PeerId, publicKeyOf } from "../peer-id.ts";
import { decode, encode } from "../wire/codec.ts";
import { bytes, bytesOf, peer, text, tuple } from "../wire/shape.ts";
import type { Authority, VerifyAuthority } from "./crypto.ts";
import { type IssuerList, issuerOf } from "./issuers.ts";

/**
 * A *desk*: where an issuer takes requests. An issuing key's signed word that whoever holds the X25519 key in it may be shown
 * join tokens of that issuing key.
 *
 * A newcomer learns of desks from a signaling server that it has no reason to trust. It believes one because the root signed the
 * list of issuing keys (the invite carries it) and an issuing key of that list signed the desk. What it seals for the desk
 * nobody else opens, so a server that makes up a desk, or hands on an old one, learns nothing and can only refuse.
 *
 * A desk names its holder, so that no member can present the desk of another at a server and swallow what comes. It has
 * no end of its own: its X25519 key lives as long as one start of the issuer, and it counts as long as its issuing key.
 */
export interface Desk {
  /** Names the issuing key. */
  readonly kid: string;
  /** The member that holds the key; undefined for the signaling server that hands out the desk. */
  readonly holder: PeerId | undefined;
  /** X25519, 32 bytes. */
  readonly boxKey: Uint8Array;
}

/** An encoded desk with its signature, bytes: 16 characters, two keys, a signature and their frames. */
export const MAX_DESK_BYTES = 192;

const NOBODY = new Uint8Array(0);

/** Signs a desk with its issuing key; the form in which it travels. */
export function encodeDesk(desk: Desk, issuing: Authority): Uint8Array {
  const holder = desk.holder === undefined ? NOBODY : publicKeyOf(desk.holder);
  const body = encode([desk.kid, holder, desk.boxKey]);
  return encode([body, issuing.sign("starling/desk/1", body)]);
}

/** The desk, if an issuing key of the list that has not ended by `now` signed it; undefined otherwise. Never throws. */
export function acceptDesk(
  encoded: Uint8Array,
  issuers: IssuerList,
  now: Instant,
  verifyAuthority: VerifyAuthority,
): Desk | undefined {
  if (encoded.length > MAX_DESK_BYTES) return undefined;
  const outer = decode(encoded, { depth: 1, items: 3 });
  const parts = outer.ok ? tuple(outer.value, 2) : undefined;
  const body = bytes(parts?.[0], MAX_DESK_BYTES);
  const signature = bytesOf(parts?.[1], 64);
  if (body === undefined || signature === undefined) return undefined;
  const inner = decode(body.slice(), { depth: 1, items: 4 });
  const fields = inner.ok ? tuple(inner.value, 3) : undefined;
  const kid = text(fields?.[0], 16);
  const boxKey = bytesOf(fields?.[2], 32)?.slice();
  const nobody = bytesOf(fields?.[1], 0) !== undefined;
  const holder = nobody ? undefined : peer(fields?.[1]);
  if (kid === undefined || boxKey === undefined || (!nobody && holder === undefined)) return undefined;
  const issuer = issuerOf(issuers, kid);
  if (issuer === undefined || now >= issuer.notAfter) return undefined;
  return verifyAuthority(issuer.publicKey, "starling/desk/1", body, signature) ? { kid, holder, boxKey } : undefined;
}
