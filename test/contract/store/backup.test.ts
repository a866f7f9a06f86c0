import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readBackup, writeBackup } from "../../../src/drivers/store/backup-file.ts";
import type { Row } from "../../../src/store.ts";
import { freshFolder } from "../../integration/command.ts";

const ROWS: readonly Row[] = Array.from({ length: 50 }, (_, number) => {
  return {
    space: number % 4,
    name: `name ${number}`,
    value: new Uint8Array(number === 20 ? 1_200_000 : 100).fill(number),
  };
});

async function* portions(): AsyncGenerator<readonly Row[]> {
  for (let start = 0; start < ROWS.length; start += 7) yield ROWS.slice(start, start + 7);
}

async function readAll(file: string, passphrase = "secret"): Promise<Row[]> {
  const { cluster, rows } = await readBackup(file, passphrase);
  expect(cluster).toBe("cluster");
  const all: Row[] = [];
  for await (const portion of rows) all.push(...portion.map((row) => ({ ...row, value: row.value.slice() })));
  return all;
}

function describe(rows: readonly Row[]): string {
  return rows.map(({ space, name, value }) => `${space} ${name} ${Buffer.from(value).toString("base64")}`).join("\n");
}

test("a backup gives back every row in its order, and only under its passphrase", async () => {
  const folder = await freshFolder();
  const file = join(folder, "backup");
  expect(await writeBackup(file, "cluster", "secret", portions())).toBe(50);
  // Compared as text: a matcher takes a minute for a large array.
  expect(describe(await readAll(file)) === describe(ROWS)).toBe(true);
  expect(await readdir(folder)).toEqual(["backup"]);
  await expect(readBackup(file, "another")).rejects.toMatchObject({ code: "permission-denied" });
});

test("a backup that was cut off or altered anywhere is never taken for a whole one", async () => {
  const file = join(await freshFolder(), "backup");
  await writeBackup(file, "cluster", "secret", portions());
  const bytes = await readFile(file);
  const cuts = [0, 10, 60, bytes.length - 1, bytes.length - 60].map((length) => bytes.subarray(0, length));
  const flips = [3, 40, 200, bytes.length >> 1, bytes.length - 5].map((at) => {
    const copy = Buffer.from(bytes);
    copy[at] = (copy[at] ?? 0) ^ 4;
    return copy;
  });
  for (const damaged of [...cuts, ...flips]) {
    await writeFile(file, damaged);
    await expect(readAll(file)).rejects.toMatchObject({
      code: expect.stringMatching(/^(state-corrupt|permission-denied)$/),
    });
  }
});

test("a backup that cannot be finished leaves the file of that name as it was", async () => {
  const folder = await freshFolder();
  const file = join(folder, "backup");
  await writeFile(file, "an earlier one");
  async function* failing(): AsyncGenerator<readonly Row[]> {
    yield ROWS;
    throw new Error("out of rows");
  }
  await expect(writeBackup(file, "cluster", "secret", failing())).rejects.toThrow("out of rows");
  expect(await readFile(file, "utf8")).toBe("an earlier one");
  expect(await readdir(folder)).toEqual(["backup"]);
});
