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
    seal(nonce, plain, associated) {
      const cipher = createCipheriv(GCM, keyOf(nonce), nonce.subarray(NONCE_BYTES / 2));
      cipher.setAAD(associated);
      if (plain.length <= SLICE_BYTES) return concat(cipher.update(plain), cipher.final(), cipher.getAuthTag());
      return inSlices(plain, (slice) => cipher.update(slice), TAG_BYTES).then((sealed) => {
        cipher.final();
        sealed.set(cipher.getAuthTag(), plain.length);
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
      return inSlices(body, (slice) => decipher.update(slice), 0).then((plain) => (isGenuine() ? plain : undefined));
    },
  };
}

/** Turns `bytes` slice by slice, with a turn of the event loop between; leaves `room` bytes at the end of the result. */
async function inSlices(bytes: Uint8Array, turn: (slice: Uint8Array) => Uint8Array, room: number): Promise<Uint8Array> {
  const result = new Uint8Array(bytes.length + room);
  for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
    if (at > 0) await setImmediate();
    result.set(turn(bytes.subarray(at, at + SLICE_BYTES)), at);
  }
  return result;
}
