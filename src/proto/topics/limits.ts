/** Every bound of topics, each with its reason. */

/** What one post carries, bytes: one frame of a link. Ours: `limit-reached`; another's: rejected, and whoever sends it is at fault. */
export const MAX_POST_BYTES = 16_384;

/** A post with its head and signature, bytes. */
export const MAX_POST_MESSAGE_BYTES = MAX_POST_BYTES + 512;

/** A topic's name, characters: together with its prefix it fits a scope. */
export const MAX_TOPIC_LENGTH = 64;

/** What one member may publish: a ticker on a few topics, and a burst at its start. Every post costs every member a signature check. */
export const POST_RATE = { perSecond: 16, burst: 64 } as const;

/** What others take from it: twice as much, since what was held up arrives at once. The excess is dropped and the author at fault. */
export const AUTHOR_RATE = { perSecond: 32, burst: 128 } as const;

/** Authors whose rates are remembered; the one heard of longest ago starts afresh. */
export const MAX_AUTHORS = 4_096;

/** How old a post may be beyond the leeway of clocks, ms: below the five minutes for which broadcast knows what it has delivered. */
export const POST_LIFE_MS = 60_000;
