import { varintSize } from "../../src/proto/streams/varint.ts";

/** The byte that begins a frame. */
const KIND_BYTES = 1;

/**
 * What a message takes on a link, in a frame of its own: the frame's kind, the head of its one chunk, its length, itself. In an agent
 * several messages may share a frame, and a long one is cut; the links here carry each by itself.
 */
export function frameBytes(lane: number, length: number): number {
  return KIND_BYTES + varintSize(lane * 4) + varintSize(length) + length;
}
