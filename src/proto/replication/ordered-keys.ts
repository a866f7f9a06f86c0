/**
 * The keys of one bucket in order, as a list of short sorted runs. Finding is two binary searches; inserting moves at
 * most one run (1,024 strings) and now and then the list of runs, a few hundred at a quarter million keys.
 *
 * The order is that of Unicode code points, which is the order of the UTF-8 bytes: the order in which stores on disk
 * keep keys.
 */

/** The longest run. */
const RUN_MAX = 1_024;

/** A run shorter than this is joined with its neighbour, so that deletions leave no trail of tiny runs. */
const RUN_MIN = 256;

/** Code point order: negative, zero or positive. */
export function compareKeys(a: string, b: string): number {
  if (a === b) return 0;
  const shorter = Math.min(a.length, b.length);
  for (let index = 0; index < shorter; index++) {
    const unit = a.charCodeAt(index);
    const other = b.charCodeAt(index);
    if (unit !== other) {
      // Surrogates (U+10000 and beyond) sort after U+E000 to U+FFFF, unlike their code units.
      if (unit >= 0xd800 && other >= 0xd800) {
        return (unit >= 0xe000 ? unit - 0x800 : unit + 0x2000) - (other >= 0xe000 ? other - 0x800 : other + 0x2000);
      }
      return unit - other;
    }
  }
  return a.length - b.length;
}

/** The first index of `sorted` whose key is not below `key`. */
function lowerBound(sorted: readonly string[], key: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareKeys(sorted[middle] as string, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A sorted set of keys. */
export class OrderedKeys {
  readonly #runs: string[][] = [];

  /** The index of the run that holds `key` or would: the last one that does not start after it, else the first. */
  #runOf(key: string): number {
    let low = 0;
    let high = this.#runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareKeys((this.#runs[middle] as string[])[0] as string, key) <= 0) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }

  /** Adds `key`, if it is not there. */
  add(key: string): void {
    const at = this.#runOf(key);
    const run = this.#runs[at];
    if (run === undefined) {
      this.#runs.push([key]);
      return;
    }
    const index = lowerBound(run, key);
    if (run[index] === key) return;
    run.splice(index, 0, key);
    if (run.length > RUN_MAX) this.#runs.splice(at + 1, 0, run.splice(RUN_MAX / 2));
  }

  /** Removes `key`, if it is there. */
  remove(key: string): void {
    const at = this.#runOf(key);
    const run = this.#runs[at];
    if (run === undefined) return;
    const index = lowerBound(run, key);
    if (run[index] !== key) return;
    run.splice(index, 1);
    if (run.length >= RUN_MIN) return;
    const next = this.#runs[at + 1];
    if (next !== undefined && run.length + next.length <= RUN_MAX) {
      this.#runs.splice(at, 2, run.concat(next));
    } else if (run.length === 0) this.#runs.splice(at, 1);
  }

  /**
   * Appends to `keys` up to `limit` keys in order, beginning at the first one not below `from` (above it if
   * `exclusive`), for as long as they begin with `prefix`.
   */
  collect(keys: string[], from: string, exclusive: boolean, prefix: string, limit: number): void {
    let at = this.#runOf(from);
    let index = lowerBound(this.#runs[at] ?? [], from);
    if (exclusive && this.#runs[at]?.[index] === from) index++;
    for (; keys.length < limit; index++) {
      const run = this.#runs[at];
      if (run === undefined) return;
      const key = run[index];
      if (key === undefined) {
        at++;
        index = -1;
        continue;
      }
      if (!key.startsWith(prefix)) return;
      keys.push(key);
    }
  }
}
