import { equalBytes, utf8 } from "../../src/proto/bytes.ts";
import { hmac, md5, sha1, sha256 } from "../../src/proto/hash.ts";
import { HEADER_BYTES, type StunMessage, u16 } from "./message.ts";

/**
 * MESSAGE-INTEGRITY (HMAC-SHA1) and MESSAGE-INTEGRITY-SHA256 (RFC 8489, sections 14.5 and 14.6), and the keys of the
 * long-term credential (section 18.5.1): MD5 or SHA-256 over `username ":" realm ":" password`.
 *
 * Both cover the message up to their own attribute, with a header whose length already counts that attribute. A key is
 * kept as the two hash states that HMAC begins with, which saves half of the work for messages of this size.
 */

/** Which of the two attributes. */
export type IntegrityKind = "sha1" | "sha256";

/** Which hash makes the key of a password (PASSWORD-ALGORITHM). */
export type PasswordAlgorithm = "md5" | "sha256";

/** An HMAC that has taken its key, and maybe more. */
export interface KeyedHash {
  clone(): KeyedHash;
  update(bytes: Uint8Array): KeyedHash;
  digest(): Uint8Array;
}

/** The key of one user in one realm. */
export class IntegrityKey {
  readonly #bytes: Uint8Array;
  #sha1: KeyedHash | undefined;
  #sha256: KeyedHash | undefined;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** The HMAC over `header` and then `bytes` from {@link HEADER_BYTES} to `end`. */
  mac(kind: IntegrityKind, header: Uint8Array, bytes: Uint8Array, end: number): Uint8Array {
    return this.#keyed(kind).update(header).update(bytes.subarray(HEADER_BYTES, end)).digest();
  }

  #keyed(kind: IntegrityKind): KeyedHash {
    if (kind === "sha1") {
      this.#sha1 ??= hmac.create(sha1, this.#bytes);
      return this.#sha1.clone();
    }
    this.#sha256 ??= hmac.create(sha256, this.#bytes);
    return this.#sha256.clone();
  }
}

/** A key and the attribute that it makes. */
export interface Integrity {
  readonly kind: IntegrityKind;
  readonly key: IntegrityKey;
}

/** The key of a long-term credential. */
export function longTermKey(
  username: string,
  realm: string,
  password: string,
  algorithm: PasswordAlgorithm,
): IntegrityKey {
  const text = utf8(`${username}:${realm}:${password}`);
  return new IntegrityKey(algorithm === "md5" ? md5(text) : sha256(text));
}

/** The key of a short-term credential: the password itself. */
export function shortTermKey(password: string): IntegrityKey {
  return new IntegrityKey(utf8(password));
}

/** USERHASH: by what a client names itself that does not want its name to be seen. */
export function userhash(username: string, realm: string): Uint8Array {
  return sha256(utf8(`${username}:${realm}`));
}

export function integrityLength(kind: IntegrityKind): number {
  return kind === "sha1" ? 20 : 32;
}

/**
 * The HMAC for the attribute that begins at `at` of `bytes`, in a message whose length field says `length` once the attribute
 * is in it.
 */
export function sign({ kind, key }: Integrity, bytes: Uint8Array, at: number, length: number): Uint8Array {
  for (let index = 0; index < HEADER_BYTES; index++) header[index] = bytes[index] as number;
  header[2] = length >> 8;
  header[3] = length & 0xff;
  return key.mac(kind, header, bytes, at);
}

const header = new Uint8Array(HEADER_BYTES);

/**
 * Whether `message` carries a right attribute of the kind. A SHA-256 value may be cut to a multiple of 4 bytes, 16 at least, which
 * parsing has checked.
 */
export function isIntact(message: StunMessage, integrity: Integrity): boolean {
  const at = integrity.kind === "sha1" ? message.integrity : message.integrity256;
  if (at === 0) return false;
  const length = u16(message.bytes, at + 2);
  const expected = sign(integrity, message.bytes, at, at + 4 + length - HEADER_BYTES);
  return equalBytes(expected.subarray(0, length), message.bytes.subarray(at + 4, at + 4 + length));
}
