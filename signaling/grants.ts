import { StarlingError } from "../src/errors.ts";
import type { Logger } from "../src/options.ts";
import { parseIceUrl } from "../src/proto/negotiation/ice-url.ts";
import { signalingLimits } from "../src/proto/signaling/limits.ts";
import { issueCredential } from "../stun/proto/credentials.ts";
import { readSecrets, watchSecrets } from "../stun/secrets-file.ts";
import type { Grants } from "./proto/events.ts";

/** The STUN and TURN servers that a signaling server hands out. */
export interface TurnOptions {
  /** `stun:`, `turn:` and `turns:`; 1 to 8. */
  readonly urls: readonly string[];
  /**
   * Private file with the secret that the TURN servers know (`stun/secrets-file.ts`), read again when it changes. Needed for `turn:`
   * and `turns:`.
   */
  readonly secretFile?: string;
  /** How long a credential is good for, ms. */
  readonly lifeMs: number;
}

/** What is handed out, and how to stop looking after the secret's file. */
export interface Granting extends Grants {
  stop(): void;
}

/** Below this agents would do little but refresh, ms. */
const MIN_LIFE_MS = 60_000;

/**
 * Time-limited credentials in the name of each member, so that the TURN server's quotas count by member, and who is removed from
 * the cluster loses the relay when the last one ends.
 *
 * @throws StarlingError `usage` for options that cannot be.
 */
export async function turnGrants({ urls, secretFile, lifeMs }: TurnOptions, log?: Logger): Promise<Granting> {
  if (urls.length === 0 || urls.length > signalingLimits.iceUrls)
    throw new StarlingError("usage", `--turn takes 1 to ${signalingLimits.iceUrls} URLs`);
  if (lifeMs < MIN_LIFE_MS) throw new StarlingError("usage", "--turn-life is 1m at least");
  const kinds = urls.map((url) => {
    const at = parseIceUrl(url);
    if (typeof at === "object") return at.kind;
    throw new StarlingError(
      "usage",
      `${JSON.stringify(url)} is no address of a STUN or TURN server: write turn:host:port`,
    );
  });
  const stun = urls.filter((_, index) => kinds[index] === "stun");
  const turn = urls.filter((_, index) => kinds[index] === "turn");
  const open = stun.length === 0 ? [] : [{ urls: stun }];
  if (turn.length === 0) return Object.assign(() => open, { stop: () => undefined });
  if (secretFile === undefined)
    throw new StarlingError("usage", "name the file with the TURN servers' secret: --turn-secret-file FILE");
  const known = await readSecrets(secretFile, Date.now());
  let [secret = ""] = known;
  const use = ([first = ""]: readonly string[]): void => {
    secret = first;
  };
  const trouble = (error: string): void => log?.error("the file of the TURN secret cannot be read again", { error });
  const stop = watchSecrets(secretFile, known, use, trouble);
  const grants: Grants = (peer, now) => {
    const { username, password: credential, expiresAt } = issueCredential(secret, peer, lifeMs, now);
    return [...open, { urls: turn, username, credential, expiresAt }];
  };
  return Object.assign(grants, { stop });
}
