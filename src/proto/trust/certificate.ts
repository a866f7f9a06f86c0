import { base64url, fromBase64url } from "../base64.ts";
import { concat, utf8 } from "../bytes.ts";
import type { Instant } from "../machine.ts";
import { type PeerId, publicKeyOf } from "../peer-id.ts";
import { decode, encode } from "../wire/codec.ts";
import { bytes, integer, tuple } from "../wire/shape.ts";
import { isTime } from "./times.ts";

/**
 * How a newcomer shows an X.509 certificate at an issuer's desk in the place of a join token: the certificate, and a signature of its
 * key over cluster, node key and time. It goes through whatever lies between, proxies that end TLS included, and is worth nothing to another node.
 */

/** What a certificate is shown as at an issuer's desk. */
const PREFIX = "x509.";
/** A certificate, bytes: what a token's length leaves room for. */
const MAX_CERTIFICATE_BYTES = 2_048;
/** A signature by RSA of 4,096 bits; others are shorter. */
const MAX_SIGNATURE_BYTES = 512;

/** A certificate as it is shown; nothing of it is checked. */
export interface ShownCertificate {
  /** DER. */
  readonly certificate: Uint8Array;
  /** When it was shown, by the newcomer's clock. */
  readonly at: Instant;
  /** By the certificate's key, over {@link certificateProof}. */
  readonly signature: Uint8Array;
}

/** What the certificate's key signs. */
export function certificateProof(clusterId: string, peer: PeerId, at: Instant): Uint8Array {
  return concat(utf8(`starling/certificate/1 ${clusterId} ${at} `), publicKeyOf(peer));
}

/** The credential that a certificate is. */
export function certificateCredential({ certificate, at, signature }: ShownCertificate): string {
  return PREFIX + base64url(encode([certificate, at, signature]));
}

/** The certificate in a credential; undefined when it is of another kind, `malformed` when it is none. Never throws. */
export function certificateOf(credential: string): ShownCertificate | "malformed" | undefined {
  if (!credential.startsWith(PREFIX)) return undefined;
  const encoded = fromBase64url(credential.slice(PREFIX.length));
  const decoded = encoded === undefined ? undefined : decode(encoded, { depth: 1, items: 4 });
  const fields = decoded?.ok ? tuple(decoded.value, 3) : undefined;
  const certificate = bytes(fields?.[0], MAX_CERTIFICATE_BYTES)?.slice();
  const at = integer(fields?.[1]);
  const signature = bytes(fields?.[2], MAX_SIGNATURE_BYTES)?.slice();
  if (certificate === undefined || at === undefined || !isTime(at) || signature === undefined) return "malformed";
  return { certificate, at, signature };
}
