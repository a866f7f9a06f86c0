/** The bounds of decrees, each with its reason; `LIMITS.md` lists them with what happens at each. */

/** One encoded decree, bytes: a list of issuing keys of full size, a name, a signature and their frames. */
export const MAX_DECREE_BYTES = 16_640;

/** Changes of the root key in a cluster's life: one every few years for decades. */
export const MAX_SUCCESSIONS = 8;

/**
 * Revocations that one key may have in force, some 200 bytes each; of more, those with the lowest `since` stay. By signer, so
 * that whoever steals a key cannot push out what others have revoked.
 */
export const MAX_REVOCATIONS_OF_A_SIGNER = 4_096;

/** Revocations that one rotation names: those since the rotation before. */
export const MAX_BEHIND = 64;

/** Parts of the set that are compared one by one: with one change in 1,000 decrees, 70 ids travel. */
export const BUCKETS = 16;

/** Decrees in one message of the answer, bytes: a probe does not wait long behind it. */
export const TELL_BYTES = 32_768;

/** How long a fresh link may take to compare decrees and keys, ms: a full set of 60,000 over 5 Mbit/s. */
export const OPEN_LIMIT_MS = 20_000;

/** What a peer may say before its link is open, bytes and messages; beyond, the link is given up. */
export const MAX_HELD_BYTES = 524_288;
export const MAX_HELD_MESSAGES = 1_024;

/** Comparisons, questions and requests that one peer may put: all parts twice at once, and a few changes a second. */
export const QUESTION_RATE = { perSecond: 8, burst: 128 };
