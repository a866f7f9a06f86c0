import fc from "fast-check";
import { expect, test } from "vitest";
import { SeededRandom } from "../../../src/proto/random.ts";
import { parseMessage } from "../../../src/proto/reconcile/messages.ts";
import { addIds, emptySet, nameOf, namesOf, Pair, randomIds } from "../../proto/reconcile/pair.ts";

/** The names of ids number `from` up to `to`. */
function names(ids: Uint32Array, from: number, to: number): string[] {
  const list: string[] = [];
  for (let at = from * 4; at < to * 4; at += 4) {
    const [a = 0, b = 0, c = 0, d = 0] = ids.subarray(at, at + 4);
    list.push(nameOf(a, b, c, d));
  }
  return list.sort();
}

test("any two sets find exactly what differs, in both directions, also with crafted leaves and writes before", () => {
  fc.assert(
    fc.property(
      fc.record({
        seed: fc.integer(),
        common: fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 6_000 })),
        alice: fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 800 })),
        bob: fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 800 })),
        removed: fc.integer({ min: 0, max: 2_000 }),
        sharedBits: fc.constantFrom(0, 0, 6, 17),
      }),
      ({ seed, common, alice, bob, removed, sharedBits }) => {
        const random = new SeededRandom(seed);
        const ids = randomIds(random, common + alice + bob);
        for (let at = 3; at < ids.length; at += 4) ids[at] = ((ids[at] as number) << sharedBits) >>> 0;
        const former = randomIds(random, removed);
        const mine = addIds(addIds(emptySet(), former), ids, 0, common + alice);
        for (let at = 0; at < former.length; at += 4) {
          const [a = 0, b = 0, c = 0, d = 0] = former.subarray(at, at + 4);
          mine.remove(a, b, c, d);
        }
        const theirs = addIds(addIds(emptySet(), ids, 0, common), ids, common + alice);
        const pair = new Pair(mine, theirs, seed).run();
        expect(pair.faults).toEqual([]);
        expect(pair.endings).toEqual([alice + bob === 0 ? "equal" : "complete"]);
        expect([...pair.alice.missing].sort()).toEqual(names(ids, common + alice, common + alice + bob));
        expect([...pair.alice.surplus].sort()).toEqual(names(ids, common, common + alice));
        expect([...pair.bob.missing].sort()).toEqual(names(ids, common, common + alice));
      },
    ),
    { numRuns: 80, seed: 1 },
  );
});

test("a set agrees with a plain one after any writes", () => {
  fc.assert(
    fc.property(fc.integer(), fc.array(fc.tuple(fc.boolean(), fc.nat(200)), { maxLength: 600 }), (seed, writes) => {
      const ids = randomIds(new SeededRandom(seed), 201);
      const set = emptySet();
      const model = new Set<number>();
      for (const [isAdded, id] of writes) {
        const [a = 0, b = 0, c = 0, d = 0] = ids.subarray(id * 4, id * 4 + 4);
        expect((isAdded ? set.add(a, b, c, d) : set.remove(a, b, c, d)) !== -1).toBe(isAdded !== model.has(id));
        if (isAdded) model.add(id);
        else model.delete(id);
      }
      const kept = new Uint32Array([...model].flatMap((id) => [...ids.subarray(id * 4, id * 4 + 4)]));
      expect(set.size).toBe(model.size);
      expect(set.total).toEqual(addIds(emptySet(), kept).total);
      const pair = new Pair(emptySet(), set).run();
      const listed = pair.events.flatMap((event) => (event.type === "difference" ? namesOf(event.missing) : []));
      expect(listed.sort()).toEqual(names(kept, 0, model.size));
    }),
    { numRuns: 60, seed: 1 },
  );
});

test("arbitrary bytes parse to a message or to nothing", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      parseMessage(bytes);
    }),
    { seed: 1 },
  );
});
