/**
 * A durable store, and what its makers must promise. Memory, SQLite, LMDB and IndexedDB implement it in
 * `drivers/store`; one contract suite runs them all.
 *
 * A store maps names to values. Names lie in spaces, small numbers that say what kind of thing a row is; rows come back
 * ordered by space. All that leaves memory is sealed: neither names nor values can be read in the files, only how many
 * rows each space has and how long they are.
 */

/** One change: a value in place of what the name had, or none any more. */
export interface Change {
  /** 0 to 250: the kind of row. */
  readonly space: number;
  /** 1 to 1,024 bytes of UTF-8. */
  readonly name: string;
  /** Up to 16 MiB, not to be changed before the commit is settled. Undefined: the row goes. */
  readonly value: Uint8Array | undefined;
}

/** A row as it is read back. */
export interface Row {
  readonly space: number;
  readonly name: string;
  readonly value: Uint8Array;
}

/** What was found wrong with the files, and what has been done about it. Nothing is ever deleted for being damaged. */
export interface Damage {
  /**
   * `rows`: rows were altered, swapped or cut. `file`: the file could not be read as a whole. `commits`: the newest
   * commits are gone, although they had been acknowledged. `lost`: rows are missing or older than they should be.
   */
  readonly type: "rows" | "file" | "commits" | "lost";
  /** One sentence for a log. */
  readonly detail: string;
  /** How many rows could not be saved, where that can be told. */
  readonly rows: number | undefined;
  /** The damaged files, renamed with a time stamp; undefined when they hold nothing that the store does not. */
  readonly setAside: string | undefined;
}

/** How large a store is. */
export interface StoreSize {
  readonly rows: number;
  /** Bytes of all sealed rows. */
  readonly bytes: number;
  /** Bytes on disk; equal to `bytes` where nobody can tell. */
  readonly fileBytes: number;
  /** Bytes of values committed and not yet durable. */
  readonly waitingBytes: number;
}

/**
 * An open store. Its promises reject with `store-unavailable` when the disk fails (after which every commit is refused, because
 * nobody can tell what is on the disk, until the store is opened anew; only a full disk is survived), `closed` after `close`.
 */
export interface Store extends AsyncDisposable {
  readonly kind: "memory" | "sqlite" | "lmdb" | "indexeddb";
  /** What was found damaged since the store was opened, in order. Whoever has replicas repairs from them; whoever has none stops. */
  readonly damage: readonly Damage[];
  /**
   * Applies all changes or none; resolves when they are durable. Commits become durable in the order of their calls, and those
   * that wait for the disk go together. Rejects with `limit-reached`, and changes nothing, when too much waits already.
   */
  commit(changes: readonly Change[]): Promise<void>;
  /** The value of one row as of the last durable commit; a copy. */
  read(space: number, name: string): Promise<Uint8Array | undefined>;
  /**
   * All rows, ordered by space, in portions of about 1 MiB. Commits made meanwhile may be seen or not. A scan that no commit
   * disturbs checks that no row is missing or stale; when a scan finds damage it sets the files aside, goes on with what can
   * be saved, and may give rows twice. Look at `damage` when it has ended.
   */
  scan(): AsyncIterable<readonly Row[]>;
  /** Gives the space of overwritten and deleted rows back to the disk. Commits wait meanwhile. */
  compact(): Promise<void>;
  /**
   * Seals every row with the newest key of the ring and then drops the older keys from it. Resolves with the number of rows that
   * were sealed anew. Stopped half way, by a crash or `signal`, it goes on where it was at the next call.
   */
  reseal(signal?: AbortSignal): Promise<number>;
  size(): Promise<StoreSize>;
  /** Waits for what was committed, then releases the files and their lock. Idempotent. */
  close(): Promise<void>;
}

/** The keys that a store is sealed with. */
export interface KeyRing {
  /** 32 bytes each, the newest first; never empty. */
  readonly keys: readonly Uint8Array[];
  /** Makes a new key and keeps it durably. Rows are sealed with it once a store uses the ring anew, or `reseal`s. */
  add(): Promise<void>;
  /** Drops every key but the newest, durably. */
  retire(): Promise<void>;
}

/** Where a key ring is kept: a file that only its owner may read, or whatever a platform has for secrets. */
export interface SecretFile {
  /** Undefined when there is none yet. */
  read(): Promise<Uint8Array | undefined>;
  /** Replaces it as a whole, durably. */
  write(bytes: Uint8Array): Promise<void>;
}

/** Takes the lock of `path` or throws `state-locked` with the process that holds it; such as `acquireLock` of the state directory. */
export type TakeLock = (path: string) => Promise<{ release(): Promise<void> }>;
