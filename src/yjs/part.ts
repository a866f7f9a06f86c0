import { type Doc, encodeStateAsUpdate, mergeUpdates } from "yjs";
import { COMPACT_FROM_BYTES } from "./limits.ts";

/**
 * What this member keeps of a document in the store: one update under one key that nobody else writes, so that no two writes of one
 * key ever compete. All members' parts together are the document.
 *
 * Edits are merged into it. When it has grown to twice what it was after the last time, the whole document takes its place if
 * that is shorter: what was deleted since is then gone from it, and what others wrote is in it as well.
 */
export class Part {
  readonly #doc: Doc;
  #update: Uint8Array | undefined;
  #fresh: Uint8Array[] = [];
  #isWhole = false;
  #compactAt = COMPACT_FROM_BYTES;

  constructor(doc: Doc) {
    this.#doc = doc;
  }

  /** Whether there is something that the store lacks. */
  get isDue(): boolean {
    return this.#fresh.length > 0 || this.#isWhole;
  }

  /** What the store has under our key. */
  stored(update: Uint8Array): void {
    this.#update = this.#update === undefined ? update : mergeUpdates([this.#update, update]);
  }

  edited(update: Uint8Array): void {
    this.#fresh.push(update);
  }

  /** What others keep has been lost: all of the document is to be in ours. */
  beWhole(): void {
    this.#isWhole = true;
  }

  /** What is to be stored. */
  take(): Uint8Array {
    const merged = mergeUpdates([...(this.#update === undefined ? [] : [this.#update]), ...this.#fresh.splice(0)]);
    const isLong = merged.length > this.#compactAt;
    const whole = this.#isWhole || isLong ? encodeStateAsUpdate(this.#doc) : undefined;
    const update = whole !== undefined && (this.#isWhole || whole.length < merged.length) ? whole : merged;
    if (isLong) this.#compactAt = Math.max(COMPACT_FROM_BYTES, 2 * update.length);
    this.#isWhole = false;
    this.#update = update;
    return update;
  }
}
