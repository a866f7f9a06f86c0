import { Attribute, addressLength, MAGIC_COOKIE, REASONS, type StunErrorCode, writeAddress } from "./attributes.ts";
import { crc32 } from "./crc32.ts";
import { type Integrity, integrityLength, sign } from "./integrity.ts";
import { FINGERPRINT_MASK, HEADER_BYTES, messageType, padded } from "./message.ts";

/**
 * Writes one STUN message into a buffer that the caller provides, which is as long as the message may become. Padding is
 * zero. The order is the caller's: integrity goes after all that it covers, the fingerprint last.
 */
export class MessageWriter {
  readonly #target: Uint8Array;
  #end = HEADER_BYTES;

  /** Begins a message with the transaction id of `request`, whose first byte is a header's. */
  constructor(target: Uint8Array, cls: number, method: number, request: Uint8Array) {
    this.#target = target;
    const type = messageType(cls, method);
    target[0] = type >> 8;
    target[1] = type & 0xff;
    this.#u32(4, MAGIC_COOKIE);
    for (let index = 8; index < HEADER_BYTES; index++) target[index] = request[index] as number;
  }

  /** What is written so far, in bytes. */
  get length(): number {
    return this.#end;
  }

  /** Appends an attribute with these bytes. */
  bytes(type: number, value: Uint8Array): this {
    const at = this.#begin(type, value.length);
    this.#target.set(value, at);
    return this;
  }

  /** Appends an attribute with `length` zero bytes. */
  zeros(type: number, length: number): this {
    const at = this.#begin(type, length);
    this.#target.fill(0, at, at + length);
    return this;
  }

  /** Appends an attribute with one 32-bit number. */
  u32(type: number, value: number): this {
    this.#u32(this.#begin(type, 4), value);
    return this;
  }

  /** Appends an address as it is (RFC 5780's attributes). */
  address(type: number, address: Uint8Array, port: number): this {
    writeAddress(
      this.#target,
      this.#begin(type, addressLength(address.length === 4 ? 4 : 6)),
      address,
      port,
      undefined,
    );
    return this;
  }

  /** Appends an address, masked with cookie and transaction id. */
  xorAddress(type: number, address: Uint8Array, port: number): this {
    const at = this.#begin(type, addressLength(address.length === 4 ? 4 : 6));
    writeAddress(this.#target, at, address, port, this.#target);
    return this;
  }

  /** Appends ERROR-CODE; `phrase` is left out where an answer must be short. */
  error(code: StunErrorCode, phrase: boolean): this {
    const reason = phrase ? REASONS[code] : "";
    const at = this.#begin(Attribute.errorCode, 4 + reason.length);
    this.#target[at] = 0;
    this.#target[at + 1] = 0;
    this.#target[at + 2] = Math.floor(code / 100);
    this.#target[at + 3] = code % 100;
    for (let index = 0; index < reason.length; index++) this.#target[at + 4 + index] = reason.charCodeAt(index);
    return this;
  }

  /** Appends MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256 over everything so far. */
  integrity(integrity: Integrity): this {
    const length = integrityLength(integrity.kind);
    const type = integrity.kind === "sha1" ? Attribute.messageIntegrity : Attribute.messageIntegritySha256;
    const covered = this.#end;
    const at = this.#begin(type, length);
    this.#close();
    this.#target.set(sign(integrity, this.#target, covered, this.#end - HEADER_BYTES), at);
    return this;
  }

  /** Appends FINGERPRINT. */
  fingerprint(): this {
    const covered = this.#end;
    const at = this.#begin(Attribute.fingerprint, 4);
    this.#close();
    this.#u32(at, (crc32(this.#target, covered) ^ FINGERPRINT_MASK) >>> 0);
    return this;
  }

  /** Sets the length in the header and returns the length of the whole message. */
  finish(): number {
    this.#close();
    return this.#end;
  }

  #close(): void {
    const length = this.#end - HEADER_BYTES;
    this.#target[2] = length >> 8;
    this.#target[3] = length & 0xff;
  }

  #begin(type: number, length: number): number {
    const target = this.#target;
    const at = this.#end;
    target[at] = type >> 8;
    target[at + 1] = type & 0xff;
    target[at + 2] = length >> 8;
    target[at + 3] = length & 0xff;
    this.#end = at + 4 + padded(length);
    for (let index = at + 4 + length; index < this.#end; index++) target[index] = 0;
    return at + 4;
  }

  #u32(at: number, value: number): void {
    const target = this.#target;
    target[at] = value >>> 24;
    target[at + 1] = (value >>> 16) & 0xff;
    target[at + 2] = (value >>> 8) & 0xff;
    target[at + 3] = value & 0xff;
  }
}
