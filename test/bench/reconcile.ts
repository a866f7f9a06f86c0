/**
 * Reconciliation of two large sets, beside what the `negentropy` algorithm publishes for the same task:
 *
 *     npm run -s bench:reconcile -- [--items 1000000] [--differences 100] [--seed 1] [--json]
 *
 * Two sets share `items` random ids but for `differences`, half of which are on either side. Two reconcilers exchange
 * real frames over a link of one round trip's latency; the bytes are those of all frames, both ways, without the link's own
 * framing. `roundTrips` is when the asking side has finished (what it then still tells the other goes one way, like
 * the entries themselves). `cpuMs` is the CPU time of the thread spent in both machines, the mean of several exchanges where they are short, with the
 * code warmed up by exchanges between smaller sets; `coldCpuMs` is the first of those. What was
 * found is checked against the truth; anything else ends with exit 1. `maintenance` is what a write costs: the sums that
 * exchanges live on.
 */
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { SeededRandom } from "../../src/proto/random.ts";
import type { IdSet } from "../../src/proto/reconcile/id-set.ts";
import { addIds, emptySet, nameOf, Pair, randomIds } from "../proto/reconcile/pair.ts";

/** Bytes for 1,000,000 ids, as published. */
const NEGENTROPY: Readonly<Record<number, string>> = {
  0: "676 B",
  100: "336 KB",
  1000: "2.78 MB",
  10000: "22.4 MB",
};

const { values } = parseArgs({
  options: {
    items: { type: "string", default: "1000000" },
    differences: { type: "string", default: "100" },
    seed: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
  },
});
const items = Number(values.items);
const differences = Number(values.differences);
const seed = Number(values.seed);
if (![items, differences, seed].every((value) => Number.isSafeInteger(value) && value >= 0) || differences > items) {
  process.stderr.write("items, differences and seed are whole numbers, and there are no more differences than items\n");
  process.exit(2);
}

const random = new SeededRandom(seed);
const clock = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
};
setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

// Ids 0 to half are Alice's alone, those from there to `differences` Bob's, the rest is common.
const half = Math.floor(differences / 2);
const common = items - Math.ceil(differences / 2);
const ids = randomIds(random.fork("ids"), differences + common);
const buildFrom = clock();
const alice = addIds(emptySet(), ids, 0, half);
addIds(alice, ids, differences);
const buildMs = clock() - buildFrom;
const before = memory();
const bob = addIds(emptySet(), ids, half);
const bytesPerItem = (memory() - before) / bob.size;

// The code as it is in an agent that has been running for a while.
const warmIds = randomIds(random.fork("warm"), 200_200);
const warmAlice = addIds(emptySet(), warmIds, 0, 200_100);
const warmBob = addIds(emptySet(), warmIds, 100);
let coldCpuMs: number | undefined;
for (let round = 0; round < 60; round++) {
  const { spentMs } = new Pair(warmAlice, warmBob, round, {}, clock).run();
  coldCpuMs ??= spentMs;
}

const pair = new Pair(alice, bob, seed, {}, clock).run();
const exact = isExact(pair);
// The system counts CPU time in steps of up to 4 ms.
const REPEATS = differences < 10_000 ? 40 : 1;
let spentMs = pair.spentMs;
for (let again = 1; again < REPEATS; again++) spentMs += new Pair(alice, bob, seed, {}, clock).run().spentMs;
const maintenance = maintain(bob);
const report = {
  items,
  differences,
  seed,
  bytes: pair.bytes,
  roundTrips: pair.roundTrips,
  cpuMs: rounded(spentMs / REPEATS),
  longestCallMs: rounded(pair.longestMs),
  coldCpuMs: rounded(coldCpuMs ?? 0),
  messages: pair.messages,
  exact,
  listingBytes: 16 * (alice.size + Math.ceil(differences / 2)),
  negentropy: items === 1_000_000 ? (NEGENTROPY[differences] ?? null) : null,
  maintenance,
  buildMs: Math.round(buildMs),
  bytesPerItem: rounded(bytesPerItem),
};
if (values.json) process.stdout.write(`${JSON.stringify(report)}\n`);
else {
  for (const [name, value] of Object.entries(report)) {
    process.stdout.write(`${name.padEnd(16)} ${typeof value === "object" ? JSON.stringify(value) : value}\n`);
  }
}
process.exitCode = exact ? 0 : 1;

function memory(): number {
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}

function names(from: number, to: number): Set<string> {
  const found = new Set<string>();
  for (let at = from * 4; at < to * 4; at += 4) {
    const [a = 0, b = 0, c = 0, d = 0] = ids.subarray(at, at + 4);
    found.add(nameOf(a, b, c, d));
  }
  return found;
}

/** Whether both sides know exactly what they lack, and Alice what Bob lacks. */
function isExact(run: Pair): boolean {
  const onlyAlice = names(0, half);
  const onlyBob = names(half, differences);
  const ending = differences === 0 ? "equal" : "complete";
  return (
    run.faults.length === 0 &&
    run.endings.join() === ending &&
    isSame(run.alice.missing, onlyBob) &&
    isSame(run.alice.surplus, onlyAlice) &&
    isSame(run.bob.missing, onlyAlice)
  );
}

function isSame(left: ReadonlySet<string>, right: ReadonlySet<string>): boolean {
  return left.size === right.size && [...left].every((name) => right.has(name));
}

/** Replaces 100,000 ids one by one: a removal and an addition each, as an overwritten key causes. */
function maintain(set: IdSet): { readonly microsecondsPerWrite: number } {
  const writes = Math.min(100_000, set.size);
  const fresh = randomIds(random.fork("writes"), writes);
  const from = clock();
  for (let write = 0; write < writes; write++) {
    const at = (differences + write) * 4;
    if (at < ids.length) {
      set.remove(ids[at] as number, ids[at + 1] as number, ids[at + 2] as number, ids[at + 3] as number);
    }
    addIds(set, fresh, write, write + 1);
  }
  return { microsecondsPerWrite: rounded(((clock() - from) * 1_000) / Math.max(1, writes)) };
}
