import { base32, compareBytes, concat, equalBytes, utf8 } from "../bytes.ts";
import { MAX_SUCCESSIONS } from "../decrees/limits.ts";
import { encodeSuccession } from "../decrees/succession.ts";
import { sha256 } from "../hash.ts";
import type { Instant } from "../machine.ts";
import { decode, encode, type WireValue } from "../wire/codec.ts";
import { bytes, bytesOf, integer, list, text, tuple } from "../wire/shape.ts";
import type { VerifyAuthority } from "./crypto.ts";
import { isAcceptablePublicKey } from "./ed25519.ts";
import { checkScopes, MAX_SCOPE_LENGTH, MAX_SCOPES } from "./scopes.ts";
import { isTime } from "./times.ts";

/**
 * The list of a cluster's issuing keys, signed by its root.
 *
 * The root key stays offline; all it ever signs is this list. Members hold the newest list that they have seen, spread
 * it by gossip, and accept a token only if a key of the list signed it. To withdraw an issuing key the root signs a list
 * without it: every token of that key is void as soon as the list arrives. The version counter decides which of two
 * lists holds; a list never goes back. Two different lists with one version mean that the root key was used carelessly
 * or stolen: the one whose bytes are smaller holds, so that all members agree.
 *
 * The cluster is named after its first root for good. Where a root has handed over to another (`decrees/succession.ts`), the list of
 * the newest one travels with the chain of heirs, each signed by the root before it, so that whoever knows only the first believes it.
 *
 * A key's name (`kid`) is derived from the key. No list can give two keys one name, and a token cannot point anywhere
 * else. The root signs under a label of its own; node keys and issuing keys never sign under it.
 */

/** Issuing keys in one list: a key for each server and administrator, and some in transition. */
export const MAX_ISSUERS = 16;
/** An encoded list, bytes: 16 keys, each with a ceiling of some 20 scopes of ordinary length. */
export const MAX_ISSUERS_BYTES = 16_384;

/** An issuing key. */
export interface IssuingKey {
  /** 16 characters, derived from the public key by {@link kidOf}. */
  readonly kid: string;
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** The ceiling: scopes beyond it are refused in this key's tokens. */
  readonly scopes: readonly string[];
  /** No token of this key is valid beyond. */
  readonly notAfter: Instant;
}

/** What the root signs. */
export interface IssuerList {
  /** 1 for the first list; a higher one replaces a lower one. */
  readonly version: number;
  /** 1 to {@link MAX_ISSUERS} entries with different keys. */
  readonly issuers: readonly IssuingKey[];
}

/** A list with a root's signature over it: what files, invites and gossip carry. */
export interface SignedIssuers {
  readonly body: Uint8Array;
  /** 64 bytes, label `starling/issuers/1`. */
  readonly signature: Uint8Array;
  /** The roots after the first one, up to the one that signed; absent where that is the first. 1 to {@link MAX_SUCCESSIONS}. */
  readonly heirs?: readonly SignedHeir[];
}

/** A root and the word of the root before it. */
export interface SignedHeir {
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 64 bytes, label `starling/succession/1`. */
  readonly signature: Uint8Array;
}

/** A signed list in the form in which it travels, bytes: the list, its signature, and a full chain of heirs. */
export const MAX_SIGNED_ISSUERS_BYTES = MAX_ISSUERS_BYTES + 1_024;

const KID = /^[a-z2-7]{16}$/;
const KID_LABEL = utf8("starling/kid/1\0");
const LIMITS = { depth: 4, items: 8 + MAX_ISSUERS * (MAX_SCOPES + 6) };

/** The name of an issuing key: 10 bytes of a hash of it, 16 characters of base32. */
export function kidOf(publicKey: Uint8Array): string {
  return base32(sha256(concat(KID_LABEL, publicKey)).subarray(0, 10));
}

/** Whether it has the form of a key's name. */
export function isKid(text: string | undefined): text is string {
  return text !== undefined && KID.test(text);
}

/** The entry with this name; undefined when the list has none. */
export function issuerOf(issuers: IssuerList, kid: string): IssuingKey | undefined {
  return issuers.issuers.find((issuer) => issuer.kid === kid);
}

/** The bytes that the root signs. */
export function encodeIssuers(issuers: IssuerList): Uint8Array {
  return encode([issuers.version, issuers.issuers.map((issuer) => [issuer.publicKey, issuer.scopes, issuer.notAfter])]);
}

/** The list in `body`; undefined when it is not one. The signature is not checked: see {@link acceptIssuers}. */
export function decodeIssuers(body: Uint8Array): IssuerList | undefined {
  if (body.length > MAX_ISSUERS_BYTES) return undefined;
  // msgpackr leaves a property behind on the array that it reads; the body itself is kept for long and stays clean.
  const decoded = decode(body.subarray(), LIMITS);
  const fields = decoded.ok ? tuple(decoded.value, 2) : undefined;
  const version = integer(fields?.[0], 1);
  const issuers = list(fields?.[1], MAX_ISSUERS, issuerFrom);
  if (version === undefined || issuers === undefined || issuers.length === 0) return undefined;
  if (new Set(issuers.map((issuer) => issuer.kid)).size !== issuers.length) return undefined;
  return { version, issuers };
}

function issuerFrom(value: WireValue): IssuingKey | undefined {
  const fields = tuple(value, 3);
  const publicKey = bytesOf(fields?.[0], 32)?.slice();
  const scopes = list(fields?.[1], MAX_SCOPES, (scope) => text(scope, MAX_SCOPE_LENGTH));
  const notAfter = integer(fields?.[2]);
  if (publicKey === undefined || scopes === undefined || notAfter === undefined) return undefined;
  if (!isAcceptablePublicKey(publicKey) || checkScopes(scopes) === undefined || !isTime(notAfter)) return undefined;
  return { kid: kidOf(publicKey), publicKey, scopes, notAfter };
}

/** The form in which a signed list travels and is kept. */
export function encodeSignedIssuers({ body, signature, heirs = [] }: SignedIssuers): Uint8Array {
  if (heirs.length === 0) return encode([body, signature]);
  return encode([body, signature, heirs.map((heir) => [heir.publicKey, heir.signature])]);
}

/** The opposite of {@link encodeSignedIssuers}; undefined for anything else. Nothing is checked but the shape. */
export function decodeSignedIssuers(encoded: Uint8Array): SignedIssuers | undefined {
  if (encoded.length > MAX_SIGNED_ISSUERS_BYTES) return undefined;
  const decoded = decode(encoded, { depth: 3, items: 4 + 3 * MAX_SUCCESSIONS });
  const plain = decoded.ok ? tuple(decoded.value, 2) : undefined;
  const fields = plain ?? (decoded.ok ? tuple(decoded.value, 3) : undefined);
  const body = bytes(fields?.[0], MAX_ISSUERS_BYTES)?.slice();
  const signature = bytesOf(fields?.[1], 64)?.slice();
  if (body === undefined || signature === undefined) return undefined;
  if (plain !== undefined) return { body, signature };
  const heirs = list(fields?.[2], MAX_SUCCESSIONS, heirFrom);
  return heirs === undefined || heirs.length === 0 ? undefined : { body, signature, heirs };
}

function heirFrom(value: WireValue): SignedHeir | undefined {
  const fields = tuple(value, 2);
  const publicKey = bytesOf(fields?.[0], 32)?.slice();
  const signature = bytesOf(fields?.[1], 64)?.slice();
  if (publicKey === undefined || signature === undefined || !isAcceptablePublicKey(publicKey)) return undefined;
  return { publicKey, signature };
}

/**
 * The list, if the root with this public key signed it, or the last of a chain of heirs that begins with it, and its shape is right;
 * undefined otherwise.
 */
export function acceptIssuers(
  signed: SignedIssuers,
  rootPublicKey: Uint8Array,
  verifyAuthority: VerifyAuthority,
): IssuerList | undefined {
  const issuers = decodeIssuers(signed.body);
  if (issuers === undefined) return undefined;
  let root = rootPublicKey;
  for (const [index, { publicKey, signature }] of (signed.heirs ?? []).entries()) {
    const succession = encodeSuccession({ generation: index + 1, publicKey });
    if (!verifyAuthority(root, "starling/succession/1", succession, signature)) return undefined;
    root = publicKey;
  }
  return verifyAuthority(root, "starling/issuers/1", signed.body, signed.signature) ? issuers : undefined;
}

/** Whether the accepted list `candidate` takes the place of `current`. A total order: all members end with the same list. */
export function supersedes(candidate: IssuerList, current: IssuerList): boolean {
  if (candidate.version !== current.version) return candidate.version > current.version;
  const ours = encodeIssuers(current);
  const theirs = encodeIssuers(candidate);
  return !equalBytes(ours, theirs) && compareBytes(theirs, ours) < 0;
}
