/**
 * Key files: one key in base64 on a line of its own, mode 0600, sealed under a passphrase or not (`secret-text.ts`). Lines that
 * begin with # say what it is.
 *
 * A signing key is kept in tweetnacl's form, 64 bytes: the seed and the public key. Both halves must fit each other: a
 * signer fed with a public key that is not its own gives its private key away.
 */
import { StarlingError } from "../../errors.ts";
import { base64, fromBase64 } from "../../proto/base64.ts";
import { concat, equalBytes } from "../../proto/bytes.ts";
import type { Crypto, SigningKey } from "../../proto/trust/crypto.ts";
import { describeWeakness, keyWeakness } from "../../proto/trust/key-strength.ts";
import { corrupt } from "./private-files.ts";
import { createSecretText, readSecretText, writeSecretText } from "./secret-text.ts";

/** A key file, bytes: a key and a comment. */
const MAX_KEY_FILE_BYTES = 4_096;

/** Creates a file with a signing key. Throws `already-exists` when one is there. */
export async function createSigningKeyFile(path: string, key: SigningKey, purpose: string): Promise<void> {
  await createSecretText(path, keyText(concat(key.seed, key.publicKey), purpose));
}

/** Puts a signing key in the place of the one in a file. */
export async function replaceSigningKeyFile(path: string, key: SigningKey, purpose: string): Promise<void> {
  await writeSecretText(path, keyText(concat(key.seed, key.publicKey), purpose));
}

/**
 * The signing key in a file; undefined when there is no file. Throws `key-file-permissions`, `state-corrupt` or `weak-key`.
 */
export async function readSigningKeyFile(path: string, crypto: Crypto): Promise<SigningKey | undefined> {
  const bytes = await readKey(path, 64);
  if (bytes === undefined) return undefined;
  const seed = bytes.slice(0, 32);
  refuseWeak(path, seed);
  const { publicKey } = crypto.authority(seed);
  if (!equalBytes(publicKey, bytes.subarray(32))) throw corrupt(path, "its two halves do not belong together");
  return { seed, publicKey };
}

/** Creates a file with a secret of 32 bytes. Throws `already-exists` when one is there. */
export async function createSecretFile(path: string, secret: Uint8Array, purpose: string): Promise<void> {
  await createSecretText(path, keyText(secret, purpose));
}

/** The secret of 32 bytes in a file; undefined when there is no file. Throws as {@link readSigningKeyFile}. */
export async function readSecretFile(path: string): Promise<Uint8Array | undefined> {
  const secret = await readKey(path, 32);
  if (secret !== undefined) refuseWeak(path, secret);
  return secret;
}

/** Throws `weak-key` unless `key`, which stands in the file `path`, looks random. */
export function refuseWeak(path: string, key: Uint8Array): void {
  const weakness = keyWeakness(key);
  if (weakness === undefined) return;
  const message = `the key in ${path} ${describeWeakness(weakness)}; make a new one with \`starling keys\``;
  throw new StarlingError("weak-key", message);
}

function keyText(key: Uint8Array, purpose: string): string {
  return `# Starling: ${purpose}. Keep it secret.\n${base64(key)}\n`;
}

async function readKey(path: string, length: number): Promise<Uint8Array | undefined> {
  const text = await readSecretText(path, MAX_KEY_FILE_BYTES);
  if (text === undefined) return undefined;
  const lines = text.split(/\r?\n/).filter((line) => line !== "" && !line.startsWith("#"));
  const key = lines.length === 1 ? fromBase64((lines[0] as string).trim()) : undefined;
  if (key?.length !== length) throw corrupt(path, `it does not hold one key of ${length} bytes in base64`);
  return key;
}
