import { resolve } from "node:path";
import { readPrivateText } from "../drivers/state/private-files.ts";
import { readStdin } from "../drivers/state/stdin.ts";
import { StarlingError } from "../errors.ts";

/** Longest secret, bytes: an API key, a passphrase. */
const MAX_SECRET_BYTES = 4_096;

/**
 * A secret from where people keep such: the file of a flag, else that which `$VARIABLE_FILE` names, `-` for stdin, else `$VARIABLE`; white
 * space at both ends is cut off. Undefined where there is none, or an empty one.
 *
 * @throws `usage` where the environment says it twice, or the file is not there; `key-file-permissions` for one that others may read.
 */
export async function readSecret(variable: string, flag?: string): Promise<string | undefined> {
  const { [variable]: value, [`${variable}_FILE`]: named } = process.env;
  if (flag === undefined && value && named)
    throw new StarlingError("usage", `${variable} and ${variable}_FILE are both set; leave one of them out`);
  const file = flag ?? named;
  if (!file) return value?.trim() || undefined;
  if (file === "-") return (await readStdin()).toString("utf8").trim() || undefined;
  const text = await readPrivateText(resolve(file), MAX_SECRET_BYTES);
  if (text === undefined) throw new StarlingError("usage", `there is no file ${file}; check the path`);
  return text || undefined;
}
