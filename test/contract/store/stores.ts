import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { acquireLock } from "../../../src/drivers/state/lock.ts";
import type { IdbFactory, WebLocks } from "../../../src/drivers/store/idb-types.ts";
import { openIndexedDbStore } from "../../../src/drivers/store/indexeddb.ts";
import { openKeyRing } from "../../../src/drivers/store/key-ring.ts";
import { openLmdbStore } from "../../../src/drivers/store/lmdb.ts";
import { openMemoryStore } from "../../../src/drivers/store/memory.ts";
import { openSqliteStore } from "../../../src/drivers/store/sqlite.ts";
import type { Change, KeyRing, Row, SecretFile, Store } from "../../../src/store.ts";

/** A place where a store lies, opened as often as wanted. */
export interface Place extends AsyncDisposable {
  readonly folder: string;
  open(keys?: KeyRing): Promise<Store>;
  readonly page: FakePage;
  /** The ring that `open` takes by default, opened anew from its file. */
  ring(): Promise<KeyRing>;
}

export type Kind = Store["kind"];
export type FileKind = "sqlite" | "lmdb";

/** A key ring's file, in memory. */
export function secretFile(): SecretFile & { bytes: Uint8Array | undefined } {
  return {
    bytes: undefined,
    async read() {
      return this.bytes;
    },
    async write(bytes) {
      this.bytes = bytes;
    },
  };
}

const openers = { sqlite: openSqliteStore, lmdb: openLmdbStore };

/** A store of `kind` in `folder` with the lock that agents use. */
export function openIn(kind: FileKind, folder: string, keys: KeyRing): Promise<Store> {
  return openers[kind](folder, { keys, lock: acquireLock });
}

/** Types of the package and ours describe one thing in different words. */
interface FakePage {
  readonly indexedDb: IdbFactory;
  readonly keyRanges: NonNullable<Parameters<typeof openIndexedDbStore>[1]["keyRanges"]>;
}

/** A page of its own, with its own databases. */
export function fakePage(): FakePage {
  return {
    indexedDb: new IDBFactory() as unknown as IdbFactory,
    keyRanges: IDBKeyRange as unknown as FakePage["keyRanges"],
  };
}

/** @param fixed keys in place of random ones: addresses, and with them the layout of the files, are the same in every run. */
export async function makePlace(kind: Kind, fixed?: KeyRing): Promise<Place> {
  const folder = await mkdtemp(join(tmpdir(), "starling-store-"));
  const file = secretFile();
  const page = fakePage();
  const ring = async (): Promise<KeyRing> => fixed ?? openKeyRing(file);
  const locks = navigator.locks as unknown as WebLocks;
  return {
    folder,
    page,
    ring,
    async open(keys) {
      const used = keys ?? (await ring());
      if (kind === "memory") return openMemoryStore();
      if (kind === "indexeddb") return openIndexedDbStore(folder, { keys: used, locks, ...page });
      return openIn(kind, folder, used);
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

/** A value that depends on its number, so that two are not mistaken for each other. */
export function valueFor(index: number, length = 40): Uint8Array {
  const value = new Uint8Array(length);
  for (let at = 0; at < length; at++) value[at] = (index * 31 + at * 7) & 0xff;
  return value;
}

export function put(name: string, value: Uint8Array, space = 1): Change {
  return { space, name, value };
}

export function remove(name: string, space = 1): Change {
  return { space, name, value: undefined };
}

/** All rows of a scan, in the order in which they came. */
export async function allRows(store: Store): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const portion of store.scan()) rows.push(...portion);
  return rows;
}

/** Names and values, by space and name. */
export async function content(store: Store): Promise<Record<string, string>> {
  const rows = (await allRows(store)).map(
    ({ space, name, value }) => [`${space}/${name}`, Buffer.from(value).toString("hex")] as const,
  );
  return Object.fromEntries(rows.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Alters one bit of each of the first rows of a store in IndexedDB. */
export async function damageIndexedDb(place: Place, rows: number): Promise<void> {
  const request = place.page.indexedDb.open(place.folder);
  await new Promise((resolve) => {
    request.onsuccess = resolve;
  });
  const database = request.result;
  const store = database.transaction(["rows"], "readwrite").objectStore("rows");
  const keys = store.getAllKeys(undefined, rows);
  const values = store.getAll(undefined, rows);
  await new Promise((resolve) => {
    values.onsuccess = resolve;
  });
  let last = values;
  for (const [index, value] of (values.result as Uint8Array[]).entries()) {
    value[40] = (value[40] ?? 0) ^ 1;
    last = store.put(value, new Uint8Array(keys.result[index] as ArrayBuffer)) as typeof last;
  }
  await new Promise((resolve) => {
    last.onsuccess = resolve;
  });
  database.close();
}
