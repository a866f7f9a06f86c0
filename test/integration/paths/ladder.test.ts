import { createSocket, type Socket } from "node:dgram";
import { networkInterfaces } from "node:os";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type LocalCluster, openLocalCluster } from "../../../examples/local-cluster.ts";
import type { Agent, AgentOptions } from "../../../src/index.ts";
import { issueCredential } from "../../../stun/proto/credentials.ts";
import type { StunServer } from "../../../stun/server.ts";
import { HAS_OPENSSL, identityOf, makeFiles, relayServer, SECRET } from "../stun/lab.ts";
import { until } from "../until.ts";

/**
 * Agents that offer no address of their own, so that they meet at our TURN server or not at all: over UDP, and over TCP and TLS where
 * the UDP server is one that never answers, as behind a firewall.
 */

let server: StunServer;
let silent: Socket;
let cluster: LocalCluster;

beforeAll(async () => {
  const identity = HAS_OPENSSL ? identityOf(await makeFiles()) : undefined;
  // What NODE_EXTRA_CA_CERTS does for a process.
  if (identity) setDefaultCACertificates([...getCACertificates(), identity.cert.toString()]);
  server = await relayServer(identity && { tlsListen: [{ address: "127.0.0.1", port: 0 }], tls: identity });
  silent = createSocket("udp4");
  await new Promise<void>((resolve) => silent.bind(0, "127.0.0.1", resolve));
}, 30_000);
afterAll(async () => {
  await server.close();
  silent.close();
});
afterEach(async () => cluster[Symbol.asyncDispose](), 20_000);

const portOf = (transport: "udp" | "tls"): number =>
  server.listening.find((at) => at.transport === transport)?.port ?? 0;

/** Options by which an agent reaches others through `urls` only. */
function relayed(...urls: readonly string[]): AgentOptions {
  const { username, password } = issueCredential(SECRET, "pair", 600_000, Date.now());
  const iceServers = urls.map((url) =>
    url.startsWith("stun:") ? { urls: url } : { urls: url, username, credential: password },
  );
  return { loopback: false, skipInterfaces: Object.keys(networkInterfaces()), iceServers };
}

/** Joins two agents and waits for their link; how long that took from the moment at which both had joined, ms. */
async function pair(options: AgentOptions, other: AgentOptions = options): Promise<[Agent, Agent, number]> {
  cluster = await openLocalCluster();
  const alice = await cluster.join("alice", options);
  const since = performance.now();
  const bob = await cluster.join("bob", other);
  await until("they are linked", () => alice.status().links.length === 1 && bob.status().links.length === 1, 20_000);
  return [alice, bob, performance.now() - since];
}

const blocked = (): readonly string[] => {
  const { port } = silent.address();
  return [`stun:127.0.0.1:${port}`, `turn:127.0.0.1:${port}`];
};

describe("agents with nothing but a TURN server", () => {
  test("meet there over UDP, with the fastest stack", async () => {
    const [alice, bob] = await pair(relayed(`turn:127.0.0.1:${portOf("udp")}`));
    expect(alice.status().links[0]?.rtc).toBe("native");
    // The server tells each its address as well, and on one machine that is a way too.
    expect(["turn", "direct"]).toContain((await alice.ping(bob.id)).path);
    expect(server.counters().allocations).toBeGreaterThanOrEqual(2);
  }, 40_000);

  test("meet there over TCP where nothing answers over UDP", async () => {
    const [alice, bob] = await pair(relayed(...blocked(), `turn:127.0.0.1:${portOf("udp")}?transport=tcp`));
    expect(alice.status().links[0]).toMatchObject({ path: "turn", rtc: "werift" });
    expect((await bob.ping(alice.id)).path).toBe("turn");
  }, 40_000);

  test.skipIf(!HAS_OPENSSL)(
    "meet there over TLS where nothing else answers",
    async () => {
      const [alice] = await pair(relayed(...blocked(), `turns:localhost:${portOf("tls")}`));
      expect(alice.status().links[0]).toMatchObject({ path: "turn", rtc: "werift" });
    },
    40_000,
  );
});
