/**
 * Two copies of everything: `npm run -s bench:replicas -- [--keys 100000] [--changes 0,100,1000] [--away 600] [--json]`.
 *
 * Five agents, each in a process of its own, hold a bucket with two copies of each key, and half as many keys in a bucket that everybody
 * has. One is killed with SIGKILL: `restoredMs` is the time from the first member that declares it down until the four others hold two copies of every key, which
 * is then checked key by key. While it is away (seconds) so many keys of each bucket change; `rejoinBytes` is everything that passes over its links,
 * heartbeats and membership included, from its start until its copies are again what they are to be and nobody holds a third. `bytesPerKey` is that,
 * less what a return to no change costs, for each change that concerns the member. So for each number of changes, one absence after the other.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { openLocalCluster } from "../../examples/local-cluster.ts";
import { MemberProcess, waitFor } from "./member-process.ts";

const { values } = parseArgs({
  options: {
    keys: { type: "string", default: "100000" },
    changes: { type: "string", default: "0,100,1000" },
    away: { type: "string", default: "600" },
    json: { type: "boolean", default: false },
  },
});
const keys = Number(values.keys);
const absences = values.changes.split(",").map(Number);
const awaySeconds = Number(values.away);
const LIMIT_MS = 600_000;
/** Longer than a member waits with what it has to hand over. */
const REST_MS = 5_000;
const VALUE = "x".repeat(100);

await using cluster = await openLocalCluster();
const members = ["a", "b", "c", "d", "e"].map((name) => new MemberProcess(cluster, name));
const victim = members[4] as MemberProcess;
const survivors = members.slice(0, 4);
try {
  const fillMs = await fill();
  process.stderr.write(`${keys} keys and ${keys / 2} everywhere, written in ${fillMs} ms\n`);
  let resting = 0;
  for (const [round, changes] of absences.entries()) {
    const { concerned, ...absence } = await leave(round, changes);
    if (changes === 0) resting = absence.rejoinBytes;
    const bytesPerKey = concerned === 0 ? 0 : Math.round((absence.rejoinBytes - resting) / concerned);
    const report = { keys, ...absence, bytesPerKey };
    if (values.json) process.stdout.write(`${JSON.stringify(report)}\n`);
    else
      process.stdout.write(
        `${Object.entries(report)
          .map(([name, value]) => `${name} ${value}`)
          .join("  ")}\n`,
      );
    if (!absence.complete) process.exitCode = 1;
  }
} finally {
  await Promise.all(members.map((member) => member.kill()));
}

/** What an absence has cost; `concerned`: how many changes the member was to have. */
interface Absence {
  readonly changes: number;
  readonly concerned: number;
  readonly downAfterMs: number;
  readonly restoredMs: number;
  readonly rejoinMs: number;
  readonly rejoinBytes: number;
  readonly complete: boolean;
}

/** Copies of the bucket "two" among these, as they count them. */
async function copies(of: readonly MemberProcess[]): Promise<number> {
  const statuses = await Promise.all(of.map((member) => member.status()));
  return statuses.reduce((sum, { keys: held }) => sum + (held["two"] ?? 0), 0);
}

/** Whether there are two copies of everything and none is on its way: one that waits to be handed over counts like one in its place. */
async function isAtRest(): Promise<boolean> {
  const counts = async (): Promise<string> => {
    const statuses = await Promise.all(members.map((member) => member.status()));
    return statuses.map(({ keys: held }) => held["two"] ?? 0).join();
  };
  const before = await counts();
  await sleep(REST_MS);
  return before === (await counts()) && (await copies(members)) === 2 * keys;
}

/** Whether each of the keys is held twice among these. */
async function isComplete(of: readonly MemberProcess[]): Promise<boolean> {
  const held = new Map<string, number>();
  for (const member of of) for (const key of await member.keys("two")) held.set(key, (held.get(key) ?? 0) + 1);
  return held.size === keys && [...held.values()].every((count) => count === 2);
}

/** Whether all have the same in the bucket that everybody has. */
async function isEqual(of: readonly MemberProcess[]): Promise<boolean> {
  const statuses = await Promise.all(of.map((member) => member.status()));
  return new Set(statuses.map(({ digests }) => digests["all"])).size === 1;
}

/** Starts all, and writes the keys. Returns how long that took, ms. */
async function fill(): Promise<number> {
  for (const member of members) member.start(true);
  await waitFor("all know each other", LIMIT_MS, async () => {
    const statuses = await Promise.all(members.map((member) => member.status()));
    return statuses.every(({ alive, links }) => alive === 5 && links === 4);
  });
  await survivors[0]?.tell({ do: "policy", bucket: "two", replicas: 2 });
  await sleep(2_000);
  const began = Date.now();
  await write(keys, keys / 2, VALUE);
  const fillMs = Date.now() - began;
  await waitFor("all is where it belongs", LIMIT_MS, isAtRest);
  await waitFor("the rest everywhere", LIMIT_MS, () => isEqual(members));
  return fillMs;
}

/** Writes the first so many keys of the bucket with two copies, and of that which everybody has. */
async function write(two: number, all: number, value: string): Promise<void> {
  const writer = survivors[0] as MemberProcess;
  await writer.tell({ do: "fill", bucket: "two", from: 0, to: two, value });
  await writer.tell({ do: "fill", bucket: "all", from: 0, to: all, value });
}

/** One absence, in which so many keys of each bucket change. */
async function leave(round: number, changes: number): Promise<Absence> {
  for (const member of survivors) member.downAt.clear();
  await victim.kill();
  const killedAt = Date.now();
  await waitFor("it is declared down", LIMIT_MS, async () => survivors.some(({ downAt }) => downAt.has("e")));
  const downAt = Math.min(...survivors.map((member) => member.downAt.get("e") ?? Number.POSITIVE_INFINITY));
  await waitFor("two copies again", LIMIT_MS, async () => (await copies(survivors)) === 2 * keys);
  const restoredMs = Date.now() - downAt;
  const isRestored = await isComplete(survivors);
  await write(changes, changes, `${round} ${VALUE}`);
  await sleep(Math.max(0, awaySeconds * 1_000 - (Date.now() - killedAt)));
  victim.start(false);
  const rejoinMs = await waitFor("it has its copies, and nobody a third", LIMIT_MS, async () => {
    const { links, keys: held } = await victim.status();
    return links === 4 && (held["two"] ?? 0) > 0 && (await copies(members)) === 2 * keys && (await isEqual(members));
  });
  const { bytes: rejoinBytes } = await victim.status();
  const mine = new Set(await victim.keys("two"));
  const concerned = Array.from({ length: changes }, (_, index) => `key ${index}`).filter((key) => mine.has(key)).length;
  const complete = isRestored && (await isComplete(members));
  const downAfterMs = downAt - killedAt;
  return { changes, concerned: concerned + changes, downAfterMs, restoredMs, rejoinMs, rejoinBytes, complete };
}
