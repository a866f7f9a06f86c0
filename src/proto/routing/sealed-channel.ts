import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { utf8 } from "../bytes.ts";
import { hkdf, sha256 } from "../hash.ts";
import type { Role } from "../session/transcript.ts";

/**
 * The two ends of a relayed channel, as far as secrecy goes: whoever carries its records can neither read nor alter them, nor leave
 * one out, repeat one or change their order without being noticed.
 *
 * Each direction has a key of its own, by HKDF from the secret of two X25519 keys that are made for this channel and forgotten
 * with it, so nothing that is learnt later opens it. A record is ChaCha20-Poly1305 (RFC 8439) over a frame, with the number of the
 * record as its nonce: numbers are not sent, both sides count. A record that does not open ends the channel: the carriers are
 * links, which lose nothing, so it was tampered with.
 *
 * That the keys belong to the two members is for admission to prove, which runs inside and covers {@link fingerprintOf} both.
 */
export class SealedChannel {
  readonly #seal: DirectionKey;
  readonly #open: DirectionKey;

  /** @param secret what both sides compute from their two keys, 32 bytes. @param context names the channel and both keys. */
  constructor(secret: Uint8Array, role: Role, context: Uint8Array) {
    const there = new DirectionKey(hkdf(sha256, secret, context, utf8("starling/relayed/1 dialer"), 32));
    const back = new DirectionKey(hkdf(sha256, secret, context, utf8("starling/relayed/1 answerer"), 32));
    this.#seal = role === "dialer" ? there : back;
    this.#open = role === "dialer" ? back : there;
  }

  /** The next record: the frame, sealed; 16 bytes longer. */
  seal(frame: Uint8Array): Uint8Array {
    return chacha20poly1305(this.#seal.key, this.#seal.nextNonce()).encrypt(frame);
  }

  /** The frame of the next record; undefined when it is not the one that the other side sealed next. */
  open(record: Uint8Array): Uint8Array | undefined {
    if (record.length < OVERHEAD_BYTES) return undefined;
    try {
      return chacha20poly1305(this.#open.key, this.#open.nextNonce()).decrypt(record);
    } catch {
      return undefined;
    }
  }
}

/** What stands for a side's certificate in admission: the hash of the key that it made for this channel, 32 bytes. */
export function fingerprintOf(channel: Uint8Array, key: Uint8Array): Uint8Array {
  return sha256.create().update(utf8("starling/relayed/1 key")).update(channel).update(key).digest();
}

/** What {@link SealedChannel} takes for context: both fingerprints, the dialer's first. */
export function channelContext(channel: Uint8Array, dialerKey: Uint8Array, answererKey: Uint8Array): Uint8Array {
  const hash = sha256.create();
  hash.update(fingerprintOf(channel, dialerKey));
  hash.update(fingerprintOf(channel, answererKey));
  return hash.digest();
}

/** What sealing adds to a frame. */
export const OVERHEAD_BYTES = 16;
const NONCE_BYTES = 12;

/** A key and the number of its next record. */
class DirectionKey {
  readonly key: Uint8Array;
  readonly #nonce = new DataView(new ArrayBuffer(NONCE_BYTES));
  #records = 0;

  constructor(key: Uint8Array) {
    this.key = key;
  }

  /** 2^53 records are more than any channel lives to send. */
  nextNonce(): Uint8Array {
    this.#nonce.setUint32(4, Math.floor(this.#records / 4294967296));
    this.#nonce.setUint32(8, this.#records >>> 0);
    this.#records++;
    return new Uint8Array(this.#nonce.buffer.slice(0));
  }
}
