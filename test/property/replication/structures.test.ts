import fc from "fast-check";
import { expect, test } from "vitest";
import { hex } from "../../../src/proto/bytes.ts";
import { SeededRandom } from "../../../src/proto/random.ts";
import { IdList } from "../../../src/proto/reconcile/id-list.ts";
import type { Entry } from "../../../src/proto/replication/entry.ts";
import { digestOf } from "../../../src/proto/replication/entry.ts";
import { compareKeys, OrderedKeys } from "../../../src/proto/replication/ordered-keys.ts";
import { addDigest, emptySum, subtractDigest, sumBytes } from "../../../src/proto/replication/sum.ts";
import { idOf, idsIn, listOf, packIds, unpackIds } from "../../../src/proto/replication/version-id.ts";
import { Versions } from "../../../src/proto/replication/versions.ts";
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

test("a bucket's versions answer like a list, whatever has been added and removed", () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(pool.length - 1), { maxLength: 1_500, size: "max" }),
      fc.array(fc.nat(255), { maxLength: 40 }),
      fc.nat(1_500),
      (toggles, slots, askedAt) => {
        const versions = new Versions(new SeededRandom(1));
        const model = new Set<Entry>();
        for (const [step, index] of toggles.entries()) {
          const entry = pool[index] as Entry;
          if (model.delete(entry)) versions.remove(entry);
          else {
            model.add(entry);
            versions.add(entry);
          }
          // From here on sums are kept by slot.
          if (step === askedAt) versions.slotSums();
        }
        expect(versions.sum).toEqual(sumOf(model));
        const bySlot = versions.bySlot();
        for (const slot of [...slots, 0, 0xde]) {
          const within = [...model].filter(({ path }) => path >>> 24 === slot);
          expect(versions.sizeOf(slot)).toBe(within.length);
          expect(bySlot[slot]?.map(idOf).sort()).toEqual(within.map(idOf).sort());
          expect(versions.slotSums()[slot]).toEqual(sumOf(within));
        }
        for (const entry of pool) expect(versions.find(idOf(entry))).toBe(model.has(entry) ? entry : undefined);
        const chosen = new Uint8Array(256);
        for (const slot of slots) chosen[slot] = 1;
        const part = versions.ids(chosen);
        const inPart = [...model].filter(({ path }) => chosen[path >>> 24] === 1);
        expect(part.size).toBe(inPart.length);
        const alone = new Versions(new SeededRandom(2));
        for (const entry of inPart) alone.add(entry);
        expect(part.total).toEqual(alone.ids(undefined).total);
        const listed = new IdList();
        part.collect(0, 0, listed, Number.POSITIVE_INFINITY);
        expect(idsIn(listed).sort()).toEqual(inPart.map(idOf).sort());
      },
    ),
    { numRuns: 40 },
  );
});

test("a later version of a place is told by its tick", () => {
  const versions = new Versions(new SeededRandom(1));
  const [older] = makeBatch(1, [["app", "a", "old"]], START).entries as [Entry];
  const [newer] = makeBatch(2, [["app", "a", "new"]], START + 16).entries as [Entry];
  versions.add(newer);
  expect(versions.hasLater(idOf(older))).toBe(true);
  expect(versions.hasLater(idOf(newer))).toBe(false);
  versions.remove(newer);
  expect(versions.hasLater(idOf(older))).toBe(false);
});

function sumOf(entries: Iterable<Entry>): Uint32Array {
  const sum = emptySum();
  for (const entry of entries) addDigest(sum, digestOf(entry), 0);
  return sum;
}

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
  expect(idsIn(listOf(ids))).toEqual(ids);
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
