/**
 * What a durable write costs through an agent: `npm run -s bench:puts -- [--json]`.
 *
 * Two agents, the other one in a process of its own, hold every key (`replicas: 2`). "single": one put after the other, each held durably by both.
 * "together": many puts at once. "bare": the same rows into a store of its own in the same run, one durable commit after the other and
 * many at once. "stall": while 100 MB of values are on their way, the longest turn of this agent's event loop, in CPU time of its thread (what a
 * machine that is busy with other things adds is none of ours) and by the clock.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openLocalCluster } from "../../examples/local-cluster.ts";
import { openKeyRing } from "../../src/drivers/store/key-ring.ts";
import { openIn, put, secretFile } from "../contract/store/stores.ts";
import { MemberProcess, waitFor } from "./member-process.ts";

const SINGLES = 300;
const TOGETHER = 10_000;
const VALUE = new Uint8Array(256).fill(7);
const FLIGHT_BYTES = 100_000_000;
const FLIGHT_VALUE_BYTES = [40_000, 1_000_000, 8_000_000];
/** Of values on their way the API takes 64 MiB; the rest waits its turn. */
const AT_ONCE_BYTES = 50_000_000;

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

/** The longest turn of the event loop while `work` goes on, in CPU time of this thread and by the clock, ms. */
async function longestTurn(
  work: () => Promise<unknown>,
): Promise<{ readonly cpuMs: number; readonly clockMs: number }> {
  let cpuMs = 0;
  let clockMs = 0;
  let isOver = false;
  let cpu = process.threadCpuUsage();
  let clock = performance.now();
  const look = (): void => {
    const used = process.threadCpuUsage(cpu);
    const now = performance.now();
    cpuMs = Math.max(cpuMs, (used.user + used.system) / 1_000);
    clockMs = Math.max(clockMs, now - clock);
    cpu = process.threadCpuUsage();
    clock = now;
    if (!isOver) setImmediate(look);
  };
  setImmediate(look);
  await work();
  isOver = true;
  return { cpuMs: rounded(cpuMs), clockMs: rounded(clockMs) };
}

const folder = await mkdtemp(join(tmpdir(), "starling-puts-"));
await using cluster = await openLocalCluster();
const other = new MemberProcess(cluster, "other");
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
  const stall: Record<string, { readonly cpuMs: number; readonly clockMs: number }> = {};
  for (const bytes of FLIGHT_VALUE_BYTES) {
    const value = new Uint8Array(bytes).fill(9);
    const count = Math.floor(FLIGHT_BYTES / bytes);
    const atOnce = Math.floor(AT_ONCE_BYTES / bytes);
    const flight = agent.bucket(`flight-${bytes}`);
    stall[`values of ${bytes} bytes`] = await longestTurn(async () => {
      let next = 0;
      // Each key is written several times: a bucket holds 128 MiB.
      const writer = async (key: number): Promise<void> => {
        while (next++ < count) await flight.put(`key ${key}`, value, { replicas: 2, timeoutMs: 60_000 });
      };
      await Promise.all(Array.from({ length: atOnce }, (_, key) => writer(key)));
    });
  }
  const report = { single, together, bareSingle, bareTogether, stall };
  if (values.json) process.stdout.write(`${JSON.stringify(report)}\n`);
  else
    for (const [name, value] of Object.entries(report))
      process.stdout.write(`${name.padEnd(14)} ${JSON.stringify(value)}\n`);
} finally {
  await other.kill();
  await rm(folder, { recursive: true, force: true });
}
