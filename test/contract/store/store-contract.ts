import { describe, expect, test } from "vitest";
import { MAX_NAME_BYTES, MAX_VALUE_BYTES, MAX_WAITING_BYTES } from "../../../src/drivers/store/limits.ts";
import { AssertionFailure } from "../../../src/proto/assert.ts";
import type { Store } from "../../../src/store.ts";
import { allRows, content, type Kind, makePlace, put, remove, valueFor } from "./stores.ts";

/** What every store promises. */
export function storeContract(kind: Kind): void {
  const keeps = kind !== "memory";

  describe(`store contract: ${kind}`, () => {
    const withStore = async (work: (store: Store) => Promise<void>): Promise<void> => {
      await using place = await makePlace(kind);
      await using store = await place.open();
      await work(store);
    };

    test("gives back what was committed, and nothing that was not", () =>
      withStore(async (store) => {
        expect(store.kind).toBe(kind);
        expect(await allRows(store)).toEqual([]);
        await store.commit([put("a", valueFor(1)), put("b", valueFor(2)), put("a", valueFor(3), 2)]);
        expect(await store.read(1, "a")).toEqual(valueFor(1));
        expect(await store.read(2, "a")).toEqual(valueFor(3));
        expect(await store.read(2, "b")).toBeUndefined();
        expect(await store.read(3, "a")).toBeUndefined();
      }));

    test("of several changes of a row the last counts, in one commit and in commits that wait together", () =>
      withStore(async (store) => {
        await Promise.all([
          store.commit([put("a", valueFor(1)), put("b", valueFor(1)), put("a", valueFor(2))]),
          store.commit([remove("a"), put("c", valueFor(3))]),
          store.commit([put("a", valueFor(4)), remove("c"), remove("never")]),
        ]);
        const hex = (index: number): string => Buffer.from(valueFor(index)).toString("hex");
        expect(await content(store)).toEqual({ "1/a": hex(4), "1/b": hex(1) });
        expect(store.damage).toEqual([]);
      }));

    test("scans every row once, ordered by space", () =>
      withStore(async (store) => {
        const names = Array.from({ length: 3_000 }, (_, index) => `key ${index}`);
        await store.commit(names.map((name, index) => put(name, valueFor(index), index % 3)));
        const rows = await allRows(store);
        expect(rows.map(({ name }) => name).sort()).toEqual([...names].sort());
        const spaces = rows.map(({ space }) => space);
        expect(spaces).toEqual([...spaces].sort());
        for (const { name, value } of rows) expect(value).toEqual(valueFor(Number(name.slice(4))));
        expect(store.damage).toEqual([]);
      }));

    test("scans in portions of a bounded size", () =>
      withStore(async (store) => {
        await store.commit(Array.from({ length: 40 }, (_, index) => put(`${index}`, valueFor(index, 200_000))));
        let portions = 0;
        for await (const portion of store.scan()) {
          portions++;
          if (kind === "sqlite" || kind === "lmdb") expect(portion.length).toBeLessThanOrEqual(6);
        }
        expect(portions).toBeGreaterThanOrEqual(1);
      }));

    test("keeps empty values, values of every length around a page, and large ones", () =>
      withStore(async (store) => {
        const lengths = [0, 1, 4_000, 4_096, 16_384, 70_000, 1_048_576, 1_048_577, 8_388_608];
        await store.commit(lengths.map((length) => put(`${length}`, valueFor(length, length))));
        for (const length of lengths) {
          expect(Buffer.from((await store.read(1, `${length}`)) ?? []).equals(valueFor(length, length))).toBe(true);
        }
        await store.commit(lengths.map((length) => put(`${length}`, valueFor(1))));
        expect((await allRows(store)).every(({ value }) => value.length === 40)).toBe(true);
        expect(store.damage).toEqual([]);
      }));

    test("keeps names of every kind apart", () =>
      withStore(async (store) => {
        const names = [
          "a",
          "A",
          "a ",
          "ä",
          "a\u0308",
          "é/\0",
          "😀",
          "x".repeat(MAX_NAME_BYTES),
          `${"x".repeat(MAX_NAME_BYTES - 1)}y`,
        ];
        await store.commit(names.map((name, index) => put(name, valueFor(index))));
        for (const [index, name] of names.entries()) expect(await store.read(1, name)).toEqual(valueFor(index));
        expect((await store.size()).rows).toBe(names.length);
      }));

    test("takes no changes outside its bounds, and then changes nothing", () =>
      withStore(async (store) => {
        const wrong = [
          put("", valueFor(1)),
          put("\ud800", valueFor(1)),
          put("x".repeat(MAX_NAME_BYTES + 1), valueFor(1)),
          put("ä".repeat(MAX_NAME_BYTES / 2 + 1), valueFor(1)),
          put("a", valueFor(1), 251),
          put("a", valueFor(1), -1),
          put("a", valueFor(1), 0.5),
          put("a", new Uint8Array(MAX_VALUE_BYTES + 1)),
        ];
        for (const change of wrong) {
          await expect(store.commit([put("good", valueFor(1)), change])).rejects.toThrow(AssertionFailure);
        }
        expect(await allRows(store)).toEqual([]);
      }));

    test("counts its rows", () =>
      withStore(async (store) => {
        await store.commit([put("a", valueFor(1)), put("b", valueFor(2)), put("c", valueFor(3, 1_000))]);
        await store.commit([put("a", valueFor(4)), remove("b"), remove("b"), remove("d")]);
        const size = await store.size();
        expect(size.rows).toBe(2);
        expect(size.bytes).toBeGreaterThanOrEqual(1_040);
        expect(size.bytes).toBeLessThan(1_200);
        expect(size.waitingBytes).toBe(0);
      }));

    test("gives copies: what a caller does to them changes nothing", () =>
      withStore(async (store) => {
        const value = valueFor(1);
        await store.commit([put("a", value)]);
        value.fill(0);
        (await store.read(1, "a"))?.fill(0);
        for (const row of await allRows(store)) row.value.fill(0);
        expect(await store.read(1, "a")).toEqual(valueFor(1));
      }));

    test("settles commits in order, also when many wait together", () =>
      withStore(async (store) => {
        const order: number[] = [];
        await Promise.all(
          Array.from({ length: 500 }, (_, index) =>
            store.commit([put(`${index % 7}`, valueFor(index))]).then(() => order.push(index)),
          ),
        );
        expect(order).toEqual([...order].sort((a, b) => a - b));
        for (let row = 0; row < 7; row++) {
          const last = 500 - 1 - ((500 - 1 - row) % 7);
          expect(await store.read(1, `${row}`)).toEqual(valueFor(last));
        }
      }));

    test("loses nothing and stays whole when compacted, also while commits wait", () =>
      withStore(async (store) => {
        await store.commit(Array.from({ length: 300 }, (_, index) => put(`${index}`, valueFor(index, 3_000))));
        await store.commit(Array.from({ length: 290 }, (_, index) => remove(`${index}`)));
        const commits = Array.from({ length: 20 }, (_, index) => store.commit([put(`late ${index}`, valueFor(index))]));
        await store.compact();
        await Promise.all(commits);
        await store.compact();
        await store.commit([put("after", valueFor(1))]);
        expect((await allRows(store)).length).toBe(31);
        expect(store.damage).toEqual([]);
      }));

    test("refuses everything once it is closed, and closing twice does nothing", () =>
      withStore(async (store) => {
        const waiting = store.commit([put("a", valueFor(1))]);
        await Promise.all([store.close(), store.close()]);
        await waiting;
        await expect(store.commit([])).rejects.toMatchObject({ code: "closed" });
        await expect(store.read(1, "a")).rejects.toMatchObject({ code: "closed" });
        await expect(store.compact()).rejects.toMatchObject({ code: "closed" });
        await expect(store.reseal()).rejects.toMatchObject({ code: "closed" });
        await expect(store.size()).rejects.toMatchObject({ code: "closed" });
        await expect(allRows(store)).rejects.toMatchObject({ code: "closed" });
      }));

    test.runIf(keeps)("has after closing and opening what it had before", async () => {
      await using place = await makePlace(kind);
      let before: Record<string, string>;
      {
        await using store = await place.open();
        await store.commit(Array.from({ length: 1_000 }, (_, index) => put(`${index}`, valueFor(index), index % 4)));
        await store.commit([remove("0", 0), put("1", valueFor(7), 1)]);
        before = await content(store);
      }
      await using store = await place.open();
      expect(await content(store)).toEqual(before);
      expect((await store.size()).rows).toBe(999);
      expect(store.damage).toEqual([]);
    });

    test.runIf(keeps)("refuses more than may wait for the disk, and changes nothing by it", () =>
      withStore(async (store) => {
        const large = new Uint8Array(MAX_VALUE_BYTES);
        const most = Math.floor(MAX_WAITING_BYTES / (MAX_VALUE_BYTES + 1));
        const commits = Array.from({ length: most }, () => store.commit([put("large", large)]));
        await expect(store.commit([put("refused", large)])).rejects.toMatchObject({ code: "limit-reached" });
        expect((await store.size()).waitingBytes).toBeGreaterThan(0);
        await Promise.all(commits);
        expect((await store.size()).waitingBytes).toBe(0);
        expect((await allRows(store)).map(({ name }) => name)).toEqual(["large"]);
        await store.commit([put("later", valueFor(1))]);
      }),
    );

    test.runIf(keeps)("is refused to a second user while it is open", async () => {
      await using place = await makePlace(kind);
      const store = await place.open();
      await expect(place.open()).rejects.toMatchObject({ code: "state-locked" });
      await store.commit([put("a", valueFor(1))]);
      await store.close();
      await using next = await place.open();
      expect(await next.read(1, "a")).toEqual(valueFor(1));
    });

    test.runIf(keeps)("with another key opens not at all, and with its own as before", async () => {
      await using place = await makePlace(kind);
      await using other = await makePlace(kind);
      {
        await using store = await place.open();
        await store.commit([put("a", valueFor(1))]);
      }
      await expect(place.open(await other.ring())).rejects.toMatchObject({ code: "store-unavailable" });
      await using store = await place.open();
      expect(await content(store)).toEqual({ "1/a": Buffer.from(valueFor(1)).toString("hex") });
      expect(store.damage).toEqual([]);
    });

    test.runIf(keeps)(
      "seals every row anew while it is written to, and then opens with the new key alone",
      async () => {
        await using place = await makePlace(kind);
        const keys = await place.ring();
        {
          await using store = await place.open(keys);
          await store.commit(Array.from({ length: 2_000 }, (_, index) => put(`${index}`, valueFor(index))));
          const [old] = keys.keys;
          await keys.add();
          const resealing = store.reseal();
          const commits: Promise<void>[] = [];
          for (let index = 0; index < 2_000; index += 10) {
            commits.push(store.commit([put(`${index}`, valueFor(index + 1)), remove(`${index + 1}`)]));
            if (index % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
          }
          expect(await resealing).toBeGreaterThan(0);
          await Promise.all(commits);
          expect(keys.keys).toHaveLength(1);
          expect(keys.keys[0]).not.toEqual(old);
          expect((await store.size()).rows).toBe(1_800);
        }
        await using store = await place.open();
        const rows = await allRows(store);
        expect(rows).toHaveLength(1_800);
        for (const { name, value } of rows) {
          const index = Number(name);
          expect(value).toEqual(valueFor(index % 10 === 0 ? index + 1 : index));
        }
        expect(store.damage).toEqual([]);
      },
    );

    test.runIf(keeps)("goes on with a rotation that was cut short", async () => {
      await using place = await makePlace(kind);
      const keys = await place.ring();
      {
        await using store = await place.open(keys);
        await store.commit(Array.from({ length: 3_000 }, (_, index) => put(`${index}`, valueFor(index, 600))));
        await keys.add();
        const stop = new AbortController();
        const retire = keys.retire.bind(keys);
        keys.retire = () => Promise.reject(new Error("never reached"));
        queueMicrotask(() => stop.abort());
        await expect(store.reseal(stop.signal)).rejects.toMatchObject({ code: "aborted" });
        keys.retire = retire;
      }
      const both = await place.ring();
      expect(both.keys).toHaveLength(2);
      await using store = await place.open(both);
      await store.commit([put("5", valueFor(6)), remove("7")]);
      expect(await store.read(1, "5")).toEqual(valueFor(6));
      expect(await store.read(1, "7")).toBeUndefined();
      expect(await store.read(1, "8")).toEqual(valueFor(8, 600));
      expect(await allRows(store)).toHaveLength(2_999);
      expect(await store.reseal()).toBeGreaterThan(0);
      expect(await store.reseal()).toBe(0);
      expect(await allRows(store)).toHaveLength(2_999);
      expect(both.keys).toHaveLength(1);
      expect(store.damage).toEqual([]);
    });
  });
}
