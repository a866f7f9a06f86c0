/**
 * Rows in LMDB, by the optional package `lmdb`: an alternative to SQLite that copes with more rows and larger ones.
 *
 * Transactions are synced before they return: the package's own default acknowledges earlier. The records beside the rows have keys of
 * two bytes behind all addresses.
 *
 * LMDB maps its file into memory and believes every byte of it: one altered length ends the whole process. So the file is walked by
 * `lmdb-pages.ts` before LMDB sees it, and a file that does not check never gets there; what reads of it is read by the walk too.
 */
import { existsSync } from "node:fs";
import { open, type RootDatabase } from "lmdb";
import { DamagedFile, DiskFull, type SealedRow } from "./backend.ts";
import { ADDRESS_BYTES, HEAD_BYTES } from "./envelope.ts";
import { PAGE_BYTES, PAGE_ROWS } from "./limits.ts";
import { checkLmdbFile, salvageLmdbFile } from "./lmdb-pages.ts";
import type { RecordName, RowTable, TableKind } from "./row-table.ts";

/** The first byte of the keys of records: behind every space. */
const RECORDS = 255;
const RECORD_KEYS: Readonly<Record<RecordName, Uint8Array>> = {
  format: new Uint8Array([RECORDS, 1]),
  mark: new Uint8Array([RECORDS, 2]),
};
const END = new Uint8Array([RECORDS]);

/** LMDB files. */
export const lmdbKind: TableKind = {
  name: "lmdb",
  file: "rows.lmdb",
  companions: ["-lock"],
  open(path) {
    if (existsSync(path)) checkLmdbFile(path);
    return guarded(() => new LmdbTable(path));
  },
  *salvage(path) {
    for (const { key, value } of salvageLmdbFile(path)) {
      if (key.length === ADDRESS_BYTES && value.length >= HEAD_BYTES) yield { address: key, envelope: value };
    }
  },
};

class LmdbTable implements RowTable {
  readonly #db: RootDatabase<Uint8Array, Uint8Array>;

  constructor(path: string) {
    this.#db = openDatabase(path);
  }

  transaction(work: () => void): void {
    guarded(() => this.#db.transactionSync(work));
  }

  peek(address: Uint8Array): { readonly head: Uint8Array; readonly bytes: number } | undefined {
    return guarded(() => {
      // A view of memory that the next read overwrites.
      const envelope = this.#db.getBinaryFast(address);
      return envelope && { head: new Uint8Array(envelope.subarray(0, HEAD_BYTES)), bytes: envelope.length };
    });
  }

  put(address: Uint8Array, envelope: Uint8Array): void {
    guarded(() => this.#db.putSync(address, envelope));
  }

  delete(address: Uint8Array): void {
    guarded(() => this.#db.removeSync(address));
  }

  read(address: Uint8Array): Uint8Array | undefined {
    const envelope = guarded(() => this.#db.getBinary(address));
    return envelope && new Uint8Array(envelope);
  }

  page(after: Uint8Array | undefined): readonly SealedRow[] {
    return guarded(() => {
      const rows: SealedRow[] = [];
      let bytes = 0;
      const start = after ?? new Uint8Array([0]);
      for (const { key, value } of this.#db.getRange({ start, exclusiveStart: after !== undefined, end: END })) {
        if (key.length !== ADDRESS_BYTES) throw new DamagedFile("an address has the wrong length");
        rows.push({ address: new Uint8Array(key), envelope: new Uint8Array(value) });
        bytes += value.length;
        if (bytes >= PAGE_BYTES || rows.length === PAGE_ROWS) break;
      }
      return rows;
    });
  }

  record(name: RecordName): Uint8Array | undefined {
    const value = guarded(() => this.#db.getBinary(RECORD_KEYS[name]));
    return value && new Uint8Array(value);
  }

  setRecord(name: RecordName, bytes: Uint8Array): void {
    guarded(() => this.#db.putSync(RECORD_KEYS[name], bytes));
  }

  close(): void {
    // Done when it returns, since nothing is under way; the promise is for those who have asynchronous writes.
    void this.#db.close();
  }
}

function openDatabase(path: string): RootDatabase<Uint8Array, Uint8Array> {
  return open<Uint8Array, Uint8Array>(path, {
    noSubdir: true,
    encoding: "binary",
    keyEncoding: "binary",
    overlappingSync: false,
    cache: false,
    compression: false,
    maxDbs: 1,
  });
}

/** Runs `work` and says in our words what LMDB reports. */
function guarded<T>(work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (!(cause instanceof Error) || cause instanceof DamagedFile || cause instanceof DiskFull) throw cause;
    const code = "code" in cause ? cause.code : undefined;
    if (code === 28 || /no space left/i.test(cause.message)) throw new DiskFull(cause.message, { cause });
    if (/MDB_(CORRUPTED|INVALID|PAGE_NOTFOUND|VERSION_MISMATCH|BAD_VALSIZE|PANIC)/.test(cause.message))
      throw new DamagedFile(cause.message, { cause });
    throw cause;
  }
}
