/**
 * A signaling server beside a bare `ws` server, in one run: how fast connections come, what each costs, and what happens when
 * the server is killed with all of them attached.
 *
 *     npm run -s bench:signaling -- [--connections 10000] [--rounds 3] [--json]
 *
 * A round: all connect (`first`: logins, two Ed25519 checks each), ask for their tickets within ten seconds, the server is killed, and all are called
 * back to the next one, as many at a time (`again`: by ticket). The bare server goes through the same. The clients run on the same machine, in one process,
 * and sign there: `mainMsEach` and `serverMsEach` are what the server's main thread and its process take for each connection, which is what
 * limits a server whose clients are elsewhere; `clientMsEach` is what the crowd takes. The server writes no audit log, which costs it a
 * signature for each session. In the first round it is killed once more with all attached, and they come back by themselves, which is
 * when `allBackMs` and `peakPerSecond` are taken. A table of the medians goes to stderr.
 *
 * Targets: connect rate with admission at least 0.7 of bare ws, for logins and for tickets; at most 14 KiB each; after the kill all are back
 * within 10 s, and no second sees more than half of them. Exit 1 when one is missed.
 */
import { type ChildProcess, fork } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { nodeCrypto } from "../../src/drivers/crypto.ts";
import { createCluster } from "../../src/drivers/state/create-cluster.ts";
import { clientLimits } from "../../src/proto/signaling/limits.ts";
import type { CrowdOrder, CrowdReport } from "./signaling-crowd.ts";
import type { ServerUsage } from "./signaling-server.ts";

const { values } = parseArgs({
  options: {
    connections: { type: "string", default: "10000" },
    rounds: { type: "string", default: "3" },
    json: { type: "boolean", default: false },
  },
});
const connections = Number(values.connections);
/** How long the server stays away after it was killed, ms: a restart by a supervisor. */
const AWAY_MS = 1_000;
/** The same where those who were lost stay away: they try after 0.5 s and after 2 s more, and then not for 8 s. */
const STAYING_MS = 2_800;
/** After this long a session counts as one that held, and its loss as the first of an outage, ms. */
const HELD_MS = clientLimits.healthyMs + 1_000;
/** How long all may take to have their tickets, ms. */
const TICKETS_MS = 30_000;
const folder = await mkdtemp(join(tmpdir(), "starling-bench-"));
const { issuingKeyFile } = await createCluster(folder, {}, nodeCrypto());
const children = new Set<ChildProcess>();

function child(file: string, args: readonly string[]): ChildProcess {
  const started = fork(join(import.meta.dirname, file), args, { execArgv: ["--expose-gc"] });
  children.add(started);
  started.once("exit", () => children.delete(started));
  return started;
}

function heard<T>(from: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    const died = (): void => reject(new Error("a process of the bench has died"));
    from.once("exit", died);
    from.once("message", (message) => {
      from.off("exit", died);
      resolve(message as T);
    });
  });
}

async function ended(one: ChildProcess, signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
  const exit = new Promise((resolve) => one.once("exit", resolve));
  one.kill(signal);
  await exit;
}

async function server(kind: CrowdOrder["kind"], port = 0) {
  const process = child("signaling-server.ts", [kind, folder, String(port)]);
  const listening = await heard<{ port: number }>(process);
  const usage = async (): Promise<ServerUsage> => {
    const answer = heard<ServerUsage>(process);
    process.send("usage");
    return answer;
  };
  return { process, port: listening.port, usage };
}

async function crowd(kind: CrowdOrder["kind"], port: number): Promise<ChildProcess> {
  const order: CrowdOrder = { kind, port, count: connections, folder, issuingKeyFile };
  const process = child("signaling-crowd.ts", [JSON.stringify(order)]);
  await heard<CrowdReport>(process);
  return process;
}

type Server = Awaited<ReturnType<typeof server>>;

/** One round of one kind: all connect, the server dies and all are called back to the next one; with `restart` once more, by themselves. */
async function round(kind: CrowdOrder["kind"], restart: boolean) {
  const first = await server(kind);
  const people = await crowd(kind, first.port);
  const figures = await connect(first, people);
  const tickets = kind === "ours" ? await allHaveTickets(first) : undefined;
  const staying = heard<CrowdReport>(people);
  people.send("stay");
  await staying;
  await ended(first.process, "SIGKILL");
  await pause(STAYING_MS);
  const second = await server(kind, first.port);
  const again = await connect(second, people);
  const recovery = restart ? await kill(second, people) : undefined;
  await ended(people);
  if (!restart) await ended(second.process);
  return { ...figures, ...(tickets && { tickets }), again, ...recovery };
}

/** All connect; what it cost. */
async function connect(to: Server, people: ChildProcess) {
  const before = await to.usage();
  const connected = heard<Extract<CrowdReport, { type: "connected" }>>(people);
  people.send("connect");
  const { ms, cpuMs, failures } = await connected;
  const after = await to.usage();
  return {
    perSecond: Math.round((1_000 * connections) / ms),
    serverMsEach: round3((after.cpuMs - before.cpuMs) / connections),
    mainMsEach: round3((after.mainMs - before.mainMs) / connections),
    clientMsEach: round3(cpuMs / connections),
    kibEach: round3((1_024 * (after.rssMiB - before.rssMiB)) / connections),
    heapKibEach: round3((1_024 * (after.heapMiB - before.heapMiB)) / connections),
    resumed: after.counters?.resumed ?? 0,
    failures,
  };
}

/** Waits until all have asked for their ticket, which they do within ten seconds; what that cost the server. */
async function allHaveTickets(of: Server) {
  const before = await of.usage();
  let usage = before;
  for (const until = performance.now() + TICKETS_MS; performance.now() < until; ) {
    usage = await of.usage();
    if ((usage.counters?.tickets ?? 0) >= connections) break;
    await pause(1_000);
  }
  return {
    given: usage.counters?.tickets ?? 0,
    kibEach: round3((1_024 * (usage.rssMiB - before.rssMiB)) / connections),
  };
}

/** All attached, for long enough, the server is killed and started again, and they come back by themselves. */
async function kill(first: Server, people: ChildProcess) {
  await pause(HELD_MS);
  people.send("watch");
  const back = heard<Extract<CrowdReport, { type: "back" }>>(people);
  await ended(first.process, "SIGKILL");
  await pause(AWAY_MS);
  const up = performance.now();
  const second = await server("ours", first.port);
  const upMs = performance.now() - up;
  const { atMs } = await back;
  const { counters } = await second.usage();
  const perSecond = new Map<number, number>();
  for (const at of atMs) perSecond.set(Math.floor(at / 1_000), (perSecond.get(Math.floor(at / 1_000)) ?? 0) + 1);
  await ended(second.process);
  return {
    serverStartMs: Math.round(upMs),
    allBackMs: Math.round((atMs.at(-1) ?? 0) - AWAY_MS),
    peakPerSecond: Math.max(...perSecond.values()),
    backByTicket: counters?.resumed ?? 0,
  };
}

/** What the table shows of each connection. */
const TIMES = ["perSecond", "serverMsEach", "mainMsEach", "clientMsEach"] as const;
type Time = (typeof TIMES)[number];
const round3 = (value: number): number => Math.round(value * 1_000) / 1_000;
const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0;

try {
  const bare: Awaited<ReturnType<typeof round>>[] = [];
  const ours: Awaited<ReturnType<typeof round>>[] = [];
  for (let index = 0; index < Number(values.rounds); index++) {
    bare.push(await round("bare", false));
    ours.push(await round("ours", index === 0));
  }
  const ratio = median(ours.map((one, index) => one.perSecond / (bare[index]?.perSecond ?? 1)));
  const ratioAgain = median(ours.map((one, index) => one.again.perSecond / (bare[index]?.again.perSecond ?? 1)));
  // What the server alone would allow, were its clients elsewhere: by its busiest thread, and by all that it takes of the machine.
  const cost = (kind: typeof ours, time: Time): number => median(kind.map((one) => one[time]));
  const costAgain = (kind: typeof ours, time: Time): number => median(kind.map((one) => one.again[time]));
  const serverRatios = {
    first: {
      main: round3(cost(bare, "mainMsEach") / cost(ours, "mainMsEach")),
      process: round3(cost(bare, "serverMsEach") / cost(ours, "serverMsEach")),
    },
    again: {
      main: round3(costAgain(bare, "mainMsEach") / costAgain(ours, "mainMsEach")),
      process: round3(costAgain(bare, "serverMsEach") / costAgain(ours, "serverMsEach")),
    },
  };
  for (const [name, of] of [
    ["first", cost],
    ["again", costAgain],
  ] as const) {
    for (const [whose, kind] of [
      ["bare ws", bare],
      ["ours", ours],
    ] as const) {
      const columns = TIMES.map((time) => `${time} ${round3(of(kind, time))}`).join("  ");
      process.stderr.write(`${name}  ${whose.padEnd(8)}${columns}\n`);
    }
  }
  const kibEach = median(ours.map((one) => one.kibEach));
  const {
    allBackMs = Number.NaN,
    peakPerSecond = Number.NaN,
    serverStartMs,
  } = ours[0] as Partial<Awaited<ReturnType<typeof kill>>>;
  const failures = [
    ...(ratio >= 0.7 ? [] : [`connect rate by logins ${round3(ratio)} of bare ws, at least 0.7 wanted`]),
    ...(ratioAgain >= 0.7 ? [] : [`connect rate by tickets ${round3(ratioAgain)} of bare ws, at least 0.7 wanted`]),
    ...(kibEach <= 14 ? [] : [`${kibEach} KiB each, at most 14 wanted`]),
    ...(allBackMs <= 10_000 ? [] : [`all back after ${allBackMs} ms, at most 10,000 wanted`]),
    ...(peakPerSecond <= connections / 2 ? [] : [`${peakPerSecond} came back in one second`]),
  ];
  const report = {
    connections,
    bare,
    ours,
    ratio: round3(ratio),
    ratioAgain: round3(ratioAgain),
    serverRatios,
    kibEach,
    allBackMs,
    peakPerSecond,
    serverStartMs,
    ok: failures.length === 0,
    failures,
  };
  process.stdout.write(`${values.json ? JSON.stringify(report) : JSON.stringify(report, null, 2)}\n`);
  process.exitCode = report.ok ? 0 : 1;
} finally {
  for (const one of children) one.kill("SIGKILL");
  await rm(folder, { recursive: true, force: true });
}
