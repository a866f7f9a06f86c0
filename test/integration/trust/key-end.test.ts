import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { agentMetrics } from "../../../src/agent/metrics.ts";
import { createCluster } from "../../../src/drivers/state/create-cluster.ts";
import { type Agent, createAgent, type IssuingKeyExpiringEvent } from "../../../src/index.ts";
import { crypto } from "../attack/lab.ts";
import { freshFolder, starling, startStarling } from "../command.ts";

/**
 * Goal: an issuing key that ends in three weeks is seen wherever an operator looks: status, event, metrics, the hook of a signaling server; and no
 * more once it has a successor.
 */

const DAY = 24 * 3_600_000;
/** A cluster's first key lives for five years of 366 days (`create-cluster.ts`); this one was made as long ago, but for three weeks. */
const AGE_MS = (5 * 366 - 21) * DAY;

let folder: string;
let endsAt: string;
let agent: Agent;

beforeAll(async () => {
  folder = join(await freshFolder(), "state");
  const made = Date.now() - AGE_MS;
  await createCluster(folder, { name: "old", now: made }, crypto);
  endsAt = new Date(made + AGE_MS + 21 * DAY).toISOString();
});

afterAll(async () => {
  await agent?.close();
});

test("a member sees it in its status, by an event and in its metrics, and no more after a rotation", {
  timeout: 60_000,
}, async () => {
  const invite = (await starling(["invite", "--state", folder])).stdout.trim();
  const server = startStarling(["signal", "--state", folder, "--listen", "127.0.0.1:0", "--json", "--log", "error"]);
  const { url } = JSON.parse(await server.line()) as { url: string };
  agent = await createAgent({ stateDirectory: join(folder, "..", "member"), invite, signaling: [url], name: "member" });
  const [event] = (await once(agent, "issuingkeyexpiring")) as [IssuingKeyExpiringEvent];
  expect(event.expiresAt.toISOString()).toBe(endsAt);
  const { self, warnings } = agent.status();
  expect(self.issuingKeyExpiresAt).toBe(endsAt);
  expect(warnings).toEqual([{ code: "issuing-key-expiring", message: event.warning }]);
  expect(event.warning).toMatch(new RegExp(`^the issuing key ${event.kid} ends at ${endsAt}: .*--what issuing$`));
  const metrics = agentMetrics(agent);
  const { text } = await metrics();
  expect(text).toContain('starling_warnings{code="issuing-key-expiring"} 1');
  expect(text).toContain(`starling_issuing_key_expires_timestamp_seconds ${Date.parse(endsAt) / 1_000}`);

  await agent.rotations.issuing(join(folder, "issuing.key"), join(folder, "root.key"), { overlapMs: 60_000 });
  expect(agent.status().warnings).toEqual([]);
  expect(Date.parse(agent.status().self.issuingKeyExpiresAt ?? "")).toBeGreaterThan(Date.now() + 1_800 * DAY);
  expect((await metrics()).text).toContain('starling_warnings{code="issuing-key-expiring"} 0');
});
