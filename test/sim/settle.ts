import type { MeshRun } from "./mesh-run.ts";

/** A cluster that has not come together by then has a fault of its own. */
const LONGEST_SETTLE_MS = 120_000;
const LOOK_EVERY_MS = 1_000;
/** After that, first rounds are over, links that are no longer wanted are gone and the network's trees are laid. */
const REST_MS = 10_000;

/** Starts all nodes as one mesh that has long been one, and lets what is drawn at a start pass. */
export function beginSettled(run: MeshRun): void {
  run.startAsOne();
  run.world.run(REST_MS);
}

/** Starts every node within `joinMs`, evenly, and lets time pass until all know all and for a while longer; what failed, if anything. */
export function settle(run: MeshRun, joinMs: number): string[] {
  const { world, size } = run;
  for (let index = 0; index < size; index++) world.after((joinMs * index) / size, () => world.start(index));
  world.run(joinMs);
  const togetherMs = runUntil(run, LONGEST_SETTLE_MS, () => isTogether(run));
  if (togetherMs === undefined) return [`after ${LONGEST_SETTLE_MS / 1_000} s not everybody knows everybody`];
  world.run(REST_MS);
  return [];
}

/** Lets time pass until `holds`, looking once a second; how long that took, ms, or undefined when it took longer than `mostMs`. */
export function runUntil(run: MeshRun, mostMs: number, holds: () => boolean): number | undefined {
  for (let passed = 0; passed < mostMs; passed += LOOK_EVERY_MS) {
    if (holds()) return passed;
    run.world.run(LOOK_EVERY_MS);
  }
  return holds() ? mostMs : undefined;
}

/** Whether every node that runs holds all that run, and nobody else, for alive. */
export function isTogether(run: MeshRun): boolean {
  let running = 0;
  for (let index = 0; index < run.size; index++) if (run.stateOf(index) === "running") running++;
  for (let index = 0; index < run.size; index++) {
    if (run.stateOf(index) !== "running") continue;
    const { alive = 0, suspect = 0 } = run.mesh(index)?.membership.statistics().members ?? {};
    if (alive !== running || suspect !== 0) return false;
    for (const { member, state } of run.view(index)) {
      if (state === "alive" && run.stateOf(member) !== "running") return false;
    }
  }
  return true;
}

/** Whether every node that runs has the links that it wants, up on both sides. */
export function isLinked(run: MeshRun): boolean {
  const { world } = run;
  for (let index = 0; index < run.size; index++) {
    if (run.stateOf(index) !== "running") continue;
    for (const peer of run.mesh(index)?.overlay.wanted ?? []) {
      const other = world.indexOf(peer);
      if (other === undefined || !world.linked(index, other)) return false;
    }
  }
  return true;
}
