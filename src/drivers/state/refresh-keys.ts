import { base64, fromBase64 } from "../../proto/base64.ts";
import { refuseWeak } from "./key-file.ts";
import { corrupt } from "./private-files.ts";
import { readSecretText, writeSecretText } from "./secret-text.ts";

/** In a state directory: the refresh keys of its member (`proto/trust/lineage.ts`). */
export const REFRESH_KEYS_FILE = "refresh.keys";

/** Keys in the file: that of the token in use, the next one, and two before, for a token that was not written. */
export const MAX_REFRESH_KEYS = 4;
/** The file, bytes: the keys, and a comment. */
const MAX_FILE_BYTES = 4_096;

/** The seeds in the file, oldest first; none when there is no file. Throws `key-file-permissions`, `state-corrupt` or `weak-key`. */
export async function readRefreshKeys(path: string): Promise<readonly Uint8Array[]> {
  const text = (await readSecretText(path, MAX_FILE_BYTES)) ?? "";
  const lines = text.split(/\r?\n/).filter((line) => line !== "" && !line.startsWith("#"));
  if (lines.length > MAX_REFRESH_KEYS) throw corrupt(path, "it holds too many keys");
  return lines.map((line) => {
    const seed = fromBase64(line.trim());
    if (seed?.length !== 32) throw corrupt(path, "a line is no key of 32 bytes in base64");
    refuseWeak(path, seed);
    return seed;
  });
}

/** Puts `seeds` in the place of what is there; durable when it resolves. */
export async function writeRefreshKeys(path: string, seeds: readonly Uint8Array[]): Promise<void> {
  const lines = seeds.map((seed) => `${base64(seed)}\n`);
  await writeSecretText(
    path,
    `# Starling: the keys by which this node renews its token. Keep them secret.\n${lines.join("")}`,
  );
}
