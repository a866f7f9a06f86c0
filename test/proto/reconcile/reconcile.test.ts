import { describe, expect, test } from "vitest";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import { SeededRandom } from "../../../src/proto/random.ts";
import type { IdSet } from "../../../src/proto/reconcile/id-set.ts";
import { ALICE, addIds, BOB, emptySet, namesOf, Pair, randomIds, setOf } from "./pair.ts";

/** Two sets with `common` ids in common and `alone` on each side. */
function sets(common: number, alone: number, seed = 1): { alice: IdSet; bob: IdSet; ids: Uint32Array } {
  const ids = randomIds(new SeededRandom(seed), common + 2 * alone);
  return {
    ids,
    alice: addIds(emptySet(), ids, 0, common + alone),
    bob: addIds(addIds(emptySet(), ids, 0, common), ids, common + alone),
  };
}

/** Ids that share a leaf at every level. */
function crafted(count: number, seed: number): Uint32Array {
  const ids = randomIds(new SeededRandom(seed), count);
  for (let at = 3; at < ids.length; at += 4) ids[at] = (((ids[at] as number) << 17) | 77) >>> 0;
  return ids;
}

function expectExact(pair: Pair, alone: { readonly alice: number; readonly bob: number }): void {
  expect(pair.faults).toEqual([]);
  expect(pair.alice.missing.size).toBe(alone.bob);
  expect(pair.alice.surplus.size).toBe(alone.alice);
  expect([...pair.bob.missing].sort()).toEqual([...pair.alice.surplus].sort());
}

describe("cost", () => {
  test("equal sets cost one message each way and less than 64 bytes", () => {
    const { alice } = sets(20_000, 0);
    const pair = new Pair(alice, sets(20_000, 0).bob).run();
    expect(pair.endings).toEqual(["equal"]);
    expect(pair.messages).toBe(2);
    expect(pair.bytes).toBeLessThanOrEqual(64);
  });

  test("one difference among 100,000 costs less than 600 bytes", () => {
    const ids = randomIds(new SeededRandom(3), 100_000);
    const pair = new Pair(setOf(ids), addIds(emptySet(), ids, 1)).run();
    expect(pair.bytes).toBeLessThanOrEqual(600);
    expect(pair.roundTrips).toBe(2);
    expectExact(pair, { alice: 1, bob: 0 });
  });

  test("100 differences among 40,000 are found in two round trips and 10 KB, whichever ids they are", () => {
    for (let seed = 1; seed <= 5; seed++) {
      const { alice, bob } = sets(40_000, 50, seed);
      const pair = new Pair(alice, bob, seed).run();
      expectExact(pair, { alice: 50, bob: 50 });
      expect(pair.bytes).toBeLessThanOrEqual(10_240);
      expect(pair.roundTrips).toBe(2);
    }
  });

  test("2,000 differences cost less than 80 bytes each", () => {
    const { alice, bob } = sets(60_000, 1_000);
    const pair = new Pair(alice, bob).run();
    expectExact(pair, { alice: 1_000, bob: 1_000 });
    expect(pair.bytes / 2_000).toBeLessThan(80);
  });

  test.each([0.1, 0.2, 0.4, 0.8, 1])("a share of %d that differs costs no more than 1.2 listings", (share) => {
    const alone = Math.round(15_000 * share);
    const { alice, bob } = sets(30_000 - alone, alone);
    const pair = new Pair(alice, bob).run();
    expectExact(pair, { alice: alone, bob: alone });
    // A listing: all ids of one side, and what it lacks of the other's.
    expect(pair.bytes).toBeLessThanOrEqual(1.2 * 16 * (30_000 + alone));
  });

  test("an empty set lists the other's ids and nothing of its own", () => {
    const ids = randomIds(new SeededRandom(4), 10_000);
    const toEmpty = new Pair(emptySet(), setOf(ids)).run();
    expectExact(toEmpty, { alice: 0, bob: 10_000 });
    expect(toEmpty.bytes).toBeLessThan(1.05 * 160_000);
    const fromFull = new Pair(setOf(ids), emptySet()).run();
    expectExact(fromFull, { alice: 10_000, bob: 0 });
    expect(fromFull.bytes).toBeLessThan(1.05 * 160_000);
  });
});

describe("exchanges", () => {
  test("more differences than one sketch takes are found section by section", () => {
    const { alice, bob } = sets(120_000, 16_000);
    const pair = new Pair(alice, bob).run();
    expect(pair.endings).toEqual(["complete"]);
    expectExact(pair, { alice: 16_000, bob: 16_000 });
  });

  test("a bound on differences ends an exchange early, and the next ones find the rest", () => {
    const { alice, bob, ids } = sets(20_000, 3_000);
    const first = new Pair(alice, bob, 1, { maxDifferences: 1_000 }).run();
    expect(first.endings).toEqual(["partial"]);
    expect(first.alice.missing.size).toBeGreaterThan(0);
    addIds(alice, ids, 23_000);
    const second = new Pair(alice, bob, 2, { maxDifferences: 10_000 }).run();
    expect(second.endings).toEqual(["complete"]);
    expectExact(second, { alice: 3_000, bob: 0 });
  });

  test("writes on both sides while an exchange goes on do not disturb it", () => {
    const { alice, bob, ids } = sets(50_000, 400);
    const random = new SeededRandom(9);
    const pair = new Pair(alice, bob);
    pair.meanwhile = () => {
      addIds(alice, randomIds(random, 50));
      addIds(bob, randomIds(random, 50));
    };
    pair.run();
    expect(pair.endings).toEqual(["complete"]);
    expect(pair.faults).toEqual([]);
    const alone = namesOf(listOf(ids, 50_000, 50_400));
    for (const name of alone) expect(pair.bob.missing.has(name)).toBe(true);
    const after = new Pair(alice, bob, 2).run();
    expect(after.alice.missing.size).toBeGreaterThan(400);
  });

  test("ids crafted to share a leaf are found in parts, and so is what is next to them", () => {
    const heavy = crafted(30_000, 5);
    const { alice, bob } = sets(10_000, 100);
    addIds(alice, heavy, 0, 29_990);
    addIds(bob, heavy, 10);
    const pair = new Pair(alice, bob).run();
    expect(pair.endings).toEqual(["complete"]);
    expectExact(pair, { alice: 110, bob: 110 });
  });

  test("a leaf too heavy to list is left out, and nothing else is", () => {
    const heavy = crafted(70_000, 6);
    const { alice, bob } = sets(30_000, 50);
    addIds(alice, heavy, 0, 69_000);
    addIds(bob, heavy, 1_000);
    const pair = new Pair(alice, bob).run();
    expect(pair.endings).toEqual(["partial"]);
    expectExact(pair, { alice: 50, bob: 50 });
  });

  test("two exchanges with equal seeds are equal byte for byte", () => {
    const run = (): string[] => {
      const { alice, bob } = sets(5_000, 200);
      const pair = new Pair(alice, bob, 5);
      const seen: string[] = [];
      pair.tamper = (bytes) => {
        seen.push(bytes.join());
        return bytes;
      };
      pair.run();
      return seen;
    };
    expect(run()).toEqual(run());
  });

  test("both sides may ask at once", () => {
    const { alice, bob } = sets(5_000, 200);
    const pair = new Pair(alice, bob);
    pair.apply(pair.alice, { type: "start", peer: BOB });
    pair.apply(pair.bob, { type: "start", peer: ALICE });
    pair.settle();
    expect(pair.endings).toEqual(["complete", "complete"]);
    expectExact(pair, { alice: 200, bob: 200 });
  });

  test("who is in another exchange answers busy, and equal all the same", () => {
    const { alice, bob } = sets(1_000, 100);
    const endingWith = (other: IdSet): readonly string[] => {
      const pair = new Pair(other, bob);
      // What Bob says to Carol goes nowhere.
      pair.tamper = () => undefined;
      pair.apply(pair.bob, { type: "message", peer: "carol" as PeerId, bytes: openBy(sets(2_000, 0, 3).alice) });
      pair.tamper = (bytes) => bytes;
      return pair.run().endings;
    };
    expect(endingWith(alice)).toEqual(["busy"]);
    expect(endingWith(bob)).toEqual(["equal"]);
  });

  test("a peer that falls silent ends the exchange after ten seconds, on either side", () => {
    const { alice, bob } = sets(1_000, 100);
    const pair = new Pair(alice, bob);
    let messages = 0;
    pair.tamper = (bytes) => (++messages > 3 ? undefined : bytes);
    pair.run();
    expect(pair.endings).toEqual([]);
    const { machine } = pair.alice;
    expect(machine.deadline()).toBe(10_050);
    expect(machine.handle({ type: "timeout" }, 10_050)).toEqual([{ type: "finished", peer: BOB, ending: "partial" }]);
    expect(machine.deadline()).toBeUndefined();
    const silent = pair.bob.machine.deadline() ?? 0;
    pair.bob.machine.handle({ type: "timeout" }, silent);
    expect(pair.bob.machine.deadline()).toBeUndefined();
  });

  test("a link that goes down ends the exchange", () => {
    const { alice, bob } = sets(1_000, 100);
    const pair = new Pair(alice, bob);
    pair.apply(pair.alice, { type: "start", peer: BOB });
    pair.apply(pair.alice, { type: "link-down", peer: BOB });
    expect(pair.endings).toEqual(["failed"]);
    expect(pair.alice.machine.deadline()).toBeUndefined();
  });
});

function listOf(ids: Uint32Array, from: number, to: number): Parameters<typeof namesOf>[0] {
  const pair = new Pair(emptySet(), addIds(emptySet(), ids, from, to)).run();
  const difference = pair.events.find((event) => event.type === "difference");
  if (difference?.type !== "difference") throw new Error("no difference");
  return difference.missing;
}

/** The first message of an exchange that somebody with `set` asks for. */
function openBy(set: IdSet): Uint8Array {
  const pair = new Pair(set, emptySet(), 77);
  let open: Uint8Array | undefined;
  pair.tamper = (bytes) => {
    open = bytes;
    return undefined;
  };
  pair.apply(pair.alice, { type: "start", peer: BOB });
  if (open === undefined) throw new Error("nothing sent");
  return open;
}
