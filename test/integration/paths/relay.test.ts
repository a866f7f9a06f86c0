import { afterAll, beforeAll, expect, test } from "vitest";
import { type LocalCluster, openLocalCluster } from "../../../examples/local-cluster.ts";
import { openRelaying } from "../../../src/agent/relaying.ts";
import { systemRandom } from "../../../src/drivers/entropy.ts";
import type { Agent, AgentOptions } from "../../../src/index.ts";
import { until } from "../until.ts";

/** A member runs the STUN and TURN server for the others, who know no server of their own. */

let cluster: LocalCluster;

beforeAll(async () => {
  cluster = await openLocalCluster({ scopes: ["*"] });
});
afterAll(async () => cluster[Symbol.asyncDispose](), 20_000);

const RELAY = { listen: "127.0.0.1:0", allowPeers: ["127.0.0.0/8"] };

const linkTo = (agent: Agent, peer: Agent) => agent.status().links.find((link) => link.peer === peer.id);

test("members get a credential each from a member that relays, and its server takes it over UDP and TCP", async () => {
  const helper = await cluster.join("helper", { relay: RELAY });
  const labelOf = () => helper.members().find(({ id }) => id === helper.id)?.labels["starling.relay"];
  await until("it says so", () => labelOf() !== undefined);
  const label = labelOf();
  expect(label).toMatch(/^127\.0\.0\.1:\d+$/);
  const alice = await cluster.join("alice");
  await until(
    "a relay is known",
    async () => (await alice.netcheck()).servers.some(({ relay }) => relay !== null),
    20_000,
  );
  const report = await alice.netcheck();
  expect(report.servers.map(({ url }) => url)).toEqual([
    `stun:${label}`,
    `turn:${label}`,
    `turn:${label}?transport=tcp`,
  ]);
  expect(report.servers.every(({ error }) => error === null)).toBe(true);
  expect(linkTo(alice, helper)?.path).toBe("direct");
}, 60_000);

test("a member whose token does not grant the scope cannot relay", async () => {
  const options: AgentOptions = { relay: RELAY };
  await using plain = await openLocalCluster();
  await expect(plain.join("helper", options)).rejects.toMatchObject({ code: "permission-denied" });
}, 20_000);

test("a relay's address must be one", async () => {
  const open = (options: { listen: string; publicAddress?: string }) => openRelaying(options, systemRandom(), Date.now);
  await expect(open({ listen: "somewhere" })).rejects.toMatchObject({ code: "usage" });
  await expect(open({ listen: "127.0.0.1:0", publicAddress: "somewhere" })).rejects.toMatchObject({ code: "usage" });
  await expect(open({ listen: "192.0.2.99:0" })).rejects.toThrow("no address of this host");
});
