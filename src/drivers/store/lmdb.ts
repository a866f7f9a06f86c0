import type { Store } from "../../store.ts";
import type { FileStoreOptions } from "./files.ts";
import { openFileStore } from "./files.ts";

/**
 * Opens or creates a store in LMDB in `folder`: faster for large numbers of rows; needs the package `lmdb`, which is not installed with
 * Starling. Commits are synced to the disk by a thread of their own. Throws `state-locked`, `store-unavailable` (also without the package),
 * `version-mismatch`.
 */
export function openLmdbStore(folder: string, options: FileStoreOptions): Promise<Store> {
  return openFileStore("lmdb", folder, options);
}
