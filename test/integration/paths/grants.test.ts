import { writeFile } from "node:fs/promises";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openLocalCluster } from "../../../examples/local-cluster.ts";
import { turnGrants } from "../../../signaling/grants.ts";
import { peerIdOf } from "../../../src/proto/peer-id.ts";
import { CredentialStore } from "../../../stun/proto/credentials.ts";
import type { StunServer } from "../../../stun/server.ts";
import { freshFolder, starling } from "../command.ts";
import { relayServer, SECRET } from "../stun/lab.ts";
import { until } from "../until.ts";

/** Time-limited credentials out of the hands of the signaling server. */

const PEER = peerIdOf(new Uint8Array(32).fill(7));
let secretFile: string;
let server: StunServer;

beforeAll(async () => {
  secretFile = join(await freshFolder(), "secret");
  await writeFile(secretFile, `${SECRET}\n`, { mode: 0o600 });
  server = await relayServer();
});
afterAll(async () => server.close());

describe("a grant", () => {
  test("names the member, so that a TURN server with the secret takes it until it ends, and counts by member", async () => {
    const grants = await turnGrants({ urls: ["stun:a.example", "turn:b.example"], secretFile, lifeMs: 60_000 });
    const now = 1_700_000_000_000;
    const [open, limited] = grants(PEER, now);
    expect(open).toEqual({ urls: ["stun:a.example"] });
    expect(limited).toMatchObject({ urls: ["turn:b.example"], expiresAt: now + 60_000 });
    const { username = "", credential } = limited ?? {};
    const store = new CredentialStore({ users: [], secrets: [SECRET] }, "realm", 1);
    expect(store.find(username, "md5", now + 59_999)?.user).toBe(PEER);
    expect(store.find(username, "md5", now + 60_000)).toBeUndefined();
    expect(credential).toMatch(/^[A-Za-z0-9+/]{27}=$/);
  });

  test.each([
    ["no URL", { urls: [], lifeMs: 60_000 }, "1 to 8 URLs"],
    ["a URL that is none", { urls: ["example.org"], lifeMs: 60_000 }, "write turn:host:port"],
    ["no secret for TURN", { urls: ["turn:a.example"], lifeMs: 60_000 }, "--turn-secret-file"],
    ["a life of seconds", { urls: ["stun:a.example"], lifeMs: 59_999 }, "1m at least"],
  ])("is refused at the start: %s", async (_, options, message) => {
    await expect(turnGrants(options)).rejects.toThrow(message);
  });
});

test("agents that know no server of their own meet at the one that the signaling server grants", async () => {
  const urls = [`turn:127.0.0.1:${server.listening[0]?.port}`];
  await using cluster = await openLocalCluster({ turn: { urls, secretFile, lifeMs: 60_000 } });
  const options = { loopback: false, skipInterfaces: Object.keys(networkInterfaces()), iceServers: [] };
  const alice = await cluster.join("alice", options);
  const bob = await cluster.join("bob", options);
  await until("they are linked", () => alice.status().links.length === 1 && bob.status().links.length === 1, 20_000);
  expect(server.counters().allocations).toBeGreaterThanOrEqual(2);
}, 40_000);

test("the command says what is wrong with its options", async () => {
  const state = join(await freshFolder(), "founder");
  await starling(["init", "--state", state, "--signaling", "ws://127.0.0.1:1"]);
  const outcome = await starling(["signal", "--state", state, "--turn", "turn:a.example", "--listen", "127.0.0.1:0"]);
  expect(outcome.code).toBe(2);
  expect(outcome.stderr).toContain("--turn-secret-file FILE");
}, 20_000);
