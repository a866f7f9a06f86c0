import { concat, equalBytes, utf8 } from "../../proto/bytes.ts";
import { sha256 } from "../../proto/hash.ts";
import type { Backend } from "./backend.ts";

/**
 * The format record: the one thing about a store that every version of Starling can read. `STARLING` (8), the number of the format (2),
 * the beginning of SHA-256 over both (6): a damaged record is not taken for one of a later version.
 *
 * Format 1: addresses, envelopes and marks as in `envelope.ts` and `tally.ts`.
 */
export const FORMAT = 1;

const MAGIC = utf8("STARLING");

/** The record of a format. */
export function encodeFormat(format: number): Uint8Array {
  const record = concat(MAGIC, new Uint8Array([format >>> 8, format & 0xff]));
  return concat(record, sha256(record).subarray(0, 6));
}

/** The number in a format record; undefined when it is damaged. */
export function decodeFormat(record: Uint8Array): number | undefined {
  const format = ((record[8] ?? 0) << 8) | (record[9] ?? 0);
  return equalBytes(record, encodeFormat(format)) ? format : undefined;
}

/**
 * Steps from one format to the next, by the format that they start from. Each may be cut short by a crash and is then run
 * again from its beginning; when it is done the next format is written down.
 */
export type Migrations = ReadonlyMap<number, (backend: Backend) => Promise<void>>;

/** There is one format so far. */
export const MIGRATIONS: Migrations = new Map();

/** Brings a store from `format` to {@link FORMAT}. */
export async function migrate(
  backend: Backend,
  format: number,
  migrations: Migrations = MIGRATIONS,
  target: number = FORMAT,
): Promise<void> {
  for (let current = format; current < target; current++) {
    await migrations.get(current)?.(backend);
    await backend.writeFormat(encodeFormat(current + 1));
  }
}
