import type { MarkKey, Tally } from "./tally.ts";

/**
 * What lies below a sealed store: rows of bytes under addresses of 16 bytes, and transactions over them. A backend knows no
 * key and cannot tell a genuine row from a forged one; it must keep transactions whole, and say when its files do not read.
 *
 * Two metadata records stand beside the rows: the format, which is all that every version of Starling reads, and the mark
 * (see `tally.ts`), which each transaction rewrites.
 */

/** One row as stored. */
export interface SealedRow {
  readonly address: Uint8Array;
  readonly envelope: Uint8Array;
}

/** One step of a transaction. `move` happens only if the row at `from` still has the envelope that begins with `head`. */
export type Step =
  | { readonly type: "put"; readonly address: Uint8Array; readonly envelope: Uint8Array }
  | { readonly type: "delete"; readonly address: Uint8Array }
  | {
      readonly type: "move";
      readonly from: Uint8Array;
      readonly head: Uint8Array;
      readonly address: Uint8Array;
      readonly envelope: Uint8Array;
    };

/** What one transaction does, and the key for the mark that it leaves. */
export interface Group {
  readonly steps: readonly Step[];
  readonly mark: MarkKey;
}

/** What a backend finds when it opens. */
export interface Found {
  /** Undefined in a store that was never written. */
  readonly format: Uint8Array | undefined;
  readonly mark: Uint8Array | undefined;
  /** The number of the last commit that was acknowledged, as noted beside the store; undefined when nothing is noted. */
  readonly acknowledged: number | undefined;
}

/** What came of setting damaged files aside. */
export interface Rescue {
  /** The name that the damaged files have now. */
  readonly setAside: string;
  /** The rows in the fresh file. */
  readonly tally: Tally;
}

/** Rows on some medium. Calls come one at a time, but `write`s may be queued; all reject with a {@link DamagedFile} when the file does not read. */
export interface Backend {
  readonly found: Found;
  /** One transaction; resolves when durable. */
  write(group: Group): Promise<void>;
  /** Writes the format record, durably. */
  writeFormat(format: Uint8Array): Promise<void>;
  /** Rows in the order of their addresses behind `after`, about `PAGE_BYTES` of them; none at the end. */
  page(after: Uint8Array | undefined): Promise<readonly SealedRow[]>;
  read(address: Uint8Array): Promise<Uint8Array | undefined>;
  /** The numbers of what is there, as the transactions have counted. */
  tally(): Promise<Tally>;
  fileBytes(): Promise<number | undefined>;
  compact(): Promise<void>;
  /** Sets the files aside and copies what reads, but for `without`, to fresh ones under a new mark. */
  rescue(without: readonly Uint8Array[], mark: MarkKey): Promise<Rescue>;
  close(): Promise<void>;
}

/** The file is not what it should be: rows cannot be read, or the structure makes no sense. */
export class DamagedFile extends Error {
  override readonly name = "DamagedFile";
}

/** Nothing was written, and the store works on: the disk is full. */
export class DiskFull extends Error {
  override readonly name = "DiskFull";
}
