/**
 * The node key that takes the place of the one in a state directory, `node.next`, mode 0600, from when an issuer has given it a token until
 * the next start, which puts it in its place. One file holds all that changes together; what is done with it may be done again after a crash.
 *
 *     node.key, token   the new ones         decrees   with the revocation of the former key, which the agent spreads
 *     audit             goes to `audit-` and the first letters of the former id: a log is signed by one key
 */
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { base64, fromBase64 } from "../../proto/base64.ts";
import { equalBytes } from "../../proto/bytes.ts";
import { MAX_TOKEN_LENGTH } from "../../proto/limits.ts";
import { type PeerId, parsePeerId, shortId } from "../../proto/peer-id.ts";
import type { Crypto } from "../../proto/trust/crypto.ts";
import { DECREES_FILE, readDecreeFile, writeDecreeFile } from "./decree-file.ts";
import { replaceSigningKeyFile } from "./key-file.ts";
import { attempt, corrupt, exists, writePrivate } from "./private-files.ts";
import { readSecretText, writeSecretText } from "./secret-text.ts";

export const SUCCESSOR_FILE = "node.next";
const MAX_FILE_BYTES = 16_384;

/** A node key with its token, and whose place it takes. */
export interface Successor {
  readonly former: PeerId;
  readonly id: PeerId;
  readonly seed: Uint8Array;
  readonly token: string;
  /** The encoded decree that revokes the former key; absent where the issuer may not revoke. */
  readonly revocation?: Uint8Array;
}

const schema = z.strictObject({
  former: z.string(),
  seed: z.base64(),
  token: z.string().min(1).max(MAX_TOKEN_LENGTH),
  revocation: z.base64().optional(),
});

/** Keeps a successor for the next start; durable when it resolves. */
export async function writeSuccessor(folder: string, { former, seed, token, revocation }: Successor): Promise<void> {
  const json = { former, seed: base64(seed), token, ...(revocation && { revocation: base64(revocation) }) };
  await writeSecretText(join(folder, SUCCESSOR_FILE), `${JSON.stringify(json)}\n`);
}

/** Puts the successor of `folder`, if there is one, in the place of its node key. The caller holds the lock. Throws `state-corrupt`. */
export async function installSuccessor(
  folder: string,
  files: { readonly nodeKey: string; readonly token: string; readonly audit: string },
  crypto: Crypto,
): Promise<void> {
  const path = join(folder, SUCCESSOR_FILE);
  const text = await readSecretText(path, MAX_FILE_BYTES);
  if (text === undefined) return;
  const { former, seed, token, revocation } = parse(path, text);
  if (revocation !== undefined) {
    const decrees = await readDecreeFile(join(folder, DECREES_FILE));
    const isKept = decrees.some((kept) => equalBytes(kept, revocation));
    if (!isKept) await writeDecreeFile(join(folder, DECREES_FILE), [...decrees, revocation]);
  }
  const log = join(folder, files.audit);
  if (await exists(log)) await attempt("move", log, () => rename(log, `${log}-${shortId(former)}`));
  await writePrivate(join(folder, files.token), `${token}\n`);
  const key = { seed, publicKey: crypto.authority(seed).publicKey };
  await replaceSigningKeyFile(join(folder, files.nodeKey), key, "the key of this node");
  await rm(path);
}

function parse(path: string, text: string): Omit<Successor, "id"> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw corrupt(path, "it is not JSON");
  }
  const parsed = schema.safeParse(json);
  const former = parsed.success ? parsePeerId(parsed.data.former) : undefined;
  const seed = parsed.success ? fromBase64(parsed.data.seed) : undefined;
  if (!parsed.success || former === undefined || seed?.length !== 32) throw corrupt(path, "it is no successor");
  const revocation = parsed.data.revocation === undefined ? undefined : fromBase64(parsed.data.revocation);
  return { former, seed, token: parsed.data.token, ...(revocation && { revocation }) };
}
