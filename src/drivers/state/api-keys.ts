/** The file of API keys in a state directory: `api-keys.json`, mode 0600. It holds hashes; the keys themselves are nowhere. */
import { join } from "node:path";
import { z } from "zod";
import { StarlingError } from "../../errors.ts";
import type { ApiKeyRecord } from "../../proto/trust/api-key.ts";
import { isScope, MAX_SCOPES } from "../../proto/trust/scopes.ts";
import { corrupt, readPrivateText, writePrivate } from "./private-files.ts";

const API_KEYS_FILE = "api-keys.json";
/** Keys of one state directory: more than anybody keeps an overview of. */
const MAX_API_KEYS = 256;
const MAX_FILE_BYTES = 1_048_576;

const record = z.strictObject({
  id: z.string().regex(/^[a-z2-7]{16}$/),
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  name: z.string().min(1).max(64),
  scopes: z.array(z.string().refine(isScope)).min(1).max(MAX_SCOPES),
  createdAt: z.number(),
  expiresAt: z.number(),
});
const file = z.strictObject({ version: z.literal(1), keys: z.array(record).max(MAX_API_KEYS) });

/** The keys of `stateDirectory` by their id; none when there is no file. Throws `state-corrupt`, `key-file-permissions`. */
export async function readApiKeys(stateDirectory: string): Promise<ReadonlyMap<string, ApiKeyRecord>> {
  const path = join(stateDirectory, API_KEYS_FILE);
  const text = await readPrivateText(path, MAX_FILE_BYTES);
  if (text === undefined) return new Map();
  const parsed = file.safeParse(parseJson(text));
  if (!parsed.success) throw corrupt(path, parsed.error.issues[0]?.message ?? "it is not valid");
  return new Map(parsed.data.keys.map((key) => [key.id, key]));
}

/** Keeps `keys` in place of what was there. Throws `limit-reached` beyond 256. */
export async function writeApiKeys(stateDirectory: string, keys: Iterable<ApiKeyRecord>): Promise<void> {
  const list = [...keys];
  if (list.length > MAX_API_KEYS) {
    const message = `a state directory holds ${MAX_API_KEYS} API keys at most; revoke some: starling apikey list`;
    throw new StarlingError("limit-reached", message);
  }
  await writePrivate(join(stateDirectory, API_KEYS_FILE), `${JSON.stringify({ version: 1, keys: list }, null, 2)}\n`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
