import { hex } from "../bytes.ts";
import type { Batch } from "./batch.ts";
import type { Entry } from "./entry.ts";
import { batchRow, entryRow, isShared, type Meta, metaRow, nameOf, type RowChange, tokenRow } from "./rows.ts";

/**
 * Everything that a replica holds at one instant, with what proves it. Versions never change, so the list of them is a
 * consistent copy, however long it takes to write it down.
 */
export class Snapshot {
  readonly #entries: readonly Entry[];
  readonly #tokenOf: (name: string) => string | undefined;
  readonly #meta: Meta;

  constructor(entries: readonly Entry[], tokenOf: (name: string) => string | undefined, meta: Meta) {
    this.#entries = entries;
    this.#tokenOf = tokenOf;
    this.#meta = meta;
  }

  /** The rows of a store that holds it, ordered by space. The tokens are taken at the first step: take it at once. */
  *rows(): Generator<RowChange, void, undefined> {
    const tokens = new Map<string, string>();
    const batches = new Map<string, Batch>();
    for (const { batch } of this.#entries) {
      const name = hex(batch.tokenHash);
      const token = tokens.has(name) ? undefined : this.#tokenOf(name);
      if (token !== undefined) tokens.set(name, token);
      if (isShared(batch)) batches.set(hex(nameOf(batch)), batch);
    }
    yield metaRow(this.#meta);
    for (const [name, token] of tokens) yield tokenRow(name, token);
    for (const batch of batches.values()) yield batchRow(batch, true);
    for (const entry of this.#entries) yield entryRow(entry);
  }
}
