import { assert } from "../../proto/assert.ts";
import { equalBytes, utf8 } from "../../proto/bytes.ts";
import type { KeyRing } from "../../store.ts";
import type { SealedRow, Step } from "./backend.ts";
import { type Content, keyIdOf, type RowCipher, RowKey } from "./envelope.ts";

/**
 * The keys of a ring at work. Rows are written under the newest; while a rotation is under way a row may still stand at the
 * address that it has under an older one, so writes clear those addresses and reads look there too.
 */
export class RowKeys {
  readonly newest: RowKey;
  readonly #older: readonly RowKey[];

  constructor(ring: KeyRing, cipher: RowCipher) {
    const [newest, ...older] = ring.keys.map((secret) => new RowKey(secret, cipher));
    assert(newest !== undefined, "a key ring is never empty");
    this.newest = newest;
    this.#older = older;
  }

  /** The key with that id. */
  find(id: Uint8Array | undefined): RowKey | undefined {
    if (id === undefined) return undefined;
    return [this.newest, ...this.#older].find((key) => equalBytes(key.id, id));
  }

  /** Where a row may stand, the newest address first. */
  addresses(space: number, name: string): readonly Uint8Array[] {
    const bytes = utf8(name);
    return [this.newest, ...this.#older].map((key) => key.address(space, bytes));
  }

  /** The steps that make a row what it should be. */
  async change(space: number, name: string, value: Uint8Array | undefined): Promise<readonly Step[]> {
    const bytes = utf8(name);
    const steps: Step[] = this.#older.map((key) => ({ type: "delete", address: key.address(space, bytes) }));
    const address = this.newest.address(space, bytes);
    if (value === undefined) steps.push({ type: "delete", address });
    else steps.push({ type: "put", address, envelope: await this.newest.seal(address, bytes, value) });
    return steps;
  }

  /** What is in a row; undefined when it is damaged, or sealed with a key that is not in the ring. */
  async open({ address, envelope }: SealedRow): Promise<Content | undefined> {
    const key = this.find(keyIdOf(envelope));
    const content = await key?.open(address, envelope);
    // Whoever has the key made the row; that it stands where its name belongs guards against our own mistakes.
    return content !== undefined && content.name.length > 0 ? content : undefined;
  }
}
