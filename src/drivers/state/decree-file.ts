import { MAX_DECREE_BYTES } from "../../proto/decrees/limits.ts";
import { listFile } from "./list-file.ts";

export const DECREES_FILE = "decrees";

/**
 * The cluster's decrees, so that what was revoked stays revoked after a restart. Each proves itself, so nothing here is believed: a
 * file that is missing, damaged or from an older backup costs a comparison with the first member that is met, before
 * anybody else is listened to.
 */
const file = listFile({
  // Those of every key that may revoke, 4,096 each.
  items: 81_920,
  itemBytes: MAX_DECREE_BYTES,
  // A revocation has about 200 bytes, a list of issuing keys up to 16 KiB, and there are few of these.
  fileBytes: 32 * 1_048_576,
});

/** The encoded decrees in the file at a path; none if it cannot be used. Throws only `key-file-permissions` and `state-unavailable`. */
export const readDecreeFile = file.read;

/** Keeps decrees in place of what is there; durable when it resolves. */
export const writeDecreeFile = file.write;
