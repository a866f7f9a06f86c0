/**
 * Goal: no write is lost that was acknowledged, whenever an agent is killed. Method: three agents, each in a process of its own, write
 * without end, each write to be held by two; after a random time one of them gets SIGKILL and starts again. At the end all are killed at once and started
 * again, and every write that any of them was told is held must be at all of them.
 *
 *     npm run soak:agents -- --runs 100 [--json]
 */

import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { openLocalCluster } from "../../examples/local-cluster.ts";
import { MemberProcess, waitFor } from "../bench/member-process.ts";

const MAX_RUNS = 10_000;
/** A run writes for at most so long, ms. */
const MAX_RUN_MS = 3_000;
const LIMIT_MS = 300_000;

const { values } = parseArgs({
  options: { runs: { type: "string", default: "100" }, json: { type: "boolean", default: false } },
});
const runs = Number(values.runs);
if (!Number.isSafeInteger(runs) || runs < 1 || runs > MAX_RUNS) throw new Error("--runs is from 1 to 10000");

await using cluster = await openLocalCluster();
const members = ["a", "b", "c"].map((name) => new MemberProcess(cluster, name));
const began = Date.now();
try {
  for (const member of members) member.start(true);
  await together();
  for (const member of members) void member.tell({ do: "write", run: 0 }).catch(() => undefined);
  for (let run = 1; run <= runs; run++) {
    await sleep(Math.random() * MAX_RUN_MS);
    const victim = members[Math.floor(Math.random() * members.length)] as MemberProcess;
    await victim.kill();
    victim.start(false);
    void victim.tell({ do: "write", run }).catch(() => undefined);
    if (!values.json && run % 10 === 0) process.stderr.write(`${run} kills, ${acknowledged().size} acknowledged\n`);
  }
  await Promise.all(members.map((member) => member.kill()));
  for (const member of members) member.start(false);
  await together();
  await waitFor("all have the same", LIMIT_MS, async () => {
    const statuses = await Promise.all(members.map((member) => member.status()));
    return new Set(statuses.map(({ digests }) => digests["soak"])).size === 1;
  });
  const told = acknowledged();
  const lost = new Set<string>();
  for (const member of members) {
    const held = new Set(await member.keys("soak"));
    for (const key of told) if (!held.has(key)) lost.add(key);
  }
  const report = { runs, acknowledged: told.size, lost: lost.size, seconds: Math.round((Date.now() - began) / 1_000) };
  process.stdout.write(
    values.json
      ? `${JSON.stringify(report)}\n`
      : `${runs} kills in ${report.seconds} s, ${told.size} writes acknowledged, ${lost.size} lost\n`,
  );
  if (lost.size > 0 || told.size === 0) process.exitCode = 1;
} finally {
  await Promise.all(members.map((member) => member.kill()));
}

/** What any of them was told is held by two. */
function acknowledged(): Set<string> {
  return new Set(members.flatMap((member) => member.acknowledged));
}

async function together(): Promise<void> {
  await waitFor("all are linked", LIMIT_MS, async () => {
    const statuses = await Promise.all(members.map((member) => member.status()));
    return statuses.every(({ links }) => links === 2);
  });
}
