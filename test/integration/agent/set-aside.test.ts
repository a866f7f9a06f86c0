import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type LocalCluster, openLocalCluster } from "../../../examples/local-cluster.ts";
import type { ReseededEvent } from "../../../src/agent/events.ts";
import { type Agent, createAgent } from "../../../src/index.ts";
import { starling, startStarling } from "../command.ts";
import { until } from "../until.ts";

/**
 * Goal: an agent that was away for longer than deletions are remembered says so, and what was written at it meanwhile can be had. Method: two
 * agents, the one that stays remembers deletions for a day, the other knows of a minute only, and the time of day is set on by three.
 */

let cluster: LocalCluster;

beforeAll(async () => {
  cluster = await openLocalCluster();
}, 30_000);

afterAll(async () => {
  vi.restoreAllMocks();
  await cluster[Symbol.asyncDispose]();
}, 20_000);

function again(name: string): Promise<Agent> {
  return createAgent({ stateDirectory: join(cluster.directory, name), name });
}

test("what was written while an agent was away too long is set aside, told of, and printed by export", async () => {
  const first = [await cluster.join("alice"), await cluster.join("bob")] as const;
  await until("they are linked", () => first.every((agent) => agent.status().links.length === 1));
  await first[0].bucket("app").setPolicy({ retentionMs: 60_000 }, { replicas: 2 });
  await first[0].bucket("app").put("kept", "1", { replicas: 2 });
  await Promise.all(first.map((agent) => agent.close()));

  const cutOff = await again("bob");
  await cutOff.bucket("app").put("mine", "2", { replicas: 1 });
  await cutOff.close();

  const alice = await again("alice");
  await alice.bucket("app").setPolicy({ retentionMs: undefined }, { replicas: 1 });
  await alice.bucket("app").put("later", "3", { replicas: 1 });
  const real = Date.now.bind(Date);
  vi.spyOn(Date, "now").mockImplementation(() => real() + 180_000);

  const bob = await again("bob");
  const told: ReseededEvent[] = [];
  bob.addEventListener("reseeded", (event) => told.push(event));
  await until("it has followed", () => told.length > 0);
  expect(bob.status().store.setAside).toBe(1);
  expect(told.map(({ removed, setAside }) => ({ removed, setAside }))).toEqual([{ removed: 1, setAside: 1 }]);
  expect(Date.now() - Number(told[0]?.awaySince)).toBeGreaterThan(175_000);
  expect(bob.setAside("app").map(({ key, text }) => [key, text()])).toEqual([["mine", "2"]]);
  expect(bob.setAside("other")).toEqual([]);
  for (const agent of [alice, bob]) {
    const bucket = agent.bucket("app");
    const found = await Promise.all(["kept", "mine", "later"].map((key) => bucket.get(key)));
    expect(found.map((entry) => entry?.text())).toEqual(["1", undefined, "3"]);
  }
  await bob.close();
  await alice.close();

  const state = ["--state", join(cluster.directory, "bob")];
  const up = startStarling(["up", ...state, "--json", "--log", "silent"]);
  await up.line();
  const exported = await starling(["kv", "export", ...state, "--bucket", "app", "--set-aside"]);
  expect(exported).toMatchObject({ code: 0, stdout: '{"key":"mine","value":"2"}\n' });
  await starling(["kv", "put", "mine", "2", ...state, "--bucket", "app", "--replicas", "1"]);
  const empty = await starling(["kv", "export", ...state, "--bucket", "app", "--set-aside"]);
  expect(empty).toMatchObject({ code: 0, stdout: "" });
  await starling(["down", ...state]);
  await up.ended;
}, 90_000);
