import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type LocalCluster, openLocalCluster } from "../../../examples/local-cluster.ts";
import { type Agent, createAgent, StarlingError } from "../../../src/index.ts";
import { until } from "../until.ts";

/** Agents whose values outlive them. */

let cluster: LocalCluster;

beforeAll(async () => {
  cluster = await openLocalCluster();
}, 30_000);

afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
}, 20_000);

function again(name: string): Promise<Agent> {
  return createAgent({ stateDirectory: join(cluster.directory, name), name });
}

async function linked(a: Agent, b: Agent): Promise<void> {
  await until("they are linked", () => a.status().links.length === 1 && b.status().links.length === 1);
}

/** Every file below `folder`, by path. */
async function filesOf(folder: string): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const item of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(item.parentPath, item.name);
    if (item.isFile()) files.set(path, await readFile(path));
  }
  return files;
}

test("a cluster that is stopped as a whole has its values again, and its files say nothing of them", async () => {
  const alice = await cluster.join("alice");
  const bob = await cluster.join("bob");
  await linked(alice, bob);
  await alice.bucket("app").put("the-name-of-a-key", "the text of a value", { replicas: 2 });
  await bob.bucket("app").put("large", new Uint8Array(200_000).fill(0x5a), { replicas: 2 });
  await Promise.all([alice.close(), bob.close()]);
  for (const [path, bytes] of await filesOf(cluster.directory)) {
    for (const secret of ["the-name-of-a-key", "the text of a value", "Z".repeat(64)]) {
      expect([path, bytes.includes(secret)]).toEqual([path, false]);
    }
  }
  const alone = await again("alice");
  expect((await alone.bucket("app").get("the-name-of-a-key"))?.text()).toBe("the text of a value");
  expect((await alone.bucket("app").get("large"))?.value?.length).toBe(200_000);
  expect(alone.status().store).toMatchObject({
    kind: "sqlite",
    damage: [],
    uselessRows: 0,
    awaySince: null,
    setAside: 0,
  });
  await alone.close();
}, 60_000);

test("a damaged store is set aside, reported, and filled again by a replica", async () => {
  const file = join(cluster.directory, "bob", "store", "rows.sqlite");
  const bytes = await readFile(file);
  await writeFile(file, bytes.fill(0xff, 4_096, bytes.length - 4_096));
  const alice = await again("alice");
  const bob = await again("bob");
  expect(bob.status().store.damage).toHaveLength(1);
  expect(bob.status().store.damage[0]?.setAside).toMatch(/rows\.sqlite\.damaged-/);
  await linked(alice, bob);
  await until(
    "it is whole",
    async () => (await bob.bucket("app").get("the-name-of-a-key")) && bob.bucket("app").get("large"),
  );
  expect(bob.status().buckets).toEqual(alice.status().buckets);
  await Promise.all([alice.close(), bob.close()]);
}, 60_000);

test("a damaged store of an agent that knows nobody ends the start with an error, once", async () => {
  const hermit = await cluster.join("hermit");
  await hermit.bucket("app").put("a", "1", { replicas: 1 });
  await hermit.close();
  const folder = join(cluster.directory, "hermit");
  await writeFile(join(folder, "members.cache"), "");
  const file = join(folder, "store", "rows.sqlite");
  await writeFile(file, (await readFile(file)).subarray(0, 6_000));
  const failure = await again("hermit").catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(StarlingError);
  expect(failure).toMatchObject({ code: "state-corrupt", message: expect.stringMatching(/damaged-.*start again/) });
  await (await again("hermit")).close();
}, 60_000);

test("an agent in memory keeps no file of values and forgets them", async () => {
  const name = "forgetful";
  const forgetful = await cluster.join(name, { store: "memory" });
  expect(forgetful.status().store).toEqual({
    kind: "memory",
    rows: null,
    fileBytes: null,
    uselessRows: 0,
    awaySince: null,
    setAside: 0,
    damage: [],
  });
  await forgetful.close();
  expect(await readdir(join(cluster.directory, name))).not.toContain("store");
});
