import { describe, expect, test } from "vitest";
import { SeededRandom } from "../../../src/proto/random.ts";
import { compareIds } from "../../../src/proto/reconcile/compare.ts";
import { Decoder } from "../../../src/proto/reconcile/decoder.ts";
import { estimate, Strata } from "../../../src/proto/reconcile/estimate.ts";
import { IdList } from "../../../src/proto/reconcile/id-list.ts";
import { type IdSet, levelFor, ROW_WORDS } from "../../../src/proto/reconcile/id-set.ts";
import { addRow, exchangeKey, nextCell, nextState } from "../../../src/proto/reconcile/mixing.ts";
import { packCells, Sketch } from "../../../src/proto/reconcile/sketch.ts";
import { addIds, emptySet, namesOf, randomIds, setOf } from "./pair.ts";

const KEY = exchangeKey(new Uint8Array(8).fill(1), new Uint8Array(8).fill(2));
const WHOLE = { level: 10, bits: 0, section: 0 };

describe("a set of ids", () => {
  test("keeps each id once, and its total is that of what it holds, in any order", () => {
    const ids = randomIds(new SeededRandom(1), 5_000);
    const set = setOf(ids);
    expect(set.add(ids[0] as number, ids[1] as number, ids[2] as number, ids[3] as number)).toBe(-1);
    expect(set.size).toBe(5_000);
    for (let at = 0; at < 4_000 * 4; at += 4) {
      const words = [ids[at], ids[at + 1], ids[at + 2], ids[at + 3]] as [number, number, number, number];
      const slot = set.find(...words);
      expect(slot).toBeGreaterThanOrEqual(0);
      expect(set.remove(...words)).toBe(slot);
      expect(set.remove(...words)).toBe(-1);
    }
    expect(set.total).toEqual(addIds(emptySet(), ids, 4_000).total);
    addIds(set, ids, 0, 4_000);
    expect(set.total).toEqual(setOf(ids).total);
  });

  test("folds its leaves to any level and section as if they had been summed one by one", () => {
    const ids = randomIds(new SeededRandom(2), 3_000);
    const gone = randomIds(new SeededRandom(22), 1_000);
    const set = addIds(setOf(ids), gone);
    for (let at = 0; at < gone.length; at += 4) {
      const [a = 0, b = 0, c = 0, d = 0] = gone.subarray(at, at + 4);
      set.remove(a, b, c, d);
    }
    for (const [level, bits, section] of [
      [0, 0, 0],
      [levelFor(3_000), 0, 0],
      [5, 2, 3],
    ] as const) {
      const rows = new Uint32Array(ROW_WORDS << (level - bits));
      set.fold(level, bits, section, rows);
      const expected = new Uint32Array(rows.length);
      for (let at = 0; at < ids.length; at += 4) {
        const [a = 0, b = 0, c = 0, d = 0] = ids.subarray(at, at + 4);
        const leaf = d & ((1 << level) - 1);
        if ((leaf & ((1 << bits) - 1)) === section) addRow(expected, (leaf >>> bits) * ROW_WORDS, 1, a, b, c, d);
      }
      expect(rows).toEqual(expected);
    }
  });

  test("collects the ids of a leaf at coarser and finer levels than its own", () => {
    const ids = randomIds(new SeededRandom(3), 2_000);
    const set = setOf(ids);
    for (const level of [0, 4, 8, 14]) {
      let total = 0;
      for (let leaf = 0; leaf < 1 << level; leaf++) {
        const list = new IdList();
        set.collect(level, leaf, list, 10_000);
        total += list.length;
        for (let index = 0; index < list.length; index++) expect(list.word(index, 3) & ((1 << level) - 1)).toBe(leaf);
      }
      expect(total).toBe(2_000);
    }
  });
});

describe("cells", () => {
  test("cell i takes part of a sequence with probability 1 / (1 + i/2)", () => {
    const hits = new Uint32Array(64);
    for (let leaf = 0; leaf < 40_000; leaf++) {
      let state = Math.imul(leaf, 0x9e3779b1) >>> 0;
      for (let index = 0; index < 64; ) {
        hits[index] = (hits[index] as number) + 1;
        state = nextState(state);
        index = nextCell(index, state);
      }
    }
    for (let index = 0; index < 64; index++) {
      expect(((hits[index] as number) / 40_000) * (1 + index / 2)).toBeCloseTo(1, 0.7);
    }
  });

  test("come out the same in whatever slices they are produced", () => {
    const set = setOf(randomIds(new SeededRandom(4), 10_000));
    const whole = new Sketch(set, KEY, WHOLE);
    whole.begin(100);
    const expected = whole.advance(Number.MAX_SAFE_INTEGER);
    const sliced = new Sketch(set, KEY, WHOLE);
    const parts: Uint32Array[] = [];
    for (const to of [1, 7, 60, 100]) {
      sliced.begin(to);
      let cells = sliced.advance(10);
      while (cells === undefined) cells = sliced.advance(10);
      parts.push(cells);
    }
    expect(parts.flatMap((part) => [...part])).toEqual([...(expected ?? [])]);
  });

  test("decode with about one and a half cells per difference", () => {
    let cells = 0;
    for (let seed = 0; seed < 10; seed++) {
      const ids = randomIds(new SeededRandom(seed), 10_100);
      const theirs = new Sketch(addIds(emptySet(), ids, 0, 10_050), KEY, WHOLE);
      const mine = new Sketch(addIds(emptySet(), ids, 50), KEY, WHOLE);
      const decoder = new Decoder(KEY, WHOLE);
      for (let to = 1; ; to++) {
        theirs.begin(to);
        mine.begin(to);
        const sent = packCells(theirs.advance(1e9) as Uint32Array);
        decoder.append(sent, mine.advance(1e9) as Uint32Array);
        if (decoder.peel(1e9) === "complete") break;
      }
      cells += decoder.count;
      const { findings } = decoder;
      expect(findings.theirs.length + findings.mine.length).toBeLessThanOrEqual(100);
      expect(findings.theirs.length + findings.mine.length + 2 * findings.mixed.length).toBeGreaterThanOrEqual(95);
    }
    expect(cells / 10).toBeLessThan(165);
  });
});

test("a leaf is not believed from a cell that it takes no part in", () => {
  const ids = randomIds(new SeededRandom(6), 10_000);
  const cellsOf = (set: IdSet): Uint32Array => {
    const sketch = new Sketch(set, KEY, WHOLE);
    sketch.begin(30);
    return sketch.advance(1e9) as Uint32Array;
  };
  const theirs = cellsOf(setOf(ids));
  const mine = cellsOf(addIds(emptySet(), ids, 1));
  // The row of the second id's leaf, in a cell that neither it nor the leaf which differs belongs to.
  const second = cellsOf(addIds(setOf(ids), randomIds(new SeededRandom(7), 1)));
  const isFree = (cell: number): boolean =>
    theirs[cell * 8] === mine[cell * 8] && second[cell * 8] === theirs[cell * 8];
  const wrong = Array.from({ length: 30 }, (_, cell) => cell).findLast(isFree) as number;
  for (let word = 0; word < 7; word++) {
    const row = (second[word] as number) - (theirs[word] as number);
    theirs[wrong * 8 + word] = (theirs[wrong * 8 + word] as number) + row;
  }
  const decoder = new Decoder(KEY, WHOLE);
  decoder.append(packCells(theirs), mine);
  expect(decoder.peel(1e9)).toBe("complete");
  expect(decoder.findings.theirs.length).toBe(1);
});

describe("the estimate", () => {
  test.each([1, 10, 100, 1_000, 4_000])("of %d differing leaves is right to a quarter, mostly", (differing) => {
    const ids = randomIds(new SeededRandom(differing), 30_000);
    const level = levelFor(25_000);
    const sets = [setOf(ids), addIds(emptySet(), ids, differing)] as const;
    let close = 0;
    for (let seed = 0; seed < 20; seed++) {
      const key = exchangeKey(new Uint8Array(8).fill(seed), new Uint8Array(8));
      const [mine, theirs] = sets.map((set) => new Strata(set, key, level).advance(1e9) as Uint8Array);
      // Of so many ids thrown into leaves, so many leaves are hit.
      const leaves = 1 << level;
      const expected = leaves * (1 - (1 - 1 / leaves) ** differing);
      const found = estimate(mine as Uint8Array, theirs as Uint8Array);
      if (Math.abs(found - expected) <= Math.max(4, expected / 4)) close++;
    }
    expect(close).toBeGreaterThanOrEqual(18);
  });
});

describe("lists of ids", () => {
  test("are compared in both directions, and an id listed twice is refused", () => {
    const ids = randomIds(new SeededRandom(5), 300);
    const list = (from: number, to: number): IdList =>
      IdList.fromBytes(new Uint8Array(ids.buffer, from * 16, (to - from) * 16));
    const comparison = compareIds(KEY, list(0, 200), list(100, 300));
    expect(namesOf(comparison?.surplus ?? new IdList())).toEqual(namesOf(list(0, 100)));
    expect(namesOf(comparison?.missing ?? new IdList()).sort()).toEqual(namesOf(list(200, 300)).sort());
    const twice = list(0, 10);
    twice.pushFrom(twice, 4);
    expect(compareIds(KEY, list(0, 3), twice)).toBeUndefined();
  });
});
