import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type LocalCluster, openLocalCluster } from "../../../examples/local-cluster.ts";
import { type Agent, createAgent, type Entry } from "../../../src/index.ts";
import { until } from "../until.ts";

/** Buckets as an application uses them. */

let cluster: LocalCluster;
let alice: Agent;
let bob: Agent;

beforeAll(async () => {
  cluster = await openLocalCluster();
  alice = await cluster.join("alice");
  bob = await cluster.join("bob");
  await until("they are linked", () => alice.status().links.length === 1 && bob.status().links.length === 1);
}, 30_000);

afterAll(async () => {
  await alice.close();
  await cluster[Symbol.asyncDispose]();
}, 20_000);

test("many keys are written together and listed by prefix, by range and page by page", async () => {
  const bucket = alice.bucket("many");
  const keys = Array.from({ length: 2_500 }, (_, number) => `key ${String(number).padStart(4, "0")}`);
  expect(await bucket.putMany(keys.map((key) => [key, `value of ${key}`]))).toBe(2_500);
  const there = bob.bucket("many");
  await until("all are there", async () => (await there.list({ limit: 10_000 })).length === 2_500);
  expect((await there.list({ prefix: "key 12", limit: 10_000 })).map(({ key }) => key)).toEqual(
    keys.slice(1_200, 1_300),
  );
  expect((await there.list({ start: "key 0010", end: "key 0013" })).map(({ key }) => key)).toEqual(keys.slice(10, 13));
  const found: string[] = [];
  for (let after: string | undefined, more = true; more; more = after !== undefined) {
    const page = await there.page({ limit: 700, end: "key 2000", ...(after !== undefined && { after }) });
    found.push(...page.entries.map(({ key }) => key));
    after = page.next;
  }
  expect(found).toEqual(keys.slice(0, 2_000));
}, 60_000);

test("what is written is what the bytes were when the write was handed over, whatever kind of array they are in", async () => {
  const bucket = alice.bucket("own");
  for (const bytes of [new Uint8Array(60_000), Buffer.alloc(60_000), Buffer.from("short"), new Uint8Array(5)]) {
    const before = new Uint8Array(bytes);
    const written = bucket.put("key", bytes);
    bytes.fill(7);
    await written;
    for (const agent of [alice, bob]) {
      await until("it is there", async () => (await agent.bucket("own").get("key"))?.value?.length === before.length);
      expect((await agent.bucket("own").get("key"))?.value).toEqual(before);
    }
    await bucket.delete("key");
  }
}, 30_000);

test("more is written at once than is ever under way, and all of it arrives", async () => {
  const bucket = alice.bucket("flood");
  const value = new Uint8Array(1_000_000).fill(1);
  const keys = Array.from({ length: 72 }, (_, index) => `key ${index}`);
  await Promise.all(keys.map((key) => bucket.put(key, value, { timeoutMs: 60_000 })));
  expect(await bucket.list()).toHaveLength(72);
}, 120_000);

test("a transaction is seen as a whole by another member's watcher", async () => {
  const ended = new AbortController();
  const watched: Entry[] = [];
  const watching = (async () => {
    for await (const entry of bob.bucket("pair").watch({ signal: ended.signal })) {
      watched.push(entry);
      const [left, right] = await Promise.all(["left", "right"].map((key) => bob.bucket("pair").get(key)));
      expect(left?.text()).toBe(right?.text());
      if (watched.length === 20) break;
    }
  })();
  for (let round = 0; round < 10; round++) {
    await alice.bucket("pair").transaction([
      ["left", `${round}`],
      ["right", `${round}`],
    ]);
  }
  await watching;
  ended.abort();
  await expect(alice.bucket("pair").transaction([])).rejects.toMatchObject({ code: "limit-reached" });
}, 30_000);

test("of members that write over the same version one succeeds, and the others are told which version they met", async () => {
  const counter = [alice.bucket("count"), bob.bucket("count")];
  const first = await alice.bucket("count").put("n", "0", { ifVersion: null });
  await until("both have it", async () => (await bob.bucket("count").get("n"))?.version === first.version);
  const rivals = await Promise.allSettled(counter.map((bucket) => bucket.put("n", "1", { ifVersion: first.version })));
  expect(rivals.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  const [won] = rivals.flatMap((rival) => (rival.status === "fulfilled" ? [rival.value.version] : []));
  const [lost] = rivals.flatMap((rival) => (rival.status === "rejected" ? [rival.reason] : []));
  expect(lost).toMatchObject({ code: "conflict", found: won, message: expect.stringContaining(won ?? "-") });
  const steps = 20;
  const add = async (bucket: (typeof counter)[number]): Promise<void> => {
    for (let left = steps; left > 0; ) {
      const read = await bucket.get("n");
      const written = bucket.put("n", `${Number(read?.text()) + 1}`, { ifVersion: read?.version ?? null });
      const outcome = await written.catch((error: unknown) => error);
      if (!(outcome instanceof Error)) left--;
      else expect(outcome).toMatchObject({ code: "conflict" });
    }
  };
  await Promise.all(counter.map(add));
  expect((await alice.bucket("count").get("n", { consistency: "quorum" }))?.text()).toBe(`${1 + 2 * steps}`);
  await expect(alice.bucket("count").delete("n", { ifVersion: "0".repeat(64) })).rejects.toMatchObject({
    code: "conflict",
  });
  await expect(alice.bucket("count").put("n", "x", { ifVersion: "1" })).rejects.toMatchObject({ code: "usage" });
}, 60_000);

test("a watcher goes on from its cursor after its agent was stopped", async () => {
  const seen: Entry[] = [];
  const first = await cluster.join("carol");
  await first.bucket("log").put("a", "1", { replicas: 1 });
  const watching = (async () => {
    for await (const entry of first.bucket("log").watch({ initial: true })) seen.push(entry);
  })();
  await first.bucket("log").put("b", "1", { replicas: 1 });
  await until("both are told", () => seen.length === 2);
  const cursor = seen[1]?.cursor;
  expect(cursor).toBeDefined();
  await first.bucket("log").put("c", "1", { replicas: 1 });
  await first.bucket("log").put("b", "2", { replicas: 1 });
  await first.close();
  await watching;
  const second = await createAgent({ stateDirectory: join(cluster.directory, "carol"), name: "carol" });
  const ended = new AbortController();
  const later: string[] = [];
  for await (const entry of second.bucket("log").watch({ cursor: cursor as string, signal: ended.signal })) {
    later.push(`${entry.key} ${entry.text()}`);
    if (later.length === 2) ended.abort();
  }
  expect(later).toEqual(["c 1", "b 2"]);
  await second.leave();
}, 30_000);
