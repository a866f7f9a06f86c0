/** The cipher of rows by node:crypto. */
import { createCipheriv, createDecipheriv, createHmac, randomFillSync } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { concat } from "../../proto/bytes.ts";
import { NONCE_BYTES, type RowAead, type RowCipher, TAG_BYTES } from "./envelope.ts";
import { SLICE_BYTES } from "./limits.ts";
import { derivationBlocks, maskKey } from "./xaes.ts";

/** Random bytes fetched at a time: a call for 24 bytes costs about as much as one for 4 KiB. */
const POOL_BYTES = 4_096;

const GCM = "aes-256-gcm";
const NOTHING = new Uint8Array(0);

/** {@link RowCipher} by node:crypto. */
export function nodeRowCipher(): RowCipher {
  const pool = new Uint8Array(POOL_BYTES);
  let used = POOL_BYTES;
  return {
    randomBytes(length) {
      if (length > POOL_BYTES) return randomFillSync(new Uint8Array(length));
      if (used + length > POOL_BYTES) {
        randomFillSync(pool);
        used = 0;
      }
      const bytes = pool.slice(used, used + length);
      pool.fill(0, used, used + length);
      used += length;
      return bytes;
    },
    hmac: (key, data) => new Uint8Array(createHmac("sha256", key).update(data).digest()),
    aead,
  };
}

function aead(key: Uint8Array): RowAead {
  // A cipher in ECB mode without padding turns block after block and keeps no state between them.
  const blocks = createCipheriv("aes-256-ecb", key, null).setAutoPadding(false);
  const mask = maskKey(new Uint8Array(blocks.update(new Uint8Array(16))));
  const keyOf = (nonce: Uint8Array): Uint8Array => blocks.update(derivationBlocks(mask, nonce));

  return {
    seal(nonce, plain, associated, head = NOTHING) {
      const cipher = createCipheriv(GCM, keyOf(nonce), nonce.subarray(NONCE_BYTES / 2));
      cipher.setAAD(associated);
      const length = plain.reduce((sum, part) => sum + part.length, 0);
      if (length <= SLICE_BYTES)
        return concat(head, ...plain.map((part) => cipher.update(part)), cipher.final(), cipher.getAuthTag());
      const sealed = new Uint8Array(head.length + length + TAG_BYTES);
      sealed.set(head);
      return inSlices(plain, (slice) => cipher.update(slice), sealed.subarray(head.length)).then(() => {
        cipher.final();
        sealed.set(cipher.getAuthTag(), head.length + length);
        return sealed;
      });
    },
    open(nonce, sealed, associated) {
      const length = sealed.length - TAG_BYTES;
      if (length < 0) return undefined;
      const decipher = createDecipheriv(GCM, keyOf(nonce), nonce.subarray(NONCE_BYTES / 2), {
        authTagLength: TAG_BYTES,
      });
      decipher.setAAD(associated);
      decipher.setAuthTag(sealed.subarray(length));
      const body = sealed.subarray(0, length);
      const isGenuine = (): boolean => {
        try {
          decipher.final();
          return true;
        } catch {
          return false;
        }
      };
      if (length <= SLICE_BYTES) {
        const plain = decipher.update(body);
        // A Buffer differs from a Uint8Array in its methods, and its memory may be a shared pool's.
        return isGenuine() ? new Uint8Array(plain) : undefined;
      }
      const plain = new Uint8Array(length);
      return inSlices([body], (slice) => decipher.update(slice), plain).then(() => (isGenuine() ? plain : undefined));
    },
  };
}

/** Turns the parts slice by slice into `result`, with a turn of the event loop after each. */
async function inSlices(
  parts: readonly Uint8Array[],
  turn: (slice: Uint8Array) => Uint8Array,
  result: Uint8Array,
): Promise<void> {
  let at = 0;
  for (const part of parts) {
    for (let from = 0; from < part.length; from += SLICE_BYTES) {
      const slice = part.subarray(from, from + SLICE_BYTES);
      result.set(turn(slice), at);
      at += slice.length;
      if (slice.length === SLICE_BYTES) await setImmediate();
    }
  }
}
