import fc from "fast-check";
import { expect, test } from "vitest";
import { SeededRandom } from "../../../src/proto/random.ts";
import type { Entry } from "../../../src/proto/replication/entry.ts";
import { DEFAULT_QUOTAS } from "../../../src/proto/replication/limits.ts";
import { Store } from "../../../src/proto/replication/store.ts";
import { type Content, makeBatch } from "../../proto/replication/make.ts";
import { START, World } from "../../proto/replication/world.ts";

const content = fc.tuple(
  fc.constantFrom("app", "zoo"),
  fc.constantFrom("a", "b", "c"),
  fc.option(fc.constantFrom("", "1", "2"), { nil: null }),
) as fc.Arbitrary<Content>;

/** Batches of a few authors at a few instants, so that clocks collide often. */
const entries = fc
  .array(
    fc.record({
      author: fc.integer({ min: 1, max: 3 }),
      at: fc.integer({ min: START, max: START + 2 }),
      contents: fc.array(content, { minLength: 1, maxLength: 3 }),
    }),
    { maxLength: 8 },
  )
  .map((batches) => batches.flatMap(({ author, at, contents }) => makeBatch(author, contents, at).entries));

function storeOf(...parts: readonly (readonly Entry[])[]): Store {
  const store = new Store(DEFAULT_QUOTAS, new SeededRandom(1));
  for (const part of parts) for (const entry of part) store.apply(entry, START + 10);
  return store;
}

/** What a store would give to another. */
function contentOf(store: Store): Entry[] {
  return store.all();
}

const image = (store: Store): string =>
  JSON.stringify([store.summaries(), store.list("app", {}), store.list("zoo", {})]);

test("merging is commutative, associative and idempotent", () => {
  fc.assert(
    fc.property(entries, entries, entries, (a, b, c) => {
      expect(image(storeOf(a, b))).toBe(image(storeOf(b, a)));
      const [left, right] = [contentOf(storeOf(a, b)), contentOf(storeOf(b, c))];
      expect(image(storeOf(left, c))).toBe(image(storeOf(a, right)));
      expect(image(storeOf(a, a))).toBe(image(storeOf(a)));
      expect(image(storeOf(contentOf(storeOf(a, b)), a, b))).toBe(image(storeOf(a, b)));
    }),
    { numRuns: 200 },
  );
});

test("any order of any deliveries, repeated at will, ends in equal digests", () => {
  const orders = entries.chain((all) =>
    fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length }), fc.shuffledSubarray(all)),
  );
  fc.assert(
    fc.property(orders, ([all, shuffled, repeated]) => {
      expect(image(storeOf(shuffled, repeated))).toBe(image(storeOf(all)));
    }),
    { numRuns: 200 },
  );
});

test("replicas converge whatever is written, lost, cut and healed meanwhile", () => {
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({ do: fc.constant("put" as const), node: fc.nat(3), key: fc.nat(6), value: fc.nat(9) }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("delete" as const), node: fc.nat(3), key: fc.nat(6) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("big" as const), node: fc.nat(3), key: fc.nat(6) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("cut" as const), node: fc.nat(3), other: fc.nat(3) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("join" as const), node: fc.nat(3), other: fc.nat(3) }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant("run" as const), ms: fc.integer({ min: 1, max: 8_000 }) }) },
  );
  fc.assert(
    fc.property(fc.nat(1_000_000), fc.array(step, { maxLength: 40 }), (seed, steps) => {
      const world = World.full(seed, 4);
      world.loss = 0.5;
      for (const action of steps) {
        if (action.do === "run") world.run(action.ms);
        else if (action.do === "put") world.put(world.node(action.node), `k${action.key}`, `${action.value}`, "app", 1);
        else if (action.do === "big") {
          world.put(world.node(action.node), `k${action.key}`, new Uint8Array(150_000).fill(action.node), "app", 1);
        } else if (action.do === "delete") world.delete(world.node(action.node), `k${action.key}`);
        else if (action.node === action.other) continue;
        else if (action.do === "cut") world.unlink(world.node(action.node), world.node(action.other));
        else world.link(world.node(action.node), world.node(action.other));
      }
      for (const a of world.nodes) for (const b of world.nodes) if (a.id < b.id) world.link(a, b);
      expect(world.settle(300_000, 500)).toBeDefined();
      expect(world.faults()).toEqual([]);
      const images = world.nodes.map(({ replication }) => JSON.stringify(replication.list("app").entries));
      expect(new Set(images).size).toBe(1);
    }),
    { numRuns: 40 },
  );
}, 60_000);
