/**
 * Every bound of the protocol in one place; `LIMITS.md` lists the same names with what happens at each.
 */

/**
 * One link frame: what every WebRTC stack takes (RFC 8841 assumes it of a peer that announces nothing). Frames are as long as
 * the path is fast; full ones cost the native stack a fifth less than those of 16 KiB.
 */
export const MAX_FRAME_BYTES = 65_536;

/** Depth of arrays in one message. The deepest that Starling sends is 5. */
export const MAX_MESSAGE_DEPTH = 8;

/** Values in one message. */
export const MAX_MESSAGE_ITEMS = 16_384;

/** One message on a lane after reassembly, bytes. */
export const MAX_LANE_MESSAGE_BYTES = 262_144;

/** One message on an application stream after reassembly, bytes. */
export const MAX_STREAM_MESSAGE_BYTES = 16 * 1_048_576;

/** A token, characters. */
export const MAX_TOKEN_LENGTH = 4_096;

/** An SDP, characters. */
export const MAX_SDP_LENGTH = 16_384;

/** Members that one agent keeps. */
export const MAX_MEMBERS = 20_000;

/** A member's name, characters. */
export const MAX_NAME_LENGTH = 64;

/** Labels of one member, and the length of a key or a value, characters. */
export const MAX_LABELS = 32;
export const MAX_LABEL_LENGTH = 128;

/** A hello, bytes: a token of full size, the fixed fields, and as much again for what later versions append. */
export const MAX_HELLO_BYTES = 8_192;

/** A member's record as it is signed, bytes: a token of full size, and as much again for name and labels. */
export const MAX_RECORD_BYTES = 8_192;
