/** Stores in a folder of the file system: what SQLite and LMDB have in common. */
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { StarlingError } from "../../errors.ts";
import type { KeyRing, Store, TakeLock } from "../../store.ts";
import { nodeRowCipher } from "./cipher-node.ts";
import { openSealedStore } from "./sealed-store.ts";
import { openWorkerBackend } from "./worker-backend.ts";

/** What a store in a folder needs. */
export interface FileStoreOptions {
  readonly keys: KeyRing;
  /** Keeps a second process out. */
  readonly lock: TakeLock;
}

/** The database file of each kind: one folder has one kind. */
const FILES = { sqlite: "rows.sqlite", lmdb: "rows.lmdb" } as const;

/** Opens a store; see its openers. */
export async function openFileStore(
  kind: "sqlite" | "lmdb",
  folder: string,
  { keys, lock: takeLock }: FileStoreOptions,
): Promise<Store> {
  await outside(folder, () => mkdir(folder, { recursive: true, mode: 0o700 }));
  const lock = await takeLock(join(folder, "lock"));
  try {
    const other = kind === "sqlite" ? "lmdb" : "sqlite";
    // An empty store in place of the one that was meant would look like the loss of everything.
    if (existsSync(join(folder, FILES[other])) && !existsSync(join(folder, FILES[kind]))) {
      const message = `${folder} holds a store of the kind ${other}, not ${kind}; choose ${other}, or another folder`;
      throw new StarlingError("store-unavailable", message);
    }
    const backend = await outside(folder, () => openWorkerBackend(kind, folder));
    try {
      const parts = {
        kind,
        backend,
        ring: keys,
        cipher: nodeRowCipher(),
        place: folder,
        release: () => lock.release(),
      };
      return await outside(folder, () => openSealedStore(parts));
    } catch (error) {
      await backend.close().catch(() => undefined);
      throw error;
    }
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function outside<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof StarlingError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    const message = `the store in ${folder} cannot be opened (${reason}); check the folder and its disk`;
    throw new StarlingError("store-unavailable", message, { cause });
  }
}
