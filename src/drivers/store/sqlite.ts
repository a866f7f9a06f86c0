import type { Store } from "../../store.ts";
import type { FileStoreOptions } from "./files.ts";
import { openFileStore } from "./files.ts";

/**
 * Opens or creates a store in SQLite (node:sqlite) in `folder`: the default, in one file, without any package. Commits are synced to the
 * disk by a thread of their own. Throws `state-locked`, `store-unavailable`, `version-mismatch`.
 */
export function openSqliteStore(folder: string, options: FileStoreOptions): Promise<Store> {
  return openFileStore("sqlite", folder, options);
}
