import { listFile } from "./list-file.ts";

/** Records that are kept: enough to find one that is still there, after the loss of 99 in 100. */
export const MAX_CACHED_RECORDS = 512;
/** One record, bytes: a token of full size and labels. */
const MAX_CACHED_RECORD_BYTES = 16_384;

/** The last known member records, for an agent that starts when no signaling server answers. Only a help. */
const file = listFile({
  items: MAX_CACHED_RECORDS,
  itemBytes: MAX_CACHED_RECORD_BYTES,
  fileBytes: 40 + MAX_CACHED_RECORDS * (MAX_CACHED_RECORD_BYTES + 8),
});

/** The records in the file at a path; none if it cannot be used. Throws only `key-file-permissions` and `state-unavailable`. */
export const readMemberCache = file.read;

/** Keeps the first {@link MAX_CACHED_RECORDS} of `records`, without those that are too long. */
export async function writeMemberCache(path: string, records: readonly Uint8Array[]): Promise<void> {
  const kept = records.filter((record) => record.length <= MAX_CACHED_RECORD_BYTES).slice(0, MAX_CACHED_RECORDS);
  await file.write(path, kept);
}
