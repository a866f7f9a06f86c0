/**
 * Goal: no write is lost that was acknowledged, whenever an agent is killed. Method: three agents, each in a process of its own, write
 * without end, each write to be held by two; after a random time one of them gets SIGKILL and starts again. After every 50 kills all are killed at once and
 * started again, every write that any of them was told is held must be at all of them, and the next 50 are of a fresh cluster.
 *
 *     npm run soak:agents -- --runs 1000 [--json]
 *
 * A kill comes after up to 1.5 s, so each agent lives 2.25 s on average: some are killed while they start, most while they write. 1,000 runs take about
 * 20 minutes of two cores, most of which are starts; members keep compiled code from start to start. The cluster is a fresh one now and then because what is
 * written without end would fill the bucket, and from there on nothing would be written: a soak in which less is acknowledged than a few
 * writes for each kill has tested nothing, and fails.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { openLocalCluster } from "../../examples/local-cluster.ts";
import { MemberProcess, waitFor } from "../bench/member-process.ts";

const MAX_RUNS = 10_000;
/** From one kill to the next at most, ms. */
const MAX_RUN_MS = 1_500;
/** Kills of one cluster: it writes some 20,000 keys meanwhile, of 262,144 that a bucket takes. */
const SERIES = 50;
const LIMIT_MS = 300_000;
const LEAST_ACKNOWLEDGED_PER_RUN = 10;

const { values } = parseArgs({
  options: { runs: { type: "string", default: "100" }, json: { type: "boolean", default: false } },
});
const runs = Number(values.runs);
if (!Number.isSafeInteger(runs) || runs < 1 || runs > MAX_RUNS) throw new Error("--runs is from 1 to 10000");

const began = Date.now();
const report = { runs: 0, acknowledged: 0, lost: 0, seconds: 0 };
while (report.runs < runs && report.lost === 0) {
  const { acknowledged, lost } = await series(Math.min(SERIES, runs - report.runs));
  report.runs += Math.min(SERIES, runs - report.runs);
  report.acknowledged += acknowledged;
  report.lost += lost;
  report.seconds = Math.round((Date.now() - began) / 1_000);
  if (!values.json) process.stderr.write(`${line()}\n`);
}
process.stdout.write(`${values.json ? JSON.stringify(report) : line()}\n`);
if (report.lost > 0 || report.acknowledged < report.runs * LEAST_ACKNOWLEDGED_PER_RUN) process.exitCode = 1;

function line(): string {
  return `${report.runs} kills in ${report.seconds} s, ${report.acknowledged} writes acknowledged, ${report.lost} lost`;
}

/** So many kills of the members of one cluster, and what they have cost. */
async function series(kills: number): Promise<{ readonly acknowledged: number; readonly lost: number }> {
  await using cluster = await openLocalCluster();
  const members = ["a", "b", "c"].map((name) => new MemberProcess(cluster, name));
  try {
    for (const member of members) member.start(true);
    await together(members);
    for (const member of members) void member.tell({ do: "write", run: 0 }).catch(() => undefined);
    for (let run = 1; run <= kills; run++) {
      await sleep(Math.random() * MAX_RUN_MS);
      const victim = members[Math.floor(Math.random() * members.length)] as MemberProcess;
      await victim.kill();
      victim.start(false);
      void victim.tell({ do: "write", run }).catch(() => undefined);
    }
    await Promise.all(members.map((member) => member.kill()));
    for (const member of members) member.start(false);
    await together(members);
    await waitFor("all have the same", LIMIT_MS, async () => {
      const statuses = await Promise.all(members.map((member) => member.status()));
      return new Set(statuses.map(({ digests }) => digests["soak"])).size === 1;
    });
    const told = new Set(members.flatMap((member) => member.acknowledged));
    const lost = new Set<string>();
    for (const member of members) {
      const held = new Set(await member.keys("soak"));
      for (const key of told) if (!held.has(key)) lost.add(key);
    }
    return { acknowledged: told.size, lost: lost.size };
  } finally {
    await Promise.all(members.map((member) => member.kill()));
  }
}

async function together(members: readonly MemberProcess[]): Promise<void> {
  await waitFor("all are linked", LIMIT_MS, async () => {
    const statuses = await Promise.all(members.map((member) => member.status()));
    return statuses.every(({ links }) => links === 2);
  });
}
