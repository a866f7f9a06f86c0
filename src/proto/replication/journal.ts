import { assert } from "../assert.ts";
import { hex } from "../bytes.ts";
import type { Instant } from "../machine.ts";
import type { Batch } from "./batch.ts";
import type { Changes } from "./changes.ts";
import type { Outlet } from "./effects.ts";
import type { Entry } from "./entry.ts";
import type { HybridClock } from "./hlc.ts";
import { MAX_UNSAVED_BYTES, MAX_USELESS_ROWS } from "./limits.ts";
import type { Restoration } from "./restoration.ts";
import { batchRow, entryRow, isShared, metaRow, nameOf, noEntryRow, type RowChange, tokenRow } from "./rows.ts";
import type { ServiceRecord } from "./service.ts";

/** What happens when something is durable. */
type Waiting = (now: Instant) => void;

/**
 * What must be durable before anything is said about it.
 *
 * Everything that one input changes becomes one commit: all of it is in the store after a crash, or nothing, so no batch
 * that came whole is ever torn. What may be said only then (an acknowledgement to an author or to our own writer, a
 * broadcast of our own write, a change to watchers) waits for the commit. Commits become durable in their order.
 *
 * Reads do not wait: what is read here and lost in a crash was never acknowledged by this replica.
 *
 * A replica without a store has nothing to wait for.
 */
export class Journal {
  readonly #outlet: Outlet;
  readonly #changes: Changes;
  readonly #clock: HybridClock;
  readonly #isDurable: boolean;
  readonly #service: () => ServiceRecord;
  /** Other rows that have changed; and whether what is kept beside has. */
  readonly #rows = new Map<string, RowChange>();
  #isTouched = false;
  /** Batches with rows of their own, and how many entries of each are stored. */
  readonly #batches: Map<string, number>;
  /** Rows changed by the input under way, each in its last form. */
  readonly #entries = new Map<string, Entry | { readonly bucket: string; readonly key: string }>();
  readonly #tokens = new Map<string, string | undefined>();
  readonly #proofs = new Map<string, { readonly batch: Batch; readonly isKept: boolean }>();
  /** Rows of the earlier run that are to go. */
  #useless: readonly RowChange[] = [];
  #waiting: Waiting[] = [];
  /** Commits under way, oldest first. */
  readonly #commits: { readonly bytes: number; readonly cursor: number; readonly waiting: Waiting[] }[] = [];
  #sequence = 0;
  /** What an earlier run has kept about being in service. */
  readonly restored: ServiceRecord | undefined;
  #bytes = 0;

  /** @param restoration what an earlier run has stored; undefined: nothing is to be durable. */
  constructor(
    outlet: Outlet,
    changes: Changes,
    clock: HybridClock,
    service: () => ServiceRecord,
    restoration: Restoration | undefined,
  ) {
    this.#service = service;
    this.#outlet = outlet;
    this.#changes = changes;
    this.#clock = clock;
    this.#isDurable = restoration !== undefined;
    this.#batches = restoration?.batches ?? new Map();
    if (restoration === undefined) return;
    const { log, useless, meta } = restoration.finish();
    this.restored = meta?.service;
    if (meta !== undefined) {
      clock.restore(meta.clock);
      changes.restore(log, meta.cursor, meta.forgotten);
    }
    this.#useless = useless.slice(0, MAX_USELESS_ROWS);
  }

  /** Changes a row that is no entry's. */
  row(row: RowChange): void {
    if (this.#isDurable) this.#rows.set(row.name, row);
  }

  /** What is kept beside has changed, the clock included: it is to outlive a crash. */
  touch(): void {
    this.#isTouched = this.#isDurable;
  }

  /** Bytes of values on their way to the disk. */
  get bytes(): number {
    return this.#bytes;
  }

  /** So much is on its way to the disk that nothing more is to be fetched. */
  get isBehind(): boolean {
    return this.#bytes > MAX_UNSAVED_BYTES;
  }

  /** An entry is stored in place of `previous`. */
  put(entry: Entry, previous: Entry | undefined): void {
    if (!this.#isDurable) {
      this.#changes.settle(entry.cursor);
      return;
    }
    this.#entries.set(`${entry.bucket}/${entry.key}`, entry);
    if (isShared(entry.batch)) this.#use(entry.batch, 1);
    if (previous !== undefined && isShared(previous.batch)) this.#use(previous.batch, -1);
  }

  /** An entry is removed. `deletion`: what watchers are told of it, where they are. */
  drop(entry: Entry, deletion?: Entry): void {
    if (!this.#isDurable) {
      if (deletion !== undefined) this.#changes.settle(deletion.cursor);
      return;
    }
    this.#entries.set(`${entry.bucket}/${entry.key}`, { bucket: entry.bucket, key: entry.key });
    if (isShared(entry.batch)) this.#use(entry.batch, -1);
  }

  #use(batch: Batch, by: 1 | -1): void {
    const name = hex(nameOf(batch));
    const before = this.#batches.get(name) ?? 0;
    const uses = before + by;
    if (uses > 0) this.#batches.set(name, uses);
    else this.#batches.delete(name);
    if (before === 0 || uses === 0) this.#proofs.set(name, { batch, isKept: uses > 0 });
  }

  /** The first entry that a token proves is stored, or (`token` undefined) the last one is gone. */
  token(name: string, token: string | undefined): void {
    if (this.#isDurable) this.#tokens.set(name, token);
  }

  /** Runs `run` when everything that is stored by now is durable; at once if it is. */
  after(run: Waiting, now: Instant): void {
    if (this.#isDirty) this.#waiting.push(run);
    else if (this.#commits.length > 0) this.#commits.at(-1)?.waiting.push(run);
    else run(now);
  }

  get #isDirty(): boolean {
    if (this.#isTouched) return true;
    return this.#entries.size + this.#tokens.size + this.#proofs.size + this.#rows.size + this.#useless.length > 0;
  }

  /** Sends off what the input under way has changed; true when it was anything. */
  flush(): boolean {
    if (!this.#isDirty) return false;
    const rows: RowChange[] = [...this.#useless, ...this.#rows.values()];
    this.#useless = [];
    for (const [name, token] of this.#tokens) rows.push(tokenRow(name, token));
    for (const { batch, isKept } of this.#proofs.values()) rows.push(batchRow(batch, isKept));
    let bytes = 0;
    for (const entry of this.#entries.values()) {
      const row = "batch" in entry ? entryRow(entry) : noEntryRow(entry.bucket, entry.key);
      bytes += row.value?.length ?? 0;
      rows.push(row);
    }
    const cursor = this.#changes.latest;
    const { forgotten } = this.#changes;
    rows.push(metaRow({ clock: this.#clock.last, cursor, forgotten, service: this.#service() }));
    this.#rows.clear();
    this.#isTouched = false;
    this.#tokens.clear();
    this.#proofs.clear();
    this.#entries.clear();
    this.#commits.push({ bytes, cursor, waiting: this.#waiting });
    this.#waiting = [];
    this.#bytes += bytes;
    this.#sequence++;
    this.#outlet.emit({ type: "store", sequence: this.#sequence, rows });
    return true;
  }

  /** Commit `sequence` is durable: what has waited for it happens. */
  stored(sequence: number, now: Instant): void {
    assert(sequence === this.#sequence - this.#commits.length + 1, "commits become durable in their order");
    const commit = this.#commits.shift();
    if (commit === undefined) return;
    this.#bytes -= commit.bytes;
    this.#changes.settle(commit.cursor);
    for (const run of commit.waiting) run(now);
  }
}
