import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type LocalCluster, openLocalCluster } from "../../../examples/local-cluster.ts";
import { openRelaying } from "../../../src/agent/relaying.ts";
import { systemRandom } from "../../../src/drivers/entropy.ts";
import { type Agent, type AgentOptions, createAgent, type PeerId } from "../../../src/index.ts";
import { decodeRelayGrant } from "../../../src/proto/negotiation/relays.ts";
import { freshFolder, starling, startStarling } from "../command.ts";
import { RawClient } from "../stun/raw-client.ts";
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

test("gets a new secret by `keys rotate --what turn` without a file: who asks has a new credential, and the old one counts for the grace", {
  timeout: 90_000,
}, async () => {
  const scopes = ["--scope", "mesh:join", "relay", "kv:*", "stream:*"];
  const state = join(await freshFolder(), "helper");
  await starling(["init", "--state", state]);
  const invite = (await starling(["invite", "--state", state, "--uses", "2", ...scopes])).stdout.trim();
  const door = startStarling(["signal", "--state", state, "--listen", "127.0.0.1:0", "--json", "--log", "silent"]);
  const { url } = JSON.parse(await door.line()) as { url: string };
  const home = join(state, "..", "relay");
  const relay = ["--relay", "127.0.0.1:0", "--relay-allow", "127.0.0.0/8"];
  const where = ["--state", home, "--signaling", url, "--json", "--log", "silent", "--invite-file", "-"];
  const up = startStarling(["up", ...where, ...relay], { input: invite });
  const { id } = JSON.parse(await up.line()) as { id: PeerId };
  await using alice = await createAgent({ invite, signaling: [url], stateDirectory: join(state, "..", "alice") });
  const granted = async () => {
    const label = alice.members().find((member) => member.id === id)?.labels["starling.relay"] ?? "";
    const stream = await alice.open(id, "starling/turn/1");
    for await (const message of stream) {
      const { username = "", credential = "" } = decodeRelayGrant(message, label) ?? expect.fail("no grant");
      return { username, password: credential, realm: "starling", port: Number(label.split(":")[1]) };
    }
    return expect.fail("no grant");
  };
  await until("the relay is known", () =>
    alice.members().some((member) => member.id === id && member.state === "alive"),
  );
  const isTaken = async ({ port, ...credential }: Awaited<ReturnType<typeof granted>>): Promise<boolean> => {
    const client = await RawClient.open({ address: "127.0.0.1", port }, credential);
    const taken = await client.allocate().then(
      () => true,
      (error: Error) => !error.message.endsWith("401"),
    );
    client.close();
    return taken;
  };
  const before = await granted();
  expect(await isTaken(before)).toBe(true);
  const rotated = await starling(["keys", "rotate", "--what", "turn", "--grace", "8s", "--state", home, "--json"]);
  expect(rotated).toMatchObject({ code: 0 });
  const after = await granted();
  expect(after.password).not.toBe(before.password);
  expect([await isTaken(before), await isTaken(after)]).toEqual([true, true]);
  await until("the old one to end", async () => !(await isTaken(before)));
  expect(await isTaken(await granted())).toBe(true);
  const wrong = await starling(["keys", "rotate", "--what", "turn", "--state", join(state, "..", "alice")]);
  expect(wrong).toMatchObject({ code: 1, stdout: "" });
});
