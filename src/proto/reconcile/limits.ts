/**
 * Every bound of set reconciliation, with its reason.
 */

/** Ids per leaf of a full-grown set: few enough that two differences seldom share a leaf, and 5 bytes of sums per id. */
export const LEAF_LOAD = 6;

/** Leaves of one set, as a power of two: 4 MiB of sums, and 131,072 rows are folded and keyed in about 4 ms. */
export const MAX_LEVEL = 17;

/** Leaves that an exchange tells apart, per leaf expected to differ: one in 500 then holds a second difference. */
export const LEAVES_PER_DIFFERENCE = 256;

/** Ids that two sides hold together up to which they are simply listed: a sketch would be no smaller. */
export const SMALL_SETS = 64;

/** Cells in one message: 57 KB, below a quarter of a lane message, 11 ms at 40 Mbit/s. */
export const MAX_CELLS_PER_MESSAGE = 2_048;

/** Messages with cells on their way at once: 230 KB. */
export const MAX_CELL_MESSAGES = 4;

/** Leaves that one sketch is expected to find; beyond, the leaves are divided and sketched one part after the other. */
export const MAX_SKETCHED_LEAVES = 16_384;

/** Cells of one sketch: the above with an estimate that is off by three. 2 MiB on either side. */
export const MAX_CELLS = 65_536;

/**
 * Share of the leaves, in 128ths, from which on listing costs less than a sketch: there a leaf has two differences on
 * average, and cells with the lists of mixed leaves come to 112 bytes, its ids to 96 or 128.
 */
export const LISTING_SHARE = 112;

/** Ids in one message: 64 KB, and at most some 2 ms to collect or to compare. */
export const MAX_IDS_PER_MESSAGE = 4_096;

/** Leaves in one listed range: what an almost empty set is asked for at once. */
export const MAX_LEAVES_PER_LISTING = 8_192;

/**
 * Ids in a leaf up to which it is listed. Only an author who grinds ids gets there; such a leaf is left out, which
 * costs its few innocent ids the backstop (a difference alone in its leaf is found all the same).
 */
export const MAX_LISTED_LEAF = 65_536;

/** Additions of a cell or a row in one slice of work: about 4 ms. */
export const STEPS_PER_SLICE = 200_000;

/** An exchange has failed after this silence: 230 KB at 1 Mbit/s take 2 s, and each side a few slices. */
export const SILENCE_MS = 10_000;

/** How long one peer's exchange may keep the answering side, which takes part in one at a time. */
export const MAX_EXCHANGE_MS = 60_000;

/** Messages of one exchange that are answered: a listing of two million ids has 500. Beyond, it is cut off. */
export const MAX_REQUESTS = 4_096;
