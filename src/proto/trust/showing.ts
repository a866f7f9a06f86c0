import { base64url, fromBase64url } from "../base64.ts";
import { utf8 } from "../bytes.ts";
import { sha256 } from "../hash.ts";
import { MAX_TOKEN_LENGTH } from "../limits.ts";
import type { PeerId } from "../peer-id.ts";
import { encode } from "../wire/codec.ts";
import type { Authority, Crypto, NodeIdentity } from "./crypto.ts";
import type { Successor } from "./lineage.ts";
import { isTime } from "./times.ts";

/**
 * How a credential is shown to an issuer: with the refresh key of the token that is asked for (`lineage.ts`).
 *
 *     credential ~ next key ~ time ~ signature by the node key [ ~ signature by the refresh key of the token shown ]
 *
 * Both signatures cover cluster, SHA-256 of the credential, next key and time. So nobody who carries the request can put a key of
 * his own in, and what he learns of it is of no use to him: a credential is renewed by whoever signs, and not by whoever tells. No
 * credential has a `~` in it (the form is that of SD-JWT, RFC 9901, where the key binding stands behind the last one).
 */
export interface Showing {
  /** A join token, a member token, an API key, a login: unchecked. */
  readonly credential: string;
  /** Absent where the asker names no next key: good for a first token that nobody will renew. */
  readonly proof: ShowingProof | undefined;
}

/** See {@link Showing}. Nothing of it is checked. */
export interface ShowingProof extends Successor {
  /** By the node key, 64 bytes. */
  readonly signature: Uint8Array;
  /** By the refresh key of the token shown, 64 bytes. */
  readonly keySignature: Uint8Array | undefined;
}

/** What is shown, characters: a credential of full size, a key, a time and two signatures. */
export const MAX_SHOWING_LENGTH = MAX_TOKEN_LENGTH + 256;

const SEPARATOR = "~";

/** Shows `credential`. `refresh`: the refresh key that the token in it names, if it names one. */
export function show(
  credential: string,
  successor: Successor,
  by: { readonly clusterId: string; readonly identity: NodeIdentity; readonly refresh: Authority | undefined },
): string {
  const body = bodyOf(credential, successor, by.clusterId);
  const parts = [credential, base64url(successor.nextKey), String(successor.at)];
  parts.push(base64url(by.identity.sign("starling/refresh/1", body)));
  if (by.refresh !== undefined) parts.push(base64url(by.refresh.sign("starling/refresh-key/1", body)));
  return parts.join(SEPARATOR);
}

/** Reads what was shown; undefined for what nobody shows. Never throws. */
export function readShowing(text: string): Showing | undefined {
  if (text.length > MAX_SHOWING_LENGTH) return undefined;
  const [credential = "", ...rest] = text.split(SEPARATOR);
  if (credential.length > MAX_TOKEN_LENGTH) return undefined;
  if (rest.length === 0) return { credential, proof: undefined };
  const [nextKey, time = "", signature, keySignature] = rest;
  const at = /^[1-9]\d{12,14}$/.test(time) ? Number(time) : Number.NaN;
  const key = bytesOf(nextKey, 32);
  const byNode = bytesOf(signature, 64);
  const byKey = keySignature === undefined ? undefined : bytesOf(keySignature, 64);
  if (rest.length > 4 || key === undefined || byNode === undefined || !isTime(at)) return undefined;
  if (keySignature !== undefined && byKey === undefined) return undefined;
  return { credential, proof: { nextKey: key, at, signature: byNode, keySignature: byKey } };
}

/** Whether `asker` has signed, and the holder of `refreshKey` where the credential names one. */
export function isShownBy(
  asker: PeerId,
  refreshKey: Uint8Array | undefined,
  { credential, proof }: Showing,
  clusterId: string,
  crypto: Pick<Crypto, "verify" | "verifyAuthority">,
): boolean {
  if (proof === undefined) return false;
  const body = bodyOf(credential, proof, clusterId);
  const { signature, keySignature } = proof;
  if (!crypto.verify({ signer: asker, label: "starling/refresh/1", body, signature })) return false;
  if (refreshKey === undefined) return keySignature === undefined;
  return keySignature !== undefined && crypto.verifyAuthority(refreshKey, "starling/refresh-key/1", body, keySignature);
}

function bodyOf(credential: string, { nextKey, at }: Successor, clusterId: string): Uint8Array {
  return encode([clusterId, sha256(utf8(credential)), nextKey, at]);
}

function bytesOf(text: string | undefined, length: number): Uint8Array | undefined {
  const bytes = text === undefined ? undefined : fromBase64url(text);
  return bytes?.length === length ? bytes : undefined;
}
