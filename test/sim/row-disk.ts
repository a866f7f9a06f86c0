import type { Instant } from "../../src/proto/machine.ts";
import { SeededRandom } from "../../src/proto/random.ts";
import { Restoration } from "../../src/proto/replication/restoration.ts";
import type { RowChange, StoredRow } from "../../src/proto/replication/rows.ts";

/** How long a sync takes, ms. */
const SYNC_MS = 3;
const ROWS = "rows";

/** Rows given back at a time, as a store does. */
const PORTION = 64;

interface Commit {
  readonly sequence: number;
  readonly rows: readonly RowChange[];
  readonly at: Instant;
}

/** A node's store in the world: a crash takes what has not been synced. */
export class RowDisk {
  /** By space and name. */
  readonly #rows: Map<string, StoredRow>;
  readonly #commits: Commit[] = [];

  /** @param disk what outlives a crash. */
  constructor(disk: Map<string, unknown>) {
    const rows = disk.get(ROWS);
    this.#rows = rows instanceof Map ? rows : new Map<string, StoredRow>();
    disk.set(ROWS, this.#rows);
  }

  /** What an earlier life has stored. */
  restore(): Restoration {
    const restoration = new Restoration(new SeededRandom(1));
    const rows = [...this.#rows.values()].sort((a, b) => a.space - b.space);
    for (let start = 0; start < rows.length; start += PORTION) restoration.take(rows.slice(start, start + PORTION));
    return restoration;
  }

  /** Begins to write a commit. */
  store(sequence: number, rows: readonly RowChange[], now: Instant): void {
    this.#commits.push({ sequence, rows, at: Math.max(now + SYNC_MS, this.#commits.at(-1)?.at ?? 0) });
  }

  /** When the next commit is durable. */
  deadline(): Instant | undefined {
    return this.#commits[0]?.at;
  }

  /** The number of a commit that is durable at `now`; undefined when there is none. */
  take(now: Instant): number | undefined {
    const commit = this.#commits[0];
    if (commit === undefined || commit.at > now) return undefined;
    this.#commits.shift();
    for (const { space, name, value } of commit.rows) {
      if (value === undefined) this.#rows.delete(`${space} ${name}`);
      else this.#rows.set(`${space} ${name}`, { space, name, value });
    }
    return commit.sequence;
  }
}
