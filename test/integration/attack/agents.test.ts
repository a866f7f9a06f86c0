import { cp } from "node:fs/promises";
import { basename } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Agent } from "../../../src/agent.ts";
import type { Cluster } from "../../../src/proto/trust/cluster.ts";
import { FORGERIES, forged } from "./forgery.ts";
import { crypto, faults, hasLink, Lab, type Node, type Pair, until } from "./lab.ts";
import { RogueServer } from "./rogue-server.ts";

/**
 * Goal: a whole agent, our own code and nothing hand-made, that lacks one thing gets no further than that thing. Method: it is
 * started beside two honest agents with a link, through the front door.
 */

let lab: Lab;
let pair: Pair;

beforeEach(async () => {
  lab = await Lab.open();
  pair = await lab.pair();
});

afterEach(() => lab[Symbol.asyncDispose]());

function knows(agent: Agent, node: Node): string | undefined {
  return agent.members().find(({ id }) => id === node.identity.id)?.state;
}

test("an agent with a valid token and another cluster key links with nobody, and both sides count it", async () => {
  const node = await lab.node();
  const cluster: Cluster = { ...lab.cluster, clusterKeys: [{ epoch: 1, key: crypto.randomBytes(32) }] };
  const outsider = await lab.agent(node, { cluster });
  await until("both to refuse", () => {
    const both = faults(pair.left, "admission-bad-mac") > 0 && faults(pair.right, "admission-bad-mac") > 0;
    return both || refusals(outsider) >= 2;
  });
  expect(faults(pair.left, "admission-bad-mac") + faults(outsider, "admission-bad-mac")).toBeGreaterThan(0);
  expect(outsider.status().links).toEqual([]);
  expect(hasLink(pair.left, node.identity.id)).toBe(false);
  await expect(outsider.bucket("attack").put("mine", "x", { replicas: 2, timeoutMs: 500 })).rejects.toMatchObject({
    code: "timeout",
  });
  expect(await pair.left.bucket("attack").get("mine")).toBe(undefined);
  await pair.unharmed();
});

test("an agent of an epoch that the cluster does not have links with nobody", async () => {
  const node = await lab.node();
  const cluster: Cluster = { ...lab.cluster, clusterKeys: [{ epoch: 2, key: crypto.randomBytes(32) }] };
  const outsider = await lab.agent(node, { cluster });
  const count = (agent: Agent): number => faults(agent, "admission-unknown-epoch");
  await until("the count", () => count(pair.left) + count(pair.right) + count(outsider) > 1);
  expect(outsider.status().links).toEqual([]);
  await pair.unharmed();
});

test("an agent with an invite for another node key does not start, and says for whom it should have been made", async () => {
  const node = await lab.node();
  const token = await lab.token(pair.left.id);
  const start = lab.agent(node, { token });
  await expect(start).rejects.toMatchObject({
    code: "token-invalid",
    message: expect.stringContaining(node.identity.id),
  });
  await pair.unharmed();
});

test.each(FORGERIES)("an agent with a token with %s does not start", async (forgery, fault) => {
  const node = await lab.node();
  const start = lab.agent(node, { token: await forged(forgery, lab, node.identity.id) });
  // Of an issuer that it does not know yet, the server has the last word.
  const code = fault === "wrong-issuer" ? "signaling-refused" : "token-invalid";
  await expect(start).rejects.toMatchObject({ code });
  expect(lab.server.counters().loginsRefused).toBe(fault === "wrong-issuer" ? 1 : 0);
  await pair.unharmed();
});

test("a member whose token expires is taken out by everybody, its links close, and it gets no other", async () => {
  // A server that lets everybody in: what the members do must not depend on it.
  const rogue = await RogueServer.open(lab.cluster);
  lab.onClose(() => rogue.close());
  const honest = await lab.pair(rogue.cluster);
  const node = await lab.node();
  // The 60 s by which clocks may differ end in seven seconds.
  const token = await lab.token(node.identity.id, -53_000);
  const member = await lab.agent(node, { cluster: rogue.cluster, token });
  const causes: string[] = [];
  for (const agent of [honest.left, honest.right]) {
    agent.addEventListener("linkdown", (event) => {
      if (event.peer === member.id) causes.push(event.reason ?? "");
    });
  }
  await until("it to be a member", () => hasLink(honest.left, member.id) && hasLink(honest.right, member.id));
  await member
    .bucket("attack")
    .put("while", "valid", { replicas: 1 })
    .catch(() => undefined);
  const both = [honest.left, honest.right];
  await until("its end", () => both.every((agent) => knows(agent, node) === "down"));
  await until("the end of its links", () => both.every((agent) => !hasLink(agent, member.id)));
  expect(causes).toEqual(["expelled", "expelled"]);
  const expired = (): number => faults(honest.left, "admission-expired") + faults(honest.right, "admission-expired");
  await until("it to try again", () => expired() > 0);
  expect(both.some((agent) => hasLink(agent, member.id))).toBe(false);
  await honest.unharmed();
});

test("of two agents with one node key the newest session wins, and the older stops with identity-in-use", async () => {
  const node = await lab.node();
  const older = await lab.agent(node);
  await until("its link", () => hasLink(older, pair.left.id) && hasLink(older, pair.right.id));
  const folder = `${node.folder}-copy`;
  // Locks name a process of the machine that the thief has copied from.
  await cp(node.folder, folder, { recursive: true, filter: (path) => basename(path) !== "lock" });
  const newer = await lab.agent({ ...node, folder });
  expect(newer.id).toBe(older.id);
  expect(await older.closed).toMatchObject({ code: "identity-in-use" });
  await until("its links", () => hasLink(newer, pair.left.id) && hasLink(newer, pair.right.id));
  await until("it to have joined", () => newer.status().self.state === "joined");
  expect(lab.server.counters().fenced).toBe(1);
  await pair.unharmed();
});

function refusals(agent: Agent): number {
  return Object.entries(agent.counters().faults)
    .filter(([name]) => name.startsWith("admission-"))
    .reduce((sum, [, count]) => sum + count, 0);
}
