import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type LocalCluster, openLocalCluster } from "../../../examples/local-cluster.ts";
import { readAccount } from "../../../src/agent/why.ts";
import { controlHandlers } from "../../../src/cli/handlers.ts";
import { serveControl } from "../../../src/drivers/control.ts";
import type { Agent } from "../../../src/index.ts";
import { peerIdOf } from "../../../src/proto/peer-id.ts";
import { issueCredential } from "../../../stun/proto/credentials.ts";
import type { StunServer } from "../../../stun/server.ts";
import { starling } from "../command.ts";
import { relayServer, SECRET } from "../stun/lab.ts";
import { until } from "../until.ts";

/** Two agents tell each other what stands between them. */

let server: StunServer;
let cluster: LocalCluster;
let alice: Agent;
let bob: Agent;

beforeAll(async () => {
  server = await relayServer();
  const { username, password } = issueCredential(SECRET, "check", 600_000, Date.now());
  const iceServers = [{ urls: `turn:127.0.0.1:${server.listening[0]?.port}`, username, credential: password }];
  cluster = await openLocalCluster();
  alice = await cluster.join("alice", { iceServers });
  bob = await cluster.join("bob", { iceServers });
  const knows = (agent: Agent): boolean => agent.status().links.length === 1 && agent.members().length === 2;
  await until("they are linked and know each other", () => knows(alice) && knows(bob));
}, 40_000);
afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
  await server.close();
}, 20_000);

test("both accounts come together: NATs, candidates, rungs and what it comes to", async () => {
  const report = await alice.why(bob.id);
  expect(report).toMatchObject({
    peer: bob.id,
    path: "direct",
    theirError: null,
    why: "The link is direct.",
    remedy: null,
  });
  for (const account of [report.ours, report.theirs]) {
    expect(account).toMatchObject({ udp: "open", public: ["127.0.0.1"], relay: true });
    expect(account?.rounds.at(-1)).toMatchObject({ rung: "udp", failure: null });
    expect(account?.rounds.at(-1)?.local.join(" ")).toMatch(/host 127\.0\.0\.1:\d+/);
  }
  const roles = [report.ours, report.theirs].map((account) => account?.rounds.at(-1)?.role).sort();
  expect(roles).toEqual(["answerer", "dialer"]);
}, 30_000);

test("of somebody who is no member nothing is known", async () => {
  const stranger = alice.why(peerIdOf(new Uint8Array(32).fill(5)));
  await expect(stranger).rejects.toMatchObject({ code: "not-found" });
  await expect(alice.why(alice.id)).rejects.toMatchObject({ code: "not-found" });
});

test("the command shows both sides and the sentence", async () => {
  const state = join(cluster.directory, "alice");
  const control = await serveControl(
    state,
    controlHandlers(alice, () => alice.leave()),
  );
  try {
    const shown = await starling(["why", "bob", "--state", state]);
    expect(shown.code, shown.stderr).toBe(0);
    expect(shown.stdout).toMatch(/^SIDE +UDP +NAT/m);
    expect(shown.stdout).toMatch(/^here +open/m);
    expect(shown.stdout).toMatch(/^there +open/m);
    expect(shown.stdout).toMatch(/^(dialer|answerer) +udp .* linked$/m);
    expect(shown.stdout).toContain("The link is direct.");
    const direct = await starling(["ping", "bob", "--until-direct", "--state", state]);
    expect(direct.code, direct.stderr).toBe(0);
    expect(direct.stdout).toMatch(/^pong from .* via direct in [\d.]+ m?s\n$/);
  } finally {
    await control.close();
  }
}, 30_000);

describe("an account from another member", () => {
  const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
  const fine = {
    udp: "open",
    mapping: "none",
    filtering: "unknown",
    nat: "easy",
    public: ["198.51.100.1"],
    relay: false,
    rounds: [{ role: "dialer", rung: "udp", tookMs: 3, local: ["host 10.0.0.1:5"], remote: [], failure: null }],
    sinceMs: 9,
  };

  test("is read when it has the form of one", () => {
    expect(readAccount(encode(fine))).toEqual(fine);
  });

  test.each([
    ["too long", encode({ ...fine, rounds: [], padding: "x".repeat(70_000) })],
    ["of words that are none", encode({ ...fine, nat: "moderate" })],
    ["with names in place of addresses", encode({ ...fine, public: ["evil.example"] })],
    ["with rounds without end", encode({ ...fine, rounds: Array(17).fill(fine.rounds[0]) })],
    ["not JSON", new TextEncoder().encode("{")],
    ["not text", Uint8Array.of(0xff, 0xfe)],
  ])("is refused: %s", (_, message) => {
    expect(readAccount(message)).toBeUndefined();
  });

  test("never makes its reader throw", () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void readAccount(bytes)));
    fc.assert(fc.property(fc.json(), (text) => void readAccount(new TextEncoder().encode(text))));
  });
});
