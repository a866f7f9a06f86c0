/**
 * Every bound of a link, with its reason. `LIMITS.md` lists the same names with what happens at each. The sizes of a
 * frame and of a message stand in `src/proto/limits.ts`, because other parts share them.
 */

/** Application streams that one side may have open at once: a busy SOCKS proxy needs a few hundred. */
export const MAX_STREAMS = 1_024;

/** Opens accepted from the peer, a second on average and at once: far above any honest use, below what costs CPU. */
export const OPENS_PER_SECOND = 256;
export const OPEN_BURST = 1_024;

/** The highest stream number: 2^31 - 1 lasts 48 days at the full opening rate; then the link must be replaced. */
export const MAX_STREAM_ID = 2_147_483_647;

/** A protocol name, UTF-8 bytes. */
export const MAX_PROTOCOL_BYTES = 64;

/** Bytes an opener may send before it is accepted: one frame, so that a request travels with its open. */
export const EARLY_CREDIT_BYTES = 16_384;

/** Receive window of a stream at the start: full rate up to 10 MB/s at 100 ms. */
export const INITIAL_WINDOW_BYTES = 1_048_576;

/** Largest receive window: 100 ms x 100 MB/s is 10 MB, plus 25 ms of queue and 1/8 for the granularity of updates. */
export const MAX_WINDOW_BYTES = 16 * 1_048_576;

/** Window of a stream that is accepted once the link's windows have used up {@link LINK_WINDOW_BYTES}. */
export const CROWDED_WINDOW_BYTES = 65_536;

/** Receive windows of one link together: four streams at the largest window, or 64 at the initial one. */
export const LINK_WINDOW_BYTES = 64 * 1_048_576;

/** Room promised beyond the windows for messages larger than their window, a link: two of the largest at a time. */
export const LINK_ASSEMBLY_BYTES = 32 * 1_048_576;

/** Credit that a peer may have granted us on one stream; more is nonsense. */
export const MAX_CREDIT_BYTES = 256 * 1_048_576;

/** What a message costs in windows and queues beyond its bytes: about what an empty one costs in memory. */
export const MESSAGE_OVERHEAD_BYTES = 64;

/** Send queue of an application stream; `writable` follows when it falls to half: 40 ms at 100 MB/s. */
export const STREAM_QUEUE_BYTES = 4 * 1_048_576;

/** Send queues of the lanes by number (probe, gossip, signal, data); a message beyond is dropped and reported. */
export const LANE_QUEUE_BYTES = [65_536, 4 * 1_048_576, 1_048_576, 8 * 1_048_576] as const;

/** How long a session outlives its channel, ms: a restart of the router, a train through a tunnel, a laptop that is carried. */
export const SESSION_GRACE_MS = 120_000;

/** What a session keeps of what the peer may lack, and what applications may add to it while there is no channel. */
export const MAX_RETAINED_BYTES = 4 * 1_048_576;

/** Answers (pongs, refusals) that the peer may cause between two flushes. */
export const MAX_PENDING_REPLIES = 1_024;

/** Pings of ours in flight; the oldest is forgotten beyond, and its answer is nothing. */
export const MAX_PENDING_PINGS = 1_024;

/** Faults tolerated from a peer before the link ends; one is forgiven every {@link FAULT_FORGIVEN_MS}. */
export const MAX_FAULTS = 8;
export const FAULT_FORGIVEN_MS = 10_000;

/** A piece of a fragmented message is at least this long, unless it is the last: bounds the cost of a large message. */
export const MIN_PIECE_BYTES = 256;

/** Bytes handed down in one flush: about 2 ms of CPU, so that a fat path does not hold the event loop. */
export const MAX_FLUSH_BYTES = 2 * 1_048_576;
