import { CHANNEL_HEADER_BYTES } from "./channel-data.ts";
import { HEADER_BYTES, u16 } from "./message.ts";

/**
 * Cuts a TCP or TLS stream into STUN messages and ChannelData (RFC 8489, section 6.2.2; RFC 8656, section 12.5): the first two
 * bits tell which, the length is in the header, ChannelData is padded to 4 bytes. Anything else ends the stream: there is no way to
 * find the next message behind it.
 *
 * Holds at most one unfinished message, of at most `maxBytes`.
 */
export class StreamFramer {
  #rest: Uint8Array | undefined;
  #filled = 0;
  /** How many bytes of {@link #rest} make a whole message; 0 while its header is not complete. */
  #wanted = 0;

  /**
   * Takes the bytes that arrived and calls `take` with each whole packet (ChannelData without what pads it), which is a view that is
   * good until the next call. False when the stream is not STUN, or announces a message above `maxBytes`.
   */
  push(chunk: Uint8Array, maxBytes: number, take: (packet: Uint8Array) => void): boolean {
    let at = 0;
    if (this.#rest !== undefined) {
      const used = this.#complete(chunk, maxBytes, take);
      if (used < 0) return false;
      at = used;
    }
    while (at < chunk.length) {
      const left = chunk.length - at;
      if (left < CHANNEL_HEADER_BYTES) break;
      const wanted = packetLength(chunk, at);
      if (wanted < 0 || wanted > maxBytes) return false;
      if (left < wanted) break;
      take(chunk.subarray(at, at + unpaddedLength(chunk, at)));
      at += wanted;
    }
    if (at < chunk.length) this.#keep(chunk, at);
    return true;
  }

  /** Fills up the unfinished packet; returns how much of `chunk` that took, -1 when it is none. */
  #complete(chunk: Uint8Array, maxBytes: number, take: (packet: Uint8Array) => void): number {
    let used = 0;
    if (this.#wanted === 0) {
      used = this.#fill(chunk, 0, CHANNEL_HEADER_BYTES);
      if (this.#filled < CHANNEL_HEADER_BYTES) return used;
      const header = this.#rest as Uint8Array;
      const wanted = packetLength(header, 0);
      if (wanted < 0 || wanted > maxBytes) return -1;
      this.#wanted = wanted;
      if (wanted > header.length) {
        this.#rest = new Uint8Array(wanted);
        this.#rest.set(header.subarray(0, this.#filled));
      }
    }
    used += this.#fill(chunk, used, this.#wanted);
    if (this.#filled < this.#wanted) return used;
    const packet = this.#rest as Uint8Array;
    this.#rest = undefined;
    take(packet.subarray(0, unpaddedLength(packet, 0)));
    return used;
  }

  #fill(chunk: Uint8Array, at: number, upTo: number): number {
    const count = Math.min(chunk.length - at, upTo - this.#filled);
    if (count <= 0) return 0;
    (this.#rest as Uint8Array).set(chunk.subarray(at, at + count), this.#filled);
    this.#filled += count;
    return count;
  }

  #keep(chunk: Uint8Array, at: number): void {
    const left = chunk.length - at;
    const wanted = left < CHANNEL_HEADER_BYTES ? 0 : packetLength(chunk, at);
    this.#wanted = wanted;
    this.#rest = new Uint8Array(Math.max(wanted, CHANNEL_HEADER_BYTES));
    this.#rest.set(chunk.subarray(at));
    this.#filled = left;
  }
}

/** The length of the packet that begins at `at`, padding included; -1 when none begins there. */
function packetLength(bytes: Uint8Array, at: number): number {
  const kind = (bytes[at] as number) >> 6;
  const length = u16(bytes, at + 2);
  if (kind === 0) return (length & 3) === 0 ? HEADER_BYTES + length : -1;
  return kind === 1 ? (CHANNEL_HEADER_BYTES + length + 3) & ~3 : -1;
}

function unpaddedLength(bytes: Uint8Array, at: number): number {
  const length = u16(bytes, at + 2);
  return (bytes[at] as number) >> 6 === 0 ? HEADER_BYTES + length : CHANNEL_HEADER_BYTES + length;
}
