import { Attribute, isRequired, MAGIC_COOKIE } from "./attributes.ts";
import { crc32 } from "./crc32.ts";
import { wireLimits } from "./limits.ts";

/**
 * STUN messages (RFC 8489, section 5) as they arrive.
 *
 * {@link parseMessage} checks everything that the form of a message demands in one pass, copies nothing and never throws:
 * the two zero bits, the magic cookie, the length, that attributes and their padding fill the message exactly, that nothing
 * follows a fingerprint, that the fingerprint is right, that a number is not above its bound. What it refuses is not answered.
 *
 * Attributes behind MESSAGE-INTEGRITY are not covered by it and do not exist for the reader (section 14.5), except
 * MESSAGE-INTEGRITY-SHA256 and FINGERPRINT. Of attributes that occur twice the first counts.
 */

export const HEADER_BYTES = 20;

/** Message classes. */
export const MessageClass = { request: 0, indication: 1, success: 2, error: 3 } as const;

/** Methods of RFC 8489 and RFC 8656. */
export const Method = {
  binding: 0x001,
  allocate: 0x003,
  refresh: 0x004,
  send: 0x006,
  data: 0x007,
  createPermission: 0x008,
  channelBind: 0x009,
} as const;

/** The type of a message: fourteen bits in which the class stands between the bits of the method. */
export function messageType(cls: number, method: number): number {
  return (
    ((method & 0xf80) << 2) | ((method & 0x070) << 1) | (method & 0x00f) | ((cls & 0b10) << 7) | ((cls & 0b01) << 4)
  );
}

/** A well-formed message. Offsets are from its first byte; 0 means absent. */
export class StunMessage {
  readonly bytes: Uint8Array;
  readonly cls: number;
  readonly method: number;
  /** Where MESSAGE-INTEGRITY begins, its own header included. */
  readonly integrity: number;
  /** Where MESSAGE-INTEGRITY-SHA256 begins. */
  readonly integrity256: number;
  readonly hasFingerprint: boolean;
  readonly #end: number;

  constructor(bytes: Uint8Array, cls: number, method: number, marks: Marks) {
    this.bytes = bytes;
    this.cls = cls;
    this.method = method;
    this.integrity = marks.integrity;
    this.integrity256 = marks.integrity256;
    this.hasFingerprint = marks.fingerprint > 0;
    this.#end = marks.end;
  }

  /** Where the value of the first attribute of this type begins; 0 when there is none. */
  find(type: number, from = HEADER_BYTES): number {
    for (let at = from; at < this.#end; ) {
      if (u16(this.bytes, at) === type) return at + 4;
      at += 4 + padded(u16(this.bytes, at + 2));
    }
    return 0;
  }

  /** The attribute of this type that follows the one whose value begins at `value`; 0 when there is none. */
  next(type: number, value: number): number {
    return this.find(type, value + padded(this.length(value)));
  }

  /** How long the value that begins at `value` is. */
  length(value: number): number {
    return u16(this.bytes, value - 2);
  }

  /** The value of the first attribute of this type, as a view of the message. */
  value(type: number): Uint8Array | undefined {
    const at = this.find(type);
    return at === 0 ? undefined : this.bytes.subarray(at, at + this.length(at));
  }

  /** Types that must be understood and are not in `known`, as many as an answer lists. */
  unknown(known: ReadonlySet<number>): number[] {
    const types: number[] = [];
    for (let at = HEADER_BYTES; at < this.#end && types.length < wireLimits.unknownListed; ) {
      const type = u16(this.bytes, at);
      if (isRequired(type) && !known.has(type) && !types.includes(type)) types.push(type);
      at += 4 + padded(u16(this.bytes, at + 2));
    }
    return types;
  }

  /** Whether `other` carries the same transaction id: 12 bytes that begin at `offset` of it. */
  hasTransaction(other: Uint8Array, offset: number): boolean {
    for (let index = 0; index < 12; index++) if (this.bytes[8 + index] !== other[offset + index]) return false;
    return true;
  }
}

interface Marks {
  readonly integrity: number;
  readonly integrity256: number;
  readonly fingerprint: number;
  /** Where the attributes that count end. */
  readonly end: number;
}

/** Reads a whole message; undefined when the bytes are none. */
export function parseMessage(bytes: Uint8Array): StunMessage | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const type = u16(bytes, 0);
  if (type > 0x3fff || u32(bytes, 4) !== MAGIC_COOKIE) return undefined;
  const length = u16(bytes, 2);
  if ((length & 3) !== 0 || length + HEADER_BYTES !== bytes.length) return undefined;
  const marks = length === 0 ? BARE : scan(bytes);
  if (marks === undefined) return undefined;
  const cls = ((type & 0x100) >> 7) | ((type & 0x010) >> 4);
  const method = ((type & 0x3e00) >> 2) | ((type & 0x00e0) >> 1) | (type & 0x000f);
  return new StunMessage(bytes, cls, method, marks);
}

const BARE: Marks = { integrity: 0, integrity256: 0, fingerprint: 0, end: HEADER_BYTES };

function scan(bytes: Uint8Array): Marks | undefined {
  let integrity = 0;
  let integrity256 = 0;
  let fingerprint = 0;
  let count = 0;
  let at = HEADER_BYTES;
  while (at < bytes.length) {
    if (fingerprint > 0 || ++count > wireLimits.attributes || at + 4 > bytes.length) return undefined;
    const type = u16(bytes, at);
    const length = u16(bytes, at + 2);
    const next = at + 4 + padded(length);
    if (next > bytes.length) return undefined;
    if (type === Attribute.fingerprint) {
      if (length !== 4) return undefined;
      fingerprint = at;
    } else if (type === Attribute.messageIntegrity && integrity === 0 && integrity256 === 0) {
      if (length !== 20) return undefined;
      integrity = at;
    } else if (type === Attribute.messageIntegritySha256 && integrity256 === 0) {
      if (length < 16 || length > 32 || (length & 3) !== 0) return undefined;
      integrity256 = at;
    }
    at = next;
  }
  if (fingerprint > 0 && !hasRightFingerprint(bytes, fingerprint)) return undefined;
  return { integrity, integrity256, fingerprint, end: integrity || integrity256 || fingerprint || bytes.length };
}

function hasRightFingerprint(bytes: Uint8Array, at: number): boolean {
  return (crc32(bytes, at) ^ FINGERPRINT_MASK) >>> 0 === u32(bytes, at + 4);
}

/** What a CRC-32 is XOR-ed with to become a fingerprint: "STUN". */
export const FINGERPRINT_MASK = 0x5354554e;

/** A length with its padding to 4 bytes. */
export function padded(length: number): number {
  return (length + 3) & ~3;
}

export function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

export function u32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}
