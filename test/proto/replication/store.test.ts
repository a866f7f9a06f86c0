import { expect, test } from "vitest";
import { utf8 } from "../../../src/proto/bytes.ts";
import { SeededRandom } from "../../../src/proto/random.ts";
import type { Entry } from "../../../src/proto/replication/entry.ts";
import { DEFAULT_QUOTAS, TOMBSTONE_RETENTION_MS } from "../../../src/proto/replication/limits.ts";
import { compareKeys, OrderedKeys } from "../../../src/proto/replication/ordered-keys.ts";
import { Store } from "../../../src/proto/replication/store.ts";
import { type Content, makeBatch } from "./make.ts";
import { START } from "./world.ts";

function filled(contents: readonly Content[]): Store {
  const store = new Store(DEFAULT_QUOTAS, new SeededRandom(1));
  for (const entry of makeBatch(1, contents).entries) store.apply(entry, START);
  return store;
}

const keysOf = (page: { readonly entries: readonly { readonly key: string }[] }): string[] =>
  page.entries.map(({ key }) => key);

test("a bucket is listed in the order of UTF-8 bytes, by prefix and in pages", () => {
  const keys = ["b/2", "a", "b/10", "b/1", "c", "\uffff", "😀", "b/"];
  const store = filled(keys.map((key): Content => ["app", key, key]));
  const sorted = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  expect(keysOf(store.list("app", {}))).toEqual(sorted);
  expect(keysOf(store.list("app", { prefix: "b/" }))).toEqual(["b/", "b/1", "b/10", "b/2"]);
  expect(keysOf(store.list("app", { prefix: "b/", start: "b/10" }))).toEqual(["b/10", "b/2"]);
  expect(keysOf(store.list("app", { start: "b/10", after: "b/10", limit: 2 }))).toEqual(["b/2", "c"]);
  const first = store.list("app", { limit: 3 });
  expect(keysOf(first)).toEqual(sorted.slice(0, 3));
  expect(first.next).toBe(sorted[2]);
  expect(keysOf(store.list("app", { limit: 100, after: first.next ?? "" }))).toEqual(sorted.slice(3));
  expect(store.list("app", { prefix: "b/", limit: 4 }).next).toBeUndefined();
  expect(store.list("none", {})).toEqual({ entries: [] });
});

test("a deleted key is neither read nor listed, and a summary counts live keys only", () => {
  const store = filled([
    ["app", "a", "1"],
    ["app", "b", "22"],
    ["app", "a", null],
  ]);
  expect(store.get("app", "a")).toBeUndefined();
  expect(store.find("app", "a")?.deleted).toBe(true);
  expect(keysOf(store.list("app", {}))).toEqual(["b"]);
  expect(store.summaries()).toMatchObject([{ name: "app", keys: 1, bytes: 4, replicas: "all" }]);
});

test("digests are equal for equal content, whatever came first and whatever was overwritten", () => {
  const { entries } = makeBatch(1, [
    ["app", "a", "1"],
    ["app", "b", "2"],
    ["app", "a", "3"],
    ["zoo", "a", "4"],
  ]);
  const digests = [entries, [...entries].reverse(), [...entries, ...entries]].map((order) => {
    const store = new Store(DEFAULT_QUOTAS, new SeededRandom(1));
    for (const entry of order) store.apply(entry, START);
    return JSON.stringify(store.summaries());
  });
  expect(new Set(digests).size).toBe(1);
  const partial = new Store(DEFAULT_QUOTAS, new SeededRandom(1));
  for (const entry of entries.slice(0, 2)) partial.apply(entry, START);
  expect(partial.summaries()[0]?.digest).not.toBe((JSON.parse(digests[0] ?? "") as { digest: string }[])[0]?.digest);
});

test("tombstones leave the digest a day after they were written, all of a minute together, and are refused from then on", () => {
  const store = new Store(DEFAULT_QUOTAS, new SeededRandom(1));
  const minute = START - (START % 60_000);
  const early = makeBatch(1, [["app", "a", null]], minute).entries[0] as Entry;
  const late = makeBatch(1, [["app", "b", null]], minute + 59_000).entries[0] as Entry;
  store.apply(early, minute + 60_000);
  store.apply(late, minute + 60_000);
  const removed: string[] = [];
  const due = minute + 60_000 + TOMBSTONE_RETENTION_MS;
  expect(store.nextPurge()).toBe(due);
  store.purge(due - 1, ({ key }) => removed.push(key));
  expect(removed).toEqual([]);
  expect(store.standing(early, early.batch, 0, due - 1)).toBe("known");
  store.purge(due, ({ key }) => removed.push(key));
  expect(removed.sort()).toEqual(["a", "b"]);
  expect(store.summaries()).toEqual([]);
  expect(store.nextPurge()).toBeUndefined();
  expect(store.standing(early, early.batch, 0, due)).toBe("expired");
  expect(store.apply(early, due)).toEqual({ type: "superseded" });
});

test("a tombstone that was written over does not take the new value with it", () => {
  const store = new Store(DEFAULT_QUOTAS, new SeededRandom(1));
  store.apply(makeBatch(1, [["app", "a", null]], START).entries[0] as Entry, START);
  store.apply(makeBatch(1, [["app", "a", "back"]], START + 1).entries[0] as Entry, START + 1);
  store.purge(START + 2 * TOMBSTONE_RETENTION_MS, () => {
    throw new Error("nothing to remove");
  });
  expect(store.get("app", "a")?.value).toEqual(utf8("back"));
});

test("quotas bound keys and bytes of a bucket and of all, with a quarter more for others' writes", () => {
  const quotas = { buckets: 2, entriesPerBucket: 4, entries: 6, bytesPerBucket: 1_000, bytes: 1_500 };
  const store = new Store(quotas, new SeededRandom(1));
  const apply = (bucket: string, key: string, value: string | null, at: number) =>
    store.apply(makeBatch(1, [[bucket, key, value]], at).entries[0] as Entry, START).type;
  for (let key = 0; key < 4; key++) expect(apply("a", `${key}`, "x", START + key)).toBe("stored");
  expect(store.fits("a", "4", 2, 0, 0)).toBe(false);
  expect(store.fits("a", "3", 2, 0, 0)).toBe(true);
  expect(apply("a", "4", "x", START)).toBe("stored");
  expect(apply("a", "5", "x", START)).toBe("quota");
  expect(store.isFull("a")).toBe(true);
  expect(store.isFull("b")).toBe(false);
  expect(apply("b", "0", "y".repeat(1_249), START)).toBe("stored");
  expect(store.fits("b", "1", 10, 0, 0)).toBe(false);
  expect(apply("b", "0", "y".repeat(1_250), START + 9)).toBe("quota");
  expect(store.fits("c", "1", 1, 0, 0)).toBe(false);
  expect(apply("a", "1", null, START + 9)).toBe("stored");
});

test("ordered keys stay ordered through many insertions and removals", () => {
  const keys = new OrderedKeys();
  const model = new Set<string>();
  for (let step = 0; step < 20_000; step++) {
    const key = `k${(step * 7_919) % 6_007}`;
    if (step % 3 === 2) {
      keys.remove(key);
      model.delete(key);
    } else {
      keys.add(key);
      model.add(key);
    }
  }
  const found: string[] = [];
  keys.collect(found, "", false, "", 100_000);
  expect(found).toEqual([...model].sort(compareKeys));
});
