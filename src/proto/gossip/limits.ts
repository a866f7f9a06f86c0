/**
 * Every bound of the broadcast core, with what happens at it.
 */

/** One broadcast payload, bytes; `publish` asserts, a larger one from a peer is a fault. Larger content is announced and pulled by its owner. */
export const MAX_BROADCAST_BYTES = 65_536;

/** Links that a payload crosses at most; a copy that crossed so many is delivered and goes no further. The diameter of 10,000 members is 6. */
export const MAX_HOPS = 255;

/** Neighbours with their own tree state; further ones only get announcements. A member has 16 links in a full mesh and about 8 beyond. */
export const MAX_TREE_NEIGHBOURS = 64;

/** Ids remembered against a second delivery; the oldest is forgotten first. 30 s of a mesh that publishes 1,000 a second. */
export const MAX_SEEN = 32_768;

/** How long an id is remembered: ten times what a copy can spend in queues, stalls and grafts, which the 30 s of a dying link bound. */
export const SEEN_FOR_MS = 300_000;

/** Payload bytes kept to answer grafts, the oldest dropped first: 64 payloads of the largest size. */
export const MAX_HELD_BYTES = 4_194_304;

/** How long a payload is kept to answer grafts, and how long a verdict may take: as long as a stalled link lives. */
export const HELD_FOR_MS = 30_000;

/** Ids in one announcement or graft: 9 KiB, one frame. A longer announcement is a fault. */
export const MAX_IDS_PER_MESSAGE = 512;

/** How long ids are gathered into one announcement: below a tenth of what a person notices, and long enough that half of them cross and cancel. */
export const ANNOUNCE_DELAY_MS = 20;

/** The time between two announcements: a storm costs ten of them a second and link, and what is alone in its tenth waits no longer for it. */
export const ANNOUNCE_SPACING_MS = 100;

/** What a new link is told of: payloads no older than this, so that a message in flight survives a change of all links at once. */
export const RECENT_FOR_MS = 10_000;

/** Ids of each of the four topics that a new link is told of at most, the newest: one announcement. */
export const MAX_RECENT_IDS = 128;

/** Announced ids without a payload; the oldest is forgotten first. Its owner's anti-entropy is the backstop. */
export const MAX_MISSING = 4_096;

/** Missing ids that one neighbour may keep us waiting for; its further announcements are ignored until some arrive or expire. */
export const MAX_MISSING_PER_NEIGHBOUR = 1_024;

/** Announcers remembered per missing id: the links of a large mesh. */
export const MAX_ANNOUNCERS = 8;

/** How long an announced id is waited for. */
export const MISSING_FOR_MS = 30_000;

/** Source trees kept beside the shared one, the least recently used forgotten first: 12 KiB. */
export const MAX_SOURCE_TREES = 256;

/** A source gets its own tree from this many publications... */
export const OWN_TREE_PUBLICATIONS = 3;

/** ...within this time. */
export const OWN_TREE_WINDOW_MS = 60_000;

/** Messages accepted from one neighbour a second, and at once; beyond, they are ignored and the neighbour is at fault. */
export const NEIGHBOUR_MESSAGES_PER_S = 5_000;
export const NEIGHBOUR_MESSAGE_BURST = 10_000;

/** Bytes accepted from one neighbour a second, and at once. 64 Mbit/s is beyond what a mesh over the Internet carries as broadcast. */
export const NEIGHBOUR_BYTES_PER_S = 8_388_608;
export const NEIGHBOUR_BYTE_BURST = 33_554_432;

/** The share of those rates that we use towards a neighbour, so that clocks and queues never make an honest sender a flood. */
export const OWN_SHARE_OF_RATE = 0.75;

/** A link is exchanged for another in a publisher's own tree from this gain on: above jitter, below what people notice. */
export const BEND_GAIN_MS = 10;

/** A publisher without its own tree has the shared tree rebuilt if that has not happened for so long: one flood in ten minutes. */
export const REBUILD_INTERVAL_MS = 600_000;

/** A rebuilding broadcast that comes so soon after another follows the tree like any other: by then the first has reached everybody. */
export const REBUILD_SETTLES_MS = 10_000;
