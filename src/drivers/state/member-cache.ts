/**
 * The last known member records, for an agent that starts when no signaling server answers. Only a help: a file that is
 * missing, damaged or of another version counts as empty, and the records in it are checked like any from outside.
 */
import { StarlingError } from "../../errors.ts";
import { equalBytes } from "../../proto/bytes.ts";
import { sha256 } from "../../proto/hash.ts";
import { decode, encode } from "../../proto/wire/codec.ts";
import { bytes, list } from "../../proto/wire/shape.ts";
import { readPrivate, writePrivate } from "./private-files.ts";

/** Records that are kept: enough to find one that is still there, after the loss of 99 in 100. */
export const MAX_CACHED_RECORDS = 512;
/** One record, bytes: a token of full size and labels. */
const MAX_CACHED_RECORD_BYTES = 16_384;

const DIGEST_BYTES = 32;
const MAX_FILE_BYTES = DIGEST_BYTES + 8 + MAX_CACHED_RECORDS * (MAX_CACHED_RECORD_BYTES + 8);

/** The records in the file at `path`; none if it cannot be used. Throws only `key-file-permissions` and `state-unavailable`. */
export async function readMemberCache(path: string): Promise<readonly Uint8Array[]> {
  const content = await readPrivate(path, MAX_FILE_BYTES).catch((error: unknown) => {
    if (error instanceof StarlingError && error.code === "state-corrupt") return undefined;
    throw error;
  });
  if (content === undefined || content.length < DIGEST_BYTES) return [];
  const body = content.subarray(DIGEST_BYTES);
  if (!equalBytes(sha256(body), content.subarray(0, DIGEST_BYTES))) return [];
  const decoded = decode(body, { depth: 1, items: MAX_CACHED_RECORDS + 1 });
  if (!decoded.ok) return [];
  return list(decoded.value, MAX_CACHED_RECORDS, (record) => bytes(record, MAX_CACHED_RECORD_BYTES)) ?? [];
}

/** Keeps the first {@link MAX_CACHED_RECORDS} of `records`, without those that are too long. */
export async function writeMemberCache(path: string, records: readonly Uint8Array[]): Promise<void> {
  const kept = records.filter((record) => record.length <= MAX_CACHED_RECORD_BYTES).slice(0, MAX_CACHED_RECORDS);
  const body = encode(kept);
  await writePrivate(path, Buffer.concat([sha256(body), body]));
}
