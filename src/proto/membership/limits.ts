/**
 * Every bound and every time of the membership core, each with its reason. What happens at a bound stands beside it.
 */

// Probing.

/** A member probes one of its links this often; with about as many probes coming in, each member is probed twice a second. */
export const PROBE_INTERVAL_MS = 500;

/** The shortest probe time-out: beyond any pause of a busy event loop and the delay that our own bulk may add (50 ms). */
export const PROBE_TIMEOUT_LEAST_MS = 250;

/** The longest, before local health stretches it. A path slower than this cannot carry a mesh. */
export const PROBE_TIMEOUT_MOST_MS = 3_000;

/** What a retransmission adds: SCTP waits at least 1 s (RFC 9260, section 16), and the stacks' timers are coarse. */
export const STALL_MS = 1_300;

/** A round trip this much above the usual one can only be a retransmission. */
export const STALL_EVIDENCE_MS = 700;

/** A link this young is no witness of stalls: both ends have much to do when they meet, and starting machines are busy. */
export const WARM_UP_MS = 10_000;

/**
 * A link this young may stall for all that we know, so silence on it is given the time. Without this, 30 members that join where one
 * frame in fifty stalls suspect each other 950 times, and with it 300 times; for longer, crashes just after a join would be found late.
 */
export const UNSHOWN_MS = 2_000;

/** Stalls closer together than this may have one cause that has passed. */
export const STALLS_APART_MS = 3_000;

/** How long one link's stall makes us patient with that link, and with refutations; with every link for a third of it. */
export const STALL_MEMORY_MS = 60_000;

/** A probe that is under suspicion is repeated: SCTP resends what three later packets report as missing (RFC 9260, section 7.2.4). */
export const REPEATS = 2;

/** The time between: so that all of them, and a resent answer, are back before the outcome is judged. */
export const REPEAT_MS = 75;

/** Members asked to probe on our behalf: SWIM's k; three independent paths fail together one time in a hundred at 20 % loss. */
export const HELPERS = 3;

/** The shortest time for an indirect probe: a helper's own time-out, twice. */
export const INDIRECT_LEAST_MS = 500;

/** The shortest time for a routed probe: six hops there and back at 40 ms each, and a detour. */
export const ROUTED_LEAST_MS = 750;

/** Investigations are spread over this, so that observers hear of each other before all of them speak. */
export const SPREAD_MS = 100;

/** After a miss all links are probed at once, but not more often than this. */
export const SWEEP_SPACING_MS = 2_000;

/** Probes under way at once, those for others included; further ones are not begun. */
export const MAX_PROBES = 256;

/** Members waiting for the outcome of one probe that we make for them. */
export const MAX_ASKERS = 16;

/** Probes answered, and indirect probes made, for one link; beyond, they are ignored and the peer is at fault. */
export const ANSWER_RATE = { perSecond: 32, burst: 64 } as const;
export const REQUEST_RATE = { perSecond: 16, burst: 64 } as const;

/** A call that comes this long after our deadline: the process did not run, and what it holds against others is stale. */
export const FREEZE_MS = 500;

/** A call that comes this long after our deadline: this machine is busy, and slow answers may be our own slowness. */
export const LATE_MS = 50;

/** Local health from 0 (well) to this; every time-out is stretched by 1 + health. As in Lifeguard. */
export const WORST_HEALTH = 8;

// Suspicion.

/** Nobody is down sooner after the first suspicion: time for it to reach the accused and for the answer to come back. */
export const REFUTATION_WINDOW_MS = 1_000;

/** What the window gains while retransmissions are seen: with the window itself, one of 1 s on the way there and one back. */
export const REFUTATION_STALL_MS = 1_500;

/** Observers, besides the first accuser, that end a suspicion at the window. Lifeguard's K. */
export const CONFIRMATIONS = 3;

/** A sole accuser waits this long for each binary digit of the number of members: 3 s for 2, 7.5 s for 30, 21 s for 10,000. */
export const SOLE_ACCUSER_MS = 1_500;

/** Envelopes that ask an accused for an answer before it is down on the word of few: one in five may pass a member that drops it. */
export const MAX_QUESTIONS = 3;

/**
 * Envelopes that ask, of all accused together; beyond, it is only waited. A search for what is gone costs two dozen transmissions,
 * and after a cut in halves one in three of those on the other side is accused by few: each member of 80 would ask 37 times, and
 * of 1,000 until its envelopes are spent, which it needs to make links anew.
 */
export const QUESTION_RATE = { perSecond: 2, burst: 16 } as const;

/** A member without a link that has given no sign may be accused after this; a dial ladder takes less. */
export const UNPROVEN_MS = 60_000;

/** The same, also since its last answer, when a routed probe went unanswered: first dials take less, and nobody could have carried the answer before. */
export const ROUTED_UNPROVEN_MS = 10_000;

/** A member has made its links by then: first dials take a few seconds, on a busy machine some more. */
export const SETTLING_MS = 10_000;

/** How long a member's own failed probe stays good enough to confirm a suspicion without another one. */
export const EVIDENCE_MS = 1_500;

/** An accusation is measured against views up to this old. */
export const VIEW_AGE_MS = 30_000;

/** Suspicions of one member open at once: one for each observer and as many for views that differ. Further ones are ignored. */
export const MAX_CHARGES = 32;

/** Ids of answered, and of concluded, suspicions remembered, and members whom we accused: the oldest is forgotten first. */
export const MAX_PAST_CHARGES = 8_192;

/** Our own answers kept, to be repeated to whoever asks again. */
export const MAX_ANSWERS = 256;

/** Suspicions and answers taken from one link before they are verified. */
export const STATEMENT_RATE = { perSecond: 256, burst: 1_024 } as const;

/** Our own suspicions of others; beyond, we wait. Four observers speak of each member that is lost, so half of 100 may go at once. */
export const OWN_ACCUSATION_RATE = { perSecond: 2, burst: 64 } as const;

/**
 * Verified suspicions taken from one accuser. What it says in 90 s may arrive at once (30 s in a stalled link, 30 s kept
 * for grafts, 30 s in our own sleep): 64 + 2 * 90 is what an honest one reaches, and nobody honest exceeds it.
 */
export const ACCUSER_RATE = { perSecond: 2, burst: 256 } as const;

/** How long nothing counts that an accuser says which has exceeded that, ms: long enough that one which goes on never comes back. */
export const VOID_MS = 60_000;

// Records.

/** Records taken from one link unasked, before they are verified: a rolling restart of a thousand members passes. */
export const RECORD_RATE = { perSecond: 128, burst: 1_024 } as const;

/** New records of one member, after they are verified. A member that changes more often is heard of by anti-entropy. */
export const SUBJECT_RATE = { perSecond: 0.2, burst: 16 } as const;

/** Peers and subjects whose rates are remembered; the one seen longest ago starts afresh. */
export const MAX_METERED = 4_096;

/** Revoked members remembered; the token check refuses them as well. */
export const MAX_REVOKED = 4_096;

/** Down members are remembered, and tried again, for this long. */
export const REMEMBER_MS = 72 * 3_600_000;

/** Each down member is tried this often by all others together... */
export const RETRY_MS = 10_000;

/** ...and one member makes a try at most this often. */
export const RETRY_LEAST_MS = 2_000;

/** A member answers claims that it is down with a new record at most this often. */
export const BUMP_SPACING_MS = 5_000;

// Push-pull.

/** Anti-entropy with one random link, on average; jittered by half of it each way. */
export const EXCHANGE_MS = 30_000;

/** Buckets of the digest. A difference of one member costs one bucket: 156 heads of 12 bytes at 10,000 members. */
export const BUCKETS = 64;

/** One message of an exchange, bytes: a quarter of what a lane carries, so that a probe waits for four frames at most. */
export const EXCHANGE_MESSAGE_BYTES = 65_536;

/** A transfer of records sends one message this often: 1.3 MB/s, 10,000 members in about 8 s. */
export const TRANSFER_INTERVAL_MS = 50;

/** Steps of exchanges taken from one link. */
export const EXCHANGE_RATE = { perSecond: 32, burst: 128 } as const;

/** What a peer may send after we asked for it, and how long we wait. */
export const SOLICITED_MS = 60_000;

/** Up to here lists are made equal with everybody at once: what comes twice is little. */
export const SMALL_LIST = 64;

/** How long the one whose turn it is may take to answer: a round trip across the world. A retransmission takes longer, and costs a record that comes twice. */
export const TURN_ANSWER_MS = 300;

/** How long until more of its records come: the pace of transfers, and a retransmission. */
export const TURN_RECORDS_MS = 1_200;

/** How long a turn lasts at the most, whatever comes: the records of 20,000 at the pace of transfers. */
export const TURN_LONGEST_MS = 20_000;

/** Between two turns: an equal list is not answered, and what has come is to be checked first. */
export const TURN_SPACING_MS = 100;

/** After much was learnt, and after a start, everything goes by exchanges for so long: what one broadcasts then, others do too. */
export const CROWD_MS = 10_000;

/** As many news as are broadcast at once. */
export const BULK_RECORDS = 16;

/** What an exchange has taught is passed on after this. */
export const RIPPLE_MS = 300;

/** Claims that somebody is down are heeded when they are this old: younger ones are news that is on its way. */
export const CLAIM_AGE_MS = 5_000;

/** Claims taken from one link. Beyond, they are ignored; the next exchange repeats them. */
export const CLAIM_RATE = { perSecond: 16, burst: 256 } as const;

/** Members named in one notice, notices gathered, and the time between two of ours about one member. */
export const MAX_NOTICE = 64;
export const MAX_PENDING_NOTICES = 4_096;
export const NOTICE_SPACING_MS = 10_000;
export const NOTICE_DELAY_MS = 200;

/** Notices taken from one link. */
export const NOTICE_RATE = { perSecond: 4, burst: 64 } as const;
