/**
 * Goal: newcomers get in and members stay in through whoever holds an issuing key, a server or a member; a carrier in between
 * learns nothing; who cannot get in is told why, in time.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startSignalingService } from "../../../signaling/main.ts";
import type { SignalingServer } from "../../../signaling/server.ts";
import { type Agent, createAgent } from "../../../src/agent.ts";
import { createCluster } from "../../../src/drivers/state/create-cluster.ts";
import { createSigningKeyFile, readSecretFile, readSigningKeyFile } from "../../../src/drivers/state/key-file.ts";
import { openMint } from "../../../src/issuer/mint.ts";
import type { AgentOptions } from "../../../src/options.ts";
import { peerIdOf } from "../../../src/proto/peer-id.ts";
import type { Cluster } from "../../../src/proto/trust/cluster.ts";
import { encodeDesk } from "../../../src/proto/trust/desk.ts";
import { encodeInvite } from "../../../src/proto/trust/invite.ts";
import {
  acceptIssuers,
  decodeSignedIssuers,
  encodeIssuers,
  encodeSignedIssuers,
  type IssuingKey,
  kidOf,
  type SignedIssuers,
} from "../../../src/proto/trust/issuers.ts";
import { RogueServer } from "../attack/rogue-server.ts";
import { until } from "../until.ts";
import { crypto, freshFolder, freshKey } from "./lab.ts";

const SILENT = { debug() {}, info() {}, warn() {}, error() {} };
const YEAR = 365 * 86_400_000;

let folder = "";
let cluster: Cluster;
let keyFile = "";
let keys: IssuingKey[];
const agents: Agent[] = [];
const servers: SignalingServer[] = [];

beforeEach(async () => {
  folder = await freshFolder();
  const created = await createCluster(join(folder, "root"), {}, crypto);
  cluster = created.cluster;
  keyFile = created.issuingKeyFile;
  keys = [...(acceptIssuers(cluster.issuers, cluster.rootPublicKey, crypto.verifyAuthority)?.issuers ?? [])];
});

afterEach(async () => {
  await Promise.all(agents.splice(0).map((agent) => agent.close()));
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

/** A server; with `issuing` it issues, too. The cluster then names it. */
async function serve(issuing?: string, known = cluster): Promise<SignalingServer> {
  const server = await startSignalingService({
    cluster: known,
    listen: { host: "127.0.0.1", port: 0 },
    log: SILENT,
    ...(issuing !== undefined && { issuingKeyFile: issuing }),
  });
  servers.push(server);
  cluster = { ...cluster, signaling: [`ws://127.0.0.1:${server.port}`] };
  return server;
}

/** The root's signature over a list. */
async function signList(version: number, issuers: readonly IssuingKey[]): Promise<SignedIssuers> {
  const root = await readSigningKeyFile(join(folder, "root", "root.key"), crypto);
  const body = encodeIssuers({ version, issuers });
  return { body, signature: crypto.authority(root?.seed ?? new Uint8Array(32)).sign("starling/issuers/1", body) };
}

/** Another issuing key with the cluster's secret of places beside it; not in any list yet. */
async function anotherKey(): Promise<{ keyFile: string; entry: IssuingKey }> {
  const home = join(folder, `issuer-${agents.length}-${Math.random()}`);
  await mkdir(home, { mode: 0o700 });
  const key = freshKey();
  const place = await readSecretFile(join(folder, "root", "place.key"));
  await createSigningKeyFile(join(home, "issuing.key"), key, "an issuing key");
  await writeFile(join(home, "place.key"), `${Buffer.from(place ?? "").toString("base64")}\n`, { mode: 0o600 });
  const entry = { kid: kidOf(key.publicKey), publicKey: key.publicKey, scopes: ["*"], notAfter: Date.now() + YEAR };
  return { keyFile: join(home, "issuing.key"), entry };
}

async function mintOf(file = keyFile) {
  const list = { version: 1, issuers: keys };
  return openMint({ keyFile: file, clusterId: cluster.clusterId, issuers: () => list, crypto });
}

async function joinInvite(request: { uses?: number; scopes?: string[] } = {}, file = keyFile): Promise<string> {
  const issued = await (await mintOf(file)).issueJoinToken(request, Date.now());
  if (!issued.ok) throw new Error(issued.fault);
  return encodeInvite({ cluster, token: { kind: "join", text: issued.token } });
}

async function start(name: string, options: AgentOptions): Promise<Agent> {
  const agent = await createAgent({ name, stateDirectory: join(folder, name), joinTimeoutMs: 10_000, ...options });
  agents.push(agent);
  return agent;
}

/** An agent that makes its own token with the issuing key that it holds. */
async function startIssuer(name: string, file = keyFile): Promise<Agent> {
  await mkdir(join(folder, name), { recursive: true, mode: 0o700 });
  return start(name, { issuingKey: file, invite: await joinInvite({}, file) });
}

const failure = (promise: Promise<unknown>): Promise<{ code?: string; message: string }> =>
  promise.then(
    () => ({ message: "no error" }),
    (error: Error & { code?: string }) => error,
  );

const linked = (a: Agent, b: Agent): boolean => a.status().links.some(({ peer }) => peer === b.id);

describe("a first join that comes to nothing", () => {
  test("for lack of an issuer ends in time with issuer-unreachable, and says what to do", async () => {
    await serve();
    const progress: string[] = [];
    const onProgress = (line: string): void => void progress.push(line);
    const invite = await joinInvite();
    const error = await failure(start("alone", { invite, joinTimeoutMs: 600, onProgress }));
    expect(error.code).toBe("issuer-unreachable");
    expect(error.message).toMatch(/signal --issuing-key .*up --issuing-key .*invite --for [a-z2-7]{52}/);
    expect(progress.join("\n")).toMatch(/asking for a member token at ws:\/\/.*\n.*no issuer can be asked/);
  });

  test("for lack of a server ends in time with signaling-unreachable, and names the servers", async () => {
    const closed = createServer();
    await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve));
    const { port } = closed.address() as { port: number };
    await new Promise((resolve) => closed.close(resolve));
    cluster = { ...cluster, signaling: [`ws://127.0.0.1:${port}`] };
    const error = await failure(start("alone", { invite: await joinInvite(), joinTimeoutMs: 400 }));
    expect(error.code).toBe("signaling-unreachable");
    expect(error.message).toContain(`ws://127.0.0.1:${port}`);
    expect(error.message).toContain("--signaling");
  });

  test("does not concern an agent that has a token: it starts without a server, and its status says so", async () => {
    const server = await serve(keyFile);
    const first = await start("member", { invite: await joinInvite() });
    await first.close();
    await server.close();
    const again = await start("member", { joinTimeoutMs: 100 });
    await until("the server to be missed", () => again.status().signaling[0]?.lastError !== undefined);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(again.status().signaling[0]?.state).toMatch(/waiting|connecting/);
    expect(again.status().self.state).toBe("joining");
  });

  test.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])("is never given %s ms", async (joinTimeoutMs) => {
    expect((await failure(start("odd", { joinTimeoutMs }))).code).toBe("usage");
  });
});

describe("a member that holds an issuing key", () => {
  test("lets newcomers in at a server that has none, each use of an invite once", async () => {
    const server = await serve();
    await startIssuer("issuer");
    const invite = await joinInvite({ uses: 1 });
    const newcomer = await start("newcomer", { invite });
    const journal = await readFile(`${keyFile}.uses`, "utf8");
    expect(journal).toContain(` ${newcomer.id} `);
    const late = await failure(start("late", { invite }));
    expect(late).toMatchObject({ code: "signaling-refused", message: expect.stringContaining("used as often") });
    expect(server.counters()).toMatchObject({ exchanges: 2, exchangesUnanswered: 0 });
    // A lost answer costs nothing: the same node may ask again.
    await newcomer.close();
    await writeFile(join(folder, "newcomer", "token"), "", { mode: 0o600 });
    expect((await start("newcomer", { invite })).id).toBe(newcomer.id);
  });

  test("exchanges no join token of another key, even if that is an issuer of the cluster too", async () => {
    const second = await anotherKey();
    keys = [...keys, second.entry];
    cluster = { ...cluster, issuers: await signList(2, keys) };
    await serve();
    await startIssuer("second", second.keyFile);
    const error = await failure(start("newcomer", { invite: await joinInvite(), joinTimeoutMs: 800 }));
    expect(error.code).toBe("issuer-unreachable");
    expect((await start("other", { invite: await joinInvite({}, second.keyFile) })).id).toHaveLength(52);
  });

  test("renews a member's token over their link when no server can, and the token of nobody else", async () => {
    await serve();
    const issuer = await startIssuer("issuer");
    // Ten seconds are left: the renewal is due after five.
    const node = await start("member", { invite: await joinInvite() });
    await node.close();
    const mint = await mintOf();
    const issued = await mint.issueMemberToken({ subject: node.id, lifeMs: 60_000 }, Date.now() - 50_000);
    await writeFile(join(folder, "member", "token"), issued.ok ? issued.token : "", { mode: 0o600 });
    const member = await start("member", {});
    const before = member.status().self.tokenExpiresAt ?? "";
    await until("the link", () => linked(member, issuer));
    await until("the renewal", () => (member.status().self.tokenExpiresAt ?? "") > before, 15_000);
    expect(linked(member, issuer)).toBe(true);
    const kept = () => readFile(join(folder, "member", "token"), "utf8");
    await until("it to be kept", async () => issued.ok && !(await kept()).includes(issued.token));
    // By hand, with somebody else's token and with junk.
    const foreign = await mint.issueMemberToken({ subject: peerIdOf(freshKey().publicKey) }, Date.now());
    for (const message of [foreign.ok ? foreign.token : "", "junk", new Uint8Array(9_000)]) {
      const stream = await member.open(issuer.id, "starling/issuer/1");
      await stream.send(message);
      const answers: Uint8Array[] = [];
      for await (const answer of stream) answers.push(answer);
      expect(Buffer.concat(answers).toString("latin1")).not.toMatch(/eyJ/);
    }
  }, 40_000);

  test("renews a token that expired days ago at a server that has no key", async () => {
    await serve();
    await startIssuer("issuer");
    const node = await start("member", { invite: await joinInvite() });
    await node.close();
    const issued = await (await mintOf()).issueMemberToken({ subject: node.id }, Date.now() - 3 * 86_400_000);
    await writeFile(join(folder, "member", "token"), issued.ok ? issued.token : "", { mode: 0o600 });
    const member = await start("member", {});
    expect(Date.parse(member.status().self.tokenExpiresAt ?? "")).toBeGreaterThan(Date.now());
  });

  test("does not start with a key that the list does not name, and gives the key up when it ends", async () => {
    await serve();
    const other = await anotherKey();
    const invite = await joinInvite();
    expect(await failure(start("odd", { issuingKey: other.keyFile, invite }))).toMatchObject({
      code: "issuer-refused",
    });
    const first = await startIssuer("issuer");
    expect(await failure(start("twin", { issuingKey: keyFile, invite }))).toMatchObject({ code: "state-locked" });
    await first.close();
    await startIssuer("issuer");
  });
});

describe("a server in bad hands", () => {
  test("learns no join token, neither by naming no desk nor by naming one of its own making", async () => {
    const rogue = await RogueServer.open(cluster);
    cluster = rogue.cluster;
    const invite = await joinInvite();
    const wrongKey = crypto.authority(freshKey().seed);
    const { kid } = keys[0] as IssuingKey;
    const boxKey = crypto.boxKeyPair().publicKey;
    for (const desks of [[], [encodeDesk({ kid, holder: undefined, boxKey }, wrongKey)], [new Uint8Array(64)]]) {
      rogue.desks = desks;
      const error = await failure(start(`newcomer-${desks.length}`, { invite, joinTimeoutMs: 500 }));
      expect(error.code).toBe("issuer-unreachable");
    }
    expect(rogue.requests).toEqual([]);
    await rogue.close();
  });

  test("that carries requests to a real desk reads none, and an answer of its own making counts for nothing", async () => {
    const rogue = await RogueServer.open(cluster);
    cluster = rogue.cluster;
    const mint = await mintOf();
    const { kid } = keys[0] as IssuingKey;
    rogue.desks = [mint.signDesk({ kid, holder: undefined, boxKey: crypto.boxKeyPair().publicKey })];
    rogue.answer = async () => new Uint8Array(200).fill(7);
    const issued = await mint.issueJoinToken({}, Date.now());
    const token = issued.ok ? issued.token : "";
    const invite = encodeInvite({ cluster, token: { kind: "join", text: token } });
    const error = await failure(start("newcomer", { invite, joinTimeoutMs: 500 }));
    expect(error.code).toBe("signaling-unreachable");
    expect(rogue.requests.length).toBeGreaterThan(0);
    for (const request of rogue.requests)
      expect(Buffer.from(request).toString("latin1")).not.toContain(token.slice(0, 40));
    await rogue.close();
  });
});

describe("the list of issuing keys", () => {
  const keptVersion = async (name: string): Promise<number | undefined> => {
    const json = JSON.parse(await readFile(join(folder, name, "cluster.json"), "utf8")) as { issuers: string };
    const signed = decodeSignedIssuers(new Uint8Array(Buffer.from(json.issuers, "base64")));
    return signed && acceptIssuers(signed, cluster.rootPublicKey, crypto.verifyAuthority)?.version;
  };

  test("when newer is taken from a server at login, kept, and in force after a restart without that server", async () => {
    const old = cluster.issuers;
    const second = await anotherKey();
    const newer = await signList(2, [...keys, second.entry]);
    const server = await serve(keyFile, { ...cluster, issuers: newer });
    cluster = { ...cluster, issuers: old };
    const agent = await start("member", { invite: await joinInvite() });
    await until("the list to be kept", async () => (await keptVersion("member")) === 2);
    await agent.close();
    await server.close();
    // A token by the second key is judged by the list that was kept, with nobody there to hand it out again.
    keys = [...keys, second.entry];
    const mine = await (await mintOf(second.keyFile)).issueMemberToken({ subject: agent.id }, Date.now());
    await writeFile(join(folder, "member", "token"), mine.ok ? mine.token : "", { mode: 0o600 });
    const again = await start("member", {});
    expect(again.status().self.tokenExpiresAt).not.toBeNull();
    expect(await keptVersion("member")).toBe(2);
  });

  test("is taken from anybody if the root signed it, and never goes back", async () => {
    const server = await serve(keyFile);
    const agent = await start("member", { invite: await joinInvite() });
    const second = await anotherKey();
    const newer = encodeSignedIssuers(await signList(3, [...keys, second.entry]));
    expect(await agent.acceptIssuers(newer)).toBe(true);
    expect(await keptVersion("member")).toBe(3);
    expect(await agent.acceptIssuers(newer)).toBe(false);
    for (const refused of [
      encodeSignedIssuers(await signList(2, keys)),
      encodeSignedIssuers(cluster.issuers),
      encodeSignedIssuers({ ...(await signList(4, keys)), signature: new Uint8Array(64) }),
      encodeSignedIssuers({ ...(await signList(3, keys)), body: encodeIssuers({ version: 9, issuers: keys }) }),
      new Uint8Array(40_000),
      new Uint8Array(0),
    ]) {
      expect(await agent.acceptIssuers(refused)).toBe(false);
    }
    expect(await keptVersion("member")).toBe(3);
    await agent.close();
    // The server, and an old invite, still say 1: what is kept stays.
    const again = await start("member", { invite: await joinInvite({ uses: 2 }) });
    await until("the login", () => again.status().signaling[0]?.state === "ready");
    expect(await keptVersion("member")).toBe(3);
    expect(await again.acceptIssuers(encodeSignedIssuers(await signList(2, keys)))).toBe(false);
    expect(server.counters().welcomes).toBeGreaterThan(1);
  });

  test("in an invite that is newer than what is kept replaces it", async () => {
    await serve(keyFile);
    const agent = await start("member", { invite: await joinInvite() });
    await agent.close();
    const second = await anotherKey();
    cluster = { ...cluster, issuers: await signList(2, [...keys, second.entry]) };
    await start("member", { invite: await joinInvite({ uses: 2 }) });
    expect(await keptVersion("member")).toBe(2);
  });
});

describe("scopes", () => {
  test("of streams are asked at the opener, and again where the stream arrives", async () => {
    await serve(keyFile);
    const host = await start("host", { invite: await joinInvite() });
    const scopes = ["mesh:join", "kv:*", "stream:allowed/1"];
    const guest = await start("guest", { invite: await joinInvite({ scopes }) });
    const seen: string[] = [];
    for (const protocol of ["allowed/1", "other/1"]) host.handle(protocol, (stream) => void seen.push(stream.protocol));
    await until("the link", () => linked(guest, host) && host.members().length === 2);
    await guest.open(host.id, "allowed/1");
    await until("the stream", () => seen.length === 1);
    expect(await failure(guest.open(host.id, "other/1"))).toMatchObject({
      code: "permission-denied",
      message: expect.stringContaining("stream:other/1"),
    });
    expect(seen).toEqual(["allowed/1"]);
    expect(() => host.handle("starling/mine", () => undefined)).toThrow("Starling's own");
  });

  test("of buckets guard what an agent reads for its owner", async () => {
    await serve(keyFile);
    const scopes = ["mesh:join", "kv:write:*", "kv:read:open", "stream:*"];
    const agent = await start("member", { invite: await joinInvite({ scopes }) });
    await agent.bucket("open").put("key", "value", { replicas: 1 });
    await agent.bucket("shut").put("key", "value", { replicas: 1 });
    expect((await agent.bucket("open").get("key"))?.text()).toBe("value");
    for (const read of [
      agent.bucket("shut").get("key"),
      agent.bucket("shut").list(),
      agent.bucket("shut").watch({ initial: true })[Symbol.asyncIterator]().next(),
      agent.bucket("shut").watch()[Symbol.asyncIterator]().next(),
    ]) {
      expect(await failure(read)).toMatchObject({ code: "permission-denied" });
    }
  });
});
