import { copyFile, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Agent } from "../../../src/agent.ts";
import { Lab, type Node, until } from "../attack/lab.ts";
import { linksLost, mesh, meshed, Writer } from "./cluster-of-ten.ts";

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
  keeper = await lab.agent(keeperNode, { options: { name: "keeper" } });
  agents = [keeper, ...(await mesh(lab, 8))];
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
  console.log(`${rows[0]} rows sealed anew; ${writes} writes, ${failed} failed; ${lost()} links lost`);
  expect(failed).toBe(0);
  expect(lost()).toBe(0);

  await keeper.close();
  await rename(ring, `${ring}.new`);
  await copyFile(`${ring}.stolen`, ring);
  await expect(lab.agent(keeperNode)).rejects.toMatchObject({ code: "store-unavailable" });
  await rename(`${ring}.new`, ring);
  const again = await lab.agent(keeperNode);
  expect((await again.bucket("app").get("key-0"))?.text()).toBe("key-0");
});
