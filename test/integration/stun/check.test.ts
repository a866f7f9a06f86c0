import { createServer, type Server } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../../src/drivers/clock.ts";
import { systemRandom } from "../../../src/drivers/entropy.ts";
import { discoverBehaviour, type ProbeTarget, probeServer } from "../../../stun/check.ts";
import { issueCredential } from "../../../stun/proto/credentials.ts";
import { type StunServer, startStunServer } from "../../../stun/server.ts";
import { HAS_OPENSSL, identityOf, makeFiles, SECRET, USER } from "./lab.ts";

/** The checks that people ask for, against our own server on loopback. */

const context = { random: systemRandom(), now: systemClock() };
let server: StunServer;
let portal: Server;

beforeAll(async () => {
  server = await startStunServer({
    listen: [{ address: "127.0.0.1", port: 0 }],
    ...(HAS_OPENSSL && { tlsListen: [{ address: "127.0.0.1", port: 0 }], tls: identityOf(await makeFiles()) }),
    ...(process.platform === "linux" && { alternate: { address: "127.0.0.2", port: 0 } }),
    realm: USER.realm,
    credentials: { users: [], secrets: [SECRET] },
    relayAddresses: ["127.0.0.1"],
  });
  portal = createServer((socket) => socket.end("HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n"));
  await new Promise<void>((resolve) => portal.listen(0, "127.0.0.1", resolve));
}, 20_000);
afterAll(async () => {
  await server.close();
  portal.close();
});

const portOf = (transport: "udp" | "tcp" | "tls"): number =>
  server.listening.find((at) => at.transport === transport)?.port ?? 0;

function target(transport: ProbeTarget["transport"], more: Partial<ProbeTarget> = {}): ProbeTarget {
  const { username, password } = issueCredential(SECRET, "check", 60_000, Date.now());
  const credential = { username, credential: password };
  return { host: "127.0.0.1", port: portOf(transport), transport, credential, ...more };
}

test.skipIf(process.platform !== "linux")("without a NAT the behaviour is that of none", async () => {
  const at = { address: "127.0.0.1", port: portOf("udp") };
  const found = await discoverBehaviour([at], 4, new Set(["127.0.0.1"]), context);
  expect([found.mapping, found.filtering]).toEqual(["none", "endpoint-independent"]);
  expect(found.sightings).toMatchObject([{ server: at, mapped: { address: "127.0.0.1" } }]);
});

describe("a server that is asked", () => {
  test.each(["udp", "tcp"] as const)("lends a relay over %s and has it back at once", async (transport) => {
    const report = await probeServer(target(transport), context);
    expect(report).toMatchObject({ error: undefined, relayed: expect.stringMatching(/^127\.0\.0\.1:\d+$/) });
    expect(report.rttMs).toBeLessThan(1_000);
    expect(server.allocations).toBe(0);
  });

  test.skipIf(!HAS_OPENSSL)(
    "lends one over TLS too, and who made its certificate is said where that is not trusted",
    async () => {
      const report = await probeServer(target("tls"), context);
      expect(report).toMatchObject({ error: undefined, untrustedIssuer: "localhost" });
      expect(report.relayed).toBeDefined();
    },
  );

  test("says that a credential is wrong, or that it has ended", async () => {
    const wrong = await probeServer(target("udp", { credential: { username: "99:me", credential: "no" } }), context);
    expect(wrong).toMatchObject({ error: "the credential is refused (401 Unauthenticated)", relayed: undefined });
    expect(wrong.rttMs).toBeDefined();
  });

  test("is asked for a Binding only, without a credential", async () => {
    const report = await probeServer(target("udp", { credential: undefined }), context);
    expect(report).toMatchObject({ error: undefined, relayed: undefined, mapped: { address: "127.0.0.1" } });
  });

  test("and is silent, closed, or a portal that wants a login, is told apart", async () => {
    const { port } = portal.address() as { port: number };
    const [silent, closed, portals] = await Promise.all([
      probeServer(target("udp", { port: 9 }), context),
      probeServer(target("tcp", { port: 9 }), context),
      probeServer(target("tcp", { port }), context),
    ]);
    expect(silent.error).toBe("it does not answer");
    expect(closed.error).toBe("no connection (ECONNREFUSED)");
    expect(portals.error).toContain("a portal that wants a login");
  });
});
