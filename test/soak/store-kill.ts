/**
 * Goal: a process that is killed at any moment loses no write that it has acknowledged, and leaves no batch half written. Method: a child
 * writes batches to a store under load, compacts it or rotates its key now and then, and says which batches are durable; it is killed
 * with SIGKILL after a random time; the store it leaves is opened and compared with what it said. The store stays from run to run.
 *
 *     npm run soak:store -- --runs 1000 [--store sqlite|lmdb] [--json]
 *
 * Both stores that keep files, one after the other, where none is named. IndexedDB is the browser's own, which no process of ours can outlive.
 */
import { parseArgs } from "node:util";
import { type KillReport, killRuns } from "../contract/store/kill.ts";
import type { FileKind } from "../contract/store/stores.ts";

const MAX_RUNS = 100_000;

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "1000" },
    store: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const runs = Number(values.runs);
const kinds: readonly FileKind[] = (["sqlite", "lmdb"] as const).filter((kind) => kind === (values.store ?? kind));
if (!Number.isSafeInteger(runs) || runs < 1 || runs > MAX_RUNS) throw new Error("--runs is from 1 to 100000");
if (kinds.length === 0) throw new Error("--store is sqlite or lmdb");

const print = (kind: FileKind, began: number, report: KillReport): void => {
  const seconds = Math.round((performance.now() - began) / 1_000);
  if (values.json) process.stdout.write(`${JSON.stringify({ store: kind, ...report, seconds })}\n`);
  else {
    const { acknowledged, lost, torn, damaged } = report;
    process.stdout.write(
      `${kind}: ${report.runs} kills in ${seconds} s, ${acknowledged} batches acknowledged, ${lost} lost, ${torn} torn, ${damaged} damaged\n`,
    );
  }
};
for (const kind of kinds) {
  const began = performance.now();
  const report = await killRuns(kind, runs, Math.random, (soFar) => {
    if (!values.json && soFar.runs % 50 === 0) print(kind, began, soFar);
  });
  print(kind, began, report);
  if (report.lost + report.torn + report.damaged > 0) process.exitCode = 1;
}
