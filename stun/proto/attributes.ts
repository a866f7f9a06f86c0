import { addressBytes, addressText, type Endpoint, type Family } from "./address.ts";

/**
 * The attributes of STUN (RFC 8489), TURN (RFC 8656) and behaviour discovery (RFC 5780): their numbers and the forms of
 * their values. A number below 0x8000 must be understood by whoever answers a request that carries it.
 */
export const Attribute = {
  mappedAddress: 0x0001,
  changeRequest: 0x0003,
  username: 0x0006,
  messageIntegrity: 0x0008,
  errorCode: 0x0009,
  unknownAttributes: 0x000a,
  channelNumber: 0x000c,
  lifetime: 0x000d,
  xorPeerAddress: 0x0012,
  data: 0x0013,
  realm: 0x0014,
  nonce: 0x0015,
  xorRelayedAddress: 0x0016,
  requestedAddressFamily: 0x0017,
  evenPort: 0x0018,
  requestedTransport: 0x0019,
  dontFragment: 0x001a,
  messageIntegritySha256: 0x001c,
  passwordAlgorithm: 0x001d,
  userhash: 0x001e,
  xorMappedAddress: 0x0020,
  reservationToken: 0x0022,
  padding: 0x0026,
  responsePort: 0x0027,
  additionalAddressFamily: 0x8000,
  addressErrorCode: 0x8001,
  passwordAlgorithms: 0x8002,
  fingerprint: 0x8028,
  responseOrigin: 0x802b,
  otherAddress: 0x802c,
} as const;

/** The first number of those that a receiver may ignore. */
const OPTIONAL = 0x8000;

/** Whether a request with an attribute of this number must be refused by a server that does not know it. */
export function isRequired(type: number): boolean {
  return type < OPTIONAL;
}

/** The cookie of RFC 8489, section 5: bytes 4 to 7 of every message, and the mask of addresses. */
export const MAGIC_COOKIE = 0x2112a442;

/** The mask of XOR-ed addresses: the cookie and the transaction id, as they stand in the message at `at` (its first byte). */
function maskByte(message: Uint8Array, at: number, index: number): number {
  return message[at + 4 + index] as number;
}

/** The length of an address attribute's value. */
export function addressLength(family: Family): number {
  return family === 4 ? 8 : 20;
}

/**
 * Writes the value of an address attribute at `offset` of `target`; `message` is a message with the transaction id
 * that masks it, from its first byte. Plain attributes (RFC 5780) pass no message.
 */
export function writeAddress(
  target: Uint8Array,
  offset: number,
  address: Uint8Array,
  port: number,
  message: Uint8Array | undefined,
): void {
  target[offset] = 0;
  target[offset + 1] = address.length === 4 ? 1 : 2;
  const masked = message === undefined ? port : port ^ (MAGIC_COOKIE >>> 16);
  target[offset + 2] = masked >> 8;
  target[offset + 3] = masked & 0xff;
  for (let index = 0; index < address.length; index++) {
    const mask = message === undefined ? 0 : maskByte(message, 0, index);
    target[offset + 4 + index] = (address[index] as number) ^ mask;
  }
}

/** The value of an XOR-ed address attribute of `length` bytes at `offset` of the message; undefined when it is none. */
export function readXorAddress(message: Uint8Array, offset: number, length: number): Endpoint | undefined {
  const family: Family | undefined = message[offset + 1] === 1 ? 4 : message[offset + 1] === 2 ? 6 : undefined;
  if (family === undefined || length !== addressLength(family)) return undefined;
  const port = (((message[offset + 2] as number) << 8) | (message[offset + 3] as number)) ^ (MAGIC_COOKIE >>> 16);
  for (let index = 0; index < length - 4; index++) {
    unmasked[index] = (message[offset + 4 + index] as number) ^ maskByte(message, 0, index);
  }
  return { address: addressText(unmasked, 0, family), port };
}

/** The value of a plain address attribute of `length` bytes at `offset` of the message; undefined when it is none. */
export function readAddress(message: Uint8Array, offset: number, length: number): Endpoint | undefined {
  const family: Family | undefined = message[offset + 1] === 1 ? 4 : message[offset + 1] === 2 ? 6 : undefined;
  if (family === undefined || length !== addressLength(family)) return undefined;
  const port = ((message[offset + 2] as number) << 8) | (message[offset + 3] as number);
  return { address: addressText(message, offset + 4, family), port };
}

const unmasked = new Uint8Array(16);

/** The bytes of an endpoint's address, which is canonical text by its type. */
export function bytesOfEndpoint(endpoint: Endpoint): Uint8Array {
  return addressBytes(endpoint.address) ?? UNSPECIFIED;
}

const UNSPECIFIED = new Uint8Array(4);

/** Error codes of RFC 8489 and RFC 8656, each with the phrase that goes with it. */
export const REASONS = {
  400: "Bad Request",
  401: "Unauthenticated",
  403: "Forbidden",
  420: "Unknown Attribute",
  437: "Allocation Mismatch",
  438: "Stale Nonce",
  440: "Address Family not Supported",
  441: "Wrong Credentials",
  442: "Unsupported Transport Protocol",
  443: "Peer Address Family Mismatch",
  486: "Allocation Quota Reached",
  508: "Insufficient Capacity",
} as const;

export type StunErrorCode = keyof typeof REASONS;
