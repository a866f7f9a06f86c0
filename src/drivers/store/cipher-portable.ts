/**
 * The cipher of rows for browsers: WebCrypto where the page has it (it needs a secure context), which works off the main
 * thread; else @noble/ciphers, which does not, and takes some 10 ms for each MiB.
 */
import { ecb, gcm } from "@noble/ciphers/aes.js";
import { concat } from "../../proto/bytes.ts";
import { hmac, sha256 } from "../../proto/hash.ts";
import { NONCE_BYTES, type RowAead, type RowCipher, TAG_BYTES } from "./envelope.ts";
import { derivationBlocks, maskKey } from "./xaes.ts";

/** Below this WebCrypto's detour through other threads costs more than it saves, bytes. */
const LEAST_WEB_BYTES = 4_096;

const NOTHING = new Uint8Array(0);

/** {@link RowCipher} without node:crypto. `useWebCrypto`: where there is one; default true. */
export function portableRowCipher(useWebCrypto = true): RowCipher {
  const subtle = useWebCrypto ? globalThis.crypto.subtle : undefined;
  return {
    randomBytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
    hmac: (key, data) => hmac(sha256, key, data),
    aead: (key) => aead(key, subtle),
  };
}

function aead(key: Uint8Array, subtle: typeof crypto.subtle | undefined): RowAead {
  const blocks = (plain: Uint8Array): Uint8Array => ecb(key, { disablePadding: true }).encrypt(plain);
  const mask = maskKey(blocks(new Uint8Array(16)));
  const keyOf = (nonce: Uint8Array): Uint8Array => blocks(derivationBlocks(mask, nonce));
  const tail = (nonce: Uint8Array): Uint8Array => nonce.slice(NONCE_BYTES / 2);

  return {
    seal(nonce, parts, associated, head = NOTHING) {
      const plain = concat(...parts);
      if (subtle === undefined || plain.length < LEAST_WEB_BYTES)
        return concat(head, gcm(keyOf(nonce), tail(nonce), associated).encrypt(plain));
      return webKey(subtle, keyOf(nonce), "encrypt")
        .then((key) => subtle.encrypt(parameters(tail(nonce), associated), key, plain))
        .then((sealed) => concat(head, new Uint8Array(sealed)));
    },
    open(nonce, sealed, associated) {
      if (sealed.length < TAG_BYTES) return undefined;
      if (subtle === undefined || sealed.length < LEAST_WEB_BYTES) {
        try {
          return gcm(keyOf(nonce), tail(nonce), associated).decrypt(sealed);
        } catch {
          return undefined;
        }
      }
      return webKey(subtle, keyOf(nonce), "decrypt")
        .then((key) => subtle.decrypt(parameters(tail(nonce), associated), key, own(sealed)))
        .then(
          (plain) => new Uint8Array(plain),
          () => undefined,
        );
    },
  };
}

function webKey(subtle: typeof crypto.subtle, key: Uint8Array, usage: "encrypt" | "decrypt") {
  return subtle.importKey("raw", own(key), "AES-GCM", false, [usage]);
}

function parameters(iv: Uint8Array, additionalData: Uint8Array) {
  return { name: "AES-GCM", iv: own(iv), additionalData: own(additionalData), tagLength: TAG_BYTES * 8 };
}

// WebCrypto takes no memory that is shared between threads.
function own(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}
