import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Agent } from "../../../src/agent.ts";
import { faults, hasLink, Lab, until } from "../attack/lab.ts";
import { linksLost, mesh, meshed, Writer } from "./cluster-of-ten.ts";

/**
 * Goal: the secrets of a running cluster change, and nobody notices but who still has the old ones when their time is over.
 * Method: ten agents, one of which is away; somebody writes without a pause; new keys; the one that was away comes back.
 */

/** How long the old cluster key is accepted, ms. */
const GRACE_MS = 25_000;

let lab: Lab;

beforeEach(async () => {
  lab = await Lab.open();
});

afterEach(async () => {
  await lab[Symbol.asyncDispose]();
});

test("new cluster and gossip keys cost no write and no link, reach a member that was away, and the old ones are refused after the grace", {
  timeout: 150_000,
}, async () => {
  const agents = await mesh(lab, 9);
  const awayNode = await lab.node();
  const away = await lab.agent(awayNode);
  await meshed([...agents, away]);
  await away.leave();

  const lost = linksLost(agents, away.id);
  const writer = new Writer(agents);
  const [admin] = agents as [Agent];
  await pause(500);
  const rotatedAt = performance.now();
  const epoch = await admin.administration.rekey({ what: "both", graceMs: GRACE_MS }, { keyFile: lab.issuingKeyFile });
  await until("all to have them", async () => {
    const keys = await admin.administration.keys();
    return keys.length === 9 && keys.every((member) => member.epoch === epoch && member.clusterEpochs[0] === epoch);
  });
  console.log(`new keys at 9 of 9 after ${Math.round(performance.now() - rotatedAt)} ms`);

  const back = await lab.agent(awayNode);
  await meshed([...agents, back]);
  const [own] = await back.administration.keys();
  expect(own).toMatchObject({ peer: away.id, epoch });
  await until("a write to reach it", async () => (await back.bucket("app").get(writer.last)) !== undefined);

  // An invite from before is of no use when the grace is over: it holds the old key only.
  await pause(Math.max(0, rotatedAt + GRACE_MS + 1_000 - performance.now()));
  const late = await lab.agent(await lab.node());
  const refusals = (): number => agents.reduce((sum, agent) => sum + faults(agent, "admission-unknown-epoch"), 0);
  await until("it to be refused", () => refusals() > 0);
  await pause(1_000);
  expect(agents.some((agent) => hasLink(agent, late.id))).toBe(false);

  const { writes, failed } = await writer.stop();
  console.log(`${writes} writes, ${failed} failed; ${lost().length} links lost`);
  expect(writes).toBeGreaterThan(50);
  expect(failed).toBe(0);
  expect(lost()).toEqual([]);
});
