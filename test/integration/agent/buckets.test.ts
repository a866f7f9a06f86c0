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
