/**
 * A store in the browser's IndexedDB.
 *
 * One database with the rows, the records and what was set aside; each commit is one transaction with strict durability. The tally is kept
 * in the page, since one page alone has the store: a Web Lock sees to it, and where there are none the database's own version change
 * takes it from the older page. A browser may throw a whole database away when it needs room; `navigator.storage.persist()` asks it not to,
 * and is for the page to call. There is nothing to compact: browsers do that themselves.
 */
import { StarlingError } from "../../errors.ts";
import { equalBytes } from "../../proto/bytes.ts";
import type { KeyRing, Store } from "../../store.ts";
import { type Backend, DamagedFile, DiskFull, type Found, type Group, type Rescue, type SealedRow } from "./backend.ts";
import { portableRowCipher } from "./cipher-portable.ts";
import { ADDRESS_BYTES } from "./envelope.ts";
import type {
  IdbDatabase,
  IdbFactory,
  IdbKeyRanges,
  IdbObjectStore,
  IdbRequest,
  IdbTransaction,
  WebLocks,
} from "./idb-types.ts";
import { openSealedStore } from "./sealed-store.ts";
import { headOf, type MarkKey, Tally } from "./tally.ts";

const ROWS = "rows";
const RECORDS = "records";
const DAMAGED = "damaged";
/** The layout of object stores; the format of what is in them has a record. */
const LAYOUT = 1;
/** Rows fetched at a time: their lengths are not known before. */
const PAGE_ROWS = 256;

/** What a store in a browser needs. */
export interface IndexedDbStoreOptions {
  readonly keys: KeyRing;
  /** Default: the page's own. */
  readonly indexedDb?: IdbFactory;
  readonly keyRanges?: IdbKeyRanges;
  /** Default: the page's own; undefined where it has none. */
  readonly locks?: WebLocks | undefined;
}

interface Page {
  readonly indexedDB?: IdbFactory;
  readonly IDBKeyRange?: IdbKeyRanges;
  readonly navigator?: { readonly locks?: WebLocks };
}

/**
 * Opens or creates the store `name` in IndexedDB. Throws `state-locked` when another page has it open, `store-unavailable` where there
 * is no IndexedDB or it refuses, `version-mismatch`.
 */
export async function openIndexedDbStore(name: string, options: IndexedDbStoreOptions): Promise<Store> {
  const page: Page = globalThis;
  const { keys, indexedDb = page.indexedDB, keyRanges = page.IDBKeyRange } = options;
  const locks = "locks" in options ? options.locks : page.navigator?.locks;
  const place = `the IndexedDB database ${name}`;
  if (indexedDb === undefined || keyRanges === undefined) {
    throw new StarlingError("store-unavailable", "there is no IndexedDB here; choose the store `memory`");
  }
  const release = await lock(name, place, locks);
  try {
    const database = await open(indexedDb, name, place);
    try {
      const backend = await IndexedDbBackend.open(database, keyRanges);
      return await openSealedStore({
        kind: "indexeddb",
        backend,
        ring: keys,
        cipher: portableRowCipher(),
        place,
        release,
      });
    } catch (error) {
      database.close();
      throw error;
    }
  } catch (cause) {
    await release();
    if (cause instanceof StarlingError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new StarlingError(
      "store-unavailable",
      `${place} cannot be opened (${reason}); allow this page to store data`,
      { cause },
    );
  }
}

/** Takes the lock; held until the function that it gives is called. */
async function lock(name: string, place: string, locks: WebLocks | undefined): Promise<() => Promise<void>> {
  if (locks === undefined) return async () => undefined;
  const taken = Promise.withResolvers<boolean>();
  const done = Promise.withResolvers<void>();
  const ended = locks.request(`starling/store/${name}`, { ifAvailable: true, mode: "exclusive" }, async (granted) => {
    taken.resolve(granted !== null);
    if (granted !== null) await done.promise;
  });
  ended.catch((error: unknown) => taken.reject(error));
  if (!(await taken.promise)) {
    throw new StarlingError("state-locked", `another page or worker uses ${place}; close it, or use another name`);
  }
  return async () => {
    done.resolve();
    await ended;
  };
}

async function open(factory: IdbFactory, name: string, place: string): Promise<IdbDatabase> {
  const request = factory.open(name, LAYOUT);
  const opened = settled(request);
  request.onupgradeneeded = () => {
    for (const store of [ROWS, RECORDS, DAMAGED]) {
      if (!request.result.objectStoreNames.contains(store)) request.result.createObjectStore(store);
    }
  };
  try {
    return await opened;
  } catch (cause) {
    if (!(cause instanceof Error) || cause.name !== "VersionError") throw cause;
    throw new StarlingError(
      "version-mismatch",
      `${place} was written by a newer Starling; update it, or use another name`,
    );
  }
}

class IndexedDbBackend implements Backend {
  readonly found: Found;
  readonly #database: IdbDatabase;
  readonly #ranges: IdbKeyRanges;
  #tally: Tally;
  /** The browser or another page has taken the database away. */
  #isLost = false;

  private constructor(database: IdbDatabase, ranges: IdbKeyRanges, found: Found) {
    this.#database = database;
    this.#ranges = ranges;
    this.found = found;
    this.#tally = (found.mark && Tally.decode(found.mark)) ?? new Tally();
    database.onclose = () => {
      this.#isLost = true;
    };
    database.onversionchange = () => {
      this.#isLost = true;
      database.close();
    };
  }

  static async open(database: IdbDatabase, ranges: IdbKeyRanges): Promise<IndexedDbBackend> {
    const records = database.transaction([RECORDS], "readonly").objectStore(RECORDS);
    const [format, mark] = await Promise.all([settled(records.get("format")), settled(records.get("mark"))]);
    return new IndexedDbBackend(database, ranges, {
      format: bytesOf(format),
      mark: bytesOf(mark),
      // A transaction of IndexedDB leaves no mark beside itself.
      acknowledged: undefined,
    });
  }

  async write({ steps, mark }: Group): Promise<void> {
    const tally = this.#tally.copy();
    tally.commits++;
    await this.#transaction([ROWS, RECORDS], "readwrite", async (transaction) => {
      const rows = transaction.objectStore(ROWS);
      const count = async (address: Uint8Array): Promise<Uint8Array | undefined> => {
        const previous = bytesOf(await settled(rows.get(address)));
        if (previous !== undefined) tally.remove(headOf(previous), previous.length);
        return previous;
      };
      for (const step of steps) {
        if (step.type === "move") {
          const from = bytesOf(await settled(rows.get(step.from)));
          if (from === undefined || !equalBytes(headOf(from), step.head)) continue;
          tally.remove(headOf(from), from.length);
          rows.delete(step.from);
        }
        await count(step.address);
        if (step.type === "delete") rows.delete(step.address);
        else {
          rows.put(step.envelope, step.address);
          tally.add(headOf(step.envelope), step.envelope.length);
        }
      }
      transaction.objectStore(RECORDS).put(tally.encode(mark), "mark");
    });
    this.#tally = tally;
  }

  async writeFormat(format: Uint8Array): Promise<void> {
    await this.#transaction([RECORDS], "readwrite", async (transaction) => {
      transaction.objectStore(RECORDS).put(format, "format");
    });
  }

  page(after: Uint8Array | undefined): Promise<readonly SealedRow[]> {
    return this.#transaction([ROWS], "readonly", (transaction) => this.#rows(transaction.objectStore(ROWS), after));
  }

  async #rows(store: IdbObjectStore, after: Uint8Array | undefined): Promise<readonly SealedRow[]> {
    const range = after && this.#ranges.lowerBound(after, true);
    const [keys, values] = await Promise.all([
      settled(store.getAllKeys(range, PAGE_ROWS)),
      settled(store.getAll(range, PAGE_ROWS)),
    ]);
    return keys.map((key, index) => {
      const address = addressOf(key);
      const envelope = bytesOf(values[index]);
      if (address === undefined || envelope === undefined) throw new DamagedFile("a row is not a byte string");
      return { address, envelope };
    });
  }

  async read(address: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#transaction([ROWS], "readonly", async (transaction) => {
      return bytesOf(await settled(transaction.objectStore(ROWS).get(address)));
    });
  }

  async tally(): Promise<Tally> {
    return this.#tally;
  }

  async fileBytes(): Promise<undefined> {
    return undefined;
  }

  async compact(): Promise<void> {
    // Browsers do it.
  }

  /** Here only rows can be damaged: they are moved to a store of their own, in one transaction. */
  async rescue(without: readonly Uint8Array[], mark: MarkKey): Promise<Rescue> {
    const name = new Date().toISOString();
    const tally = new Tally();
    tally.commits = this.#tally.commits + 1;
    await this.#transaction([ROWS, RECORDS, DAMAGED], "readwrite", async (transaction) => {
      const rows = transaction.objectStore(ROWS);
      const setAside: unknown[] = [];
      for (let after: Uint8Array | undefined; ; ) {
        const page = await this.#rows(rows, after);
        after = page.at(-1)?.address;
        if (after === undefined) break;
        for (const { address, envelope } of page) {
          if (!without.some((other) => equalBytes(other, address))) tally.add(headOf(envelope), envelope.length);
          else {
            setAside.push({ address, envelope });
            rows.delete(address);
          }
        }
      }
      if (setAside.length > 0) transaction.objectStore(DAMAGED).put(setAside, name);
      transaction.objectStore(RECORDS).put(tally.encode(mark), "mark");
    });
    this.#tally = tally;
    return { setAside: `${DAMAGED}/${name}`, tally };
  }

  async close(): Promise<void> {
    this.#database.close();
  }

  /** Runs `work` in one transaction; all of it happens or nothing. */
  async #transaction<T>(
    stores: string[],
    mode: "readonly" | "readwrite",
    work: (transaction: IdbTransaction) => Promise<T>,
  ): Promise<T> {
    if (this.#isLost) throw new Error("the browser, or a newer page, has closed the database");
    const options = mode === "readwrite" ? { durability: "strict" as const } : undefined;
    const transaction = this.#database.transaction(stores, mode, options);
    const done = Promise.withResolvers<void>();
    transaction.oncomplete = () => done.resolve();
    transaction.onabort = () => done.reject(transaction.error ?? new Error("the transaction was aborted"));
    // Of two failures the one of `work` is told.
    done.promise.catch(() => undefined);
    try {
      const result = await work(transaction);
      await done.promise;
      return result;
    } catch (error) {
      abort(transaction);
      if (error instanceof Error && error.name === "QuotaExceededError")
        throw new DiskFull(error.message, { cause: error });
      throw error;
    }
  }
}

function abort(transaction: IdbTransaction): void {
  try {
    transaction.abort();
  } catch {
    // It has ended by itself.
  }
}

function settled<T>(request: IdbRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("a request of IndexedDB failed"));
  });
}

function bytesOf(value: unknown): Uint8Array | undefined {
  return value instanceof Uint8Array ? value : undefined;
}

// Keys come back as buffers.
function addressOf(key: unknown): Uint8Array | undefined {
  if (!(key instanceof ArrayBuffer)) return undefined;
  const address = new Uint8Array(key);
  return address.length === ADDRESS_BYTES ? address : undefined;
}
