/**
 * Two copies of everything: `npm run -s bench:replicas -- [--keys 100000] [--changes 1000] [--away 600] [--json]`.
 *
 * Five agents, each in a process of its own, hold a bucket with two copies of each key, and half as many keys in a bucket that everybody
 * has. One is killed with SIGKILL: `restoredMs` is the time from the first member that declares it down until the four others hold two copies of every key, which
 * is then checked key by key. While it is away (seconds) some keys change; `rejoinBytes` is everything that passes over its links,
 * heartbeats and membership included, from its start until its copies are again what they are to be and nobody holds a third.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { openLocalCluster } from "../../examples/local-cluster.ts";
import { MemberProcess, waitFor } from "./member-process.ts";

const { values } = parseArgs({
  options: {
    keys: { type: "string", default: "100000" },
    changes: { type: "string", default: "1000" },
    away: { type: "string", default: "600" },
    json: { type: "boolean", default: false },
  },
});
const keys = Number(values.keys);
const changes = Number(values.changes);
const awaySeconds = Number(values.away);
const LIMIT_MS = 600_000;
const VALUE = "x".repeat(100);

await using cluster = await openLocalCluster();
const members = ["a", "b", "c", "d", "e"].map((name) => new MemberProcess(cluster, name));
try {
  const report = await run();
  if (values.json) process.stdout.write(`${JSON.stringify(report)}\n`);
  else
    for (const [name, value] of Object.entries(report)) process.stdout.write(`${name.padEnd(20)} ${String(value)}\n`);
  process.exitCode = report.complete ? 0 : 1;
} finally {
  await Promise.all(members.map((member) => member.kill()));
}

/** Copies of the bucket "two" among these, as they count them. */
async function copies(of: readonly MemberProcess[]): Promise<number> {
  const statuses = await Promise.all(of.map((member) => member.status()));
  return statuses.reduce((sum, { keys: held }) => sum + (held["two"] ?? 0), 0);
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

async function run(): Promise<Record<string, number | boolean> & { readonly complete: boolean }> {
  const [first, ...others] = members as [MemberProcess, ...MemberProcess[]];
  const victim = others.pop() as MemberProcess;
  const survivors = [first, ...others];
  for (const member of members) member.start(true);
  await waitFor("all know each other", LIMIT_MS, async () => {
    const statuses = await Promise.all(members.map((member) => member.status()));
    return statuses.every(({ alive, links }) => alive === 5 && links === 4);
  });
  await first.tell({ do: "policy", bucket: "two", replicas: 2 });
  await sleep(2_000);
  const filling = Date.now();
  await first.tell({ do: "fill", bucket: "two", from: 0, to: keys, value: VALUE });
  await first.tell({ do: "fill", bucket: "all", from: 0, to: keys / 2, value: VALUE });
  const fillMs = Date.now() - filling;
  await waitFor("two copies of everything", LIMIT_MS, async () => (await copies(members)) === 2 * keys);
  await waitFor("the rest everywhere", LIMIT_MS, () => isEqual(members));
  await victim.kill();
  const killedAt = Date.now();
  await waitFor("it is declared down", LIMIT_MS, async () => survivors.some(({ downAt }) => downAt.has("e")));
  const downAt = Math.min(...survivors.map((member) => member.downAt.get("e") ?? Number.POSITIVE_INFINITY));
  await waitFor("two copies again", LIMIT_MS, async () => (await copies(survivors)) === 2 * keys);
  const restoredMs = Date.now() - downAt;
  const isRestored = await isComplete(survivors);
  await first.tell({ do: "fill", bucket: "two", from: 0, to: changes, value: `new ${VALUE}` });
  await first.tell({ do: "fill", bucket: "all", from: 0, to: changes, value: `new ${VALUE}` });
  await sleep(Math.max(0, awaySeconds * 1_000 - (Date.now() - killedAt)));
  victim.start(false);
  const rejoinMs = await waitFor("it has its copies, and nobody a third", LIMIT_MS, async () => {
    const { links, keys: held } = await victim.status();
    return links === 4 && (held["two"] ?? 0) > 0 && (await copies(members)) === 2 * keys && (await isEqual(members));
  });
  const { bytes } = await victim.status();
  const complete = isRestored && (await isComplete(members));
  return { keys, changes, fillMs, downAfterMs: downAt - killedAt, restoredMs, rejoinMs, rejoinBytes: bytes, complete };
}
