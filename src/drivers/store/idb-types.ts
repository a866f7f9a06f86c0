/** The part of IndexedDB that the store uses, so that neither a browser's types nor a browser are needed to compile it. */

export interface IdbRequest<T> {
  readonly result: T;
  readonly error: Error | null;
  onsuccess: ((event: never) => unknown) | null;
  onerror: ((event: never) => unknown) | null;
}

export interface IdbOpenRequest extends IdbRequest<IdbDatabase> {
  onupgradeneeded: ((event: never) => unknown) | null;
  onblocked: ((event: never) => unknown) | null;
}

export interface IdbFactory {
  open(name: string, version?: number): IdbOpenRequest;
}

export interface IdbDatabase {
  readonly objectStoreNames: { contains(name: string): boolean };
  createObjectStore(name: string): unknown;
  transaction(stores: string[], mode: "readonly" | "readwrite", options?: { durability: "strict" }): IdbTransaction;
  close(): void;
  onversionchange: ((event: never) => unknown) | null;
  onclose: ((event: never) => unknown) | null;
}

export interface IdbTransaction {
  objectStore(name: string): IdbObjectStore;
  commit?(): void;
  abort(): void;
  readonly error: Error | null;
  oncomplete: ((event: never) => unknown) | null;
  onabort: ((event: never) => unknown) | null;
}

export interface IdbObjectStore {
  get(key: Uint8Array | string): IdbRequest<unknown>;
  getAll(range: IdbKeyRange | undefined, count: number): IdbRequest<unknown[]>;
  getAllKeys(range: IdbKeyRange | undefined, count: number): IdbRequest<unknown[]>;
  put(value: unknown, key: Uint8Array | string): IdbRequest<unknown>;
  delete(key: Uint8Array): IdbRequest<unknown>;
  clear(): IdbRequest<unknown>;
}

/** A range of keys, made by {@link IdbKeyRanges}. */
export type IdbKeyRange = object;

export interface IdbKeyRanges {
  lowerBound(lower: Uint8Array, open: boolean): IdbKeyRange;
}

/** Web Locks. */
export interface WebLocks {
  request(
    name: string,
    options: { ifAvailable: true; mode: "exclusive" },
    held: (lock: object | null) => Promise<void>,
  ): Promise<unknown>;
}
