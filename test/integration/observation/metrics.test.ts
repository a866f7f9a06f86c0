import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { request } from "node:http";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { freshFolder, ROOT, starling, startStarling } from "../command.ts";
import { tcp } from "../signaling/raw-client.ts";
import { until } from "../until.ts";

/** What operators see of a running agent: metrics, health, and the rules and the dashboard that are shipped for them. */

interface Answer {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
}

function get(url: string, headers: Readonly<Record<string, string>> = {}, method = "GET"): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request(url, { method, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => {
        text += part;
      });
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, text }));
    });
    call.on("error", reject).end();
  });
}

/** Series by name and labels. */
function series(text: string): Map<string, number> {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]),
  );
}

const promtool = ((): string | undefined => {
  try {
    return execFileSync("sh", ["-c", "command -v promtool"], { encoding: "utf8" }).trim();
  } catch {
    return undefined;
  }
})();

const rules = join(ROOT, "examples/monitoring/alerts.yml");
const dashboard = join(ROOT, "examples/monitoring/grafana.json");
/** An address of this machine beyond loopback, where it has one. */
const outside = Object.values(networkInterfaces())
  .flat()
  .find((address) => address?.family === "IPv4" && !address.internal)?.address;

let state = "";
let url = "";
let serverUrl = "";
let port = 0;

/** Starts an agent that answers on `listen`, alone; where it answers. */
async function observed(folder: string, listen: string): Promise<string> {
  const flags = ["--state", folder, "--signaling", "ws://127.0.0.1:9", "--log", "error", "--metrics", listen];
  const agent = startStarling(["up", ...flags, "--json"]);
  await agent.line();
  return until("it says where", () => /metrics on (http:\S+)\/metrics/.exec(agent.stderr)?.[1]);
}

beforeAll(async () => {
  state = join(await freshFolder(), "state");
  expect(await starling(["init", "--state", state, "--name", "observed"])).toMatchObject({ code: 0 });
  url = await observed(state, "127.0.0.1:0");
  const config = join(state, "signal.yaml");
  await writeFile(config, "signal: { limits: { connectionsPerAddress: 2 } }\n");
  const flags = ["--state", state, "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--config", config];
  const server = startStarling(["signal", ...flags, "--json", "--log", "error"]);
  port = JSON.parse(await server.line()).port;
  serverUrl = await until("it says where", () => /metrics on (http:\S+)\/metrics/.exec(server.stderr)?.[1]);
});

describe("a signaling server with --metrics and limits of its own", () => {
  test("tells what it has refused, by kind, and refuses beyond them", async () => {
    const clients = [await tcp(port), await tcp(port), await tcp(port)];
    await clients[2]?.closed;
    const found = series((await get(`${serverUrl}/metrics`)).text);
    expect(found.get("starling_signaling_connections")).toBe(2);
    expect(found.get('starling_signaling_events_total{kind="connectionsRefusedAddress"}')).toBe(1);
    expect(found.get("starling_issuing_key_expires_timestamp_seconds")).toBeGreaterThan(Date.now() / 1_000 + 1e8);
    expect(found.get('starling_revocations{of="member"}')).toBe(0);
    for (const { socket } of clients) socket.destroy();
  });

  test("does not start with a limit that is none, and names it", async () => {
    const config = join(state, "bad.yaml");
    await writeFile(config, "signal: { limits: { messages: { perSecond: -1, burst: 1 } } }\n");
    const outcome = await starling(["signal", "--state", state, "--listen", "127.0.0.1:0", "--config", config]);
    expect(outcome).toMatchObject({ code: 1, stderr: expect.stringContaining("signal.limits.messages.perSecond") });
  });
});

describe("an agent with --metrics", () => {
  test("tells Prometheus of itself, and no label holds what other members choose", async () => {
    const { status, headers, text } = await get(`${url}/metrics`);
    expect(status).toBe(200);
    expect(headers["content-type"]).toMatch(/^text\/plain; version=0\.0\.4/);
    const found = series(text);
    expect(found.get('starling_members{state="alive"}')).toBe(1);
    expect(found.get('starling_links{path="direct"}')).toBe(0);
    expect(found.get("starling_signaling_ready")).toBe(0);
    expect(found.get("starling_token_expires_timestamp_seconds")).toBeGreaterThan(Date.now() / 1_000);
    expect(text).not.toContain("observed");
  });

  test("follows what happens", async () => {
    await starling(["kv", "put", "key", "value", "--state", state]);
    const keys = await until("the key is counted", async () =>
      series((await get(`${url}/metrics`)).text).get('starling_bucket_keys{bucket="default"}'),
    );
    expect(keys).toBe(1);
  });

  test("tells of revocations, of what waits, and of what it carries for others", async () => {
    const revoked = async () => series((await get(`${url}/metrics`)).text).get('starling_revocations{of="token"}');
    expect(await revoked()).toBe(0);
    const token = Buffer.alloc(16, 7).toString("base64url");
    const revoke = await starling(["token", "revoke", token, "--no-rekey", "--state", state]);
    expect(revoke).toMatchObject({ code: 0 });
    expect(await revoked()).toBe(1);
    const found = series((await get(`${url}/metrics`)).text);
    expect(found.get("starling_link_waiting_bytes")).toBe(0);
    expect(found.get('starling_relayed_bytes_total{by="routed"}')).toBe(0);
    expect(found.get('starling_relayed_bytes_total{by="turn"}')).toBe(0);
    expect(found.get('starling_warnings{code="issuing-key-expiring"}')).toBe(0);
  });

  test("says whether it lives and takes part, and nothing else", async () => {
    expect(await get(`${url}/healthz`)).toMatchObject({ status: 200, text: "ok\n" });
    expect((await get(`${url}/readyz`)).status).toBe(503);
    expect((await get(`${url}/`)).status).toBe(404);
    expect((await get(`${url}/metrics`, {}, "POST")).status).toBe(405);
  });

  test("refuses a page whose name was pointed at 127.0.0.1", async () => {
    expect((await get(`${url}/metrics`, { host: "evil.example:9464" })).status).toBe(421);
    expect((await get(`${url}/metrics`, { host: "localhost" })).status).toBe(200);
  });

  test.skipIf(outside === undefined)(
    "asks for a key with the scope beyond loopback, and a revoked key is refused at once",
    async () => {
      const folder = join(await freshFolder(), "state");
      await starling(["init", "--state", folder, "--name", "outside"]);
      const there = await observed(folder, `${outside}:0`);
      const create = async (scope: string, expires = "1h") => {
        const made = await starling([
          "apikey",
          "create",
          "--name",
          "test",
          "--scope",
          scope,
          "--expires",
          expires,
          "--state",
          folder,
        ]);
        return made.stdout.trim();
      };
      const ask = async (key?: string) =>
        (await get(`${there}/metrics`, key ? { authorization: `Bearer ${key}` } : {})).status;
      const key = await create("metrics:read");
      expect(await ask()).toBe(401);
      expect(await ask(key)).toBe(200);
      expect(await ask(await create("kv:read:app"))).toBe(403);
      expect(await ask(await create("metrics:read", "1ms"))).toBe(403);
      expect(await ask(`${key.slice(0, -1)}${key.endsWith("a") ? "b" : "a"}`)).toBe(403);
      const listed = JSON.parse((await starling(["apikey", "list", "--json", "--state", folder])).stdout);
      expect(listed).toHaveLength(3);
      expect(JSON.stringify(listed)).not.toContain(key.slice(-20));
      await starling(["apikey", "revoke", key.split("-")[2] as string, "--state", folder]);
      expect(await ask(key)).toBe(403);
      expect((await get(`${there}/healthz`)).status).toBe(200);
    },
  );

  test("does not start on an address that is no address, and says so", async () => {
    const outcome = await starling(["up", "--state", join(await freshFolder(), "s"), "--metrics", "nowhere"]);
    expect(outcome).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining("host:port") });
  });
});

describe("what is shipped for operators", () => {
  const group = parse(readFileSync(rules, "utf8")) as {
    groups: { rules: { alert: string; expr: string; annotations: { summary: string; action: string } }[] }[];
  };
  const alerts = group.groups.flatMap(({ rules }) => rules);
  const panels = (JSON.parse(readFileSync(dashboard, "utf8")) as { panels: { targets: { expr: string }[] }[] }).panels;
  const expressions = [
    ...alerts.map(({ expr }) => expr),
    ...panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
  ];

  test("asks for nothing that an agent does not tell", async () => {
    const text = (await get(`${url}/metrics`)).text + (await get(`${serverUrl}/metrics`)).text;
    const told = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map((match) => match[1]));
    const asked = expressions.flatMap((expr) => expr.match(/\b(?:starling|nodejs|process)_\w+/g) ?? []);
    expect(asked.length).toBeGreaterThan(15);
    expect(asked.filter((name) => !told.has(name))).toEqual([]);
  });

  test("asks for states, paths and changes that exist", () => {
    const known = new Set(["alive", "suspect", "down", "left", "up", "direct", "turn", "relay", "routed"]);
    const values = expressions.flatMap((expr) => [...expr.matchAll(/(?:\bstate|path|change)[=!]~?"([^"]+)"/g)]);
    expect(values.flatMap((match) => (match[1] ?? "").split("|")).filter((value) => !known.has(value))).toEqual([]);
  });

  test("alerts to repeated denials, a token's end, a partition and a wrong clock, and says what to do", () => {
    const names = alerts.map(({ alert }) => alert);
    for (const name of ["RepeatedAuthFailures", "TokenExpiresSoon", "PartitionSuspected", "ClockSkew"])
      expect(names).toContain(`Starling${name}`);
    for (const { annotations } of alerts) expect(annotations.action).toMatch(/^[A-Z].*\.$/);
  });

  test.skipIf(promtool === undefined)("passes promtool (skipped where it is not installed)", () => {
    expect(execFileSync(promtool ?? "", ["check", "rules", rules], { encoding: "utf8" })).toContain("SUCCESS");
  });
});
