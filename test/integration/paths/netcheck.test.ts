import { createSocket } from "node:dgram";
import { writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type LocalCluster, openLocalCluster } from "../../../examples/local-cluster.ts";
import { netcheck } from "../../../src/agent/netcheck.ts";
import { systemClock } from "../../../src/drivers/clock.ts";
import { systemRandom } from "../../../src/drivers/entropy.ts";
import type { NetcheckReport } from "../../../src/index.ts";
import { issueCredential } from "../../../stun/proto/credentials.ts";
import type { StunServer } from "../../../stun/server.ts";
import { freshFolder, starling } from "../command.ts";
import { relayServer, SECRET } from "../stun/lab.ts";

/** What `starling netcheck` and `agent.netcheck()` tell, against servers on loopback. */

const context = { random: systemRandom(), now: systemClock() };
let server: StunServer;
let late: Server;
let cluster: LocalCluster;

beforeAll(async () => {
  server = await relayServer();
  late = createServer((_request, response) => {
    response.setHeader("date", new Date(Date.now() - 300_000).toUTCString());
    response.end("0");
  });
  await new Promise<void>((resolve) => late.listen(0, "127.0.0.1", resolve));
  cluster = await openLocalCluster();
});
afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
  await server.close();
  late.close();
});

function turn(query = "") {
  const { username, password } = issueCredential(SECRET, "check", 60_000, Date.now());
  return { urls: `turn:127.0.0.1:${server.listening[0]?.port}${query}`, username, credential: password };
}

test("an agent reports on its own servers, with the skew that it has measured", async () => {
  const agent = await cluster.join("alice", { iceServers: [turn(), turn("?transport=tcp")] });
  const report = await agent.netcheck();
  expect(report).toMatchObject({ udp: "open", ipv4: { public: "127.0.0.1" } });
  expect(report.servers).toMatchObject([
    { transport: "udp", error: null, relay: expect.stringMatching(/^127\.0\.0\.1:/) },
    { transport: "tcp", error: null, relay: expect.stringMatching(/^127\.0\.0\.1:/) },
  ]);
  expect(report.signaling).toMatchObject([{ url: cluster.url, error: null }]);
  expect(Math.abs(report.signaling[0]?.skewMs ?? 99)).toBeLessThan(50);
  expect(JSON.stringify(report)).not.toContain(turn().credential);
}, 30_000);

test("where nothing answers over UDP the relay over TCP is what is left", async () => {
  const silent = createSocket("udp4");
  await new Promise<void>((resolve) => silent.bind(0, "127.0.0.1", resolve));
  const { port } = silent.address();
  const iceServers = [{ urls: `stun:127.0.0.1:${port}` }, turn("?transport=tcp"), { urls: "turn:nowhere.invalid" }];
  const report = await netcheck({ iceServers, signaling: [], ...context });
  silent.close();
  expect(report).toMatchObject({ udp: "blocked", nat: { kind: "blocked" } });
  expect(report.meaning).toBe("UDP is blocked: every link goes through the relay over TCP or TLS.");
  expect(report.servers.map(({ error }) => error)).toEqual(["it does not answer", null, "its name leads nowhere"]);
}, 30_000);

test("a clock that is wrong is told, also by the date of a server alone; so is a server that is none", async () => {
  const { port } = late.address() as { port: number };
  const signaling = [`ws://127.0.0.1:${port}`, "ws://127.0.0.1:9"];
  const report = await netcheck({ iceServers: [], signaling, ...context });
  expect(report.udp).toBe("unknown");
  expect(report.signaling).toMatchObject([{ error: null }, { error: "no connection (ECONNREFUSED)", skewMs: null }]);
  expect(report.signaling[0]?.skewMs).toBeLessThan(-298_000);
  expect(report.meaning).toMatch(/name one in iceServers\. The clock is (299|300|301) s ahead/);
});

test("a proxy that is set is a sign", async () => {
  process.env["HTTPS_PROXY"] = "http://proxy.example";
  try {
    const { signs } = await netcheck({ iceServers: [], signaling: [], ...context });
    expect(signs).toEqual(["a proxy is set (HTTPS_PROXY); Starling does not use it"]);
  } finally {
    delete process.env["HTTPS_PROXY"];
  }
});

test("the command works without an agent, from the configuration and from flags", async () => {
  const state = await freshFolder();
  await writeFile(join(state, "config.yaml"), JSON.stringify({ iceServers: [turn()], signaling: [cluster.url] }));
  const configured = await starling(["netcheck", "--state", state, "--json"]);
  expect(configured.code, configured.stderr).toBe(0);
  const report = JSON.parse(configured.stdout) as NetcheckReport;
  expect(report).toMatchObject({
    udp: "open",
    servers: [{ error: null }],
    signaling: [{ url: cluster.url, error: null }],
  });
  const url = `stun:127.0.0.1:${server.listening[0]?.port}`;
  const flagged = await starling(["netcheck", "--state", state, "--stun", url]);
  expect(flagged.code, flagged.stderr).toBe(0);
  expect(flagged.stdout).toMatch(/^UDP +open\n/);
  expect(flagged.stdout).toContain(url);
  expect(flagged.stdout.trimEnd().split("\n").at(-1)).toMatch(/\.$/);
}, 30_000);
