import { base32, equalBytes, fromBase32, hex, utf8 } from "../bytes.ts";
import { sha256 } from "../hash.ts";
import type { Instant } from "../machine.ts";
import { allows } from "./scopes.ts";

/**
 * API keys: secrets for programs, each with scopes and an end of its own.
 *
 *     starling-key-ID-SECRET     ID: 10 random bytes, SECRET: 32, both in base32
 *
 * Who checks keys keeps only the SHA-256 of the whole key. That is enough: a secret of 256 random bits cannot be guessed from its
 * hash, so that there is nothing for a slow hash to slow down. The prefix is for tools that look for leaked secrets.
 */

/** What is kept of a key. */
export interface ApiKeyRecord {
  /** 16 characters of base32. */
  readonly id: string;
  /** SHA-256 of the whole key, hex. */
  readonly hash: string;
  /** What it is for, for people. 1 to 64 characters. */
  readonly name: string;
  readonly scopes: readonly string[];
  readonly createdAt: Instant;
  readonly expiresAt: Instant;
}

/** Why a key is not accepted. */
export type ApiKeyFault = "malformed" | "unknown" | "expired" | "scope";

const ID_BYTES = 10;
const SECRET_BYTES = 32;
const KEY = /^starling-key-([a-z2-7]{16})-([a-z2-7]{52})$/;

/** A new key: its text, to be shown once, and what is kept. `random`: 42 bytes from the system's CSPRNG. */
export function makeApiKey(
  random: Uint8Array,
  terms: Pick<ApiKeyRecord, "name" | "scopes" | "createdAt" | "expiresAt">,
): { readonly key: string; readonly record: ApiKeyRecord } {
  const id = base32(random.subarray(0, ID_BYTES));
  const key = `starling-key-${id}-${base32(random.subarray(ID_BYTES, ID_BYTES + SECRET_BYTES))}`;
  return { key, record: { id, hash: hex(sha256(utf8(key))), ...terms } };
}

/** The record behind `key` if it is one of `records`, still good at `now` and allows `scope`. Never throws. */
export function checkApiKey(
  key: string,
  records: ReadonlyMap<string, ApiKeyRecord>,
  scope: string,
  now: Instant,
): { readonly ok: true; readonly record: ApiKeyRecord } | { readonly ok: false; readonly fault: ApiKeyFault } {
  const match = KEY.exec(key);
  if (match === null || fromBase32(match[1] as string) === undefined) return { ok: false, fault: "malformed" };
  const record = records.get(match[1] as string);
  if (record === undefined || !equalBytes(utf8(record.hash), utf8(hex(sha256(utf8(key))))))
    return { ok: false, fault: "unknown" };
  if (now >= record.expiresAt) return { ok: false, fault: "expired" };
  return allows(record.scopes, scope) ? { ok: true, record } : { ok: false, fault: "scope" };
}
