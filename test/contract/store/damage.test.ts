import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { acquireLock } from "../../../src/drivers/state/lock.ts";
import { encodeFormat, FORMAT } from "../../../src/drivers/store/format.ts";
import { openSqliteStore } from "../../../src/drivers/store/sqlite.ts";
import { bytesBelow, cut, examine, FILES, fill, filled, flip, ROWS, sizeOf } from "./damage.ts";
import { killRuns } from "./kill.ts";
import { mulberry } from "./mulberry.ts";
import { allRows, content, type FileKind, makePlace, openIn, type Place, put, valueFor } from "./stores.ts";

const KINDS: readonly FileKind[] = ["sqlite", "lmdb"];

/** A copy of a filled folder for each use, since every use spoils it. */
async function spoil(place: Place, kind: FileKind, harm: (path: string) => Promise<void>) {
  const original = `${place.folder}.original`;
  if ((await bytesBelow(original).catch(() => new Map())).size === 0)
    await cp(place.folder, original, { recursive: true });
  await rm(place.folder, { recursive: true });
  await cp(original, place.folder, { recursive: true });
  await harm(join(place.folder, FILES[kind]));
  return examine(place);
}

async function done(place: Place): Promise<void> {
  await rm(`${place.folder}.original`, { recursive: true, force: true });
  await place[Symbol.asyncDispose]();
}

describe.each(KINDS)("the files of a %s store", (kind) => {
  test("lose no acknowledged commit and tear no batch when their process is killed ten times", async () => {
    const report = await killRuns(kind, 10, mulberry(1));
    expect(report.acknowledged).toBeGreaterThan(0);
    expect(report).toMatchObject({ runs: 10, lost: 0, torn: 0, damaged: 0 });
  }, 120_000);

  test("with a bit changed anywhere give every row, or say what is missing", async () => {
    const place = await filled(kind);
    const random = mulberry(2);
    const size = await sizeOf(join(place.folder, FILES[kind]));
    for (let round = 0; round < 24; round++) {
      const byte = Math.floor(random() * (round % 3 === 0 ? 8_192 : size));
      await spoil(place, kind, (path) => flip(path, byte, Math.floor(random() * 8)));
    }
    await done(place);
  }, 120_000);

  test("cut off anywhere say what is missing", async () => {
    const place = await filled(kind);
    const random = mulberry(3);
    const path = join(place.folder, FILES[kind]);
    const size = await sizeOf(path);
    for (const length of [
      0,
      1,
      4_096,
      8_192,
      size - 1,
      ...Array.from({ length: 5 }, () => Math.floor(random() * size)),
    ]) {
      const { rows, reported } = await spoil(place, kind, (file) => cut(file, length));
      if (rows < ROWS) expect(reported.length).toBeGreaterThan(0);
    }
    await done(place);
  }, 120_000);

  test("are set aside under a name with the time when they are damaged, and the rest is saved", async () => {
    await using place = await filled(kind);
    const path = join(place.folder, FILES[kind]);
    const bytes = (await bytesBelow(place.folder)).get(path);
    // In the middle of the longest value, which the file holds in one piece.
    const at = Math.floor((bytes?.length ?? 0) / 2);
    for (let byte = at; byte < at + 20_000; byte += 500) await flip(path, byte, 3);
    const { rows, reported } = await examine(place);
    expect(rows).toBeGreaterThan(ROWS / 2);
    expect(rows).toBeLessThan(ROWS);
    // LMDB's pages are checked before they are read, and its rows when they are.
    expect(reported).toEqual(kind === "lmdb" ? ["file", "rows"] : ["file"]);
    const names = await readdir(place.folder);
    expect(names.some((name) => /^rows\.\w+\.damaged-\d{4}-\d\d-\d\dT\d{9}Z$/.test(name))).toBe(true);
  });

  test("that are gone altogether are missed", async () => {
    await using place = await filled(kind);
    for (const name of await readdir(place.folder)) {
      if (name.startsWith("rows.")) await rm(join(place.folder, name));
    }
    expect(await examine(place)).toEqual({ rows: 0, reported: ["commits"] });
  });

  test("put back from an earlier copy are found to be old", async () => {
    await using place = await filled(kind);
    const path = join(place.folder, FILES[kind]);
    await cp(path, `${path}.copy`);
    {
      await using store = await place.open();
      await store.commit([put("newer", valueFor(1))]);
    }
    await rename(`${path}.copy`, path);
    expect(await examine(place)).toEqual({ rows: ROWS, reported: ["commits"] });
  });

  test("are adopted when a crash came between setting the old ones aside and putting the copy in place", async () => {
    await using place = await filled(kind);
    const path = join(place.folder, FILES[kind]);
    await rename(path, `${path}.fresh`);
    expect(await examine(place)).toEqual({ rows: ROWS, reported: [] });
  });

  test("hold no name, no value and no key that a search for bytes would find", async () => {
    await using place = await makePlace(kind);
    const keys = await place.ring();
    const secrets = ["a very secret name", "the very secret value", "starling-bucket"].map((text) => Buffer.from(text));
    for (const key of keys.keys) secrets.push(Buffer.from(key), Buffer.from(Buffer.from(key).toString("base64")));
    const search = async (): Promise<void> => {
      const files = await bytesBelow(place.folder);
      expect(files.size).toBeGreaterThan(1);
      for (const [path, bytes] of files) {
        for (const secret of secrets) expect(bytes.includes(secret), `${secret} in ${path}`).toBe(false);
      }
    };
    await using store = await place.open(keys);
    for (let index = 0; index < 50; index++) {
      const value = Buffer.from(`${index} the very secret value`.repeat(1 + index * 20));
      await store.commit([put(`starling-bucket/a very secret name ${index}`, value)]);
    }
    await search();
    await store.compact();
    await search();
    await store.close();
    await search();
  });

  test("are refused to a second process, which is told the first one's number", async () => {
    await using place = await makePlace(kind);
    const child = spawn(process.execPath, [
      "--input-type=module-typescript",
      "--eval",
      `import { openIn, secretFile } from ${JSON.stringify(join(import.meta.dirname, "stores.ts"))};
       import { openKeyRing } from ${JSON.stringify(join(import.meta.dirname, "../../../src/drivers/store/key-ring.ts"))};
       await using store = await openIn(${JSON.stringify(kind)}, ${JSON.stringify(place.folder)}, await openKeyRing(secretFile()));
       await store.commit([{ space: 1, name: "a", value: new Uint8Array(1) }]);
       process.stdout.write("ready");
       await new Promise((resolve) => setTimeout(resolve, 60_000));`,
    ]);
    await once(child.stdout, "data");
    await expect(place.open()).rejects.toMatchObject({
      code: "state-locked",
      message: expect.stringContaining(`process ${child.pid}`),
    });
    child.kill("SIGKILL");
    await once(child, "exit");
    // Its lock went with it, its key did too.
    await expect(openIn(kind, place.folder, await place.ring())).rejects.toMatchObject({ code: "store-unavailable" });
  });

  test("of the other kind are not taken for an empty store", async () => {
    await using place = await filled(kind);
    const other = kind === "sqlite" ? "lmdb" : "sqlite";
    await expect(openIn(other, place.folder, await place.ring())).rejects.toMatchObject({ code: "store-unavailable" });
  });
});

describe("the WAL of a sqlite store", () => {
  /** A folder as a killed process leaves it: the newest commits are in the WAL alone. */
  async function withWal(): Promise<{ readonly place: Place; readonly wal: string }> {
    const place = await makePlace("sqlite");
    const store = await place.open();
    await fill(store);
    await cp(place.folder, `${place.folder}.killed`, { recursive: true });
    await store.close();
    await rm(place.folder, { recursive: true });
    await rename(`${place.folder}.killed`, place.folder);
    // That of a process that lives: ours.
    await rm(join(place.folder, "lock"));
    return { place, wal: join(place.folder, "rows.sqlite-wal") };
  }

  test("is read after a kill", async () => {
    const { place, wal } = await withWal();
    expect(await sizeOf(wal)).toBeGreaterThan(100_000);
    expect(await examine(place)).toEqual({ rows: ROWS, reported: [] });
    await place[Symbol.asyncDispose]();
  });

  test.each([0.3, 0.6, 0.9, 0.999])("cut off at %d of its length is missed", async (share) => {
    const { place, wal } = await withWal();
    await cut(wal, Math.floor((await sizeOf(wal)) * share));
    expect((await examine(place)).reported).toContain("commits");
    await place[Symbol.asyncDispose]();
  });

  test("with a bit changed is missed from there on", async () => {
    const { place, wal } = await withWal();
    await flip(wal, Math.floor((await sizeOf(wal)) / 2), 5);
    expect((await examine(place)).reported).toContain("commits");
    await place[Symbol.asyncDispose]();
  });
});

describe("rows of a sqlite store", () => {
  async function change(sql: string): Promise<readonly string[]> {
    const place = await filled("sqlite");
    const database = new DatabaseSync(join(place.folder, FILES.sqlite));
    database.exec(sql);
    database.close();
    const { reported } = await examine(place);
    await place[Symbol.asyncDispose]();
    return reported;
  }

  test("that have changed places are found", async () => {
    const swap = `CREATE TEMP TABLE two AS SELECT id, head, body FROM rows LIMIT 2;
      UPDATE rows SET (head, body) = (SELECT head, body FROM two WHERE two.id <> rows.id) WHERE id IN (SELECT id FROM two)`;
    expect(await change(swap)).toEqual(["rows"]);
  });

  test("that are gone are missed", async () => {
    expect(await change("DELETE FROM rows WHERE id = (SELECT max(id) FROM rows)")).toEqual(["lost"]);
  });

  test("that were put back from an earlier copy are found to be old", async () => {
    await using place = await filled("sqlite");
    const path = join(place.folder, FILES.sqlite);
    await cp(path, `${path}.copy`);
    {
      await using store = await place.open();
      await store.commit([put("row 7", valueFor(99))]);
    }
    const database = new DatabaseSync(path);
    database.exec(`ATTACH '${path}.copy' AS old;
      UPDATE rows SET (head, body) = (SELECT head, body FROM old.rows AS o WHERE o.address = rows.address)`);
    database.close();
    await using store = await place.open();
    await allRows(store);
    expect(store.damage.map(({ type }) => type)).toEqual(["lost"]);
  });

  test("under a mark that was altered to fit are not believed", async () => {
    expect(await change("UPDATE records SET value = zeroblob(60) WHERE name = 'mark'")).toEqual(["file"]);
  });
});

describe("the format of a store", () => {
  const setFormat = async (place: Place, format: Uint8Array): Promise<void> => {
    const database = new DatabaseSync(join(place.folder, FILES.sqlite));
    database.prepare("UPDATE records SET value = ? WHERE name = 'format'").run(format);
    database.close();
  };

  test("of a newer Starling is refused, and nothing is lost by it", async () => {
    await using place = await filled("sqlite");
    await setFormat(place, encodeFormat(FORMAT + 1));
    await expect(place.open()).rejects.toMatchObject({
      code: "version-mismatch",
      message: expect.stringContaining("update"),
    });
    await setFormat(place, encodeFormat(FORMAT));
    expect(await examine(place)).toEqual({ rows: ROWS, reported: [] });
  });

  test("that was damaged is not taken for a newer one", async () => {
    await using place = await filled("sqlite");
    const damaged = encodeFormat(FORMAT);
    damaged[8] = 64;
    await setFormat(place, damaged);
    expect(await examine(place)).toEqual({ rows: ROWS, reported: ["file"] });
  });
});

test("a folder that cannot be made says so", async () => {
  await using place = await makePlace("memory");
  const keys = await place.ring();
  await expect(openSqliteStore("/dev/null/store", { keys, lock: acquireLock })).rejects.toMatchObject({
    code: "store-unavailable",
  });
});

test("rows that IndexedDB gives back altered are set aside in the database", async () => {
  await using place = await makePlace("indexeddb");
  {
    await using store = await place.open();
    await fill(store);
  }
  const { damageIndexedDb } = await import("./stores.ts");
  await damageIndexedDb(place, 3);
  {
    await using store = await place.open();
    expect(Object.keys(await content(store))).toHaveLength(ROWS - 3);
    expect(store.damage).toMatchObject([{ type: "rows", rows: 3, setAside: expect.stringContaining("damaged/") }]);
  }
  await using store = await place.open();
  expect(Object.keys(await content(store))).toHaveLength(ROWS - 3);
  expect(store.damage).toEqual([]);
});
