import { hex } from "../bytes.ts";
import type { Batch } from "./batch.ts";
import type { Entry } from "./entry.ts";

/**
 * Which stored entries belong together: those of one atomic batch. Whoever asks for one of them is given all that are still here,
 * in one message, so that no replica has a part of a transaction without the rest.
 */
export class Bonds {
  readonly #byName = new Map<string, Set<Entry>>();

  /** An entry is stored in place of `previous`, or (`entry` undefined) `previous` is removed. */
  replace(entry: Entry | undefined, previous: Entry | undefined): void {
    if (entry?.batch.isAtomic) {
      const name = nameOf(entry.batch);
      const entries = this.#byName.get(name);
      if (entries === undefined) this.#byName.set(name, new Set([entry]));
      else entries.add(entry);
    }
    if (!previous?.batch.isAtomic) return;
    const name = nameOf(previous.batch);
    const entries = this.#byName.get(name);
    entries?.delete(previous);
    if (entries?.size === 0) this.#byName.delete(name);
  }

  /** The entry, and all that are stored of its atomic batch. */
  together(entry: Entry): Iterable<Entry> {
    return (entry.batch.isAtomic ? this.#byName.get(nameOf(entry.batch)) : undefined) ?? [entry];
  }
}

/** Signatures of different batches differ. */
function nameOf(batch: Batch): string {
  return hex(batch.signature);
}
