/**
 * What a durable write costs through an agent: `npm run -s bench:puts -- [--json]`.
 *
 * Two agents, the other one in a process of its own, hold every key (`replicas: 2`). "single": one put after the other, each held durably by both.
 * "together": many puts at once. "bare": the same rows into a store of its own in the same run, one durable commit after the other and
 * many at once. "stall": while 100 MB of values are on their way, all handed over in one turn, the longest turn of the event loops of the
 * author and of the other replica. "reads": the same while an agent reads values of a bucket with two copies that the two others
 * hold.
 *
 * It does not tell: other stacks than the native one, a mesh of more than three, a disk that is slower than this one.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openLocalCluster } from "../../examples/local-cluster.ts";
import { openKeyRing } from "../../src/drivers/store/key-ring.ts";
import { openIn, put, secretFile } from "../contract/store/stores.ts";
import { type LongestTurn, watchTurns } from "./longest-turn.ts";
import { MemberProcess, waitFor } from "./member-process.ts";

const SINGLES = 300;
const TOGETHER = 10_000;
const VALUE = new Uint8Array(256).fill(7);
const FLIGHT_BYTES = 100_000_000;
const FLIGHT_VALUE_BYTES = [40_000, 1_000_000, 8_000_000];
/** Each key is written twice: a bucket holds 128 MiB. */
const WRITES_PER_KEY = 2;
const READ_BYTES = 24_000_000;

const { values } = parseArgs({ options: { json: { type: "boolean", default: false } } });

interface Cost {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly perSecond: number;
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}

async function timed(count: number, work: (index: number) => Promise<unknown>, isTogether: boolean): Promise<Cost> {
  const times: number[] = [];
  const one = async (index: number): Promise<void> => {
    const from = performance.now();
    await work(index);
    times.push(performance.now() - from);
  };
  const began = performance.now();
  if (isTogether) await Promise.all(Array.from({ length: count }, (_, index) => one(index)));
  else for (let index = 0; index < count; index++) await one(index);
  const seconds = (performance.now() - began) / 1_000;
  times.sort((a, b) => a - b);
  const at = (share: number): number => rounded(times[Math.floor(count * share)] as number);
  return { p50Ms: at(0.5), p99Ms: at(0.99), perSecond: Math.round(count / seconds) };
}

const folder = await mkdtemp(join(tmpdir(), "starling-puts-"));
await using cluster = await openLocalCluster();
const other = new MemberProcess(cluster, "other");
const third = new MemberProcess(cluster, "third");
try {
  const agent = await cluster.join("one");
  other.start(true);
  await waitFor("they are linked", 60_000, async () => agent.status().links.length === 1);
  const bucket = agent.bucket("bench");
  const write = (index: number) => bucket.put(`key ${index}`, VALUE, { replicas: 2, timeoutMs: 60_000 });
  await timed(1_000, write, true);
  const single = await timed(SINGLES, write, false);
  const together = await timed(TOGETHER, write, true);
  const store = await openIn("sqlite", join(folder, "store"), await openKeyRing(secretFile()));
  const row = (index: number) => store.commit([put(`bench/key ${index}`, VALUE)]);
  const bareSingle = await timed(SINGLES, row, false);
  const bareTogether = await timed(TOGETHER, row, true);
  await store.close();
  const stall: Record<string, { readonly author: LongestTurn; readonly replica: unknown }> = {};
  for (const bytes of FLIGHT_VALUE_BYTES) {
    const value = new Uint8Array(bytes).fill(9);
    const count = Math.floor(FLIGHT_BYTES / bytes);
    const flight = agent.bucket(`flight-${bytes}`);
    await other.tell({ do: "watch" });
    const watched = watchTurns();
    const put = (index: number) =>
      flight.put(`key ${Math.floor(index / WRITES_PER_KEY)}`, value, { replicas: 2, timeoutMs: 60_000 });
    await Promise.all(Array.from({ length: count }, (_, index) => put(index)));
    stall[`values of ${bytes} bytes`] = { author: watched(), replica: await other.tell({ do: "watched" }) };
  }
  third.start(true);
  await waitFor("the third is linked", 60_000, async () => agent.status().links.length === 2);
  const reads: Record<string, LongestTurn> = {};
  for (const bytes of FLIGHT_VALUE_BYTES) {
    const held = agent.bucket(`read-${bytes}`);
    await held.setPolicy({ replicas: 2 });
    const keys = Array.from({ length: Math.floor(READ_BYTES / bytes) }, (_, index) => `key ${index}`);
    await held.putMany(
      keys.map((key) => [key, new Uint8Array(bytes).fill(3)]),
      { replicas: 2, timeoutMs: 60_000 },
    );
    await waitFor(
      "copies are where they belong",
      60_000,
      async () => (await held.list({ limit: 10_000 })).length < keys.length,
    );
    const watched = watchTurns();
    const found = await Promise.all(keys.map((key) => held.get(key)));
    reads[`values of ${bytes} bytes`] = watched();
    if (found.some((entry) => entry?.value?.length !== bytes)) throw new Error("a value was not read");
  }
  const report = { single, together, bareSingle, bareTogether, stall, reads };
  if (values.json) process.stdout.write(`${JSON.stringify(report)}\n`);
  else
    for (const [name, value] of Object.entries(report))
      process.stdout.write(`${name.padEnd(14)} ${JSON.stringify(value)}\n`);
} finally {
  await other.kill();
  await third.kill();
  await rm(folder, { recursive: true, force: true });
}
