/**
 * A store's folder, used synchronously by the thread that owns it: the database file, the note of what was acknowledged,
 * and what was set aside.
 *
 *     rows.sqlite or rows.lmdb         the rows
 *     head                             the number of the last acknowledged commit
 *     rows.sqlite.fresh                a copy under way; of no use unless `rows.sqlite` is gone
 *     rows.sqlite.damaged-TIME         set aside
 *     lock                             see the state directory
 *
 * The head is written behind each durable commit and not synced: it may lag after a loss of power, and never runs ahead. So a store whose
 * own count is below it has lost commits: SQLite ends its recovery without a word at the first page of the WAL that does not check, and LMDB
 * falls back to its older meta page.
 */
import { closeSync, existsSync, fsyncSync, openSync, readSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { equalBytes, hex } from "../../proto/bytes.ts";
import { sha256 } from "../../proto/hash.ts";
import { DamagedFile, type Found, type Rescue, type SealedRow, type Step } from "./backend.ts";
import type { RowTable, TableKind } from "./row-table.ts";
import { headOf, type Mac, type MarkKey, Tally } from "./tally.ts";

const HEAD_FILE = "head";
/** Number of the commit (8), the beginning of its hash (8). */
const HEAD_FILE_BYTES = 16;
/** Copied in one transaction: a few MiB of memory. */
const COPIED_ROWS = 4_096;
const COPIED_BYTES = 4_194_304;

/** The files of one store. */
export class Folder {
  readonly #path: string;
  readonly #kind: TableKind;
  readonly #mac: Mac;
  readonly #headFile: number;
  readonly found: Found;
  /** Undefined: the file cannot be used; `rescue` is all that can be done. */
  #table: RowTable | undefined;
  #tally: Tally;
  #format: Uint8Array | undefined;

  /** Opens or creates the files of `kind` in the folder at `path`. A damaged file is found out by the first use. */
  constructor(path: string, kind: TableKind, mac: Mac) {
    this.#path = path;
    this.#kind = kind;
    this.#mac = mac;
    const file = this.#file;
    if (!existsSync(file) && existsSync(`${file}.fresh`)) this.#adoptFresh();
    else this.#removeFresh();
    this.#headFile = openSync(join(path, HEAD_FILE), "a+", 0o600);
    closeSync(this.#headFile);
    this.#headFile = openSync(join(path, HEAD_FILE), "r+");
    const acknowledged = this.#acknowledged();
    try {
      this.#table = kind.open(file);
      const mark = this.#table.record("mark");
      this.#tally = (mark && Tally.decode(mark)) ?? new Tally();
      this.#format = this.#table.record("format");
      this.found = { format: this.#format, mark, acknowledged };
    } catch (error) {
      this.#closeTable();
      if (!(error instanceof DamagedFile)) {
        closeSync(this.#headFile);
        throw error;
      }
      this.#tally = new Tally();
      this.found = { format: undefined, mark: undefined, acknowledged };
    }
    // What was acknowledged and is lost is not counted a second time.
    this.#tally.commits = Math.max(this.#tally.commits, acknowledged ?? 0);
  }

  get #file(): string {
    return join(this.#path, this.#kind.file);
  }

  get #open(): RowTable {
    if (this.#table === undefined) throw new DamagedFile(`${this.#file} cannot be opened`);
    return this.#table;
  }

  tally(): Tally {
    // Fails where the file cannot be used.
    void this.#open;
    return this.#tally;
  }

  /** One transaction. */
  write(steps: Iterable<Step>, mark: MarkKey): void {
    const table = this.#open;
    const tally = this.#tally.copy();
    tally.commits++;
    table.transaction(() => {
      for (const step of steps) apply(table, tally, step);
      table.setRecord("mark", tally.encode(mark, this.#mac));
    });
    this.#tally = tally;
    this.#acknowledge(tally.commits);
  }

  writeFormat(format: Uint8Array): void {
    const table = this.#open;
    table.transaction(() => table.setRecord("format", format));
    this.#format = format;
  }

  page(after: Uint8Array | undefined): readonly SealedRow[] {
    return this.#open.page(after);
  }

  read(address: Uint8Array): Uint8Array | undefined {
    return this.#open.read(address);
  }

  fileBytes(): number {
    const sizes = ["", ...this.#kind.companions].map((companion) => {
      return statSync(`${this.#file}${companion}`, { throwIfNoEntry: false })?.size ?? 0;
    });
    return sizes.reduce((sum, size) => sum + size, 0);
  }

  compact(): void {
    const table = this.#open;
    if (table.compact !== undefined) {
      table.compact();
      return;
    }
    this.#copy(rowsOf(table), this.#tally.commits, () => table.record("mark"));
    table.close();
    renameSync(`${this.#file}.fresh`, this.#file);
    this.#sync(dirname(this.#file));
    this.#table = this.#kind.open(this.#file);
  }

  /** See `Backend.rescue`. A crash in the middle leaves the damaged files in place, or the copy complete. */
  rescue(without: readonly Uint8Array[], mark: MarkKey): Rescue {
    const file = this.#file;
    const excluded = new Set(without.map(hex));
    this.#closeTable();
    const salvaged = this.#kind.salvage(file);
    const tally = this.#copy(
      (function* () {
        for (const row of salvaged) if (!excluded.has(hex(row.address))) yield row;
      })(),
      this.#tally.commits + 1,
      (tally) => tally.encode(mark, this.#mac),
    );
    const setAside = this.#damagedName();
    this.#setAside(setAside);
    this.#adoptFresh();
    this.#table = this.#kind.open(file);
    this.#tally = tally;
    this.#acknowledge(tally.commits);
    return { setAside, tally };
  }

  /** Copies rows to a fresh file, synced, and returns what they are. */
  #copy(rows: Iterable<SealedRow>, commits: number, mark: (tally: Tally) => Uint8Array | undefined): Tally {
    const fresh = `${this.#file}.fresh`;
    this.#removeFresh();
    const copy = this.#kind.open(fresh);
    const tally = new Tally();
    tally.commits = commits;
    let together: SealedRow[] = [];
    let bytes = 0;
    const flush = (): void => {
      copy.transaction(() => {
        for (const { address, envelope } of together) apply(copy, tally, { type: "put", address, envelope });
        const record = mark(tally);
        if (record !== undefined) copy.setRecord("mark", record);
        if (this.#format !== undefined) copy.setRecord("format", this.#format);
      });
      together = [];
      bytes = 0;
    };
    for (const row of rows) {
      together.push(row);
      bytes += row.envelope.length;
      if (together.length >= COPIED_ROWS || bytes >= COPIED_BYTES) flush();
    }
    flush();
    copy.close();
    // Of companions only locks are left after an orderly end.
    for (const companion of this.#kind.companions) rmSync(`${fresh}${companion}`, { force: true });
    this.#sync(fresh);
    return tally;
  }

  close(): void {
    try {
      this.#closeTable();
    } finally {
      closeSync(this.#headFile);
    }
  }

  #closeTable(): void {
    const table = this.#table;
    this.#table = undefined;
    try {
      table?.close();
    } catch (error) {
      if (!(error instanceof DamagedFile)) throw error;
    }
  }

  #damagedName(): string {
    return `${this.#file}.damaged-${new Date().toISOString().replaceAll(/[:.]/g, "")}`;
  }

  #setAside(name: string): void {
    // The file first: without it, what is left of it is set aside by `adoptFresh`.
    for (const companion of ["", ...this.#kind.companions]) {
      if (existsSync(`${this.#file}${companion}`)) renameSync(`${this.#file}${companion}`, `${name}${companion}`);
    }
  }

  // Companions of the old file would be taken for those of the copy.
  #adoptFresh(): void {
    for (const companion of this.#kind.companions) {
      const stray = `${this.#file}${companion}`;
      if (existsSync(stray)) renameSync(stray, `${this.#damagedName()}${companion}`);
    }
    renameSync(`${this.#file}.fresh`, this.#file);
    this.#sync(dirname(this.#file));
  }

  #removeFresh(): void {
    for (const companion of ["", ...this.#kind.companions]) rmSync(`${this.#file}.fresh${companion}`, { force: true });
  }

  #sync(path: string): void {
    // Windows cannot open a folder, and needs no such call.
    if (process.platform === "win32" && path === dirname(this.#file)) return;
    const file = openSync(path, "r");
    try {
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  }

  // A note that was cut or altered says nothing.
  #acknowledged(): number | undefined {
    const bytes = new Uint8Array(HEAD_FILE_BYTES);
    if (readSync(this.#headFile, bytes, 0, HEAD_FILE_BYTES, 0) !== HEAD_FILE_BYTES) return undefined;
    const number = bytes.subarray(0, 8);
    if (!equalBytes(sha256(number).subarray(0, 8), bytes.subarray(8))) return undefined;
    const commits = Number(new DataView(bytes.buffer).getBigUint64(0));
    return Number.isSafeInteger(commits) ? commits : undefined;
  }

  #acknowledge(commits: number): void {
    const bytes = new Uint8Array(HEAD_FILE_BYTES);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(commits));
    bytes.set(sha256(bytes.subarray(0, 8)).subarray(0, 8), 8);
    writeSync(this.#headFile, bytes, 0, HEAD_FILE_BYTES, 0);
  }
}

/** All rows of a sound file. */
function* rowsOf(table: RowTable): Generator<SealedRow> {
  for (let after: Uint8Array | undefined; ; ) {
    const page = table.page(after);
    after = page.at(-1)?.address;
    if (after === undefined) return;
    yield* page;
  }
}

/** One step, counted. */
function apply(table: RowTable, tally: Tally, step: Step): void {
  if (step.type === "move") {
    const from = table.peek(step.from);
    if (from === undefined || !equalBytes(from.head, step.head)) return;
    table.delete(step.from);
    tally.remove(from.head, from.bytes);
  }
  const previous = table.peek(step.address);
  if (previous !== undefined) tally.remove(previous.head, previous.bytes);
  if (step.type === "delete") {
    if (previous !== undefined) table.delete(step.address);
    return;
  }
  table.put(step.address, step.envelope);
  tally.add(headOf(step.envelope), step.envelope.length);
}
