/** Every bound of the Yjs provider, with what happens at it. */

/** Edits are told to others so often at most, ms: ten posts a second, of the sixteen that a member may publish. */
export const LIVE_INTERVAL_MS = 100;

/** ...and presence so often at most, ms: four posts a second. What comes between is merged. */
export const PRESENCE_INTERVAL_MS = 250;

/** Edits are stored so often at most, ms: a key that is held down is a write or two a second. */
export const SAVE_INTERVAL_MS = 500;

/** A member's part of a document, bytes, below which it is not worth compacting. */
export const COMPACT_FROM_BYTES = 16_384;

/** What a document may hold that refers to what has not come, bytes; an update beyond is refused. */
export const MAX_PENDING_BYTES = 8_388_608;

/** Clients whose presence one member may tell: documents of one name in its tabs. */
export const MAX_CLIENTS_OF_A_MEMBER = 16;
