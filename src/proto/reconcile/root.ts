import { sha256 } from "../hash.ts";
import { ROW_WORDS } from "./id-set.ts";
import type { Ids } from "./ids.ts";
import { ROOT_BYTES } from "./messages.ts";
import { SALT_BYTES } from "./mixing.ts";

/** The print of a whole set under the asking side's salt: 16 bytes of SHA-256 over salt and total. */
export function rootOf(set: Ids, salt: Uint8Array): Uint8Array {
  const input = new Uint8Array(SALT_BYTES + ROW_WORDS * 4);
  const view = new DataView(input.buffer);
  input.set(salt, 0);
  for (let word = 0; word < ROW_WORDS; word++) {
    view.setUint32(SALT_BYTES + word * 4, set.total[word] as number, true);
  }
  return sha256(input).subarray(0, ROOT_BYTES);
}
