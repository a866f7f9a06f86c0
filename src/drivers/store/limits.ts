/** Every bound of the stores, with what happens at it. */

/** A row's name, UTF-8 bytes: a bucket, a key and what goes around them. Longer: assertion. */
export const MAX_NAME_BYTES = 1_024;

/** A row's value, bytes: the largest value of a bucket with its proof, and ample room. Larger: assertion. */
export const MAX_VALUE_BYTES = 16_777_216;

/** Spaces 0 to 250 are the callers'; those above are kept for the format. */
export const MAX_SPACE = 250;

/** Changes in one commit: one transaction holds them all. More: assertion. */
export const MAX_CHANGES_PER_COMMIT = 65_536;

/** Bytes of names and values in one commit. More: assertion. */
export const MAX_COMMIT_BYTES = 67_108_864;

/** What may wait for the disk, bytes and changes; a commit beyond is refused (`limit-reached`). A few seconds of a slow disk. */
export const MAX_WAITING_BYTES = 268_435_456;
export const MAX_WAITING_CHANGES = 262_144;

/** Commits go to the disk together up to so much: a transaction of some 20 ms, in which a small one may have to wait. */
export const GROUP_BYTES = 4_194_304;
export const GROUP_CHANGES = 4_096;

/** The event loop gets its turn after so much work at a stretch, ms. */
export const SLICE_MS = 8;

/** Bytes sealed or opened at a stretch: some 4 ms without help from the processor's AES instructions, 1 ms with it. */
export const SLICE_BYTES = 1_048_576;

/** Bytes of one portion of a scan; at least one row. */
export const PAGE_BYTES = 1_048_576;

/** Rows of one portion of a scan. */
export const PAGE_ROWS = 2_048;

/** Keys in a ring: the newest, and those of rotations that were cut short. A rotation beyond is refused (`limit-reached`). */
export const MAX_RING_KEYS = 8;

/** A key ring's file, bytes: all keys with room to spare. */
export const MAX_RING_BYTES = 4_096;

/** The cost of scrypt that is believed when it stands in a file: 256 MiB of memory. A higher one is taken for damage. */
export const MAX_SCRYPT_COST = 262_144;

/** The cost of scrypt for new files: 64 MiB, about 0.2 s. */
export const SCRYPT_COST = 65_536;
