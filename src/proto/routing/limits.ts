import { MAX_SDP_LENGTH } from "../limits.ts";

/**
 * Every bound and every time of the routing core, each with its reason. What happens at a bound stands beside it.
 */

/** Contents of one envelope, bytes: a sealed letter with the longest SDP. More from ourselves: assertion; from a peer: a fault. */
export const MAX_CONTENT_BYTES = MAX_SDP_LENGTH + 2_048;

/** One message of routing, bytes: contents, head, signature, and who has had it. A longer one is a fault. */
export const MAX_ROUTING_MESSAGE_BYTES = MAX_CONTENT_BYTES + 512;

/** Transmissions that one envelope may cost in all, deflections included: the diameter of 10,000 members, and a search behind it. */
export const MAX_HOPS = 32;

/** Transmissions of a probe: the diameter, and one deflection. Half a cluster that is cut off is probed by the other half all along. */
export const PROBE_HOPS = 12;

/** Next hops that a member on the way tries before it sends the envelope back: two deflections find a way round any single loss. */
export const MAX_TRIES = 3;

/** Next hops that the source tries: its patience ends before a fifth. */
export const MAX_SOURCE_TRIES = 4;

/** Copies of one envelope that its destination acknowledges: one for each try of a patient source, and as many for deflections. */
export const MAX_COPIES = 8;

/** How old an envelope may be, and how far ahead its source's clock, ms: the leeway of tokens, and a slow way for the former. */
export const ENVELOPE_LIFE_MS = 30_000;

/** A source that waits for a receipt sends the envelope another way after this, ms: six hops there and back at 40 ms each. */
export const RETRY_MS = 500;

/** ...and gives up after this, ms: a person waits for the link, and the server is the other way. */
export const PATIENCE_MS = 2_000;

/** Envelopes of our own whose receipt is awaited; a further one is unreachable at once. 64 dials with a dozen signals each. */
export const MAX_AWAITED = 768;

/** Envelopes remembered against loops and replays, the oldest forgotten first: 90 s of 90 a second, which is a busy hour. */
export const MAX_PASSAGES = 8_192;

/** Envelopes kept to be sent another way when the first fails: for this long, and this many bytes in all, the oldest dropped first. */
export const HELD_FOR_MS = 5_000;
export const MAX_HELD_BYTES = 1_048_576;

/** Messages taken from one link before anything is verified: a neighbour that carries a burst of dials of many sources. */
export const LINK_RATE = { perSecond: 64, burst: 512 } as const;

/** Envelopes of our own, receipts among them: sixteen dials at once, then a dial every second. What exceeds it is unreachable. */
export const OWN_RATE = { perSecond: 12, burst: 256 } as const;

/** Envelopes of one member that are carried or taken: what an honest one sends, though ten seconds of it may come late and at once. */
export const SOURCE_RATE = { perSecond: 16, burst: 384 } as const;

/** Envelopes of everybody unknown that come over one link, together: newcomers are few, inventing identities is cheap. */
export const STRANGER_RATE = { perSecond: 8, burst: 128 } as const;

/** Sources whose rates are remembered; the one heard of longest ago starts afresh. */
export const MAX_METERED_SOURCES = 4_096;

/** Sources to which the way back is remembered: those of the last dials, newcomers among them. */
export const MAX_HINTS = 512;

/** Links that are compared by distance; further ones are a last resort. A member has 8 to 16, and guests. */
export const MAX_RANKED_LINKS = 24;

/** How far the search looks from our links, and from the destination: together, with our own hop, one more than the diameter. */
export const NEAR_RADIUS = 2;
export const FAR_RADIUS = 4;

/** Members whose neighbours one search computes at most, about 4 us each. */
export const MAX_EXPANSIONS = 1_024;

/** Rankings kept until the rings or the links change, and how long they are kept unused, ms: dials come in bursts. */
export const MAX_RANKINGS = 128;
export const REST_MS = 10_000;

// Relayed channels.

/** Streams that one relayed channel may consist of: the diameter of 10,000 members, and a detour. */
export const MAX_RELAY_HOPS = 8;

/** Ways that a relayed channel is tried by at once; the first to arrive is the one of the shortest round trip. */
export const RELAY_RACERS = 3;

/** Next members that a forwarder tries for one request, one after the other. */
export const RELAY_TRIES = 2;

/** Channels that a member carries for one origin, and for all: each costs two streams and what is queued on them. */
export const MAX_CARRIED_PER_ORIGIN = 8;
export const MAX_CARRIED = 64;

/** What a member carries for one origin, bytes both ways: beyond it the channel waits. Enough for a call, not for a backup. */
export const CARRY_RATE = { perSecond: 2_097_152, burst: 4_194_304 } as const;

/** Origins whose rates are remembered; the one heard of longest ago starts afresh. */
export const MAX_CARRIED_ORIGINS = 256;

/** Requests remembered, so that none is carried or answered twice within the time in which it is fresh. */
export const MAX_RELAY_REQUESTS = 1_024;

/** Requests taken from one link, before any signature is checked: a neighbour that carries for a few origins, each with a few tries. */
export const RELAY_REQUEST_RATE = { perSecond: 4, burst: 64 } as const;

/** How long a request may take to come, and to be answered, ms: eight hops there and back over slow links. */
export const RELAY_PATIENCE_MS = 5_000;

/** A relayed channel on which nothing has moved for this long is given up by whoever carries it, ms. */
export const RELAY_IDLE_MS = 300_000;

/** How long a first hop whose channel ended early is tried after all others, ms. */
export const RELAY_AVOID_MS = 60_000;
