/**
 * Every bound of the replication core, with what happens at it.
 */

/** A key, UTF-8 bytes; longer ones are refused (`bad-key`). Fits the key of every store that is planned. */
export const MAX_KEY_BYTES = 512;

/** A value, bytes; larger ones are refused (`too-large`). Streams carry what is larger. */
export const MAX_VALUE_BYTES = 8_388_608;

/**
 * A value that travels inside its batch, bytes. Larger ones are announced and pulled, so that a broadcast stays
 * small.
 */
export const MAX_INLINE_VALUE_BYTES = 49_152;

/**
 * A batch as broadcast, bytes as estimated before encoding: one value at the bound above, with key, proof and
 * framing.
 */
export const MAX_BATCH_BYTES = 53_248;

/** Entries in one batch. Each surviving entry keeps the whole digest list: 2 KiB at this bound. */
export const MAX_BATCH_ENTRIES = 64;

/** First to last clock of a batch, ms: below any leeway on a token's life, so that one instant stands for the batch. */
export const MAX_BATCH_SPAN_MS = 1_000;

/** A remote clock further ahead than this is deferred: not remembered, and it moves no clock. */
export const MAX_AHEAD_MS = 60_000;

/** Further ahead than this no honest neighbour can have accepted it (its leeway and ours): the sender is at fault. */
export const MAX_FORWARDED_AHEAD_MS = 120_000;

/** How long a tombstone is kept and accepted. A day covers a night's sleep of a laptop. */
export const TOMBSTONE_RETENTION_MS = 86_400_000;

/**
 * Tombstones leave the digests at whole multiples of this, so that replicas do so together but for their clock skew.
 */
export const RETENTION_STEP_MS = 60_000;

/** Expired tombstones removed in one step; the rest follow at once in further steps. About 10 ms. */
export const MAX_PURGED_PER_STEP = 4_096;

/** Entries judged in one step after a revocation; the rest follow at once in further steps. About 10 ms. */
export const MAX_JUDGED_PER_STEP = 8_192;

/** What this replica holds at most; a local write beyond is refused (`quota`). */
export interface Quotas {
  /** Buckets. The list of them is one message. */
  readonly buckets: number;
  /** Keys, tombstones included, in one bucket and in all. */
  readonly entriesPerBucket: number;
  readonly entries: number;
  /** Bytes of keys and values in one bucket and in all. */
  readonly bytesPerBucket: number;
  readonly bytes: number;
}

/** In memory on every member, so bounded by the smallest member: a quarter GiB of values, half a million keys. */
export const DEFAULT_QUOTAS: Quotas = {
  buckets: 1_024,
  entriesPerBucket: 262_144,
  entries: 524_288,
  bytesPerBucket: 134_217_728,
  bytes: 268_435_456,
};

/** Remote writes may exceed the quotas by a quarter: writers that reach a quota at the same moment still converge. */
export const REMOTE_HEADROOM = 1.25;

/** Writes that wait for their signature or for acknowledgements; further ones are refused (`quota`). */
export const MAX_PENDING_REQUESTS = 16_384;

/** Bytes of values that wait for their signature or for acknowledgements; further writes are refused (`quota`). */
export const MAX_PENDING_BYTES = 67_108_864;

/**
 * Bytes of values hashed in one step, about 8 ms: the event loop never waits for a whole large value, or for
 * thousands of writes.
 */
export const HASH_STEP_BYTES = 1_048_576;

/** Replicas that one write may wait for; more is refused (`bad-replicas`). Acknowledgements converge on one member. */
export const MAX_REPLICAS = 64;

/** How long a write waits for its replicas by default, and at most. */
export const DEFAULT_WRITE_TIMEOUT_MS = 10_000;
export const MAX_WRITE_TIMEOUT_MS = 60_000;

/**
 * When a write that still lacks replicas is pushed over links directly, and how often: beyond any broadcast's travel, far within the
 * time-out.
 */
export const PUSH_AFTER_MS = 2_000;

/** Links that one late write is pushed over at a time; the others follow. */
export const MAX_PUSHES = 8;

/** Bytes pushed in that time by all late writes together, but for the last of them: 16 Mbit/s. The others are pushed after them. */
export const MAX_PUSHED_BYTES = 4_194_304;

/** Copies of a key in a bucket that is not everywhere. */
export const MAX_COPIES = 16;

/** The shortest and the longest time in a policy, ms: a minute, because removal happens by whole minutes, and ten years. */
export const MIN_POLICY_MS = 60_000;
export const MAX_POLICY_MS = 315_576_000_000;

/** How long a member that is gone keeps its place as a replica. */
export const REPLACE_AFTER_MS = 2_000;

/** How long after a change of the members copies are moved: a member that starts hears of the others one after the other. */
export const SETTLE_MS = 500;

/**
 * The same where a member has come and none has gone: nothing is missing, and by then it has most of what is its own by exchanges, which cost less than to
 * be asked about every key.
 */
export const ARRIVAL_MS = 3_000;

/** How long a member that comes back moves no copies: by then it has heard who is there. */
export const START_MS = 5_000;

/** Entries asked about in one request of a hand-off, and bytes of keys; requests of one slot under way at once. */
export const MAX_HELD_PER_REQUEST = 512;
export const MAX_HELD_BYTES = 100_000;
export const HOLD_WINDOW = 4;

/** What a replica lacked is asked about again after so long: it fetches some thousand entries in that time. */
export const HANDOFF_RETRY_MS = 500;

/**
 * Surveys of what others lack, ours and of those that survey us: as many at once, each with another member. 3 MiB each. A survey of somebody's
 * ends after a minute, so a few that waste ours delay what others bring by no more.
 */
export const MAX_SURVEYS = 8;

/** Entries that are asked about key by key at once: some 3 KB, where a survey begins with a pass over the bucket on either side. */
export const MAX_UNSURVEYED = 32;

/** Differences that a survey finds; beyond, everything is asked about key by key, which then costs no more than five times as much. */
export const MAX_SURVEYED = 16_384;

/** Ids passed over at the beginning of a survey that count as one slice of work: about 4 ms. */
export const SURVEYED_PER_SLICE = 98_304;

/** Slots on their way to replicas at once; further ones follow. */
export const MAX_HANDOFFS = 4_096;

/** Reads from other replicas under way; further ones are refused (`quota`). */
export const MAX_READS = 4_096;

/** How long a read from other replicas may take. */
export const READ_TIMEOUT_MS = 5_000;

/** How long a key stays reserved for a conditional write: signing it, its way to the replicas, and their disks. */
export const RESERVATION_MS = 10_000;

/** Keys reserved at one replica for one member; further ones are refused. */
export const MAX_RESERVATIONS = 1_024;

/** Keys of which a replica knows the latest promise; beyond, the latest of all of them stands for each. */
export const MAX_PROMISES = 16_384;

/** Replicas whose majority decides about a conditional write: the largest mesh in which everybody is linked with everybody. */
export const MAX_DECIDERS = 17;

/** Conditional writes under way at one member; further ones are refused (`quota`). */
export const MAX_CONDITIONS = 1_024;

/** A conditional write that found no majority tries again after one to three of these, by chance, so that two rivals part. */
export const CONDITION_RETRY_MS = 100;

/** Changes returned by one look-up, and changes of all buckets that it looks at: about 5 ms. */
export const MAX_CHANGES_PER_READ = 1_024;
export const MAX_CHANGES_SCANNED = 16_384;

/** Bytes of values on their way to the disk at which nothing more is fetched from others, until some have arrived. */
export const MAX_UNSAVED_BYTES = 33_554_432;

/** Useless rows of an earlier run removed at a start, in one commit; the rest at the next start. */
export const MAX_USELESS_ROWS = 16_384;

/** Keys that one `list` returns at most, and by default. */
export const MAX_LIST = 1_000;
export const DEFAULT_LIST = 100;

/** One message, bytes as estimated: below a lane's bound with room for the last item. */
export const MAX_MESSAGE_BYTES = 200_000;

/** The pause between periodic exchanges, each with one random link; a quarter of jitter either way. */
export const EXCHANGE_INTERVAL_MS = 30_000;

/** The first exchange after a link comes up waits at most this long, so that links that come up together spread. */
export const EXCHANGE_SPREAD_MS = 200;

/** An entry this old that comes by anti-entropy was missed by its broadcast: the other links are compared too. */
export const MISSED_AFTER_MS = 5_000;

/** ...within this time, so that news crosses a mesh that was cut in about a second per hop. */
export const RIPPLE_SPREAD_MS = 1_000;

/** What is in service says so in its store at most so often; a replica looks so often whether it is. */
export const SERVED_STEP_MS = 600_000;

/** So long a replica that was away looks for one that was not, before it concludes that all were. */
export const AWAY_PATIENCE_MS = 60_000;

/** Values set aside by a replica that was away, and their bytes; the oldest give way. */
export const MAX_ASIDE = 16_384;
export const MAX_ASIDE_BYTES = 33_554_432;

/** A refused exchange is tried again after one to three of these. */
export const BUSY_RETRY_MS = 500;

/** An unanswered request has failed: 200 KB at 1 Mbit/s take 1.6 s, a few may queue. */
export const REQUEST_TIMEOUT_MS = 10_000;

/** We stay reserved for the other side's exchange while its messages come at least this often... */
export const LEASE_IDLE_MS = 3_000;

/** ...and at most this long, so that nobody keeps us for itself. */
export const LEASE_MAX_MS = 20_000;

/** Buckets compared at once, and ids in them together; a larger bucket is compared alone. 9 MiB of sketches. */
export const MAX_COMPARED_BUCKETS = 16;
export const MAX_COMPARED_IDS = 131_072;

/** Entries that are known to be missing, asked for or not; further ones are found by the next exchange. */
export const MAX_WANTED = 16_384;

/**
 * Messages in answer to one request for entries. Asking for much at once brings the entries of a batch together with
 * one proof.
 */
export const MAX_ANSWERS_PER_WANT = 4;

/** While comparing goes on, entries are asked for only from this many on: the more at once, the fewer proofs. */
export const WANT_TOGETHER = 4_096;

/** Values (in the sense of msgpack) in one message with entries: below what a message may contain. */
export const MAX_ENTRIES_ITEMS = 16_000;

/** Ids in one request. 128 KiB. */
export const MAX_WANTED_PER_REQUEST = 8_192;

/** How long entries that have arrived may take to be verified before they count as missing again. */
export const VERIFY_TIMEOUT_MS = 10_000;

/** Requests in a row that a peer answers with none of the entries it had listed: beyond, it lies. */
export const MAX_EMPTY_ANSWERS = 8;

/**
 * A long exchange (so many messages of the peer's) that brings nothing to either side is fruitless; so many in a row
 * are a loop.
 */
export const FRUITLESS_MESSAGES = 64;
export const MAX_FRUITLESS_EXCHANGES = 3;

/**
 * Requests answered per peer: cost 1 and 1 more per 4 KiB answered. 32 MB/s, 8 MB at once; beyond, the answer is
 * `busy`.
 */
export const ANSWER_RATE = { perSecond: 8_192, burst: 2_048 };

/** What a slice of work for a peer's comparison costs of the above: at most 64 slices of 4 ms a second. */
export const SLICE_COST = 128;

/** Messages accepted per peer; a whole burst beyond is a flood, and the peer is ignored from there on. */
export const MESSAGE_RATE = { perSecond: 2_000, burst: 4_000 };

/** Arrivals that wait for a token; the oldest is dropped. At most one message each. */
export const MAX_PARKED = 32;

/** How long an arrival waits for its token. */
export const PARKED_FOR_MS = 10_000;

/** Tokens in one request: 160 KiB at the longest. */
export const MAX_TOKENS_PER_REQUEST = 40;

/** Tokens asked for at once; what needs further ones is dropped, and found by the next exchange. */
export const MAX_TOKENS_ASKED = 1_024;

/** Tokens that prove stored entries; an entry with yet another token is refused. One per author and day. */
export const MAX_TOKENS = 16_384;

/** Tokens received that prove no stored entry yet, and authors whose current token's hash is remembered. */
export const MAX_TOKEN_CANDIDATES = 256;
export const MAX_TOKEN_AUTHORS = 4_096;

/** One fragment of a large value, bytes: half a lane message. */
export const FRAGMENT_BYTES = 131_072;

/** Fragments of one value under way at once: 10 MB/s at 50 ms. */
export const FRAGMENT_WINDOW = 4;

/** Large values pulled at once: 16 MiB of memory. */
export const MAX_ACTIVE_FETCHES = 2;

/** Large values whose pull has stopped half way and whose part is kept; beyond, the oldest part is dropped. 16 MiB. */
export const MAX_STALLED_FETCHES = 2;

/** Large values waiting to be pulled; further ones are found by the next exchange. */
export const MAX_FETCHES = 1_024;

/** Peers remembered as sources of one large value. */
export const MAX_SOURCES = 8;

/** How long a large value without a source is waited for; the next exchange finds it again. */
export const SOURCELESS_FOR_MS = 60_000;

/** Peers told when a large value that they asked for in vain is complete: the links of a large mesh. */
export const MAX_WAITERS = 32;
