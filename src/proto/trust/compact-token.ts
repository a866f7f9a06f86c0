import { fromBase64url } from "../base64.ts";
import { fromUtf8, utf8 } from "../bytes.ts";
import { MAX_TOKEN_LENGTH } from "../limits.ts";

/**
 * The outer form of a token: a JWS in compact form (RFC 7515) of the one kind that Starling issues, read before any
 * cryptography so that everything unusual is refused cheaply and nothing in it can steer the check of its signature.
 *
 * - Three parts in canonical base64url. Header and claims are JSON in the one form that `JSON.stringify` writes: no
 *   spaces, no repeated keys, no second spelling of a number or a string. One token has one text.
 * - The header is exactly `alg`, `kid` and `typ`. `alg` is EdDSA; `kid` is looked up in the signed list of issuers and
 *   nowhere else. A header with anything more (`jwk`, `jku`, `x5u`, `x5c`, `crit`, `b64`, …) is refused, not ignored.
 * - The signature has 64 bytes.
 */

/** Why the outer form of a token is refused. */
export type CompactFault = "too-long" | "malformed" | "forbidden-header" | "wrong-algorithm";

/** A token whose form is right; nothing in it is verified yet. */
interface CompactToken {
  /** Names the issuing key. */
  readonly kid: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

/** What {@link parseCompact} found. */
export type CompactResult =
  | { readonly ok: true; readonly token: CompactToken }
  | { readonly ok: false; readonly fault: CompactFault };

/** The header's longest form is 57 bytes of JSON. */
const MAX_HEADER_LENGTH = 128;
/** 64 bytes in base64url. */
const SIGNATURE_LENGTH = 86;
/** `{`, with which an object begins. */
const BRACE = 0x7b;
const KID = /^[a-z2-7]{16}$/;

/** The protected header of a token by the key `kid`, with its members in the order in which they are written. */
export function compactHeader(kid: string): { readonly alg: "EdDSA"; readonly kid: string; readonly typ: "JWT" } {
  return { alg: "EdDSA", kid, typ: "JWT" };
}

/** Reads a token's outer form. Never throws. */
export function parseCompact(token: string): CompactResult {
  if (token.length > MAX_TOKEN_LENGTH) return refuse("too-long");
  const parts = token.split(".");
  const [header, payload, signature] = parts;
  if (parts.length !== 3 || header === undefined || payload === undefined || signature === undefined) {
    return refuse("malformed");
  }
  if (header.length > MAX_HEADER_LENGTH) return refuse("forbidden-header");
  const fields = canonicalObject(header);
  if (fields === undefined) return refuse("malformed");
  const { alg, kid, typ, ...others } = fields;
  if (alg !== "EdDSA") return refuse("wrong-algorithm");
  if (typ !== "JWT" || Object.keys(others).length > 0) return refuse("forbidden-header");
  if (typeof kid !== "string" || !KID.test(kid)) return refuse("forbidden-header");
  const claims = canonicalObject(payload);
  if (claims === undefined) return refuse("malformed");
  if (signature.length !== SIGNATURE_LENGTH || fromBase64url(signature) === undefined) return refuse("malformed");
  return { ok: true, token: { kid, payload: claims } };
}

/** The bytes that the signature of a token covers, and the signature, of a token whose outer form is right. */
export function signatureOf(token: string): { readonly signed: Uint8Array; readonly signature: Uint8Array } {
  const dot = token.lastIndexOf(".");
  return { signed: utf8(token.slice(0, dot)), signature: fromBase64url(token.slice(dot + 1)) ?? new Uint8Array(0) };
}

function refuse(fault: CompactFault): CompactResult {
  return { ok: false, fault };
}

// Written again, the object must give the very same text: this one comparison refuses repeated keys, spaces, odd numbers and
// needless escapes at once. The text has one base64url, since only a canonical one is read; a byte order mark, which decoding drops, is no brace.
function canonicalObject(part: string): Readonly<Record<string, unknown>> | undefined {
  const decoded = fromBase64url(part);
  const text = decoded?.[0] === BRACE ? fromUtf8(decoded) : undefined;
  if (text === undefined) return undefined;
  try {
    const value = JSON.parse(text) as Readonly<Record<string, unknown>>;
    return JSON.stringify(value) === text ? value : undefined;
  } catch {
    return undefined;
  }
}
