/** ChannelData (RFC 8656, section 12.4): a channel number, a length, the payload; over streams padded to 4 bytes. */
export const CHANNEL_HEADER_BYTES = 4;

/**
 * The numbers that a channel may have. RFC 8656 narrows them to 0x4fff, for clients that tell several protocols apart on one socket;
 * a server does not, and clients of RFC 5766 choose from all of these.
 */
export const FIRST_CHANNEL = 0x4000;
export const LAST_CHANNEL = 0x7ffe;

/** Whether a packet that begins with this byte is ChannelData. */
export function isChannelData(first: number): boolean {
  return first >= 0x40 && first <= 0x7f;
}

/** Writes header and payload into `target`, which has just their length or, over streams, that and the padding. */
export function writeChannelData(target: Uint8Array, number: number, payload: Uint8Array): void {
  const length = payload.length;
  target[0] = number >> 8;
  target[1] = number & 0xff;
  target[2] = length >> 8;
  target[3] = length & 0xff;
  target.set(payload, CHANNEL_HEADER_BYTES);
  for (let index = CHANNEL_HEADER_BYTES + length; index < target.length; index++) target[index] = 0;
}
