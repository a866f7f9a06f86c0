import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openKeyRing } from "../../../src/drivers/store/key-ring.ts";
import type { Change, Store } from "../../../src/store.ts";
import { type FileKind, openIn, put, remove, valueFor } from "./stores.ts";

/**
 * Kills a process that writes to a store, and looks at what it has left.
 *
 * The child writes batches of a few rows, numbered from 0; batch N also removes all rows of batch N - 64, in the same commit. So of each batch either
 * all rows are there or none, and a batch is gone exactly if the one that removes it is there (or was, in its turn). Whatever the child has
 * said to be committed must be there.
 */

/** What the child does besides writing. */
export type Extra = "nothing" | "compact" | "reseal";

/** What came of some runs. */
export interface KillReport {
  readonly runs: number;
  /** Batches that were acknowledged before a kill. */
  readonly acknowledged: number;
  /** Of those, batches that were not there afterwards. */
  readonly lost: number;
  /** Batches of which only a part was there, or with wrong values, or beside one that removes them. */
  readonly torn: number;
  /** Times that a store reported damage after a kill, which harms no file. */
  readonly damaged: number;
}

const DISTANCE = 64;
const CHILD = join(import.meta.dirname, "kill-child.ts");

/** Rows of a batch, and how long their values are: mostly small, some several pages, some large. */
function shape(run: number, number: number): { readonly rows: number; readonly length: number } {
  const mix = Math.imul(run * 7_919 + number + 1, 0x9e3779b1) >>> 0;
  return { rows: 1 + (mix % 7), length: mix % 97 === 0 ? 300_000 : mix % 11 === 0 ? 9_000 : mix % 700 };
}

/** The changes of a batch. */
export function batch(run: number, number: number): Change[] {
  const { rows, length } = shape(run, number);
  const changes: Change[] = [];
  for (let row = 0; row < rows; row++) changes.push(put(`${run}/${number}/${row}`, valueFor(number + row, length)));
  const old = number - DISTANCE;
  if (old >= 0) for (let row = 0; row < shape(run, old).rows; row++) changes.push(remove(`${run}/${old}/${row}`));
  return changes;
}

/** Kills `runs` children one after the other, over one store that stays. `onRun` is told of each. */
export async function killRuns(
  kind: FileKind,
  runs: number,
  random: () => number,
  onRun?: (report: KillReport) => void,
): Promise<KillReport> {
  const folder = await mkdtemp(join(tmpdir(), "starling-kill-"));
  const keyFile = join(folder, "keys");
  const total = { runs: 0, acknowledged: 0, lost: 0, torn: 0, damaged: 0 };
  try {
    await openKeyRing({ read: async () => undefined, write: (bytes) => writeFile(keyFile, bytes) });
    for (let run = 1; run <= runs; run++) {
      const extra: Extra = run % 8 === 0 ? "compact" : run % 8 === 4 ? "reseal" : "nothing";
      const args = [kind, join(folder, "store"), keyFile, `${run}`, extra];
      const acknowledged = await runChild(args, join(folder, "compiled"), random);
      const keys = await openKeyRing({ read: () => readFile(keyFile), write: (bytes) => writeFile(keyFile, bytes) });
      await using store = await openIn(kind, join(folder, "store"), keys);
      const { lost, torn } = await examine(store, run, acknowledged);
      total.runs++;
      total.acknowledged += acknowledged.length;
      total.lost += lost;
      total.torn += torn;
      total.damaged += store.damage.length;
      onRun?.(total);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return total;
}

/** Starts the child, kills it at a random moment, and returns what it has acknowledged. `compiled`: where code is kept, so that it starts soon. */
async function runChild(args: readonly string[], compiled: string, random: () => number): Promise<readonly number[]> {
  const env = { ...process.env, NODE_COMPILE_CACHE: compiled };
  const child = spawn(process.execPath, [CHILD, ...args], { stdio: ["ignore", "pipe", "pipe"], env });
  let said = "";
  let complaint = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    // Every tenth is killed while it opens, as soon as that is possible.
    if (said === "" && text.startsWith("ready")) setTimeout(() => child.kill("SIGKILL"), isEarly ? 0 : random() * 250);
    said += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint += text;
  });
  const isEarly = random() < 0.1;
  const early = isEarly ? setTimeout(() => child.kill("SIGKILL"), 100 + random() * 300) : undefined;
  const [code, signal] = (await once(child, "close")) as [number | null, string | null];
  clearTimeout(early);
  if (signal !== "SIGKILL") throw new Error(`the child ended by itself (${code}): ${complaint}`);
  const lines = said.split("\n").slice(0, -1);
  return lines.filter((line) => line !== "ready").map(Number);
}

async function examine(
  store: Store,
  run: number,
  acknowledged: readonly number[],
): Promise<{ readonly lost: number; readonly torn: number }> {
  const found = new Map<number, number>();
  const names: string[] = [];
  let torn = 0;
  for await (const rows of store.scan()) {
    for (const { name, value } of rows) {
      names.push(name);
      const [ofRun, number = 0, row = 0] = name.split("/").map(Number);
      // What an earlier run has left was removed before this one began.
      const expected = valueFor(number + row, shape(run, number).length);
      if (ofRun !== run || !Buffer.from(expected).equals(value)) torn++;
      found.set(number, (found.get(number) ?? 0) + 1);
    }
  }
  for (const [number, rows] of found) {
    if (rows !== shape(run, number).rows || found.has(number + DISTANCE)) torn++;
  }
  const isRemoved = (number: number): boolean => {
    for (let later = number + DISTANCE; later <= number + 1_000_000; later += DISTANCE) {
      if (found.has(later)) return true;
      if (later > highest) return false;
    }
    return false;
  };
  const highest = Math.max(0, ...found.keys());
  const lost = acknowledged.filter((number) => !found.has(number) && !isRemoved(number)).length;
  await store.commit(names.map((name) => remove(name)));
  return { lost, torn };
}
