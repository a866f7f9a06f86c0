/**
 * Seals broadcast payloads under the keyring: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), with a nonce that is a MAC of topic and payload
 * (a synthetic nonce, as in RFC 5297), so that equal payloads seal to equal bytes and make one broadcast, whoever says them.
 * All that this gives away is that something was said twice.
 *
 *     key id: 4 bytes | nonce: 24 | ciphertext and tag: 16 more than the payload
 */
import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { concat, equalBytes, hex, utf8 } from "../proto/bytes.ts";
import type { Topic } from "../proto/gossip/messages.ts";
import { hkdf, hmac, sha256 } from "../proto/hash.ts";
import type { BroadcastSeal } from "../proto/rule.ts";
import type { Keychain } from "../proto/trust/keychain.ts";

const ID_BYTES = 4;
const NONCE_BYTES = 24;
const TAG_BYTES = 16;
const LABEL = utf8("starling/gossip-seal/1");

interface SealKeys {
  readonly id: Uint8Array;
  readonly cipher: Uint8Array;
  readonly nonce: Uint8Array;
}

/** The seal of the members that hold `keychain`. */
export function gossipSeal(keychain: Pick<Keychain, "sealingKey" | "secrets">): BroadcastSeal {
  const derived = new Map<string, SealKeys>();
  const keysOf = (key: Uint8Array): SealKeys => {
    const name = hex(key);
    let keys = derived.get(name);
    if (keys === undefined) {
      const bytes = hkdf(sha256, key, undefined, LABEL, ID_BYTES + 64);
      keys = { id: bytes.slice(0, ID_BYTES), cipher: bytes.slice(ID_BYTES, ID_BYTES + 32), nonce: bytes.slice(-32) };
      // As many as the keyring has, and those that have left it since the start.
      derived.set(name, keys);
    }
    return keys;
  };
  const nonceOf = (keys: SealKeys, topic: Topic, payload: Uint8Array): Uint8Array =>
    hmac(sha256, keys.nonce, concat(Uint8Array.of(topic), payload)).slice(0, NONCE_BYTES);

  return {
    seal(topic, payload, now) {
      const keys = keysOf(keychain.sealingKey(now));
      const nonce = nonceOf(keys, topic, payload);
      return concat(keys.id, nonce, xchacha20poly1305(keys.cipher, nonce, Uint8Array.of(topic)).encrypt(payload));
    },
    open(topic, sealed) {
      if (sealed.length < ID_BYTES + NONCE_BYTES + TAG_BYTES) return "forged";
      const id = sealed.subarray(0, ID_BYTES);
      const keys = keychain.secrets.keyring.map(keysOf).find((candidate) => equalBytes(candidate.id, id));
      if (keys === undefined) return "unknown-key";
      const nonce = sealed.subarray(ID_BYTES, ID_BYTES + NONCE_BYTES);
      try {
        const box = sealed.subarray(ID_BYTES + NONCE_BYTES);
        return xchacha20poly1305(keys.cipher, nonce, Uint8Array.of(topic)).decrypt(box);
      } catch {
        return "forged";
      }
    },
  };
}
