import { StarlingError } from "../../errors.ts";
import type { Change, Row, Store, StoreSize } from "../../store.ts";
import { checkChanges } from "./changes.ts";
import { PAGE_ROWS } from "./limits.ts";

/**
 * Makes a store that forgets everything when it is closed: for agents that want no disk, and for tests. Nothing is sealed, since nothing
 * leaves memory; "durable" means that the commit has happened.
 */
export function openMemoryStore(): Store {
  return new MemoryStore();
}

class MemoryStore implements Store {
  readonly kind = "memory";
  readonly damage = [];
  /** By space and name. */
  readonly #spaces = new Map<number, Map<string, Uint8Array>>();
  #isClosed = false;

  async commit(changes: readonly Change[]): Promise<void> {
    this.#refuseClosed();
    checkChanges(changes);
    for (const { space, name, value } of changes) {
      const rows = this.#spaces.get(space) ?? new Map<string, Uint8Array>();
      this.#spaces.set(space, rows);
      if (value === undefined) rows.delete(name);
      else rows.set(name, value.slice());
    }
  }

  async read(space: number, name: string): Promise<Uint8Array | undefined> {
    this.#refuseClosed();
    return this.#spaces.get(space)?.get(name)?.slice();
  }

  async *scan(): AsyncGenerator<readonly Row[], void, undefined> {
    this.#refuseClosed();
    for (const space of [...this.#spaces.keys()].sort((a, b) => a - b)) {
      const all = [...(this.#spaces.get(space) ?? [])];
      for (let start = 0; start < all.length; start += PAGE_ROWS) {
        this.#refuseClosed();
        yield all.slice(start, start + PAGE_ROWS).map(([name, value]) => ({ space, name, value: value.slice() }));
      }
    }
  }

  async compact(): Promise<void> {
    this.#refuseClosed();
  }

  async reseal(): Promise<number> {
    this.#refuseClosed();
    return 0;
  }

  async size(): Promise<StoreSize> {
    this.#refuseClosed();
    let rows = 0;
    let bytes = 0;
    for (const space of this.#spaces.values()) {
      rows += space.size;
      for (const [name, value] of space) bytes += name.length + value.length;
    }
    return { rows, bytes, fileBytes: bytes, waitingBytes: 0 };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#spaces.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #refuseClosed(): void {
    if (this.#isClosed) throw new StarlingError("closed", "the store is closed");
  }
}
