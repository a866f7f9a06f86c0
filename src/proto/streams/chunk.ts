/**
 * The bytes of a link.
 *
 * A frame is one message of the data channel: the byte {@link FRAME_KIND}, then chunks back to back. A chunk is
 *
 *     varint (stream << 2 | kind)   varint length   payload
 *
 * with the kinds of {@link Kind}. A message that fits is one `final` chunk. A longer one is a `more` chunk whose
 * payload begins with the length of the whole message as a varint, any number of further `more` chunks, and a `final`
 * chunk; pieces of different streams interleave, those of one stream do not. Because the length comes first, the
 * receiver can refuse what is too long before it keeps anything, and allocate once.
 *
 * Streams 0 to 3 are the lanes. Stream 4 says nothing: an empty chunk of it fills a frame whose contents are not wanted any
 * more, but which counts. 5 to 7 are reserved, the dialer opens even numbers from 8 and the answerer odd numbers from 9,
 * each in sequence. Control chunks (`control.ts`) belong to the stream in their head; those of the link itself travel on
 * stream 0.
 *
 * A frame with a chunk of any stream but 0 is *numbered*: both sides count these frames alike from 1, and their count
 * is what is acknowledged. Frames with nothing but probes, acknowledgements and heartbeats are outside the count, so
 * that an idle mesh sends no frame that only says that a frame has come. The count goes on when another channel takes the
 * place of a broken one: it begins there with the first frame that the receiver said it lacked.
 */

/** First byte of every frame: framing version 1. */
export const FRAME_KIND = 0x10;

/** The low two bits of a chunk's head. */
export const Kind = {
  /** The last piece of a message, or a whole one. */
  final: 0,
  /** A piece with more to follow. */
  more: 1,
  /** A control of the stream. */
  control: 2,
} as const;

/** The first number of an application stream of either side. */
export const FIRST_STREAM = 8;

/** How many lanes there are: streams 0 to 3. */
export const LANES = 4;

/** The stream that says nothing. */
export const FILLER_STREAM = 4;

/** The most that a chunk's head and length take: 5 and 3 bytes. */
export const MAX_CHUNK_HEAD_BYTES = 8;
