/**
 * Goal: whatever befalls replicas, no acknowledged write is lost, none that was deleted comes back, all judge alike and end equal. Method:
 * random lives of a few replicas in virtual time, with partitions, crashes, clocks that jump and disks that lose what was not synced, one for each
 * seed: writes (`test/proto/replication/history.ts`), writes on conditions (`condition-history.ts`), tokens that end and
 * members that are revoked (`authorship-history.ts`). `npm test` runs the first 200 of each, this any number:
 *
 *     npm run soak:histories -- --seeds 1000 [--first 1] [--json]
 *
 * 1,000 of each take three minutes of one core. What has gone wrong once is repeated by `--first SEED --seeds 1`.
 */
import { parseArgs } from "node:util";
import { runAuthorship } from "../proto/replication/authorship-history.ts";
import { runConditions } from "../proto/replication/condition-history.ts";
import { runHistory } from "../proto/replication/history.ts";

const MAX_SEEDS = 1_000_000;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    first: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
  },
});
const seeds = Number(values.seeds);
const first = Number(values.first);
if (!Number.isSafeInteger(seeds) || seeds < 1 || seeds > MAX_SEEDS) throw new Error("--seeds is from 1 to 1000000");
if (!Number.isSafeInteger(first) || first < 0) throw new Error("--first is a seed");

const kinds: Readonly<Record<string, (seed: number) => readonly string[]>> = {
  writes: runHistory,
  conditions: (seed) => runConditions(seed).wrong,
  authorship: (seed) => runAuthorship(seed).wrong,
};
for (const [kind, run] of Object.entries(kinds)) {
  const began = process.cpuUsage();
  const wrong: number[] = [];
  for (let seed = first; seed < first + seeds; seed++) {
    const found = run(seed);
    if (found.length === 0) continue;
    wrong.push(seed);
    process.stderr.write(`${kind}, seed ${seed}: ${found.join("; ")}\n`);
  }
  const { user, system } = process.cpuUsage(began);
  const cpuSeconds = Math.round((user + system) / 1_000_000);
  if (values.json) process.stdout.write(`${JSON.stringify({ kind, seeds, wrong, cpuSeconds })}\n`);
  else process.stdout.write(`${kind}: ${seeds} seeds in ${cpuSeconds} s of CPU, ${wrong.length} went wrong\n`);
  if (wrong.length > 0) process.exitCode = 1;
}
