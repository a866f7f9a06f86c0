import { readdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { KeyRing, Store } from "../../../src/store.ts";
import { allRows, type FileKind, makePlace, type Place, put, valueFor } from "./stores.ts";

/** What is done to the files of stores, and what must come of it. */

export const FILES: Readonly<Record<FileKind, string>> = { sqlite: "rows.sqlite", lmdb: "rows.lmdb" };

/** Rows of a store that is to be damaged: small, of a page, and of many pages. */
export const ROWS = 400;

function lengthOf(index: number): number {
  return index % 50 === 0 ? 30_000 : index % 9 === 0 ? 3_900 : 120;
}

/** Writes the rows, in several commits, with overwritten and deleted ones between. */
export async function fill(store: Store): Promise<void> {
  for (let start = 0; start < ROWS; start += 100) {
    const indices = Array.from({ length: 100 }, (_, offset) => start + offset);
    await store.commit(indices.map((index) => put(`row ${index}`, valueFor(index + 1, 500))));
    await store.commit(indices.map((index) => put(`row ${index}`, valueFor(index, lengthOf(index)))));
    await store.commit(indices.map((index) => put(`gone ${index}`, valueFor(index))));
    await store.commit(indices.map((index) => ({ space: 1, name: `gone ${index}`, value: undefined })));
  }
}

/** The same key in every run. */
const FIXED: KeyRing = { keys: [new Uint8Array(32).fill(7)], add: async () => {}, retire: async () => {} };

/** A store that was filled and closed. Its files are laid out alike in every run, though their bytes differ. */
export async function filled(kind: FileKind): Promise<Place> {
  const place = await makePlace(kind, FIXED);
  await using store = await place.open();
  await fill(store);
  return place;
}

/** What a damaged store had to say. */
export interface Outcome {
  readonly rows: number;
  /** Types of damage, in order; or the code of the error with which it did not open. */
  readonly reported: readonly string[];
}

/**
 * Opens a store that may be damaged. Throws when it gives anything but what was written: a wrong value, a row that was overwritten or
 * deleted, or fewer rows than there were without a word; or when, afterwards, it does not work like any other.
 */
export async function examine(place: Place): Promise<Outcome> {
  let rows = 0;
  let reported: string[];
  {
    await using store = await place.open();
    const found = new Map((await allRows(store)).map(({ name, value }) => [name, value]));
    for (const [name, value] of found) {
      const index = Number(/^row (\d+)$/.exec(name)?.[1]);
      const isRight = Buffer.from(value).equals(valueFor(index, lengthOf(index)));
      if (!isRight && store.damage.length === 0) throw new Error(`${name} is silently wrong`);
    }
    rows = found.size;
    reported = store.damage.map(({ type }) => type);
    for (const { setAside } of store.damage) if (setAside !== undefined) await stat(setAside);
    if (rows !== ROWS && reported.length === 0) throw new Error(`${ROWS - rows} rows are gone without a word`);
    await store.commit([put("after", valueFor(1))]);
    if ((await allRows(store)).length !== rows + 1) throw new Error("a repaired store does not keep its rows");
  }
  await using store = await place.open();
  if ((await allRows(store)).length !== rows + 1 || store.damage.length > 0) throw new Error("the repair did not last");
  return { rows, reported };
}

/** Changes one bit of a file. */
export async function flip(path: string, byte: number, bit: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[byte] = (bytes[byte] ?? 0) ^ (1 << bit);
  await writeFile(path, bytes);
}

export async function cut(path: string, bytes: number): Promise<void> {
  await truncate(path, bytes);
}

export async function sizeOf(path: string): Promise<number> {
  return (await stat(path)).size;
}

/** Every file below a folder, with its bytes. */
export async function bytesBelow(folder: string): Promise<ReadonlyMap<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) files.set(path, await readFile(path));
  }
  return files;
}
