/**
 * Rows in SQLite, by node:sqlite, in one file: WAL, synchronous=FULL, no other process at all.
 *
 * The rows have a number beside their address, because SQLite fills pages well only in tables with numbers; a value of
 * 2 KB would take 5 KB in a table without. The beginning of an envelope has a column of its own, so that the version of a large row can be
 * looked at without reading the row. An index may be damaged where the table is not: salvage reads the table from both ends.
 */
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { assert } from "../../proto/assert.ts";
import { concat } from "../../proto/bytes.ts";
import { DamagedFile, DiskFull, type SealedRow } from "./backend.ts";
import { ADDRESS_BYTES, HEAD_BYTES } from "./envelope.ts";
import { PAGE_BYTES, PAGE_ROWS } from "./limits.ts";
import type { RecordName, RowTable, TableKind } from "./row-table.ts";

/** "Strl": says what the file is to whoever finds it. */
const APPLICATION_ID = 0x5374726c;

// The cache holds the inner pages of half a million rows. `cell_size_check` finds damage before it is believed.
const SETTINGS = `
  PRAGMA page_size = 4096;
  PRAGMA locking_mode = EXCLUSIVE;
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  PRAGMA fullfsync = ON;
  PRAGMA checkpoint_fullfsync = ON;
  PRAGMA cell_size_check = ON;
  PRAGMA trusted_schema = OFF;
  PRAGMA temp_store = MEMORY;
  PRAGMA cache_size = -32768;
  PRAGMA journal_size_limit = 16777216;
  PRAGMA application_id = ${APPLICATION_ID};
  CREATE TABLE IF NOT EXISTS rows (
    id INTEGER PRIMARY KEY, address BLOB NOT NULL UNIQUE, head BLOB NOT NULL, body BLOB NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS records (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
`;

/** SQLite files. */
export const sqliteKind: TableKind = {
  name: "sqlite",
  file: "rows.sqlite",
  companions: ["-wal", "-shm"],
  open: (path) => guarded(() => new SqliteTable(path)),
  salvage,
};

class SqliteTable implements RowTable {
  readonly #db: DatabaseSync;
  readonly #put: StatementSync;
  readonly #delete: StatementSync;
  readonly #peek: StatementSync;
  readonly #read: StatementSync;
  readonly #page: StatementSync;
  readonly #record: StatementSync;
  readonly #setRecord: StatementSync;

  constructor(path: string) {
    const db = new DatabaseSync(path);
    this.#db = db;
    try {
      db.exec(SETTINGS);
      // Takes the lock on the file, and finds out whether it can be written.
      db.exec("BEGIN IMMEDIATE; COMMIT");
      this.#put = db.prepare(
        `INSERT INTO rows (address, head, body) VALUES (?, ?, ?)
         ON CONFLICT (address) DO UPDATE SET head = excluded.head, body = excluded.body`,
      );
      this.#delete = db.prepare("DELETE FROM rows WHERE address = ?");
      this.#peek = db.prepare("SELECT head, length(body) AS size FROM rows WHERE address = ?");
      this.#read = db.prepare("SELECT head, body FROM rows WHERE address = ?");
      this.#page = db.prepare(
        `SELECT address, head, body FROM rows WHERE address > ? ORDER BY address LIMIT ${PAGE_ROWS}`,
      );
      this.#record = db.prepare("SELECT value FROM records WHERE name = ?");
      this.#setRecord = db.prepare("INSERT OR REPLACE INTO records (name, value) VALUES (?, ?)");
    } catch (error) {
      db.close();
      throw error;
    }
  }

  transaction(work: () => void): void {
    guarded(() => {
      this.#db.exec("BEGIN IMMEDIATE");
      try {
        work();
        this.#db.exec("COMMIT");
      } catch (error) {
        if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
        throw error;
      }
    });
  }

  peek(address: Uint8Array): { readonly head: Uint8Array; readonly bytes: number } | undefined {
    const row = guarded(() => this.#peek.get(address));
    return row && { head: blob(row["head"]), bytes: HEAD_BYTES + Number(row["size"]) };
  }

  put(address: Uint8Array, envelope: Uint8Array): void {
    guarded(() => this.#put.run(address, envelope.subarray(0, HEAD_BYTES), envelope.subarray(HEAD_BYTES)));
  }

  delete(address: Uint8Array): void {
    guarded(() => this.#delete.run(address));
  }

  read(address: Uint8Array): Uint8Array | undefined {
    const row = guarded(() => this.#read.get(address));
    return row && concat(blob(row["head"]), blob(row["body"]));
  }

  page(after: Uint8Array | undefined): readonly SealedRow[] {
    return guarded(() => {
      const rows: SealedRow[] = [];
      let bytes = 0;
      for (const row of this.#page.iterate(after ?? new Uint8Array(0))) {
        const sealed = sealedRow(row);
        rows.push(sealed);
        bytes += sealed.envelope.length;
        if (bytes >= PAGE_BYTES) break;
      }
      return rows;
    });
  }

  record(name: RecordName): Uint8Array | undefined {
    const row = guarded(() => this.#record.get(name));
    return row && blob(row["value"]);
  }

  setRecord(name: RecordName, bytes: Uint8Array): void {
    guarded(() => this.#setRecord.run(name, bytes));
  }

  compact(): void {
    guarded(() => this.#db.exec("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)"));
  }

  close(): void {
    guarded(() => this.#db.close());
  }
}

/** A row of exactly the lengths that envelopes have; anything else is damage. */
function sealedRow(row: Record<string, unknown>): SealedRow {
  const address = blob(row["address"]);
  if (address.length !== ADDRESS_BYTES) throw new DamagedFile("an address has the wrong length");
  return { address, envelope: concat(blob(row["head"]), blob(row["body"])) };
}

function blob(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new DamagedFile("a column is not a byte string");
  return value;
}

function* salvage(path: string): Generator<SealedRow> {
  let db: DatabaseSync;
  try {
    // Not read-only: the newest rows stand in the WAL, whose recovery writes.
    db = new DatabaseSync(path, { defensive: false });
    // Else a file that was cut off is refused as a whole.
    db.exec("PRAGMA writable_schema = ON");
  } catch {
    return;
  }
  try {
    for (const direction of ["ASC", "DESC"]) {
      let last: SQLInputValue | undefined;
      try {
        const rows = db.prepare(`SELECT id, address, head, body FROM rows ORDER BY id ${direction}`);
        for (const row of rows.iterate()) {
          if (row["id"] === last) break;
          last = row["id"] as SQLInputValue;
          if (row["address"] instanceof Uint8Array && row["address"].length === ADDRESS_BYTES) yield sealedRow(row);
        }
        // Read to the end: there is nothing that the other direction could add.
        return;
      } catch {
        // On to the other end.
      }
    }
  } finally {
    try {
      db.close();
    } catch {
      // It was damaged before.
    }
  }
}

const CODE_FULL = 13;
/** Locked, out of memory, an error of the disk, not to be opened: the file may well be sound. */
const OUTSIDE = new Set([5, 6, 7, 10, 14]);

/** Runs `work` and says in our words what SQLite reports. */
function guarded<T>(work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (!(cause instanceof Error) || !("errcode" in cause) || typeof cause.errcode !== "number") throw cause;
    assert(cause.errcode !== 21, "SQLite is not called while it is busy with us");
    const code = cause.errcode & 0xff;
    if (code === CODE_FULL) throw new DiskFull(cause.message, { cause });
    if (OUTSIDE.has(code)) throw cause;
    throw new DamagedFile(cause.message, { cause });
  }
}
