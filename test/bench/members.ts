/**
 * Membership of real agents on one machine: how long until all have joined, how soon a SIGKILL is known to every survivor,
 * how quiet an idle cluster is, and whether anybody is declared dead who is not.
 *
 *     npm run -s bench:members -- [--nodes 30] [--kills 20] [--idle 600] [--rtc native] [--json]
 *
 * Every agent is a process of its own. Frames are what agents hand to their links (probes and answers, gossip); UDP datagrams
 * are the kernel's count for the whole machine, WebRTC's own consent checks and acknowledgements included. Where Debian's
 * `serf` is installed, the same number of serf agents is killed in the same way beside it (`--serf`).
 */
import { readFileSync } from "node:fs";
import { enableCompileCache } from "node:module";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Fleet, type FleetNode } from "../../src/demo/fleet.ts";
import { serfDetection } from "./serf.ts";

const { values } = parseArgs({
  options: {
    nodes: { type: "string", default: "30" },
    kills: { type: "string", default: "20" },
    idle: { type: "string", default: "600" },
    rtc: { type: "string", default: "native" },
    serf: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const nodes = Number(values.nodes);
const kills = Number(values.kills);
const idleSeconds = Number(values.idle);

// What the launcher of the command does; the agents of the fleet share it.
enableCompileCache(fileURLToPath(new URL("../../node_modules/.cache/starling", import.meta.url)));
const fleet = await Fleet.create({ nodes: nodes + kills, rtc: values.rtc });
process.once("exit", () => fleet.killAll());
try {
  const report: Record<string, unknown> = { nodes, rtc: values.rtc };
  report["joinedEverywhereMs"] = await joinAll();
  say(`all ${nodes} joined everywhere after ${report["joinedEverywhereMs"]} ms`);
  // A quiet start: links that are not wanted any more go after their grace.
  await pause(35_000);
  report["idle"] = await idle();
  say(`idle: ${JSON.stringify(report["idle"])}`);
  report["detectionMs"] = summary(await killSome());
  say(`detection: ${JSON.stringify(report["detectionMs"])}`);
  if (values.serf) report["serfDetectionMs"] = summary(await serfDetection(nodes, Math.min(kills, 5)));
  process.stdout.write(`${JSON.stringify(report)}\n`);
} finally {
  await fleet.stop();
}

function say(line: string): void {
  if (!values.json) process.stderr.write(`${line}\n`);
}

async function joinAll(): Promise<number> {
  const began = performance.now();
  for (let count = 0; count < nodes; count++) await fleet.add();
  await until(async () => {
    for (const node of fleet.nodes) if ((await alive(node)) < nodes) return false;
    return true;
  }, 120_000);
  return Math.round(performance.now() - began);
}

/** Kills one after the other; the times until each survivor knew. */
async function killSome(): Promise<number[]> {
  const times: number[] = [];
  for (let count = 0; count < kills; count++) {
    const victim = fleet.nodes[count % fleet.nodes.length];
    if (!victim) break;
    const began = performance.now();
    const survivors = fleet.nodes.filter((node) => node !== victim);
    const seen = survivors.map((node) => noticed(node, victim.name, began));
    await pause(50);
    const killedAt = performance.now();
    await fleet.kill(victim);
    const taken = (await Promise.all(seen)).map((at) => at - killedAt);
    times.push(...taken);
    say(`${victim.name} killed: ${JSON.stringify(summary(taken))}`);
    fleet.start(victim);
    await until(async () => {
      for (const node of fleet.nodes) if ((await alive(node)) < nodes) return false;
      return true;
    }, 60_000);
  }
  return times;
}

/** When `node` first holds `name` for down: its agent says so itself, as it happens. */
async function noticed(node: FleetNode, name: string, began: number): Promise<number> {
  await fleet.call(node, "demo.awaitDown", { name });
  const at = performance.now();
  if (at < began) throw new Error("time goes back");
  return at;
}

async function idle(): Promise<Record<string, number>> {
  const before = await frames();
  const udpBefore = udpSent();
  const downBefore = await downs();
  await pause(idleSeconds * 1_000);
  const sent = (await frames()) - before;
  return {
    seconds: idleSeconds,
    framesPerNodeAndSecond: round(sent / nodes / idleSeconds),
    udpPerNodeAndSecond: round((udpSent() - udpBefore) / nodes / idleSeconds),
    falseDeaths: (await downs()) - downBefore,
  };
}

interface Counted {
  readonly framesSent: number;
  readonly downs: number;
}

async function counters(): Promise<Counted[]> {
  return Promise.all(fleet.nodes.map(async (node) => (await fleet.call(node, "demo.counters", {})) as Counted));
}

async function frames(): Promise<number> {
  return (await counters()).reduce((sum, { framesSent }) => sum + framesSent, 0);
}

async function downs(): Promise<number> {
  return (await counters()).reduce((sum, { downs }) => sum + downs, 0);
}

async function alive(node: FleetNode): Promise<number> {
  const status = await fleet.status(node);
  return status?.members.filter((member) => member.state === "alive").length ?? 0;
}

/** Datagrams sent since the machine started; a dual-stack socket counts as IPv6 whatever it sends. */
function udpSent(): number {
  const [names, values] = readFileSync("/proc/net/snmp", "utf8")
    .split("\n")
    .filter((line) => line.startsWith("Udp:"))
    .map((line) => line.split(" "));
  const ipv4 = Number(values?.[names?.indexOf("OutDatagrams") ?? -1] ?? 0);
  const ipv6 = Number(/^Udp6OutDatagrams\s+(\d+)/m.exec(readFileSync("/proc/net/snmp6", "utf8"))?.[1] ?? 0);
  return ipv4 + ipv6;
}

async function until(holds: () => Promise<boolean>, limitMs: number): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within ${limitMs} ms`);
    await pause(100);
  }
}

function summary(times: readonly number[]): Record<string, number> {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number): number =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
  return { samples: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
