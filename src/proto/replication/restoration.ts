import { fromUtf8, hex } from "../bytes.ts";
import type { Random } from "../random.ts";
import type { Batch } from "./batch.ts";
import type { Entry } from "./entry.ts";
import { instantOf } from "./hlc.ts";
import { DEFAULT_QUOTAS, type Quotas } from "./limits.ts";
import {
  batchRow,
  isShared,
  type Meta,
  nameOf,
  parseBatchRow,
  parseEntryRow,
  parseMeta,
  type RowChange,
  Space,
  type StoredRow,
  tokenRow,
} from "./rows.ts";
import { Store } from "./store.ts";
import { tokenHash } from "./tokens.ts";

/**
 * Brings a replica back from its rows, a portion at a time: the caller gives the event loop its turn in between.
 *
 * Rows come ordered by space, entries last. What is no use any more (a row that does not parse, an entry whose proof or token is
 * gone, a proof that no entry needs) is left out and its row is to be removed: see {@link finish}.
 */
export class Restoration {
  readonly store: Store;
  /** Tokens that prove entries, by the hexadecimal form of their hash, with the number of entries. */
  readonly tokens = new Map<string, { readonly token: string; uses: number }>();
  /** Batches with rows of their own, with the number of entries stored. */
  readonly batches = new Map<string, number>();
  /** What was set aside. */
  readonly aside: StoredRow[] = [];
  readonly #proofs = new Map<string, Batch>();
  /** Entries by cursor, in runs of about doubling length: sorting never takes long at a stretch. */
  readonly #runs: Entry[][] = [];
  readonly #useless: RowChange[] = [];
  #meta: Meta | undefined;
  #clock = 0;

  constructor(random: Random, quotas: Quotas = DEFAULT_QUOTAS) {
    this.store = new Store(quotas, random);
  }

  /** Rows that were of no use so far. */
  get damaged(): number {
    return this.#useless.length;
  }

  /** Takes the next rows. */
  take(rows: readonly StoredRow[]): void {
    const run: Entry[] = [];
    for (const row of rows) {
      const entry = this.#read(row);
      if (entry === "useless") this.#useless.push({ ...row, value: undefined });
      else if (entry !== undefined) run.push(entry);
    }
    if (run.length === 0) return;
    this.#runs.push(run.sort((a, b) => a.cursor - b.cursor));
    for (;;) {
      const [before, last] = this.#runs.slice(-2);
      if (before === undefined || last === undefined || before.length > 2 * last.length) return;
      this.#runs.splice(-2, 2, merge(before, last));
    }
  }

  #read(row: StoredRow): Entry | "useless" | undefined {
    switch (row.space) {
      case Space.meta:
        this.#meta = parseMeta(row.value);
        return this.#meta === undefined ? "useless" : undefined;
      case Space.token: {
        const token = fromUtf8(row.value);
        if (token === undefined || hex(tokenHash(token)) !== row.name) return "useless";
        this.tokens.set(row.name, { token, uses: 0 });
        return undefined;
      }
      case Space.batch: {
        const batch = parseBatchRow(row.value);
        if (batch === undefined || hex(nameOf(batch)) !== row.name) return "useless";
        this.#proofs.set(row.name, batch);
        return undefined;
      }
      case Space.aside:
        this.aside.push(row);
        return undefined;
      default:
        return this.#entry(row);
    }
  }

  #entry(row: StoredRow): Entry | "useless" {
    const entry = row.space === Space.entry ? parseEntryRow(row, (name) => this.#proofs.get(name)) : undefined;
    const token = entry && this.tokens.get(hex(entry.batch.tokenHash));
    // A scan that meets damage may give a row twice.
    if (entry === undefined || token === undefined || this.store.find(entry.bucket, entry.key)) return "useless";
    this.store.restore(entry);
    token.uses++;
    if (isShared(entry.batch)) {
      const name = hex(nameOf(entry.batch));
      this.batches.set(name, (this.batches.get(name) ?? 0) + 1);
    }
    this.#clock = Math.max(this.#clock, entry.clock);
    return entry;
  }

  /**
   * All entries by cursor, the rows that are to go, and what was kept beside: undefined for a store that was never written.
   * Where that record is gone, watchers from before have to read anew.
   */
  finish(): { readonly log: Entry[]; readonly useless: readonly RowChange[]; readonly meta: Meta | undefined } {
    const log = this.#runs.splice(0).reduceRight((merged, run) => merge(run, merged), []);
    for (const [name, batch] of this.#proofs) {
      if (!this.batches.has(name)) this.#useless.push(batchRow(batch, false));
    }
    for (const [name, { uses }] of this.tokens) {
      if (uses > 0) continue;
      this.tokens.delete(name);
      this.#useless.push(tokenRow(name, undefined));
    }
    this.#proofs.clear();
    const cursor = log.at(-1)?.cursor ?? 0;
    // At the time of the newest entry, at least, this replica was in service.
    const servedAt = instantOf(this.#clock);
    const service = { servedAt, since: servedAt, gapFrom: undefined, heldUntil: 0 };
    const meta = this.#meta ?? (log.length > 0 ? { clock: 0, cursor, forgotten: cursor, service } : undefined);
    return {
      log,
      useless: this.#useless.filter((row) => !this.#isStored(row)),
      meta: meta && { ...meta, clock: Math.max(meta.clock, this.#clock) },
    };
  }

  /** A row that was given twice. */
  #isStored({ space, name }: RowChange): boolean {
    const slash = name.indexOf("/");
    return space === Space.entry && this.store.find(name.slice(0, slash), name.slice(slash + 1)) !== undefined;
  }
}

function merge(a: readonly Entry[], b: readonly Entry[]): Entry[] {
  const merged: Entry[] = [];
  let next = 0;
  for (const entry of a) {
    while (next < b.length && (b[next] as Entry).cursor < entry.cursor) merged.push(b[next++] as Entry);
    merged.push(entry);
  }
  while (next < b.length) merged.push(b[next++] as Entry);
  return merged;
}
