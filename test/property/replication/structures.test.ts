import fc from "fast-check";
import { expect, test } from "vitest";
import { hex } from "../../../src/proto/bytes.ts";
import type { Entry } from "../../../src/proto/replication/entry.ts";
import { digestOf } from "../../../src/proto/replication/entry.ts";
import { childPath, isRange, KeyTree, MAX_DEPTH } from "../../../src/proto/replication/key-tree.ts";
import { compareKeys, OrderedKeys } from "../../../src/proto/replication/ordered-keys.ts";
import { addDigest, emptySum, subtractDigest, sumBytes } from "../../../src/proto/replication/sum.ts";
import { compareLists, idOf, packIds, unpackIds } from "../../../src/proto/replication/version-id.ts";
import { Wheel } from "../../../src/proto/replication/wheel.ts";
import { makeBatch } from "../../proto/replication/make.ts";
import { START } from "../../proto/replication/world.ts";

const pool: readonly Entry[] = Array.from({ length: 12 }, (_, batch) =>
  makeBatch(
    1,
    Array.from({ length: 64 }, (_none, index) => ["app", `key ${batch} ${index}`, "x"] as const),
    START + batch * 100,
  ),
).flatMap(({ entries }) =>
  // Some keys share a place down to the last digit, as an attacker would have it.
  entries.map((entry) =>
    entry.index < 8 ? { ...entry, path: 0xdeadbeef } : entry.index < 24 ? { ...entry, path: entry.path & 0xff } : entry,
  ),
);

test("the tree answers like a list, whatever has been added and removed", () => {
  const range = fc.tuple(fc.integer({ min: 0, max: MAX_DEPTH }), fc.nat(pool.length - 1));
  fc.assert(
    fc.property(
      fc.array(fc.nat(pool.length - 1), { maxLength: 1_500, size: "max" }),
      fc.array(range, { maxLength: 20 }),
      (toggles, ranges) => {
        const tree = new KeyTree();
        const model = new Set<Entry>();
        for (const index of toggles) {
          const entry = pool[index] as Entry;
          if (model.delete(entry)) tree.remove(entry);
          else {
            model.add(entry);
            tree.add(entry);
          }
        }
        for (const [depth, index] of ranges) {
          const mask = depth === 0 ? 0 : (0xffffffff << (32 - depth * 4)) >>> 0;
          const path = ((pool[index] as Entry).path & mask) >>> 0;
          expect(isRange(depth, path)).toBe(true);
          const within = [...model].filter((entry) => (entry.path & mask) >>> 0 === path);
          expect(tree.count(depth, path)).toBe(within.length);
          expect(tree.ids(depth, path).sort()).toEqual(within.map(idOf).sort());
          if (depth === MAX_DEPTH) continue;
          const sums = tree.childSums(depth, path);
          let occupied = 0;
          for (let child = 0; child < 16; child++) {
            const sum = emptySum();
            const below = within.filter((entry) => ((entry.path >>> (28 - depth * 4)) & 15) === child);
            for (const entry of below) addDigest(sum, digestOf(entry), 0);
            if (below.length > 0) occupied |= 1 << child;
            expect(sums[child]).toEqual(sum);
            expect(tree.count(depth + 1, childPath(path, depth, child))).toBe(below.length);
          }
          expect(tree.occupied(depth, path)).toBe(occupied);
        }
        for (const entry of pool) expect(tree.find(idOf(entry))).toBe(model.has(entry) ? entry : undefined);
      },
    ),
    { numRuns: 40 },
  );
});

test("sums are sums modulo 2^256", () => {
  const digest = fc.uint8Array({ minLength: 32, maxLength: 32 });
  const toInteger = (bytes: Uint8Array): bigint => BigInt(`0x${hex(bytes.slice().reverse())}`);
  fc.assert(
    fc.property(fc.array(digest, { maxLength: 20 }), fc.array(digest, { maxLength: 20 }), (added, removed) => {
      const sum = emptySum();
      let model = 0n;
      for (const bytes of added) {
        addDigest(sum, bytes, 0);
        model += toInteger(bytes);
      }
      for (const bytes of removed) {
        subtractDigest(sum, bytes, 0);
        model -= toInteger(bytes);
      }
      expect(toInteger(sumBytes(sum))).toBe(BigInt.asUintN(256, model));
    }),
  );
});

test("keys are listed as a sorted set would list them", () => {
  const key = fc.string({ unit: "grapheme", minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.boolean(), key), { maxLength: 300 }),
      key,
      key,
      fc.boolean(),
      (steps, from, prefix, exclusive) => {
        const keys = new OrderedKeys();
        const model = new Set<string>();
        for (const [isAdd, name] of steps) {
          if (isAdd) keys.add(name);
          else keys.remove(name);
          if (isAdd) model.add(name);
          else model.delete(name);
        }
        const sorted = [...model].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
        expect([...model].sort(compareKeys)).toEqual(sorted);
        const found: string[] = [];
        keys.collect(found, from, exclusive, "", 1_000);
        expect(found).toEqual(
          sorted.filter((name) => (exclusive ? compareKeys(name, from) > 0 : compareKeys(name, from) >= 0)),
        );
        const some: string[] = [];
        keys.collect(some, prefix, false, prefix, 5);
        expect(some).toEqual(sorted.filter((name) => name.startsWith(prefix)).slice(0, 5));
      },
    ),
  );
});

test("ids survive the wire and keep place and age", () => {
  const ids = pool.map(idOf);
  expect(new Set(ids).size).toBe(pool.length);
  expect(unpackIds(packIds(ids))).toEqual(ids);
});

test("of two versions of a key only the newer one moves, and a version that both have stops nothing", () => {
  const older = makeBatch(1, [["app", "a", "old"]], START).entries.map(idOf);
  const newer = makeBatch(2, [["app", "a", "new"]], START + 16).entries.map(idOf);
  const other = makeBatch(2, [["app", "b", "new"]], START).entries.map(idOf);
  expect(compareLists([...older, ...other], new Set(newer), true)).toEqual({ missing: newer, surplus: other });
  expect(compareLists(newer, new Set(older), true)).toEqual({ missing: [], surplus: newer });
  expect(compareLists(newer, new Set([...newer, ...older]), true)).toEqual({ missing: older, surplus: [] });
  expect(compareLists(newer, new Set(older), false)).toEqual({ missing: older, surplus: newer });
});

test("a wheel gives each item at its time, at most one slot late", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(2_000), fc.boolean()), { maxLength: 100 }), (items) => {
      const wheel = new Wheel<number>(50);
      for (const [index, [at]] of items.entries()) wheel.add(at, index);
      for (const [index, [at, isRemoved]] of items.entries()) if (isRemoved) wheel.remove(at, index);
      const taken: number[] = [];
      for (let now = wheel.next(); now !== undefined; now = wheel.next()) {
        expect(wheel.take(now - 1)).toBeUndefined();
        const index = wheel.take(now) as number;
        const at = items[index]?.[0] ?? 0;
        expect(now - at).toBeGreaterThanOrEqual(0);
        expect(now - at).toBeLessThan(50);
        taken.push(index);
      }
      expect(taken.sort((a, b) => a - b)).toEqual(items.flatMap(([, isRemoved], index) => (isRemoved ? [] : [index])));
    }),
  );
});
