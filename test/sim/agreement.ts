import type { MeshRun } from "./mesh-run.ts";

/**
 * The share of these nodes that hold the commonest list: the same members for there (alive or suspected), 0 to 1. Whoever of
 * them does not run is left out.
 */
export function agreement(run: MeshRun, nodes: Iterable<number>): number {
  const lists = new Map<number, number>();
  let running = 0;
  let commonest = 0;
  for (const index of nodes) {
    if (run.stateOf(index) !== "running") continue;
    running++;
    let list = 0;
    for (const { member, state } of run.view(index)) {
      // A sum of well mixed words: equal for equal sets, whatever the order.
      if (state === "alive" || state === "suspect") list = (list + mixed(member)) >>> 0;
    }
    const count = (lists.get(list) ?? 0) + 1;
    lists.set(list, count);
    commonest = Math.max(commonest, count);
  }
  return running === 0 ? 1 : commonest / running;
}

function mixed(member: number): number {
  const word = Math.imul((member + 1) ^ ((member + 1) >>> 16), 0x9e3779b9);
  return Math.imul(word ^ (word >>> 13), 0xc2b2ae35) >>> 0;
}
