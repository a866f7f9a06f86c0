/**
 * Goal: somebody has copied the state directory of a member and has renewed its token once. The member's own next renewal shows it,
 * and both are out everywhere, whether a server issues or a member; honest members renew as ever.
 */
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startSignalingService } from "../../../signaling/main.ts";
import type { SignalingServer } from "../../../signaling/server.ts";
import { type Agent, createAgent } from "../../../src/agent.ts";
import { type AuditLog, NO_AUDIT } from "../../../src/audit.ts";
import { createCluster } from "../../../src/drivers/state/create-cluster.ts";
import { readSigningKeyFile } from "../../../src/drivers/state/key-file.ts";
import { readRefreshKeys } from "../../../src/drivers/state/refresh-keys.ts";
import { openIssuer } from "../../../src/issuer/issuer.ts";
import type { AgentOptions } from "../../../src/options.ts";
import type { Cluster } from "../../../src/proto/trust/cluster.ts";
import { encodeInvite } from "../../../src/proto/trust/invite.ts";
import { acceptIssuers, type IssuerList } from "../../../src/proto/trust/issuers.ts";
import { until } from "../until.ts";
import { isRidOf } from "./cluster-of-ten.ts";
import { crypto, freshFolder, HOUR, Node, opened } from "./lab.ts";

const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

let folder = "";
let cluster: Cluster;
let keyFile = "";
let audited: Parameters<AuditLog["record"]>[0][] = [];
const agents: Agent[] = [];
const servers: SignalingServer[] = [];

beforeEach(async () => {
  folder = await freshFolder();
  const created = await createCluster(join(folder, "root"), {}, crypto);
  cluster = created.cluster;
  keyFile = created.issuingKeyFile;
  audited = [];
});

afterEach(async () => {
  await Promise.all(agents.splice(0).map((agent) => agent.close()));
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function serve(issuing: boolean, port = 0): Promise<SignalingServer> {
  const server = await startSignalingService({
    cluster,
    listen: { host: "127.0.0.1", port },
    log: SILENT,
    audit: { ...NO_AUDIT, record: (event) => void audited.push(event) },
    ...(issuing && { issuingKeyFile: keyFile }),
  });
  servers.push(server);
  cluster = { ...cluster, signaling: [`ws://127.0.0.1:${server.port}`] };
  return server;
}

const openKey = () => {
  const list = acceptIssuers(cluster.issuers, cluster.rootPublicKey, crypto.verifyAuthority) as IssuerList;
  return openIssuer({ keyFile, clusterId: cluster.clusterId, issuers: () => list, crypto });
};

/** A node that was a member for three hours, and whose state somebody copied two hours ago and renewed with. */
async function victim(): Promise<string> {
  const home = join(folder, "victim");
  const invited = encodeInvite({ cluster, token: { kind: "none" } });
  await createAgent({
    stateDirectory: home,
    invite: invited,
    credential: "starling-key-none",
    joinTimeoutMs: 50,
  }).catch(() => undefined);
  const key = await readSigningKeyFile(join(home, "node.key"), crypto);
  const identity = crypto.nodeIdentity(key?.seed as Uint8Array);
  const seeds = await readRefreshKeys(join(home, "refresh.keys"));
  const thief = new Node(
    cluster.clusterId,
    identity,
    seeds.map((seed) => crypto.authority(seed)),
  );
  await using issuer = await openKey();
  const now = Date.now();
  const first = await issuer.issueMemberToken({ subject: identity.id, refreshKey: thief.refreshKey }, now - 3 * HOUR);
  const token = first.ok ? first.token : "";
  expect(await issuer.renew(thief.show(token, now - 2 * HOUR), identity.id, now - 2 * HOUR)).toMatchObject({
    ok: true,
  });
  await writeFile(join(home, "token"), `${token}\n`, { mode: 0o600 });
  return home;
}

async function start(name: string, options: AgentOptions = {}): Promise<Agent> {
  const agent = await createAgent({ name, stateDirectory: join(folder, name), joinTimeoutMs: 10_000, ...options });
  agents.push(agent);
  return agent;
}

async function invite(): Promise<string> {
  await using issuer = await openKey();
  const issued = await issuer.issueJoinToken({ uses: 5 }, Date.now());
  return encodeInvite({ cluster, token: { kind: "join", text: issued.ok ? issued.token : "" } });
}

const linked = (a: Agent, b: Agent): boolean => a.status().links.some(({ peer }) => peer === b.id);

describe("a copied state directory", () => {
  test("is found out by a server that issues, which tells every member", async () => {
    const { port } = await serve(false);
    const newcomers = await invite();
    await victim();
    await servers.pop()?.close();
    const server = await serve(true, port);
    const witnesses = [await start("one", { invite: newcomers }), await start("two", { invite: newcomers })];
    const member = await start("victim");
    await until("links", () => witnesses.every((witness) => linked(witness, member)));
    await expect(member.rotateToken()).rejects.toMatchObject({
      code: "issuer-refused",
      message: expect.stringContaining("new node key and a new invite"),
    });
    await until("everybody to be rid of it", () => witnesses.every((witness) => isRidOf(witness, member.id)));
    expect(server.counters()).toMatchObject({ refreshReused: 1, renewalsRefused: 1 });
    await until("the server to refuse it", () => member.status().signaling[0]?.state === "refused");
    const said = audited.filter(({ action }) => action === "issuer.renew");
    expect(said).toMatchObject([{ actor: member.id, outcome: "denied", reason: "refresh-reused" }]);
    // A member that was away hears of it when it comes.
    const late = await start("three", { invite: newcomers });
    await until("links", () => witnesses.every((witness) => linked(witness, late)));
    expect(isRidOf(late, member.id)).toBe(true);
    for (const witness of witnesses) await witness.rotateToken();
  }, 60_000);

  test("is found out by a member that issues, and is out everywhere", async () => {
    await serve(false);
    const newcomers = await invite();
    await victim();
    const issuer = await start("issuer", { issuingKey: keyFile, invite: newcomers });
    const witness = await start("one", { invite: newcomers });
    const member = await start("victim");
    await until("links", () => linked(issuer, member) && linked(witness, member) && linked(issuer, witness));
    await expect(member.rotateToken()).rejects.toMatchObject({ code: "issuer-refused" });
    await until("everybody to be rid of it", () => [issuer, witness].every((agent) => isRidOf(agent, member.id)));
    expect(issuer.counters().faults).toMatchObject({ "refresh-reused": 1 });
    expect((await witness.rotateToken()).expiresAt.getTime()).toBeGreaterThan(Date.now());
  }, 60_000);
});

describe("an honest agent", () => {
  test("renews on demand and again after a restart, each time under another key, and is let in by the new token", async () => {
    await serve(true);
    await servers.pop()?.close();
    const newcomers = await invite();
    await serve(true, Number(new URL(cluster.signaling[0] as string).port));
    let agent = await start("member", { invite: newcomers });
    const home = join(folder, "member");
    const claims = async () => opened(await readFile(join(home, "token"), "utf8")).claims;
    const seen = [await claims()];
    for (let turn = 1; turn <= 6; turn++) {
      await until("a login", () => agent.status().signaling[0]?.state === "ready");
      const { id } = await agent.rotateToken();
      seen.push(await claims());
      expect(seen.at(-1)).toMatchObject({ jti: id, gen: turn, fam: seen[0]?.["jti"] });
      if (turn % 2 === 1) continue;
      await agent.close();
      agent = await start("member");
    }
    expect(new Set(seen.map(({ ref }) => ref)).size).toBe(7);
    await until("a login with it", () => agent.status().signaling[0]?.state === "ready");
    expect((await stat(join(home, "refresh.keys"))).mode & 0o777).toBe(0o600);
    expect((await readRefreshKeys(join(home, "refresh.keys"))).length).toBeLessThanOrEqual(4);
  }, 60_000);

  test("says what to do when nobody renews its token", async () => {
    const server = await serve(true);
    await server.close();
    const newcomers = await invite();
    servers.pop();
    await serve(true, server.port);
    const agent = await start("member", { invite: newcomers });
    await servers.pop()?.close();
    await expect(agent.rotateToken()).rejects.toMatchObject({ code: "issuer-refused" });
  }, 60_000);
});
