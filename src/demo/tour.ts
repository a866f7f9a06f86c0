import { existsSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { Fleet, type FleetNode } from "./fleet.ts";

/** What one step of the tour found. */
export interface StepResult {
  readonly step: string;
  readonly ok: boolean;
  readonly ms: number;
  readonly detail?: string;
}

export interface TourSummary {
  readonly ok: boolean;
  readonly nodes: number;
  readonly rtc: string;
  readonly totalMs: number;
  readonly steps: readonly StepResult[];
}

/** Each step's own patience. The sum is far above what a healthy run takes, so a failure names its step. */
const STEP_TIMEOUT_MS = 30_000;
const POLL_MS = 50;

/**
 * The scripted tour: a cluster forms, replicates, loses a member to SIGKILL and its server too, takes the member back,
 * and stops without a trace. Every claim is checked through the agents' own control sockets, nothing is assumed.
 */
export async function tour(options: {
  readonly nodes: number;
  readonly rtc: string;
  readonly onStep: (result: StepResult) => void;
}): Promise<TourSummary> {
  const began = performance.now();
  const steps: StepResult[] = [];
  let fleet: Fleet | undefined;
  const step = async (name: string, run: () => Promise<string | undefined>): Promise<boolean> => {
    const start = performance.now();
    const failed = await run().then(
      (detail) => detail,
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
    const ms = Math.round(performance.now() - start);
    const result = { step: name, ok: failed === undefined, ms, ...(failed !== undefined && { detail: failed }) };
    steps.push(result);
    options.onStep(result);
    return result.ok;
  };
  const abandon = (): void => fleet?.killAll();
  process.once("exit", abandon);
  try {
    await runSteps();
  } finally {
    if (fleet) {
      const { directory } = fleet;
      await step("everything stops and leaves nothing behind", async () => {
        const stubborn = await fleet?.stop();
        if (stubborn?.length) return `processes ${stubborn.join(", ")} had to be killed`;
        return existsSync(directory) ? `${directory} is still there` : undefined;
      });
    }
    process.removeListener("exit", abandon);
  }
  const ok = steps.length === STEPS && steps.every((result) => result.ok);
  return { ok, nodes: options.nodes, rtc: options.rtc, totalMs: Math.round(performance.now() - began), steps };

  async function runSteps(): Promise<void> {
    const started = await step("a cluster is made and its signaling server runs", async () => {
      fleet = await Fleet.create({ nodes: options.nodes, rtc: options.rtc });
      return undefined;
    });
    if (!started || !fleet) return;
    const cluster = fleet;
    const everybody = cluster.nodes;
    if (
      !(await step(`${options.nodes} agents join and all know all`, async () => {
        for (let count = 0; count < options.nodes; count++) await cluster.add();
        return until(() => allSee(cluster, everybody, everybody, "alive"));
      }))
    )
      return;
    const [first, second] = everybody;
    const victim = everybody.at(-1);
    if (!first || !second || !victim) return;
    const survivors = everybody.filter((node) => node !== victim);
    await step("a value written on one is read on all", () => spread(cluster, first, everybody, "before"));
    await step("one is killed with SIGKILL and every survivor knows", async () => {
      await cluster.kill(victim);
      return until(() => allSee(cluster, survivors, [victim], "down"));
    });
    await step("writes go on without it", () => spread(cluster, second, survivors, "meanwhile"));
    await step("it restarts under its key and catches up", async () => {
      cluster.start(victim);
      return (
        (await until(() => allSee(cluster, everybody, everybody, "alive"))) ??
        (await until(() => holds(cluster, victim, "meanwhile")))
      );
    });
    await step("the signaling server is killed and writes still spread", async () => {
      await cluster.killSignaling();
      return spread(cluster, victim, everybody, "after");
    });
  }
}

/** How many steps a complete tour has, the last one (stopping) included. */
const STEPS = 8;

async function spread(
  fleet: Fleet,
  from: FleetNode,
  to: readonly FleetNode[],
  key: string,
): Promise<string | undefined> {
  const value = Buffer.from(`written by ${from.name}`).toString("base64");
  await fleet.call(from, "kv.put", { bucket: "demo", key, value });
  return until(async () => {
    for (const node of to) {
      const missing = await holds(fleet, node, key);
      if (missing !== undefined) return missing;
    }
    return undefined;
  });
}

async function holds(fleet: Fleet, node: FleetNode, key: string): Promise<string | undefined> {
  const entry = await fleet.call(node, "kv.get", { bucket: "demo", key });
  return entry ? undefined : `${node.name} does not have ${key}`;
}

/** Whether each of `viewers` sees each of `subjects` in `state`; else what is missing. */
async function allSee(
  fleet: Fleet,
  viewers: readonly FleetNode[],
  subjects: readonly FleetNode[],
  state: string,
): Promise<string | undefined> {
  for (const viewer of viewers) {
    const status = await fleet.status(viewer);
    if (!status) return `${viewer.name} does not answer`;
    for (const subject of subjects) {
      const seen = status.members.find((member) => member.name === subject.name);
      if (seen?.state !== state) return `${viewer.name} sees ${subject.name} as ${seen?.state ?? "unknown"}`;
      const linked = state !== "alive" || seen.id === status.self.id || seen.path !== "none";
      if (!linked) return `${viewer.name} has no path to ${subject.name}`;
    }
  }
  return undefined;
}

/** Polls `check` until it finds nothing missing; returns what is missing when patience ends. */
async function until(check: () => Promise<string | undefined>): Promise<string | undefined> {
  const deadline = performance.now() + STEP_TIMEOUT_MS;
  for (;;) {
    const missing = await check().catch((error: unknown) => String(error));
    if (missing === undefined) return undefined;
    if (performance.now() > deadline) return `after ${STEP_TIMEOUT_MS / 1_000} s: ${missing}`;
    await pause(POLL_MS);
  }
}
