import { StarlingError } from "../../errors.ts";
import { utf8 } from "../../proto/bytes.ts";
import type { Change, Damage, KeyRing, Row, Store, StoreSize } from "../../store.ts";
import { type Backend, DamagedFile, DiskFull, type SealedRow, type Step } from "./backend.ts";
import { bytesOf, checkChanges } from "./changes.ts";
import { checkOpened } from "./check.ts";
import { Committer, type Pending } from "./committer.ts";
import { HEAD_BYTES, keyIdOf, type RowCipher } from "./envelope.ts";
import { RowKeys } from "./keys.ts";
import { SLICE_MS } from "./limits.ts";
import { headOf, Tally } from "./tally.ts";
import { turn } from "./turn.ts";

/** What a sealed store is made of. */
export interface Parts {
  readonly kind: Store["kind"];
  readonly backend: Backend;
  readonly ring: KeyRing;
  readonly cipher: RowCipher;
  /** Where it lies, for messages. */
  readonly place: string;
  /** Releases what the opener holds, the lock above all. */
  readonly release: () => Promise<void>;
}

/** Makes a store of a backend that was just opened. Throws `version-mismatch`, or `store-unavailable` for keys that do not fit. */
export async function openSealedStore(parts: Parts): Promise<Store> {
  const keys = new RowKeys(parts.ring, parts.cipher);
  return new SealedStore(parts, keys, await checkOpened(parts.backend, keys, parts.place));
}

/** The {@link Store} over rows of bytes: seals what goes in, checks what comes out. */
class SealedStore implements Store {
  readonly kind: Store["kind"];
  readonly #parts: Parts;
  readonly #backend: Backend;
  readonly #committer: Committer;
  readonly #damage: Damage[];
  #keys: RowKeys;
  /** Transactions handed to the backend: tells a scan whether it was disturbed. */
  #writes = 0;
  /** Why nothing is written any more. */
  #failure: StarlingError | undefined;
  #closing: Promise<void> | undefined;

  constructor(parts: Parts, keys: RowKeys, damage: readonly Damage[]) {
    this.kind = parts.kind;
    this.#parts = parts;
    this.#backend = parts.backend;
    this.#keys = keys;
    this.#damage = [...damage];
    this.#committer = new Committer((steps) => this.#write(steps));
  }

  get damage(): readonly Damage[] {
    return this.#damage;
  }

  async commit(changes: readonly Change[]): Promise<void> {
    this.#refuseClosed();
    checkChanges(changes);
    await this.#committer.commit(changes.map((change) => this.#pending(change)));
  }

  #pending(change: Change): Pending {
    const { space, name, value } = change;
    return {
      row: `${space}/${name}`,
      bytes: bytesOf(change),
      seal: () => this.#keys.change(space, name, value),
    };
  }

  async #write(steps: readonly Step[]): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    this.#writes++;
    try {
      await this.#backend.write({ steps, mark: this.#keys.newest });
    } catch (error) {
      if (error instanceof DiskFull) {
        throw new StarlingError("store-unavailable", `the disk of ${this.#parts.place} is full; make room`, {
          cause: error,
        });
      }
      // Whether a transaction whose sync has failed is on the disk, nobody can tell; going on would hide it.
      this.#failure = this.#unavailable(error);
      throw this.#failure;
    }
  }

  async read(space: number, name: string): Promise<Uint8Array | undefined> {
    this.#refuseClosed();
    for (const address of this.#keys.addresses(space, name)) {
      const envelope = await this.#outside(() => this.#backend.read(address));
      if (envelope === undefined) continue;
      const content = await this.#keys.open({ address, envelope });
      if (content?.name !== name) throw this.#corrupt("a row is damaged");
      return content.value.slice();
    }
    return undefined;
  }

  async *scan(): AsyncGenerator<readonly Row[], void, undefined> {
    this.#refuseClosed();
    const writes = this.#writes;
    let expected: Tally | undefined;
    try {
      try {
        expected = await this.#backend.tally();
        const counted = new Tally();
        const bad = yield* this.#pass(counted);
        if (bad.length === 0 && (writes !== this.#writes || counted.hasSameRows(expected))) return;
        await this.#rescue(bad.length > 0 ? "rows" : "lost", bad, "rows do not check, or are missing", expected);
      } catch (error) {
        if (!(error instanceof DamagedFile)) throw error;
        await this.#rescue("file", [], error.message, expected);
      }
      // The index of a damaged file may have hidden rows that its table still had.
      const left = yield* this.#pass(new Tally());
      if (left.length > 0) await this.#write(left.map((address) => ({ type: "delete", address })));
    } catch (error) {
      throw this.#unavailable(error);
    }
  }

  /** Gives all rows that check, counts them, and returns the addresses of those that do not. */
  async *#pass(counted: Tally): AsyncGenerator<readonly Row[], readonly Uint8Array[], undefined> {
    const bad: Uint8Array[] = [];
    let sliceBegan = performance.now();
    for (let after: Uint8Array | undefined; ; ) {
      this.#refuseClosed();
      const page = await this.#backend.page(after);
      const last = page.at(-1);
      if (last === undefined) return bad;
      after = last.address.slice();
      const rows: Row[] = [];
      for (const sealed of page) {
        counted.add(headOf(sealed.envelope), sealed.envelope.length);
        const row = await this.#open(sealed);
        if (row === undefined) bad.push(sealed.address.slice());
        else rows.push(row);
        if (performance.now() - sliceBegan < SLICE_MS) continue;
        await turn();
        sliceBegan = performance.now();
      }
      yield rows;
      sliceBegan = performance.now();
    }
  }

  async #open(sealed: SealedRow): Promise<Row | undefined> {
    const content = await this.#keys.open(sealed);
    return content && { space: sealed.address[0] as number, ...content };
  }

  async #rescue(type: Damage["type"], bad: readonly Uint8Array[], detail: string, expected?: Tally): Promise<void> {
    const { setAside, tally } = await this.#backend.rescue(bad, this.#keys.newest);
    const rows = expected && Math.max(0, expected.rows - tally.rows);
    const { place } = this.#parts;
    const saved = `${tally.rows} rows were saved${rows === undefined ? "" : `, ${rows} were not`}`;
    this.#damage.push({ type, detail: `${place} was damaged (${detail}); ${saved}`, rows, setAside });
    this.#failure = undefined;
  }

  async compact(): Promise<void> {
    this.#refuseClosed();
    await this.#outside(() => this.#backend.compact());
  }

  async reseal(signal?: AbortSignal): Promise<number> {
    this.#refuseClosed();
    const { ring, cipher } = this.#parts;
    this.#keys = new RowKeys(ring, cipher);
    let resealed = 0;
    for (let after: Uint8Array | undefined; ; ) {
      if (signal?.aborted) throw new StarlingError("aborted", "sealing anew goes on at the next call");
      const from = after;
      const page = await this.#outside(() => this.#backend.page(from));
      const last = page.at(-1);
      if (last === undefined) break;
      after = last.address.slice();
      const old = page.filter(({ envelope }) => this.#keys.find(keyIdOf(envelope)) !== this.#keys.newest);
      if (old.length > 0) await this.#committer.commit(old.map((row) => this.#move(row)));
      resealed += old.length;
      this.#refuseClosed();
    }
    // The mark too is under the newest key before the others go.
    await this.#committer.commit([]);
    await ring.retire();
    this.#keys = new RowKeys(ring, cipher);
    return resealed;
  }

  /** Seals a row anew, unless it is overwritten meanwhile. */
  #move(row: SealedRow): Pending {
    const seal = async (): Promise<readonly Step[]> => {
      const content = await this.#keys.open(row);
      // Damaged: for the next scan to find.
      if (content === undefined) return [];
      const name = utf8(content.name);
      const address = this.#keys.newest.address(row.address[0] as number, name);
      const envelope = await this.#keys.newest.seal(address, name, content.value);
      return [{ type: "move", from: row.address, head: row.envelope.slice(0, HEAD_BYTES), address, envelope }];
    };
    return { row: undefined, bytes: row.envelope.length, seal };
  }

  async size(): Promise<StoreSize> {
    this.#refuseClosed();
    const { rows, bytes } = await this.#outside(() => this.#backend.tally());
    const fileBytes = (await this.#outside(() => this.#backend.fileBytes())) ?? bytes;
    return { rows, bytes, fileBytes, waitingBytes: this.#committer.waitingBytes };
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      try {
        await this.#committer.idle();
        await this.#backend.close();
      } finally {
        await this.#parts.release();
      }
    })();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #refuseClosed(): void {
    if (this.#closing !== undefined) throw new StarlingError("closed", "the store is closed");
  }

  async #outside<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      throw this.#unavailable(error);
    }
  }

  #unavailable(cause: unknown): StarlingError {
    if (cause instanceof StarlingError) return cause;
    if (cause instanceof DamagedFile) return this.#corrupt(cause.message);
    const reason = cause instanceof Error ? cause.message : String(cause);
    const message = `${this.#parts.place} cannot be used (${reason}); check its disk, then start again`;
    return new StarlingError("store-unavailable", message, { cause });
  }

  #corrupt(detail: string): StarlingError {
    const message = `${this.#parts.place} is damaged (${detail}); start again: what can be saved is saved, the rest comes from replicas`;
    return new StarlingError("state-corrupt", message);
  }
}
