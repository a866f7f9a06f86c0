/**
 * Issuing keys that others have taken the place of and that count for a while yet: `former.keys` in a state directory, mode 0600, a line
 * `BASE64 END FILE` for each: the key (seed and public key), when it is to end (Unix ms), and the file that it has stood in.
 */
import { join } from "node:path";
import { base64, fromBase64 } from "../../proto/base64.ts";
import { concat, equalBytes } from "../../proto/bytes.ts";
import type { Instant } from "../../proto/machine.ts";
import type { Crypto, SigningKey } from "../../proto/trust/crypto.ts";
import { corrupt } from "./private-files.ts";
import { readSecretText, writeSecretText } from "./secret-text.ts";

export const FORMER_KEYS_FILE = "former.keys";
/** Keys in a list of issuers. */
const MAX_FORMER_KEYS = 16;
const MAX_FILE_BYTES = MAX_FORMER_KEYS * 8_192;
const LINE = /^(\S{88}) (\d{1,15}) (.{1,4096})$/;

/** A key whose end is near. */
export interface FormerKey {
  readonly key: SigningKey;
  readonly endsAt: Instant;
  /** Where it has stood, and its successor stands. */
  readonly keyFile: string;
}

/** The keys in the file of `folder`; none when there is none. Throws `state-corrupt`, `key-file-permissions`. */
export async function readFormerKeys(folder: string, crypto: Crypto): Promise<readonly FormerKey[]> {
  const path = join(folder, FORMER_KEYS_FILE);
  const text = (await readSecretText(path, MAX_FILE_BYTES)) ?? "";
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [, encoded = "", end, keyFile = ""] = LINE.exec(line) ?? [];
      const bytes = fromBase64(encoded);
      const seed = bytes?.slice(0, 32);
      const publicKey = seed?.length === 32 ? crypto.authority(seed).publicKey : undefined;
      if (bytes === undefined || seed === undefined || publicKey === undefined) throw corrupt(path, "a line is no key");
      if (!equalBytes(publicKey, bytes.subarray(32))) throw corrupt(path, "the halves of a key do not belong together");
      return { key: { seed, publicKey }, endsAt: Number(end), keyFile };
    });
}

/** Keeps `keys` in place of what is there; durable when it resolves. */
export async function writeFormerKeys(folder: string, keys: readonly FormerKey[]): Promise<void> {
  const lines = keys.map(({ key, endsAt, keyFile }) => {
    return `${base64(concat(key.seed, key.publicKey))} ${endsAt} ${keyFile}\n`;
  });
  await writeSecretText(join(folder, FORMER_KEYS_FILE), lines.join(""));
}
