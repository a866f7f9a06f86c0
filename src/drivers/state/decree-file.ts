/**
 * The cluster's decrees, so that what was revoked stays revoked after a restart. Each proves itself, so nothing here is believed: a
 * file that is missing, damaged or from an older backup costs a comparison with the first member that is met, before
 * anybody else is listened to.
 */
import { StarlingError } from "../../errors.ts";
import { equalBytes } from "../../proto/bytes.ts";
import { MAX_DECREE_BYTES } from "../../proto/decrees/limits.ts";
import { sha256 } from "../../proto/hash.ts";
import { decode, encode } from "../../proto/wire/codec.ts";
import { bytes, list } from "../../proto/wire/shape.ts";
import { readPrivate, writePrivate } from "./private-files.ts";

export const DECREES_FILE = "decrees";

/** Decrees in one file: those of every key that may revoke, 4,096 each. */
const MAX_DECREES = 81_920;
const DIGEST_BYTES = 32;
/** A revocation has about 200 bytes, a list of issuing keys up to 16 KiB, and there are few of these. */
const MAX_FILE_BYTES = 32 * 1_048_576;

/** The encoded decrees in the file at `path`; none if it cannot be used. Throws only `key-file-permissions` and `state-unavailable`. */
export async function readDecreeFile(path: string): Promise<readonly Uint8Array[]> {
  const content = await readPrivate(path, MAX_FILE_BYTES).catch((error: unknown) => {
    if (error instanceof StarlingError && error.code === "state-corrupt") return undefined;
    throw error;
  });
  if (content === undefined || content.length < DIGEST_BYTES) return [];
  const body = content.subarray(DIGEST_BYTES);
  if (!equalBytes(sha256(body), content.subarray(0, DIGEST_BYTES))) return [];
  const decoded = decode(body, { depth: 1, items: MAX_DECREES + 1 });
  if (!decoded.ok) return [];
  return list(decoded.value, MAX_DECREES, (decree) => bytes(decree, MAX_DECREE_BYTES)) ?? [];
}

/** Keeps `decrees` in place of what is there; durable when it resolves. */
export async function writeDecreeFile(path: string, decrees: readonly Uint8Array[]): Promise<void> {
  const body = encode(decrees);
  await writePrivate(path, Buffer.concat([sha256(body), body]));
}
