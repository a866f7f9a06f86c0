import type { SealedRow } from "./backend.ts";

/**
 * One database file, used synchronously by the one thread that has it open. Everything throws `DamagedFile` where the file
 * makes no sense, `DiskFull` where nothing was written for want of room, and other errors where the disk or the lock fails.
 */
export interface RowTable {
  /** Runs `work` in one transaction; durable when it returns, undone when it throws. */
  transaction(work: () => void): void;
  /** The beginning of a row's envelope and the length of all of it; undefined where there is no row. */
  peek(address: Uint8Array): { readonly head: Uint8Array; readonly bytes: number } | undefined;
  put(address: Uint8Array, envelope: Uint8Array): void;
  delete(address: Uint8Array): void;
  read(address: Uint8Array): Uint8Array | undefined;
  /** Rows in the order of their addresses behind `after`, about a portion. */
  page(after: Uint8Array | undefined): readonly SealedRow[];
  record(name: RecordName): Uint8Array | undefined;
  /** Inside a transaction. */
  setRecord(name: RecordName, bytes: Uint8Array): void;
  /** Gives unused space back; durable when it returns. Where it is missing the rows are copied to a fresh file instead. */
  compact?(): void;
  close(): void;
}

/** The records beside the rows. */
export type RecordName = "format" | "mark";

/** How files of one kind are opened. */
export interface TableKind {
  readonly name: "sqlite" | "lmdb";
  /** The database file in its folder. */
  readonly file: string;
  /** What is appended to the name of the file for those that belong to it. */
  readonly companions: readonly string[];
  /** Opens or creates it. */
  open(path: string): RowTable;
  /** Every row that can be read from a damaged file, some perhaps twice; never throws for damage. The file must not be open. */
  salvage(path: string): Iterable<SealedRow>;
}
