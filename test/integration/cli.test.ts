import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import type { AgentStatus } from "../../src/status.ts";
import { freshFolder, type Outcome, type Program, starling, startStarling } from "./command.ts";
import { until } from "./until.ts";

/** The real command, as processes: one cluster of three members, made and used the way a person would. */

let folder = "";
let founder = "";
let url = "";
let invite = "";
const members: Program[] = [];
const state = (name: string): string => join(folder, name);

async function json<T>(...args: string[]): Promise<T> {
  const outcome = await starling([...args, "--json"]);
  expect(outcome, args.join(" ")).toMatchObject({ code: 0, stderr: "" });
  return JSON.parse(outcome.stdout) as T;
}

const statusOf = (name: string): Promise<AgentStatus> => json<AgentStatus>("status", "--state", state(name));

async function seenState(viewer: string, name: string): Promise<string | undefined> {
  return (await statusOf(viewer)).members.find((member) => member.name === name)?.state;
}

/** A failure as the house wants it: the code, nothing on stdout, one readable line on stderr, no stack. */
function expectFailure(outcome: Outcome, code: number, words: RegExp): void {
  expect(outcome).toMatchObject({ code, stdout: "" });
  expect(outcome.stderr).toMatch(words);
  expect(outcome.stderr).not.toMatch(/^\s+at |node:internal/m);
}

function up(name: string, ...more: string[]): Program {
  return startStarling(["up", "--state", state(name), "--name", name, "--log", "warn", "--json", ...more]);
}

beforeAll(async () => {
  folder = await freshFolder();
  founder = state("founder");
  expect(await starling(["init", "--state", founder, "--name", "test"])).toMatchObject({ code: 0, stdout: "" });
  const server = startStarling(["signal", "--state", founder, "--listen", "127.0.0.1:0", "--json", "--log", "warn"]);
  const listening = JSON.parse(await server.line()) as Record<string, unknown>;
  expect(listening).toEqual({ url: expect.any(String), host: "127.0.0.1", port: expect.any(Number), issuer: true });
  url = String(listening["url"]);
  const invited = await starling(["invite", "--state", founder, "--uses", "8", "--signaling", url]);
  expect(invited.code).toBe(0);
  expect(invited.stdout).toMatch(/^starling1-[\w-]+\n$/);
  expect(invited.stderr).toContain("secret");
  invite = invited.stdout.trim();
  await writeFile(join(folder, "invite"), invited.stdout, { mode: 0o600 });
  members.push(up("one", "--invite-file", join(folder, "invite"), "--label", "site=home"));
  members.push(up("two", "--invite-file", join(folder, "invite"), "--rtc", "werift"));
  members.push(up("three", "--invite-file", join(folder, "invite")));
  for (const member of members) await member.line();
  await until("all see all", async () => {
    for (const name of ["one", "two", "three"]) {
      const { members, links } = await statusOf(name);
      if (members.filter((member) => member.state === "alive").length !== 3 || links.length !== 2) return false;
    }
    return true;
  });
}, 60_000);

describe("a cluster", () => {
  test("init writes every file for its owner alone and refuses to overwrite", async () => {
    for (const name of await readdir(founder)) {
      if (name.startsWith(".") || name.startsWith("lock")) continue;
      const status = await stat(join(founder, name));
      expect((status.mode & 0o777).toString(8), name).toBe(status.isDirectory() ? "700" : "600");
    }
    const before = await readFile(join(founder, "root.key"));
    expectFailure(await starling(["init", "--state", founder]), 1, /nothing was overwritten.*--state/);
    expect(await readFile(join(founder, "root.key"))).toEqual(before);
  });

  test("up prints one line of JSON with the agent's id when it runs", async () => {
    const line = JSON.parse((await members[0]?.line()) ?? "") as Record<string, unknown>;
    const { self } = await statusOf("one");
    expect(line).toEqual({ id: self.id, name: "one", cluster: self.cluster });
    expect(members[0]?.stdout.trim().split("\n")).toHaveLength(1);
  });

  test("status --json has the documented shape", async () => {
    await starling(["kv", "put", "shape", "x", "--state", state("one")]);
    const status = await statusOf("one");
    const id = expect.stringMatching(/^[a-z2-7]{52}$/);
    expect(status).toEqual({
      self: {
        id,
        name: "one",
        cluster: expect.stringMatching(/^[a-z2-7]{32}$/),
        state: "joined",
        version: expect.stringMatching(/^\d+\.\d+\.\d+/),
        tokenExpiresAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
        scopes: expect.arrayContaining([expect.any(String)]),
        issuingKeyExpiresAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      },
      signaling: [expect.objectContaining({ url: `${url}/`, state: "ready" })],
      members: expect.any(Array),
      links: expect.any(Array),
      buckets: [
        {
          name: "default",
          keys: expect.any(Number),
          bytes: expect.any(Number),
          digest: expect.any(String),
          replicas: "all",
        },
      ],
      store: {
        kind: "sqlite",
        rows: expect.any(Number),
        fileBytes: expect.any(Number),
        uselessRows: 0,
        awaySince: null,
        setAside: 0,
        damage: [],
      },
      audit: { lines: expect.any(Number), copiesWanted: 0, copies: [] },
      warnings: [],
    });
    expect(status.members).toHaveLength(3);
    for (const member of status.members) {
      const isSelf = member.id === status.self.id;
      expect(member).toEqual({
        id,
        name: expect.any(String),
        state: "alive",
        incarnation: expect.any(Number),
        path: isSelf ? "none" : "direct",
        rttMs: isSelf ? null : expect.any(Number),
        lastSeenMs: isSelf ? null : expect.any(Number),
        labels: isSelf ? { site: "home" } : {},
      });
    }
    for (const link of status.links) {
      expect(link).toEqual({
        peer: id,
        path: "direct",
        rtc: expect.stringMatching(/^(native|werift)$/),
        localCandidate: expect.stringMatching(/^(host|prflx) /),
        remoteCandidate: expect.stringMatching(/^(host|prflx) /),
        rttMs: expect.any(Number),
        txBytes: expect.any(Number),
        rxBytes: expect.any(Number),
        sinceMs: expect.any(Number),
        signaledBy: expect.stringMatching(/^(mesh|server)$/),
      });
    }
  });

  test("members and ping tell people and programs the same", async () => {
    const [table, list, pong, pongs] = await Promise.all([
      starling(["members", "--state", state("one")]),
      json<AgentStatus["members"]>("members", "--state", state("one")),
      starling(["ping", "two", "-c", "1", "--state", state("one")]),
      json<unknown[]>("ping", "three", "-c", "2", "-i", "10ms", "--state", state("two")),
    ]);
    expect(table.stdout.split("\n")[0]).toMatch(/^NAME +ID +STATE +PATH +RTT +LAST SEEN +LABELS$/);
    for (const name of ["one", "two", "three"]) expect(table.stdout).toMatch(new RegExp(`^${name} .*alive`, "m"));
    expect(list.map(({ name }) => name).sort()).toEqual(["one", "three", "two"]);
    expect(pong.stdout).toMatch(/^pong from [a-z2-7]{8} via direct in .* m?s\n$/);
    expect(pongs).toEqual(Array(2).fill({ peer: expect.any(String), rttMs: expect.any(Number), path: "direct" }));
    expectFailure(await starling(["ping", "nobody", "--state", state("one")]), 1, /nobody/);
    expectFailure(await starling(["ping", "two", "-c", "none", "--state", state("one")]), 2, /count/);
  });

  test("what one puts another watches, gets, lists and deletes", async () => {
    const watch = startStarling(["kv", "watch", "w/", "--initial", "--json", "--state", state("two")]);
    await starling(["kv", "put", "w/first", "hello", "--state", state("two")]);
    expect(JSON.parse(await watch.line(0))).toMatchObject({ key: "w/first", value: "hello", deleted: false });
    const put = await json<unknown>("kv", "put", "w/second", "wörld", "--replicas", "3", "--state", state("one"));
    expect(put).toEqual({ version: expect.stringMatching(/^[0-9a-f]{64}$/), replicas: 3 });
    const { self } = await statusOf("one");
    expect(JSON.parse(await watch.line(1))).toEqual({
      key: "w/second",
      value: "wörld",
      base64: Buffer.from("wörld").toString("base64"),
      deleted: false,
      version: (put as { version: string }).version,
      author: self.id,
      cursor: expect.stringMatching(/^\d+$/),
    });
    expect((await starling(["kv", "get", "w/second", "--state", state("three")])).stdout).toBe("wörld");
    expect((await starling(["kv", "list", "w/", "--state", state("three")])).stdout).toBe("w/first\nw/second\n");
    const listed = await json<{ key: string; value: string }[]>("kv", "list", "w/", "--state", state("three"));
    expect(listed.map(({ key, value }) => [key, value])).toEqual([
      ["w/first", "hello"],
      ["w/second", "wörld"],
    ]);
    expect(await starling(["kv", "delete", "w/first", "--state", state("three")])).toMatchObject({
      code: 0,
      stdout: "",
    });
    expect(JSON.parse(await watch.line(2))).toMatchObject({ key: "w/first", value: null, deleted: true });
    expectFailure(await starling(["kv", "get", "w/first", "--state", state("one")]), 1, /no key "w\/first".*kv list/);
    watch.signal("SIGINT");
    expect(await watch.ended).toMatchObject({ code: 0, stderr: "" });
  });

  test("a value is put over one version only, and a conflict names the version that is there", async () => {
    const put = (value: string, version: string) =>
      starling(["kv", "put", "c", value, "--if-version", version, "--json", "--state", state("one")]);
    const first = await put("1", "none");
    const { version } = JSON.parse(first.stdout) as { version: string };
    expectFailure(await put("2", "none"), 1, new RegExp(`nothing was written: the key has version ${version}`));
    expect((await put("2", version)).code).toBe(0);
    expectFailure(await put("3", version), 1, /nothing was written: the key has version/);
    expectFailure(await put("3", "latest"), 2, /64 hexadecimal digits/);
    const deletion = ["kv", "delete", "c", "--if-version", version, "--state", state("one")];
    expectFailure(await starling(deletion), 1, /nothing was written/);
    expect((await starling(["kv", "get", "c", "--state", state("two")])).stdout).toBe("2");
  });

  test("a value comes from stdin, byte for byte, also when a list of them is longer than a control line", async () => {
    const value = "0123456789abcdef".repeat(7 * 65_536);
    for (const key of ["big/1", "big/2"]) {
      expect((await starling(["kv", "put", key, "--state", state("one")], { input: value })).code).toBe(0);
    }
    expect((await starling(["kv", "get", "big/2", "--state", state("one")])).stdout === value).toBe(true);
    const list = await json<{ value: string }[]>("kv", "list", "big/", "--state", state("one"));
    expect(list.map((entry) => entry.value === value)).toEqual([true, true]);
  });

  test("a second agent on one state directory is refused, and so is an invite for another cluster", async () => {
    expectFailure(await starling(["up", "--state", state("one")]), 1, /uses .*one.*starling down.*--state/);
    const other = state("other-cluster");
    await starling(["init", "--state", other]);
    const foreign = await starling(["invite", "--state", other]);
    const outcome = await starling(["up", "--state", founder, "--invite-file", "-"], { input: foreign.stdout });
    expectFailure(outcome, 2, /another cluster.*--state/);
  });

  test("who did what is in the audit logs of agent and server, without a secret, and a changed line is found", async () => {
    await starling(["kv", "put", "audited", "a private value", "--state", state("one")]);
    const audit = join(state("one"), "audit");
    const lines = await until("the call is written down", async () => {
      const text = await readFile(join(audit, "000000000001.jsonl"), "utf8");
      return text.includes("kv.put") ? text : undefined;
    });
    expect(lines).toContain('"action":"link.admit"');
    expect(lines).toContain('"target":"kv.put bucket=default key=audited"');
    expect(lines).not.toContain("a private value");
    const report = await json<{ ok: boolean; lines: number }>("audit", "verify", "--state", state("one"));
    expect(report).toMatchObject({ ok: true, faults: [] });
    const server = await readFile(join(founder, "audit-signal", "000000000001.jsonl"), "utf8");
    for (const action of ["issuer.exchange", "signaling.login"]) expect(server).toContain(`"action":"${action}"`);
    expect(await json("audit", "verify", "--signal", "--state", founder)).toMatchObject({ ok: true });
    await writeFile(join(audit, "000000000001.jsonl"), lines.replace("kv.put", "kv.get"), { mode: 0o600 });
    const outcome = await starling(["audit", "verify", "--state", state("one")]);
    expect(outcome).toMatchObject({ code: 1 });
    expect(outcome.stdout).toMatch(/000000000001\.jsonl:\d+: forged/);
  });

  test("who goes down is left, not down, and comes back without an invite", async () => {
    const [, , three] = members;
    expect(await starling(["down", "--state", state("three")])).toMatchObject({ code: 0, stdout: "" });
    expect(await three?.ended).toMatchObject({ code: 0 });
    expect(
      await until("one knows", async () => (await seenState("one", "three")) !== "alive" && seenState("one", "three")),
    ).toBe("left");
    expectFailure(await starling(["status", "--state", state("three")]), 1, /no agent is running.*starling up/);
    const again = up("three");
    await again.line();
    await until("one knows again", async () => (await seenState("one", "three")) === "alive");
    again.signal("SIGINT");
    expect(await again.ended).toMatchObject({ code: 0 });
  });

  test("the founder's machine joins without an invite, with its server running on the same directory", async () => {
    const agent = startStarling([
      "up",
      "--state",
      founder,
      "--name",
      "founder",
      "--signaling",
      url,
      "--json",
      "--log",
      "error",
    ]);
    await agent.line();
    await until("one knows", async () => (await seenState("one", "founder")) === "alive");
    agent.signal("SIGTERM");
    expect(await agent.ended).toMatchObject({ code: 0, stderr: "" });
  });

  test("an invite comes by argument with a warning, by environment, by stdin, or made for one key", async () => {
    const id = (await starling(["keygen", "--state", state("keyed")])).stdout.trim();
    expect(id).toMatch(/^[a-z2-7]{52}$/);
    const made = await json0<{ invite: string; kind: string }>([
      "invite",
      "--state",
      founder,
      "--for",
      id,
      "--signaling",
      url,
      "--json",
    ]);
    expect(made.kind).toBe("member");
    const launch = (name: string, more: string[], options = {}): Program =>
      startStarling(["up", "--state", state(name), "--name", name, "--json", "--log", "error", ...more], options);
    const agents = [
      launch("argued", [invite]),
      launch("environed", [], { env: { STARLING_INVITE: invite } }),
      launch("piped", ["-"], { input: `${invite}\n` }),
      launch("keyed", ["--invite-file", "-"], { input: made.invite }),
    ];
    for (const agent of agents) await agent.line();
    for (const agent of agents) agent.signal("SIGTERM");
    const outcomes = await Promise.all(agents.map((agent) => agent.ended));
    expect(outcomes.map(({ code }) => code)).toEqual([0, 0, 0, 0]);
    expect(outcomes.map(({ stderr }) => /warning: the invite is a secret/.test(stderr))).toEqual([
      true,
      false,
      false,
      false,
    ]);
    const stranger = await starling(["up", "--state", state("stranger"), "--invite-file", "-"], { input: made.invite });
    expectFailure(stranger, 1, /another node.*starling invite --for [a-z2-7]{52}/);
  });
});

/** As {@link json}, for commands that also speak to the person. */
async function json0<T>(args: readonly string[], input?: string): Promise<T> {
  const outcome = await starling(args, input === undefined ? {} : { input });
  expect(outcome.code, outcome.stderr).toBe(0);
  return JSON.parse(outcome.stdout) as T;
}

describe("alone", () => {
  test("tokens are made and read; what fits no cluster is said to", async () => {
    const token = (await starling(["token", "create", "--state", founder, "--uses", "2", "--expires", "5m"])).stdout;
    const read = await json0<Record<string, unknown>>(["token", "inspect", "-", "--state", founder, "--json"], token);
    expect(read).toMatchObject({ verdict: "valid", kid: expect.any(String), expiresAt: expect.stringMatching(/Z$/) });
    const elsewhere = await starling(["token", "inspect", token.trim(), "--state", state("nowhere")]);
    expect(elsewhere.stdout).toMatch(/^verdict: unchecked/m);
    expect(elsewhere.stderr).toMatch(/^warning: a token is a secret/);
    expectFailure(await starling(["token", "inspect", "-", "--state", founder], { input: "x.y" }), 1, /not a token/);
    expectFailure(await starling(["token", "create", "--state", founder, "--expires", "soon"]), 2, /duration.*5m/);
    expectFailure(await starling(["invite", "--state", state("nowhere")]), 1, /no cluster.*starling init/);
  });

  test("up without an invite says what to do; a damaged invite is refused before anything is made", async () => {
    expectFailure(await starling(["up", "--state", state("empty")]), 1, /no cluster.*starling up --invite-file/);
    const damaged = await starling(["up", "--state", state("damaged"), "-"], { input: invite.slice(0, -9) });
    expectFailure(damaged, 1, /invite/);
    expect(await readdir(folder)).not.toContain("damaged");
    expectFailure(await starling(["up", "--state", state("empty"), "--invite-file", state("none")]), 2, /cannot read/);
  });

  test("without its signaling server up keeps trying, says so once, and ends at Ctrl-C", async () => {
    let tries = 0;
    await using hole = createServer((socket) => {
      tries++;
      socket.destroy();
    });
    await new Promise<void>((resolve) => hole.listen(0, "127.0.0.1", resolve));
    const nowhere = `ws://127.0.0.1:${(hole.address() as AddressInfo).port}`;
    const unreachable = await starling(["invite", "--state", founder, "--signaling", nowhere]);
    const agent = startStarling(["up", "--state", state("patient"), "-"], { input: unreachable.stdout });
    await until("three tries", () => tries >= 3);
    agent.signal("SIGINT");
    const outcome = await agent.ended;
    expect(outcome).toMatchObject({ code: 1, stdout: "" });
    expect(outcome.stderr.match(/signaling lost/g)).toHaveLength(1);
    expect(outcome.stderr).toMatch(/starling: the start was cancelled\n$/);
  });

  test("config show tells where each value comes from and hides secrets; check suggests the right name", async () => {
    const home = state("configured");
    await mkdir(home, { mode: 0o700 });
    const file = join(home, "config.yaml");
    const ice = "iceServers:\n  - urls: turn:192.0.2.1:3478\n    username: me\n    credential: hush\n";
    await writeFile(file, `name: from-file\nlog: debug\nlabels: { a: b }\n${ice}`);
    const env = { STARLING_LOG: "warn" };
    const show = await starling(["config", "show", "--state", home, "--rtc", "werift", "--json"], { env });
    const { settings, ...rest } = JSON.parse(show.stdout) as { settings: Record<string, unknown> };
    expect(rest).toEqual({ stateDirectory: home, file });
    expect(settings).toMatchObject({
      name: { value: "from-file", origin: "file" },
      log: { value: "warn", origin: "environment" },
      rtc: { value: "werift", origin: "flag" },
      loopback: { value: "auto", origin: "default" },
      iceServers: { value: [{ username: "me", credential: "(redacted)" }], origin: "file" },
    });
    expect(show.stdout).not.toContain("hush");
    expect((await starling(["config", "check", "--state", home])).code).toBe(0);
    await writeFile(file, "signalling: []\n");
    expectFailure(await starling(["config", "check", "--state", home]), 1, /"signalling"; did you mean "signaling"\?/);
    await writeFile(file, "name: [\n");
    expectFailure(await starling(["config", "check", "--state", home]), 1, /config\.yaml/);
  });

  test("mistakes of usage end with 2, help and version with 0; colours only on a terminal", async () => {
    const [version, help, unknown, flag, bare, colour] = await Promise.all([
      starling(["--version"]),
      starling(["up", "--help"]),
      starling(["upp"]),
      starling(["status", "--jsn"]),
      starling([]),
      starling(["members", "--state", state("one")], { env: { NO_COLOR: "1" } }),
    ]);
    expect(version).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/), stderr: "" });
    expect(help).toMatchObject({ code: 0, stderr: "" });
    expectFailure(unknown, 2, /unknown command 'upp'[\s\S]*starling --help/);
    expectFailure(flag, 2, /unknown option '--jsn'[\s\S]*--json/);
    expectFailure(bare, 2, /Usage: starling/);
    expect(colour.stdout).not.toContain("\u001b");
  });
});
