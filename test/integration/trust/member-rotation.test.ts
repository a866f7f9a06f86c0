import { copyFile, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Agent, createAgent } from "../../../src/agent.ts";
import { hasLink, Lab, type Node, until } from "../attack/lab.ts";
import { isRidOf, linksLost, mesh, meshed, Writer } from "./cluster-of-ten.ts";

/**
 * Goal: what one member keeps for itself is replaced while it is a member like any other.
 * Method: ten agents, one of which is away; all write without a pause, the one whose key changes too; the one that was away comes back.
 */

let lab: Lab;
let agents: Agent[];
let keeper: Agent;
let keeperNode: Node;
let awayNode: Node;

beforeEach(async () => {
  lab = await Lab.open();
  keeperNode = await lab.node();
  const issuer = await lab.agent(await lab.node(), { options: { name: "issuer", issuingKey: lab.issuingKeyFile } });
  keeper = await lab.agent(keeperNode, { options: { name: "keeper" } });
  agents = [keeper, issuer, ...(await mesh(lab, 7))];
  awayNode = await lab.node();
  const away = await lab.agent(awayNode);
  await meshed([...agents, away]);
  await away.leave();
}, 90_000);

afterEach(async () => {
  await lab[Symbol.asyncDispose]();
});

test("a new key at rest costs no write, and the store does not open by the old one", { timeout: 90_000 }, async () => {
  const ring = join(keeperNode.folder, "store.keys");
  const lost = linksLost(agents, awayNode.identity.id);
  const writer = new Writer(agents);
  await pause(1_500);
  await copyFile(ring, `${ring}.stolen`);
  // Two at once are one.
  const rows = await Promise.all([keeper.rotations.rest(), keeper.rotations.rest()]);
  expect(rows[0]).toBe(rows[1]);
  expect(rows[0]).toBeGreaterThan(10);
  expect(await readFile(ring, "utf8")).not.toBe(await readFile(`${ring}.stolen`, "utf8"));
  const back = await lab.agent(awayNode);
  await meshed([...agents, back]);
  await until("a write to reach it", async () => (await back.bucket("app").get(writer.last)) !== undefined);
  const { writes, failed } = await writer.stop();
  console.log(`${rows[0]} rows sealed anew; ${writes} writes, ${failed} failed; ${lost().length} links lost`);
  expect(failed).toBe(0);
  expect(lost()).toEqual([]);

  await keeper.close();
  await rename(ring, `${ring}.new`);
  await copyFile(`${ring}.stolen`, ring);
  await expect(lab.agent(keeperNode)).rejects.toMatchObject({ code: "store-unavailable" });
  await rename(`${ring}.new`, ring);
  const again = await lab.agent(keeperNode);
  expect((await again.bucket("app").get("key-0"))?.text()).toBe("key-0");
});

test("a new node key costs no write and no link of others, keeps scopes and values, and the old key is out", {
  timeout: 120_000,
}, async () => {
  const [witness] = agents.slice(1) as [Agent];
  const oldKey = await readFile(join(keeperNode.folder, "node.key"), "utf8");
  const oldToken = await readFile(join(keeperNode.folder, "token"), "utf8");
  const { scopes } = keeper.status().self;
  await keeper.bucket("app").put("of-the-former", "kept");
  const others = agents.slice(1);
  const lost = linksLost(others, awayNode.identity.id, keeper.id);
  const writer = new Writer(others);
  const { id, former } = await keeper.rotations.node();
  expect(former).toBe(keeper.id);
  // Until it leaves it is who it was.
  expect(await readFile(join(keeperNode.folder, "node.key"), "utf8")).toBe(oldKey);
  const began = performance.now();
  await keeper.leave();
  const heir = await createAgent({ stateDirectory: keeperNode.folder, name: "keeper" });
  lab.onClose(() => heir.close());
  expect(heir.id).toBe(id);
  await meshed([...others, heir]);
  console.log(`back under a new key with all links after ${Math.round(performance.now() - began)} ms`);
  expect(heir.status().self.scopes).toEqual(scopes);
  expect((await heir.bucket("app").get("of-the-former"))?.author).toBe(former);
  await until("all to have shut out the former key", () => [...others, heir].every((agent) => isRidOf(agent, former)));
  const back = await lab.agent(awayNode);
  await meshed([...others, heir, back]);
  await until("what it had missed", async () => (await back.bucket("app").get("of-the-former"))?.text() === "kept");

  const thief = await lab.node();
  await writeFile(join(thief.folder, "node.key"), oldKey, { mode: 0o600 });
  await lab.agent(thief, { token: oldToken.trim() }).catch((error: unknown) => {
    expect(error).toMatchObject({ code: "revoked" });
  });
  await pause(3_000);
  expect([...others, heir, back].some((agent) => hasLink(agent, former))).toBe(false);
  await expect(witness.administration.revoke(former, { keyFile: lab.issuingKeyFile, rekey: false })).resolves.toBe(
    false,
  );

  const { writes, failed } = await writer.stop();
  console.log(`${writes} writes, ${failed} failed; ${lost().length} links lost`);
  expect(failed).toBe(0);
  expect(lost()).toEqual([]);
});
