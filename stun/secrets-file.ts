/**
 * The secrets of time-limited credentials, which TURN servers share with whoever issues for them: a private file with a line for
 * each, read again by all of them when it changes.
 *
 *     SECRET                  credentials are issued with the first such line
 *     SECRET until TIME       what it has made counts until then (ISO 8601, UTC), and no longer
 *
 * A secret is exchanged in two steps, so that no credential comes before the servers know its secret: the new one is added behind
 * the old one; when everybody has read it, it stands first, and the old one has an end.
 */
import { stat } from "node:fs/promises";
import { acquireLock } from "../src/drivers/state/lock.ts";
import { readPrivateText, writePrivate } from "../src/drivers/state/private-files.ts";
import { StarlingError } from "../src/errors.ts";
import type { Instant } from "../src/proto/machine.ts";
import { MAX_SECRETS } from "./proto/credentials.ts";

/** How often the file is looked at, ms: an exchange waits that long, and an end is kept to that. */
export const LOOK_MS = 5_000;
/** Anybody who sees a credential can try secrets at leisure, so a short one is as good as none. */
const MIN_SECRET_LENGTH = 16;
/** The file, bytes. */
const MAX_FILE_BYTES = 65_536;

const ENDING = /^(.*\S)\s+until\s+(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,3})?Z)$/;

interface Line {
  readonly secret: string;
  readonly until: Instant | undefined;
}

/**
 * The secrets that count at `now`, the first being the one to issue with. Throws `not-found`, `key-file-permissions`, `weak-key`, and
 * `usage` where there is none, or too many.
 */
export async function readSecrets(file: string, now: Instant): Promise<readonly string[]> {
  return alive(file, await readLines(file), now).map(({ secret }) => secret);
}

/**
 * Gives the secrets that count to `use` whenever they are others than before: the file has changed, or one has ended. Returns how to stop.
 * @param known those that are in use.
 * @param trouble hears, once for each reason, why the file cannot be read.
 */
export function watchSecrets(
  file: string,
  known: readonly string[],
  use: (secrets: readonly string[]) => void,
  trouble: (message: string) => void,
  lookMs = LOOK_MS,
): () => void {
  let inUse = known.join("\n");
  let stamp = "";
  let lines: readonly Line[] = [];
  let told = "";
  const look = async (): Promise<void> => {
    const { mtimeMs, ino } = await stat(file);
    if (stamp !== `${mtimeMs}/${ino}`) lines = await readLines(file);
    stamp = `${mtimeMs}/${ino}`;
    told = "";
    const secrets = alive(file, lines, Date.now()).map(({ secret }) => secret);
    if (secrets.join("\n") === inUse) return;
    inUse = secrets.join("\n");
    use(secrets);
  };
  const timer = setInterval(() => {
    look().catch((error: unknown) => {
      const message = error instanceof Error ? error.message : String(error);
      if (message !== told) trouble(message);
      told = message;
    });
  }, lookMs).unref();
  return () => clearInterval(timer);
}

/**
 * Puts `fresh` first in the file, in two steps between which `spread` waits until all servers know it; the secrets before count for
 * `graceMs` more. One that was cut off
 * has only added a secret, which counts until the next. Throws `state-locked` while another is at it.
 */
export async function exchangeSecret(
  file: string,
  fresh: string,
  graceMs: number,
  spread: () => Promise<void>,
): Promise<void> {
  const lock = await acquireLock(`${file}.lock`);
  try {
    const next = { secret: fresh, until: undefined };
    const [first, ...others] = alive(file, await readLines(file), Date.now()) as [Line, ...Line[]];
    if (others.length + 2 > MAX_SECRETS) {
      const message = `${file} holds ${others.length + 1} secrets that still count; wait until some have ended`;
      throw new StarlingError("limit-reached", message);
    }
    await writePrivate(file, textOf([first, next, ...others]));
    await spread();
    const end = Date.now() + graceMs;
    const former = [first, ...others].map(({ secret, until }) => ({ secret, until: Math.min(until ?? end, end) }));
    await writePrivate(file, textOf([next, ...former]));
  } finally {
    await lock.release();
  }
}

/** The lines that count at `now`; those without an end, of which the first issues, come first. */
function alive(file: string, lines: readonly Line[], now: Instant): readonly Line[] {
  const endless = lines.filter(({ until }) => until === undefined);
  const ending = lines.filter(({ until }) => until !== undefined && until > now);
  if (endless.length === 0)
    throw new StarlingError("usage", `${file} holds no secret; write one of 16 characters or more`);
  const all = [...endless, ...ending];
  if (all.length > MAX_SECRETS) throw new StarlingError("usage", `${file} holds more than ${MAX_SECRETS} secrets`);
  return all;
}

async function readLines(file: string): Promise<readonly Line[]> {
  const text = await readPrivateText(file, MAX_FILE_BYTES);
  if (text === undefined) throw new StarlingError("not-found", `there is no file ${file}`);
  const written = text.split("\n").map((line) => line.trim());
  return written
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line, index) => {
      const [, secret = line, end] = ENDING.exec(line) ?? [];
      if (secret.length < MIN_SECRET_LENGTH)
        throw new StarlingError(
          "weak-key",
          `secret ${index + 1} of ${file} has less than ${MIN_SECRET_LENGTH} characters`,
        );
      return { secret, until: end === undefined ? undefined : Date.parse(end) };
    });
}

function textOf(lines: readonly Line[]): string {
  const text = lines.map(({ secret, until }) =>
    until === undefined ? `${secret}\n` : `${secret} until ${new Date(until).toISOString()}\n`,
  );
  return `# Starling: secrets of TURN credentials. The first one issues. Keep them secret.\n${text.join("")}`;
}
