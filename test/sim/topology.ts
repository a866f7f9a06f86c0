import { type Random, shuffle } from "../../src/proto/random.ts";

/**
 * The shape of the overlay: `rings` random rings over `count` nodes, each node linked to its neighbours in every ring; a
 * full mesh when that is no more. By node, the indices of its neighbours in ascending order.
 */
export function ringNeighbours(count: number, rings: number, random: Random): number[][] {
  const sets = Array.from({ length: count }, () => new Set<number>());
  if (count <= 2 * rings + 1) {
    return sets.map((_, index) => sets.map((_, other) => other).filter((other) => other !== index));
  }
  for (let ring = 0; ring < rings; ring++) {
    const order = shuffle(
      random,
      sets.map((_, index) => index),
    );
    for (let place = 0; place < count; place++) {
      const node = order[place] as number;
      const successor = order[(place + 1) % count] as number;
      sets[node]?.add(successor);
      sets[successor]?.add(node);
    }
  }
  return sets.map((neighbours) => [...neighbours].sort((a, b) => a - b));
}
