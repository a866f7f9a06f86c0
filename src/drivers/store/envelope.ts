import { assert } from "../../proto/assert.ts";
import { concat, fromUtf8, utf8 } from "../../proto/bytes.ts";
import { hkdf, sha256 } from "../../proto/hash.ts";
import { MAX_NAME_BYTES, MAX_VALUE_BYTES } from "./limits.ts";

/**
 * How a row looks on disk: an address and a sealed envelope. The same bytes in every store and on every platform.
 *
 * The cipher is XAES-256-GCM (C2SP): AES-256-GCM under a key derived from half of a 24-byte nonce. Chosen because AES-GCM
 * is what every place has natively (node:crypto with the processor's AES instructions, Electron's main process, which lacks
 * ChaCha20-Poly1305, and WebCrypto, which works off the main thread), and because random nonces of 24 bytes stay apart for
 * 2^80 rows. A counter in their place would repeat itself in a machine that is restored from a snapshot.
 *
 * The address is the row's key: its space in the clear, so that rows are ordered by it, and 15 bytes of an HMAC of the name.
 * The name itself is inside the envelope. The address is associated data, so a row opens at its own place only; the header too.
 *
 *     address   space (1), HMAC-SHA256(address key, space and name) cut to 15
 *     envelope  version 1 (1), key id (4), nonce (24), sealed [ length of name (2), name, value ], tag (16)
 *
 * A key of the ring gives three keys by HKDF: for sealing, for addresses, for the mark (see `tally.ts`). Its id, 4 bytes, comes
 * the same way and tells nothing about it. After a rotation a row has another address as well.
 *
 * What this trusts: the key, and the system's randomness. What it does not hide: the number and lengths of rows, and which
 * of them change.
 */

export const ADDRESS_BYTES = 16;
export const KEY_ID_BYTES = 4;
export const NONCE_BYTES = 24;
export const TAG_BYTES = 16;
/** Version, key id and nonce: what stands before the sealed part. The nonce makes it unique to one version of one row. */
export const HEAD_BYTES = 1 + KEY_ID_BYTES + NONCE_BYTES;
export const ENVELOPE_OVERHEAD = HEAD_BYTES + TAG_BYTES;
/** The largest envelope, bytes. */
export const MAX_ENVELOPE_BYTES = ENVELOPE_OVERHEAD + 2 + MAX_NAME_BYTES + MAX_VALUE_BYTES;

const VERSION = 1;
const LABEL = utf8("starling/row/1");

/** What a platform does for envelopes. Results are promises where its cipher works elsewhere, or the bytes are many. */
export interface RowCipher {
  randomBytes(length: number): Uint8Array;
  /** HMAC-SHA256, 32 bytes. */
  hmac(key: Uint8Array, data: Uint8Array): Uint8Array;
  /** XAES-256-GCM under a 32-byte key. */
  aead(key: Uint8Array): RowAead;
}

/** XAES-256-GCM under one key: 24-byte nonces, 16-byte tags behind the ciphertext. */
export interface RowAead {
  /** Seals the parts of `plain`, one after the other; the result begins with `head`, as it is. */
  seal(
    nonce: Uint8Array,
    plain: readonly Uint8Array[],
    associated: Uint8Array,
    head?: Uint8Array,
  ): Uint8Array | Promise<Uint8Array>;
  /** Undefined when anything was altered. */
  open(
    nonce: Uint8Array,
    sealed: Uint8Array,
    associated: Uint8Array,
  ): Uint8Array | undefined | Promise<Uint8Array | undefined>;
}

/** A name and its value, out of an envelope. */
export interface Content {
  readonly name: string;
  /** A view. */
  readonly value: Uint8Array;
}

/** One key of the ring, ready for use. */
export class RowKey {
  readonly id: Uint8Array;
  /** For the mark of the whole store. */
  readonly markKey: Uint8Array;
  readonly #addressKey: Uint8Array;
  readonly #cipher: RowCipher;
  readonly #aead: RowAead;

  constructor(secret: Uint8Array, cipher: RowCipher) {
    assert(secret.length === 32, "a key of the ring has 32 bytes");
    const derive = (purpose: string, length: number): Uint8Array =>
      hkdf(sha256, secret, undefined, utf8(`starling/store/1/${purpose}`), length);
    this.id = derive("id", KEY_ID_BYTES);
    this.markKey = derive("mark", 32);
    this.#addressKey = derive("address", 32);
    this.#cipher = cipher;
    this.#aead = cipher.aead(derive("seal", 32));
  }

  /** Where the row stands under this key. */
  address(space: number, name: Uint8Array): Uint8Array {
    const data = new Uint8Array(1 + name.length);
    data[0] = space;
    data.set(name, 1);
    const address = this.#cipher.hmac(this.#addressKey, data).slice(0, ADDRESS_BYTES);
    address.copyWithin(1, 0);
    address[0] = space;
    return address;
  }

  /** The envelope of a row. */
  async seal(address: Uint8Array, name: Uint8Array, value: Uint8Array): Promise<Uint8Array> {
    const head = new Uint8Array(HEAD_BYTES);
    head[0] = VERSION;
    head.set(this.id, 1);
    const nonce = this.#cipher.randomBytes(NONCE_BYTES);
    head.set(nonce, 1 + KEY_ID_BYTES);
    const named = new Uint8Array(2 + name.length);
    named[0] = name.length >>> 8;
    named[1] = name.length & 0xff;
    named.set(name, 2);
    return this.#aead.seal(nonce, [named, value], associated(head, address), head);
  }

  /** What is in an envelope of this key; undefined when it is damaged, or was made for another address. */
  async open(address: Uint8Array, envelope: Uint8Array): Promise<Content | undefined> {
    if (envelope.length < ENVELOPE_OVERHEAD || envelope.length > MAX_ENVELOPE_BYTES) return undefined;
    const head = envelope.subarray(0, HEAD_BYTES);
    const nonce = head.subarray(1 + KEY_ID_BYTES);
    const plain = await this.#aead.open(nonce, envelope.subarray(HEAD_BYTES), associated(head, address));
    if (plain === undefined || plain.length < 2) return undefined;
    const end = 2 + (((plain[0] as number) << 8) | (plain[1] as number));
    const name = end <= plain.length ? fromUtf8(plain.subarray(2, end)) : undefined;
    return name === undefined ? undefined : { name, value: plain.subarray(end) };
  }
}

/** The id of the key that made an envelope; undefined when it is not an envelope of this version. */
export function keyIdOf(envelope: Uint8Array): Uint8Array | undefined {
  return envelope.length >= ENVELOPE_OVERHEAD && envelope[0] === VERSION
    ? envelope.subarray(1, 1 + KEY_ID_BYTES)
    : undefined;
}

// Label, then the parts of fixed length: version and key id, address.
function associated(head: Uint8Array, address: Uint8Array): Uint8Array {
  return concat(LABEL, head.subarray(0, 1 + KEY_ID_BYTES), address);
}
