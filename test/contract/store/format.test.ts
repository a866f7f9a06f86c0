import { cp, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Backend } from "../../../src/drivers/store/backend.ts";
import { decodeFormat, encodeFormat, migrate } from "../../../src/drivers/store/format.ts";
import { openKeyRing } from "../../../src/drivers/store/key-ring.ts";
import { content, type FileKind, makePlace, openIn, put, valueFor } from "./stores.ts";

/** Files as they were written when format 1 was new: whoever changes what is on the disk meets them here. */
const VECTORS = join(import.meta.dirname, "../../vectors/store-1");

describe.each<FileKind>(["sqlite", "lmdb"])("a %s store of format 1", (kind) => {
  test("is read, and written to", async () => {
    await using place = await makePlace(kind);
    await cp(join(VECTORS, kind), place.folder, { recursive: true });
    const keys = await openKeyRing({ read: () => readFile(join(VECTORS, "keys")), write: async () => undefined });
    const expected: Record<string, string> = {};
    for (let index = 1; index < 20; index++) {
      const value = index === 1 ? valueFor(7) : valueFor(index, index * 50);
      expected[`${index % 3}/key ${index}`] = Buffer.from(value).toString("hex");
    }
    {
      await using store = await openIn(kind, place.folder, keys);
      expect(await content(store)).toEqual(expected);
      await store.commit([put("new", valueFor(1), 0)]);
      expect(store.damage).toEqual([]);
    }
    await using store = await openIn(kind, place.folder, keys);
    expect(await content(store)).toEqual({ ...expected, "0/new": Buffer.from(valueFor(1)).toString("hex") });
  });
});

describe("migration", () => {
  /** A backend of which only the format is looked at. */
  function recorder() {
    const written: (number | undefined)[] = [];
    const writeFormat = async (format: Uint8Array): Promise<void> => {
      written.push(decodeFormat(format));
    };
    return { written, backend: { writeFormat } as unknown as Backend };
  }

  test("runs every step from the store's format on, and writes each down when it is done", async () => {
    const { written, backend } = recorder();
    const steps: string[] = [];
    const step = (name: string) => async (): Promise<void> => {
      steps.push(`${name} after ${written.length}`);
    };
    const migrations = new Map([
      [1, step("1 to 2")],
      [2, step("2 to 3")],
      [3, step("3 to 4")],
    ]);
    await migrate(backend, 2, migrations, 4);
    expect(steps).toEqual(["2 to 3 after 0", "3 to 4 after 1"]);
    expect(written).toEqual([3, 4]);
  });

  test("that fails leaves the format as it was, to be tried again", async () => {
    const { written, backend } = recorder();
    const migrations = new Map([[1, () => Promise.reject(new Error("cut short"))]]);
    await expect(migrate(backend, 1, migrations, 2)).rejects.toThrow("cut short");
    expect(written).toEqual([]);
  });

  test("does nothing for a store of the present format", async () => {
    const { written, backend } = recorder();
    await migrate(backend, 1);
    expect(written).toEqual([]);
  });
});

test("a format record with one bit changed is no format record", () => {
  const record = encodeFormat(1);
  expect(decodeFormat(record)).toBe(1);
  for (let bit = 0; bit < record.length * 8; bit++) {
    const changed = record.slice();
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    expect(decodeFormat(changed)).toBeUndefined();
  }
  expect(decodeFormat(record.subarray(1))).toBeUndefined();
});
