import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Change, Store } from "../../../src/store.ts";
import { put, remove } from "./stores.ts";

/** What overwriting and deleting has left. */
export interface Churn {
  readonly rows: number;
  /** Bytes of what is live. */
  readonly liveBytes: number;
  /** Bytes of all files of the store, before and after compaction. */
  readonly diskBytesBefore: number;
  readonly diskBytesAfter: number;
}

const CHANGES_PER_COMMIT = 1_000;

/** Overwrites and deletes `count` rows of a store in `folder` over a tenth as many names, a third of it deletions, and compacts. */
export async function churn(store: Store, folder: string, count: number): Promise<Churn> {
  const names = Math.max(10, Math.floor(count / 10));
  for (let start = 0; start < count; start += CHANGES_PER_COMMIT) {
    const changes = Array.from({ length: CHANGES_PER_COMMIT }, (_, offset): Change => {
      const index = start + offset;
      const name = `key ${(Math.imul(index, 0x9e3779b1) >>> 0) % names}`;
      return index % 3 === 2 ? remove(name) : put(name, new Uint8Array(100 + (index % 400)).fill(index));
    });
    await store.commit(changes);
  }
  const diskBytesBefore = await bytesIn(folder);
  await store.compact();
  const diskBytesAfter = await bytesIn(folder);
  const { rows, bytes: liveBytes } = await store.size();
  return { rows, liveBytes, diskBytesBefore, diskBytesAfter };
}

async function bytesIn(folder: string): Promise<number> {
  let sum = 0;
  for (const item of await readdir(folder, { recursive: true, withFileTypes: true }))
    if (item.isFile()) sum += (await stat(join(item.parentPath, item.name))).size;
  return sum;
}
