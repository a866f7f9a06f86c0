import { join } from "node:path";
import { systemRandom } from "../drivers/entropy.ts";
import { acquireLock } from "../drivers/state/lock.ts";
import { readPrivate, writePrivate } from "../drivers/state/private-files.ts";
import { openKeyRing } from "../drivers/store/key-ring.ts";
import { MAX_RING_BYTES } from "../drivers/store/limits.ts";
import { openLmdbStore } from "../drivers/store/lmdb.ts";
import { openSqliteStore } from "../drivers/store/sqlite.ts";
import { StarlingError } from "../errors.ts";
import type { Logger } from "../options.ts";
import { Restoration } from "../proto/replication/restoration.ts";
import type { RowChange } from "../proto/replication/rows.ts";
import type { StoreStatus } from "../status.ts";
import type { Damage, KeyRing, Store, TakeLock } from "../store.ts";

/** Where the values of an agent are kept. */
export type StoreKind = "sqlite" | "lmdb" | "memory";

const FOLDER = "store";
const KEYS_FILE = "store.keys";
/** The sizes in the status are asked for at most so often, ms: the answer crosses a thread. */
const SIZE_EVERY_MS = 1_000;

/** What {@link openStorage} needs. */
export interface StorageOptions {
  readonly kind: StoreKind;
  /** The state directory, whose lock is held. */
  readonly directory: string;
  /** The store's keys are sealed under it. Undefined: they lie in the state directory, readable by its owner. */
  readonly passphrase: string | undefined;
  /** Whether other members are known, from whom what is lost can be had again. */
  readonly hasReplicas: boolean;
  readonly log: Logger;
}

/**
 * Opens the store of an agent and reads back what an earlier run has stored. Throws what the stores throw, and `state-corrupt`
 * when values were lost and no other member is known: once, since the damaged files are then set aside.
 */
export async function openStorage(options: StorageOptions): Promise<Storage> {
  const { kind, directory, passphrase, hasReplicas, log } = options;
  if (kind === "memory") return new Storage(log);
  const keys = await openKeys(directory, passphrase);
  const store = await openSealed(kind, directory, keys, acquireLock);
  try {
    // A crash has cut a change of the key off: both are in the ring until all rows are under the newer.
    if (keys.keys.length > 1) await store.reseal();
    const restoration = new Restoration(systemRandom());
    for await (const rows of store.scan()) restoration.take(rows);
    for (const { detail, setAside } of store.damage) log.warn(detail, { setAside });
    if (restoration.damaged > 0) log.warn("rows of the store are of no use", { rows: restoration.damaged });
    if (store.damage.some(isLoss) && !hasReplicas) throw lossWithoutReplicas(store.damage);
    return new Storage(log, { store, keys }, restoration);
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** Opens the store in a state directory whose lock is held. */
export async function openStore(
  kind: Exclude<StoreKind, "memory">,
  directory: string,
  passphrase: string | undefined,
  lock: TakeLock,
): Promise<Store> {
  return openSealed(kind, directory, await openKeys(directory, passphrase), lock);
}

async function openKeys(directory: string, passphrase: string | undefined): Promise<KeyRing> {
  const keysFile = join(directory, KEYS_FILE);
  const file = {
    read: () => readPrivate(keysFile, MAX_RING_BYTES),
    write: (bytes: Uint8Array) => writePrivate(keysFile, bytes),
  };
  return openKeyRing(file, passphrase === undefined ? {} : { passphrase });
}

function openSealed(kind: "sqlite" | "lmdb", directory: string, keys: KeyRing, lock: TakeLock): Promise<Store> {
  const open = kind === "sqlite" ? openSqliteStore : openLmdbStore;
  return open(join(directory, FOLDER), { keys, lock });
}

/** Damage that may have cost values: rows that are known to be whole are none. */
function isLoss({ rows }: Damage): boolean {
  return rows !== 0;
}

function lossWithoutReplicas(damage: readonly Damage[]): StarlingError {
  const details = damage.map(({ detail, setAside }) => (setAside ? `${detail}; it is kept as ${setAside}` : detail));
  const message = `${details.join(". ")}. No other member is known that could have the rest; start again to go on without it`;
  return new StarlingError("state-corrupt", message);
}

/** The store of a running agent, and what it held at the start. */
export class Storage {
  readonly #store: Store | undefined;
  readonly #keys: KeyRing | undefined;
  readonly #log: Logger;
  readonly #useless: number;
  #restoration: Restoration | undefined;
  #size: { readonly rows: number; readonly fileBytes: number } | undefined;
  #askedAt = Number.NEGATIVE_INFINITY;

  #resealing: Promise<number> | undefined;

  constructor(log: Logger, sealed?: { readonly store: Store; readonly keys: KeyRing }, restoration?: Restoration) {
    this.#log = log;
    this.#store = sealed?.store;
    this.#keys = sealed?.keys;
    this.#restoration = restoration;
    this.#useless = restoration?.damaged ?? 0;
  }

  /** What the replica begins with; undefined for one in memory, and the second time. */
  takeRestoration(): Restoration | undefined {
    const restoration = this.#restoration;
    this.#restoration = undefined;
    return restoration;
  }

  /** Makes changes durable. Rejects with `store-unavailable`, after which nothing more is to be written. */
  async commit(rows: readonly RowChange[]): Promise<void> {
    await this.#store?.commit(rows);
  }

  /** For the status; sizes may be a second old, and are null before they have been asked for. */
  status(): Omit<StoreStatus, "awaySince" | "setAside"> {
    this.#measure();
    const damage = (this.#store?.damage ?? []).map(({ type, detail, rows, setAside }) => ({
      type,
      detail,
      rows: rows ?? null,
      setAside: setAside ?? null,
    }));
    return {
      kind: this.#store === undefined ? "memory" : (this.#store.kind as "sqlite" | "lmdb"),
      rows: this.#size?.rows ?? null,
      fileBytes: this.#size?.fileBytes ?? null,
      uselessRows: this.#useless,
      damage,
    };
  }

  #measure(): void {
    const now = performance.now();
    if (this.#store === undefined || now - this.#askedAt < SIZE_EVERY_MS) return;
    this.#askedAt = now;
    this.#store.size().then(
      (size) => {
        this.#size = size;
      },
      // A store that has failed has ended the agent, or is about to.
      () => undefined,
    );
  }

  /** Gives the space of overwritten and deleted rows back to the disk. */
  async compact(): Promise<void> {
    await this.#store?.compact();
  }

  /**
   * Makes a new key, seals every row with it while commits go on, and drops the old one; resolves with the number of rows. Who asks
   * meanwhile shares it. Cut off by a crash, it is ended at the next start. Rejects with `usage` for a store in memory.
   */
  rekey(): Promise<number> {
    this.#resealing ??= this.#reseal().finally(() => {
      this.#resealing = undefined;
    });
    return this.#resealing;
  }

  async #reseal(): Promise<number> {
    if (this.#store === undefined || this.#keys === undefined) {
      throw new StarlingError("usage", "this agent keeps its values in memory: there is no key at rest to change");
    }
    // One that was made and not yet carried through, for the disk was full, serves.
    if (this.#keys.keys.length === 1) await this.#keys.add();
    return this.#store.reseal();
  }

  /** Waits for what was committed. Never rejects: whoever waited for a commit that failed has been told. */
  async close(): Promise<void> {
    await this.#store
      ?.close()
      .catch((error: unknown) => this.#log.warn("the store was not closed", { error: String(error) }));
  }
}

/** Why an agent ends whose store has refused a commit. */
export function storeFailure(error: unknown): StarlingError {
  if (error instanceof StarlingError) return error;
  return new StarlingError("store-unavailable", "the store has failed; check its disk, then start again", {
    cause: error,
  });
}
