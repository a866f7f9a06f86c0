import { createHmac } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startSignalingService } from "../../../signaling/main.ts";
import { type AlertFlags, agentAlerts, alertWebhook, serverAlerts, watchForAlerts } from "../../../src/cli/alerts.ts";
import { nodeCrypto } from "../../../src/drivers/crypto.ts";
import { createCluster } from "../../../src/drivers/state/create-cluster.ts";
import { openWebhook, type WebhookOptions } from "../../../src/drivers/webhook.ts";
import { AGENT_ALERTS } from "../../../src/proto/alerts/agent-alerts.ts";
import { SERVER_ALERTS } from "../../../src/proto/alerts/server-alerts.ts";
import { freshFolder, ROOT, starling } from "../command.ts";
import { tcp } from "../signaling/raw-client.ts";
import { until } from "../until.ts";

/** The alert hook. Goal: it reaches who it should, with proof of who speaks, and cannot be turned against the inside of a network. */

const secret = Buffer.from("a secret that is long enough");
const heard: { readonly request: IncomingMessage; readonly body: string }[] = [];
let status = 200;
let server: Server;
let port: number;

beforeAll(async () => {
  server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    heard.push({ request, body });
    response.writeHead(status, { location: `http://127.0.0.1:${port}/elsewhere` }).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  port = (server.address() as AddressInfo).port;
});

afterAll(() => server.close());

const refuseAll = (): boolean => false;
const webhook = (options: Partial<WebhookOptions>) =>
  openWebhook({
    url: `http://hook.test:${port}/in`,
    secret,
    allow: ["hook.test"],
    mayReach: refuseAll,
    now: () => 5_000,
    ...options,
  });

describe("the webhook", () => {
  test("speaks to the address that was checked, under its name, and signs what it says", async () => {
    let lookups = 0;
    const resolve = async (): Promise<string[]> => {
      lookups++;
      return ["127.0.0.1"];
    };
    heard.length = 0;
    status = 204;
    expect(await webhook({ resolve }).deliver('{"a":1}')).toBe("delivered");
    expect(lookups).toBe(1);
    const [{ request, body } = expect.fail("nothing was heard")] = heard;
    expect([request.method, request.url, request.headers.host, body]).toEqual([
      "POST",
      "/in",
      `hook.test:${port}`,
      '{"a":1}',
    ]);
    const expected = createHmac("sha256", secret).update('5.{"a":1}').digest("hex");
    expect(request.headers["starling-signature"]).toBe(`t=5,v1=${expected}`);
  });

  test("asks of every address that a name has, on every delivery, and speaks to none if one is forbidden", async () => {
    heard.length = 0;
    const asked: string[] = [];
    let answer = ["198.51.100.1", "127.0.0.1"];
    const hook = webhook({
      url: `https://hook.test:${port}/`,
      allow: [],
      resolve: async () => answer,
      mayReach: (address) => {
        asked.push(address);
        return address !== "127.0.0.1";
      },
    });
    expect(await hook.deliver("{}")).toBe("forbidden");
    expect(asked).toEqual(["198.51.100.1", "127.0.0.1"]);
    // The same name, pointed elsewhere since.
    answer = ["127.0.0.1"];
    expect(await hook.deliver("{}")).toBe("forbidden");
    expect(heard).toEqual([]);
  });

  test.each([
    [200, "delivered"],
    [302, "refused"],
    [307, "refused"],
    [400, "refused"],
    [408, "unreachable"],
    [429, "unreachable"],
    [503, "unreachable"],
  ])("takes status %i for %s, and follows nobody elsewhere", async (code, outcome) => {
    heard.length = 0;
    status = code;
    expect(await webhook({ resolve: async () => ["127.0.0.1"] }).deliver("{}")).toBe(outcome);
    expect(heard.map(({ request }) => request.url)).toEqual(["/in"]);
  });

  test("never rejects: a name that nobody knows and a port that nobody listens on are unreachable", async () => {
    expect(await webhook({ resolve: async () => Promise.reject(new Error("no such name")) }).deliver("{}")).toBe(
      "unreachable",
    );
    expect(await webhook({ url: "http://hook.test:1/", resolve: async () => ["127.0.0.1"] }).deliver("{}")).toBe(
      "unreachable",
    );
  });

  test.each([
    ["no URL", { url: "hook.test" }],
    ["another scheme", { url: "file:///etc/passwd" }],
    ["a user in it", { url: "https://user:word@hook.test/" }],
    ["http to a host that is not allowed by name", { url: "http://other.test/" }],
    ["a short secret", { secret: Buffer.from("short") }],
  ])("is not opened with %s", (_, options) => {
    expect(() => webhook(options)).toThrow(expect.objectContaining({ code: "config-invalid" }));
  });
});

describe("alerts of an agent", () => {
  const warnings: string[] = [];
  const log = {
    debug() {},
    info() {},
    warn: (_: string, fields: object = {}) => void warnings.push(JSON.stringify(fields)),
    error() {},
  };
  let faults = 0;
  const self = { id: "a".repeat(52), name: "node", cluster: "c", tokenExpiresAt: null, issuingKeyExpiresAt: null };
  const agent = {
    status: () => ({ self, members: [], links: [], signaling: [], audit: { copiesWanted: 0, copies: [] } }),
    counters: () => ({ faults: { "admission-bad-mac": faults }, auditForks: 0 }),
  } as unknown as Parameters<typeof agentAlerts>[0];
  const watch = async (flags: AlertFlags): Promise<Disposable> =>
    watchForAlerts((await alertWebhook(flags)) ?? expect.fail("no webhook"), agentAlerts(agent), log, 10);
  let secretFile: string;

  beforeAll(async () => {
    secretFile = join(await freshFolder(), "secret");
    await writeFile(secretFile, secret, { mode: 0o600 });
  });

  test("reach a host on this machine that is allowed by name", async () => {
    heard.length = 0;
    status = 200;
    faults = 0;
    const alertUrl = `http://127.0.0.1:${port}/`;
    using _alerts = await watch({ alertUrl, alertSecretFile: secretFile, alertAllow: ["127.0.0.1"] });
    faults = 30;
    await until("an alert", async () => (heard.length > 0 ? true : undefined));
    expect(JSON.parse(heard[0]?.body ?? "")).toMatchObject({
      version: 1,
      alert: "StarlingRepeatedAuthFailures",
      state: "firing",
      agent: { id: self.id, name: "node", cluster: "c" },
    });
  });

  test.each([
    "127.0.0.1",
    "0x7f.1",
    "2130706433",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "10.0.0.1",
    "172.16.3.4",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:7f00:1::]",
    "0.0.0.0",
    "localhost",
  ])("say nothing to %s, which nobody has allowed", async (host) => {
    heard.length = 0;
    warnings.length = 0;
    faults = 0;
    using _alerts = await watch({ alertUrl: `https://${host}:${port}/`, alertSecretFile: secretFile });
    faults = 30;
    await until("a warning", async () => (warnings.some((line) => line.includes("refused")) ? true : undefined));
    expect(heard).toEqual([]);
  });

  test("of a signaling server say which, and that it is full", async () => {
    heard.length = 0;
    status = 200;
    const { cluster } = await createCluster(join(await freshFolder(), "cluster"), {}, nodeCrypto());
    const limits = { connections: 1 };
    await using door = await startSignalingService({ cluster, listen: { host: "127.0.0.1", port: 0 }, limits, log });
    const flags = { alertUrl: `http://127.0.0.1:${port}/`, alertSecretFile: secretFile, alertAllow: ["127.0.0.1"] };
    const hook = (await alertWebhook(flags)) ?? expect.fail("no webhook");
    using _alerts = watchForAlerts(hook, serverAlerts(door, cluster.clusterId), log, 10);
    const clients = [await tcp(door.port), await tcp(door.port)];
    await clients[1]?.closed;
    await until("an alert", async () => (heard.length > 0 ? true : undefined));
    expect(JSON.parse(heard[0]?.body ?? "")).toMatchObject({
      alert: "StarlingSignalingFull",
      state: "firing",
      server: { names: door.names, cluster: cluster.clusterId },
    });
    for (const { socket } of clients) socket.destroy();
  });

  test("of both kinds stand in the rules for Prometheus too", () => {
    const shipped = readFileSync(join(ROOT, "examples/monitoring/alerts.yml"), "utf8");
    const names = [...AGENT_ALERTS, ...SERVER_ALERTS].map(({ name }) => name);
    expect(names.filter((name) => !shipped.includes(`- alert: ${name}\n`))).toEqual([]);
  });

  test("need a secret that nobody else may read, or the agent does not start", async () => {
    const up = ["up", "--state", join(await freshFolder(), "state"), "--alert-url", "https://hook.test/"];
    expect((await starling(up)).stderr).toContain("--alert-secret-file");
    const state = join(await freshFolder(), "cluster");
    await starling(["init", "--state", state]);
    const signal = ["signal", "--state", state, "--listen", "127.0.0.1:0", "--alert-url", "https://hook.test/"];
    expect(await starling(signal)).toMatchObject({ code: 2, stderr: expect.stringContaining("--alert-secret-file") });
    const open = join(await freshFolder(), "open");
    await writeFile(open, secret, { mode: 0o644 });
    expect((await starling([...up, "--alert-secret-file", open])).stderr).toContain("chmod 600");
  });
});
