/**
 * What durability costs: `npm run -s bench:store -- [--store sqlite|lmdb] [--json] [--churn 1000000]`.
 *
 * Each figure of a store stands beside SQLite without us (same file system, WAL, synchronous=FULL, on the main thread, no seal) in the same run.
 * "single": one put after the other, each durable before the next. "together": many puts at once, as group commit takes them. "batched": 64
 * rows in one commit. "stall": the longest that the event loop had to wait for its turn while 100 MB of values were on their way to the disk.
 * "churn" instead overwrites and deletes that many rows and compares the file after compaction with what is live.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { parseArgs } from "node:util";
import { openKeyRing } from "../../src/drivers/store/key-ring.ts";
import type { Change, Store } from "../../src/store.ts";
import { churn } from "../contract/store/churn.ts";
import { type FileKind, openIn, put, secretFile } from "../contract/store/stores.ts";

const SINGLES = 500;
const TOGETHER = 20_000;
const BATCHES = 100;
const BATCH_ROWS = 64;
const VALUE_BYTES = 256;
const FLIGHT_BYTES = 100_000_000;

const { values } = parseArgs({
  options: {
    store: { type: "string", default: "sqlite" },
    json: { type: "boolean", default: false },
    churn: { type: "string" },
  },
});
const kind = values.store as FileKind;
if (kind !== "sqlite" && kind !== "lmdb") throw new Error("--store is sqlite or lmdb");

function value(index: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  new DataView(bytes.buffer).setUint32(0, index);
  return bytes;
}

interface Latency {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly rowsPerSecond: number;
}

async function timed(count: number, rows: number, work: (index: number) => unknown): Promise<Latency> {
  const times: number[] = [];
  for (let index = 0; index < count; index++) {
    const began = performance.now();
    await work(index);
    times.push(performance.now() - began);
  }
  const total = times.reduce((sum, time) => sum + time, 0);
  times.sort((a, b) => a - b);
  const at = (share: number): number => round(times[Math.floor((times.length - 1) * share)] ?? 0, 3);
  return { p50Ms: at(0.5), p99Ms: at(0.99), rowsPerSecond: Math.round((count * rows * 1_000) / total) };
}

function round(number: number, digits: number): number {
  return Number(number.toFixed(digits));
}

function batchOf(index: number): Change[] {
  return Array.from({ length: BATCH_ROWS }, (_, row) => put(`batch ${index}/${row}`, value(row, VALUE_BYTES)));
}

/** SQLite as anybody would use it. */
function bare(folder: string) {
  const database = new DatabaseSync(join(folder, "bare.sqlite"));
  database.exec(
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE rows (name TEXT PRIMARY KEY, value BLOB)",
  );
  const insert = database.prepare("INSERT OR REPLACE INTO rows VALUES (?, ?)");
  return {
    commit(changes: readonly Change[]): void {
      database.exec("BEGIN");
      for (const { name, value } of changes) insert.run(name, value ?? null);
      database.exec("COMMIT");
    },
    close: () => database.close(),
  };
}

/** The longest gap between turns of the event loop while `work` goes on, ms. */
async function longestStall(work: () => Promise<unknown>): Promise<{ readonly stallMs: number; readonly ms: number }> {
  let longest = 0;
  let last = performance.now();
  let isDone = false;
  const tick = (): void => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    if (!isDone) setImmediate(tick);
  };
  setImmediate(tick);
  const began = performance.now();
  await work();
  isDone = true;
  return { stallMs: round(longest, 1), ms: Math.round(performance.now() - began) };
}

/** Values of `bytes` each, all made before and all committed at once. */
function flight(store: Store, bytes: number) {
  const changes = Array.from({ length: Math.floor(FLIGHT_BYTES / bytes) }, (_, index) =>
    put(`large ${index}`, value(index, bytes)),
  );
  return longestStall(() => Promise.all(changes.map((change) => store.commit([change]))));
}

async function figures(store: Store, folder: string): Promise<object> {
  const reference = bare(folder);
  const one = (index: number): Change[] => [put(`single ${index}`, value(index, VALUE_BYTES))];
  await timed(50, 1, (index) => store.commit(one(index)));
  const single = await timed(SINGLES, 1, (index) => store.commit(one(index)));
  const bareSingle = await timed(SINGLES, 1, (index) => reference.commit(one(index)));
  const batched = await timed(BATCHES, BATCH_ROWS, (index) => store.commit(batchOf(index)));
  const bareBatched = await timed(BATCHES, BATCH_ROWS, (index) => reference.commit(batchOf(index)));
  const many = Array.from({ length: TOGETHER }, (_, index) => put(`together ${index}`, value(index, VALUE_BYTES)));
  const together = await longestStall(() => Promise.all(many.map((change) => store.commit([change]))));
  reference.close();
  return {
    single,
    bareSingle,
    batched,
    bareBatched,
    together: { rowsPerSecond: Math.round((TOGETHER * 1_000) / together.ms), stallMs: together.stallMs },
    stall64KiB: await flight(store, 65_536),
    stall1MiB: await flight(store, 1_048_576),
    stall8MiB: await flight(store, 8_388_608),
  };
}

/** What many overwrites and deletions leave: fails when that is more than twice what is live. */
async function churned(store: Store, folder: string, changes: number): Promise<object> {
  const began = performance.now();
  const left = await churn(store, folder, changes);
  const ratio = round(left.diskBytesAfter / left.liveBytes, 2);
  if (ratio > 2) process.exitCode = 1;
  return { changes, ...left, ratio, seconds: round((performance.now() - began) / 1_000, 1) };
}

const folder = await mkdtemp(join(tmpdir(), "starling-bench-"));
try {
  await using store = await openIn(kind, join(folder, "store"), await openKeyRing(secretFile()));
  const report = {
    store: kind,
    ...(values.churn === undefined
      ? await figures(store, folder)
      : await churned(store, join(folder, "store"), Number(values.churn))),
  };
  if (values.json) process.stdout.write(`${JSON.stringify(report)}\n`);
  else for (const [name, figure] of Object.entries(report)) console.log(name.padEnd(16), JSON.stringify(figure));
} finally {
  await rm(folder, { recursive: true, force: true });
}
