import { setTimeout as sleep } from "node:timers/promises";
import { StarlingError } from "../../errors.ts";
import type { Instant } from "../../proto/machine.ts";
import { isMinted, type MintedToken, mintedLine, parseMintedLine } from "../../proto/trust/minted.ts";
import { readLines } from "./durable-lines.ts";
import { acquireLock } from "./lock.ts";
import { writePrivate } from "./private-files.ts";

/**
 * What an issuing key has made without an issuer: by a command, or by a member for itself. A file beside the key, written anew with
 * each token under a lock, because any number of processes may use one key at a time; what an issuer has made is in its journal.
 */

/** Tokens remembered; beyond, those made longest ago are forgotten. About 2 MB. */
const MAX_MINTED = 10_000;
/** The file, bytes: every token with all the scopes that one may have. */
const MAX_FILE_BYTES = 2_048 * MAX_MINTED;
/** How long to wait for other processes that write one, ms. */
const PATIENCE_MS = 10_000;

/** Where the tokens of a key file are kept. */
function fileOf(keyFile: string): string {
  return `${keyFile}.minted`;
}

/** The tokens made with a key file, longest ago first. Lines that cannot be read are passed over: it is a record, no proof. */
export async function readMinted(keyFile: string): Promise<readonly MintedToken[]> {
  const lines = await readLines(fileOf(keyFile), MAX_FILE_BYTES);
  return lines.map(parseMintedLine).filter(isMinted);
}

/** Adds a token; on the disk when it resolves. Rejects with `state-locked` when others write for too long, `state-unavailable`. */
export async function recordMinted(keyFile: string, token: MintedToken, now: Instant): Promise<void> {
  const path = fileOf(keyFile);
  await using _lock = await patientLock(`${path}.lock`);
  const known = (await readMinted(keyFile)).filter(({ expiresAt }) => expiresAt + KEPT_MS > now);
  const kept = [...known, token].slice(-MAX_MINTED);
  await writePrivate(path, kept.map((one) => `${mintedLine(one)}\n`).join(""));
}

/** How long after its end a token is remembered, ms: until it could not even buy a renewal. */
const KEPT_MS = 8 * 24 * 3_600_000;

async function patientLock(path: string): Promise<AsyncDisposable> {
  const until = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      const lock = await acquireLock(path);
      return { [Symbol.asyncDispose]: () => lock.release() };
    } catch (error) {
      const isBusy = error instanceof StarlingError && error.code === "state-locked";
      if (!isBusy || performance.now() > until) throw error;
      await sleep(20 + Math.random() * 30);
    }
  }
}
