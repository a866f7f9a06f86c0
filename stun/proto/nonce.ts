import { base64, fromBase64 } from "../../src/proto/base64.ts";
import { equalBytes, fromUtf8, utf8 } from "../../src/proto/bytes.ts";
import { hmac, sha256 } from "../../src/proto/hash.ts";
import type { Instant } from "../../src/proto/machine.ts";
import type { KeyedHash } from "./integrity.ts";

/**
 * Stateless nonces with security features (RFC 8489, section 9.2).
 *
 * A nonce is `obMatJos2`, four characters with the feature bits, and 20 characters with the second at which it was made and
 * a MAC under a key of this server's run over features, second and the client's address. So the server remembers no
 * nonce; nobody can make one, move it to another address, or take a feature out of it (the bid-down that the RFC
 * guards against); and a client that shows a valid one has received a packet at its address, which thereby is its own.
 */
export class Nonces {
  readonly #key: KeyedHash;
  readonly #prefix: string;
  readonly #lifetimeMs: number;

  /**
   * @param key 32 random bytes, of this run only.
   * @param features what the server offers, as bits of {@link SecurityFeature}.
   */
  constructor(key: Uint8Array, features: number, lifetimeMs: number) {
    this.#key = hmac.create(sha256, key);
    this.#prefix = NONCE_COOKIE + base64(Uint8Array.of(features, 0, 0));
    this.#lifetimeMs = lifetimeMs;
  }

  /** A nonce for the client at `address`: 33 characters. */
  make(address: string, now: Instant): Uint8Array {
    const payload = new Uint8Array(PAYLOAD_BYTES);
    const second = Math.floor(now / 1_000);
    payload.set([second >>> 24, (second >> 16) & 0xff, (second >> 8) & 0xff, second & 0xff]);
    payload.set(this.#mac(address, payload), SECOND_BYTES);
    return utf8(this.#prefix + base64(payload));
  }

  /** Whether `nonce` is one of ours for this address, and not too old. */
  isValid(nonce: Uint8Array, address: string, now: Instant): boolean {
    if (nonce.length !== this.#prefix.length + PAYLOAD_CHARACTERS) return false;
    const text = fromUtf8(nonce);
    if (text === undefined || !text.startsWith(this.#prefix)) return false;
    const payload = fromBase64(text.slice(this.#prefix.length));
    if (payload === undefined) return false;
    const mac = this.#mac(address, payload);
    if (!equalBytes(mac, payload.subarray(SECOND_BYTES))) return false;
    const [a = 0, b = 0, c = 0, d = 0] = payload;
    const age = now - (((a << 24) | (b << 16) | (c << 8) | d) >>> 0) * 1_000;
    return age >= 0 && age < this.#lifetimeMs;
  }

  #mac(address: string, payload: Uint8Array): Uint8Array {
    const text = utf8(`${this.#prefix} ${address}`);
    return this.#key
      .clone()
      .update(payload.subarray(0, SECOND_BYTES))
      .update(text)
      .digest()
      .subarray(0, PAYLOAD_BYTES - SECOND_BYTES);
  }
}

/** What tells a client that the four characters behind it are feature bits. */
export const NONCE_COOKIE = "obMatJos2";

/** Feature bits, the first of 24 highest, here in the first of three bytes. */
export const SecurityFeature = {
  /** PASSWORD-ALGORITHMS is offered and checked. */
  passwordAlgorithms: 0x80,
  /** USERHASH is understood for every user. */
  usernameAnonymity: 0x40,
} as const;

const SECOND_BYTES = 4;
/** The second and 88 bits of MAC: a guess against a live server succeeds once in 2^88. */
const PAYLOAD_BYTES = 15;
const PAYLOAD_CHARACTERS = 20;
