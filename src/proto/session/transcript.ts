import { concat, utf8 } from "../bytes.ts";
import { hkdf, hmac, sha256 } from "../hash.ts";
import { signedBytes } from "../signed.ts";

/**
 * What both sides of a link prove that they saw: one transcript of everything that names this channel.
 *
 * Each part is preceded by its length, so that no two lists of parts give the same bytes. Parts that belong to a side stand
 * in role order, dialer first, so both sides compute one hash. A proof covers the sender's role and that hash: what one
 * side proves is worthless as the other side's proof. The certificates tie it to this DTLS connection; whoever sits
 * between two connections holds two transcripts.
 */

/** Which side of a connection: the dialer made the offer and the channel. */
export type Role = "dialer" | "answerer";

/** The role at the other end. */
export function otherRole(role: Role): Role {
  return role === "dialer" ? "answerer" : "dialer";
}

/** What one side contributes to the transcript. */
export interface TranscriptSide {
  /** 32-byte public key. */
  readonly identity: Uint8Array;
  /** 32 bytes. */
  readonly nonce: Uint8Array;
  /** The hello frame exactly as it was on the wire. */
  readonly hello: Uint8Array;
  /** SHA-256 of the DTLS certificate, 32 bytes. */
  readonly fingerprint: Uint8Array;
}

/** The label of admission signatures and MACs. */
export const ADMISSION_LABEL = "starling/admission/1";

/** SHA-256 over the cluster's id and both sides. */
export function transcriptHash(clusterId: string, dialer: TranscriptSide, answerer: TranscriptSide): Uint8Array {
  const hash = sha256.create();
  const parts = [
    utf8(clusterId),
    dialer.identity,
    answerer.identity,
    dialer.nonce,
    answerer.nonce,
    dialer.hello,
    answerer.hello,
    dialer.fingerprint,
    answerer.fingerprint,
  ];
  for (const part of parts) hash.update(u32(part.length)).update(part);
  return hash.digest();
}

/** What the side with `role` signs and authenticates: its role and the transcript. */
export function proofBody(role: Role, transcript: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(role === "dialer" ? 1 : 2), transcript);
}

/** HMAC-SHA256 of a proof body under the label that its signature has, too. 32 bytes. */
export function proofMac(key: Uint8Array, body: Uint8Array): Uint8Array {
  return hmac(sha256, key, signedBytes(ADMISSION_LABEL, body));
}

/** The key of admission MACs in `epoch`: HKDF-SHA256 of the cluster key (32 bytes), 32 bytes. */
export function admissionMacKey(clusterKey: Uint8Array, epoch: number): Uint8Array {
  return hkdf(sha256, clusterKey, undefined, concat(utf8("starling/admission-mac/1"), u32(epoch)), 32);
}

function u32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}
