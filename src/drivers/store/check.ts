import { StarlingError } from "../../errors.ts";
import type { Damage } from "../../store.ts";
import { type Backend, DamagedFile, type SealedRow } from "./backend.ts";
import { decodeFormat, encodeFormat, FORMAT, migrate } from "./format.ts";
import type { RowKeys } from "./keys.ts";
import { isGenuineMark, keyIdOfMark, Tally } from "./tally.ts";

/**
 * What is checked when a store is opened, before anything is read: that its format is known, that the keys fit, that its
 * mark is genuine, and that no acknowledged commit is missing. A file that fails is set aside and what reads of it is copied. Keys that
 * do not fit are an error and change nothing: to a wrong key all rows look damaged.
 */
export async function checkOpened(backend: Backend, keys: RowKeys, place: string): Promise<readonly Damage[]> {
  const { found } = backend;
  const format = found.format && decodeFormat(found.format);
  if (format !== undefined && format > FORMAT) {
    const message = `${place} was written in format ${format} by a newer Starling, this one reads up to ${FORMAT}; update it, or choose another store`;
    throw new StarlingError("version-mismatch", message);
  }
  const damage: Damage[] = [];
  const sample = await firstRows(backend);
  if (sample !== undefined) await refuseForeign(backend, keys, sample, place);
  const problem = sample === undefined ? "it cannot be read" : problemOf(backend, keys, sample);
  if (problem !== undefined) {
    const { setAside, tally } = await backend.rescue([], keys.newest);
    damage.push({
      type: "file",
      detail: `the file of ${place} was damaged: ${problem}; ${tally.rows} rows were saved`,
      rows: undefined,
      setAside,
    });
  }
  const commits = (found.mark && Tally.decode(found.mark)?.commits) ?? 0;
  if (found.acknowledged !== undefined && commits < found.acknowledged && problem === undefined) {
    const missing = found.acknowledged - commits;
    damage.push({
      type: "commits",
      detail: `the newest ${missing} acknowledged commits are missing in ${place}: its newest part was cut off or altered, or an older copy was put in its place`,
      rows: undefined,
      setAside: undefined,
    });
  }
  // After damage the fresh file, or the gap in the count, is written down before anything else is.
  if (format === undefined || problem !== undefined) await backend.writeFormat(encodeFormat(FORMAT));
  else await migrate(backend, format);
  if (damage.length > 0) await backend.write({ steps: [], mark: keys.newest });
  return damage;
}

async function firstRows(backend: Backend): Promise<readonly SealedRow[] | undefined> {
  try {
    return await backend.page(undefined);
  } catch (error) {
    if (error instanceof DamagedFile) return undefined;
    throw error;
  }
}

/** Throws when the store is somebody else's: sealed, but with no key of the ring. */
async function refuseForeign(
  { found }: Backend,
  keys: RowKeys,
  sample: readonly SealedRow[],
  place: string,
): Promise<void> {
  if (found.mark !== undefined && keys.find(keyIdOfMark(found.mark)) !== undefined) return;
  for (const row of sample) if ((await keys.open(row)) !== undefined) return;
  if (found.mark === undefined && sample.length === 0) return;
  const message = `${place} is sealed with another key; bring back its key ring or passphrase, or move the store away to begin anew`;
  throw new StarlingError("store-unavailable", message);
}

function problemOf({ found }: Backend, keys: RowKeys, sample: readonly SealedRow[]): string | undefined {
  const isWritten = sample.length > 0 || found.mark !== undefined;
  if (found.format !== undefined && decodeFormat(found.format) === undefined) return "its format is not legible";
  if (found.format === undefined && isWritten) return "its format is missing";
  if (found.mark === undefined) return sample.length > 0 ? "its mark is missing" : undefined;
  const key = keys.find(keyIdOfMark(found.mark));
  return key !== undefined && isGenuineMark(found.mark, key) ? undefined : "its mark is not genuine";
}
