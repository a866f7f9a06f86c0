import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startSignalingService } from "../../../signaling/main.ts";
import type { SignalingServer } from "../../../signaling/server.ts";
import { type Agent, createAgent } from "../../../src/agent.ts";
import { createCluster } from "../../../src/drivers/state/create-cluster.ts";
import { createSigningKeyFile, readSecretFile, readSigningKeyFile } from "../../../src/drivers/state/key-file.ts";
import { ensurePrivateFolder } from "../../../src/drivers/state/private-files.ts";
import { openStateDirectory } from "../../../src/drivers/state-directory.ts";
import { issuersOf, type Mint, openMint } from "../../../src/issuer/mint.ts";
import { fromBase64url } from "../../../src/proto/base64.ts";
import { parsePeerId } from "../../../src/proto/peer-id.ts";
import type { Cluster } from "../../../src/proto/trust/cluster.ts";
import type { SigningKey } from "../../../src/proto/trust/crypto.ts";
import { encodeInvite } from "../../../src/proto/trust/invite.ts";
import { encodeIssuers, type IssuingKey, kidOf } from "../../../src/proto/trust/issuers.ts";
import { until } from "../attack/lab.ts";
import { linksLost, meshed, SILENT } from "./cluster-of-ten.ts";
import { crypto, freshFolder, freshKey, opened } from "./lab.ts";

/**
 * Goal: a cluster does not depend on any one issuer, nor on one being there all the time.
 * Method: agents that have joined by an invite each; issuers that end, for six days or for good; nobody is invited again.
 */

const DAY = 24 * 3_600_000;

let folder: string;
let cluster: Cluster;
let keyFile: string;
let mint: Mint;
let agents: Agent[];
let servers: SignalingServer[];

beforeEach(async () => {
  folder = await freshFolder();
  agents = [];
  servers = [];
  ({ cluster, issuingKeyFile: keyFile } = await createCluster(join(folder, "root"), {}, crypto));
  mint = await mintOf();
});

afterEach(async () => {
  await Promise.all(agents.map((agent) => agent.close()));
  await Promise.all(servers.map((server) => server.close()));
});

function mintOf(): Promise<Mint> {
  const issuers = issuersOf(cluster, crypto);
  return openMint({ keyFile, clusterId: cluster.clusterId, issuers: () => issuers, crypto });
}

async function serve(issuing?: string): Promise<SignalingServer> {
  const listen = { host: "127.0.0.1", port: 0 };
  const issuingKeyFile = issuing === undefined ? {} : { issuingKeyFile: issuing };
  const server = await startSignalingService({ cluster, listen, log: SILENT, ...issuingKeyFile });
  servers.push(server);
  return server;
}

const urlOf = ({ port }: SignalingServer): string => `ws://127.0.0.1:${port}`;

async function start(name: string, options: Parameters<typeof createAgent>[0]): Promise<Agent> {
  const agent = await createAgent({ name, stateDirectory: join(folder, name), ...options });
  agents.push(agent);
  return agent;
}

async function invite(signaling: readonly string[]): Promise<string> {
  const issued = await mint.issueJoinToken({}, Date.now());
  if (!issued.ok) throw new Error(issued.fault);
  return encodeInvite({ cluster: { ...cluster, signaling }, token: { kind: "join", text: issued.token } });
}

/** Puts a member in the past: its token is the next of its line, and has ended so long ago. */
async function age(name: string, endedMs: number): Promise<void> {
  const file = join(folder, name, "token");
  const { claims } = opened((await readFile(file, "utf8")).trim());
  const text = (key: string): string => String(claims[key]);
  const aged = await mint.issueMemberToken(
    {
      subject: parsePeerId(text("sub")) ?? expect.unreachable(),
      place: fromBase64url(text("place")) ?? expect.unreachable(),
      refreshKey: fromBase64url(text("ref")) ?? expect.unreachable(),
      line: { family: text("fam"), generation: Number(claims["gen"]) + 1 },
    },
    Date.now() - endedMs - DAY,
  );
  if (!aged.ok) throw new Error(aged.fault);
  await writeFile(file, aged.token, { mode: 0o600 });
}

test("a cluster whose tokens have all ended six days ago re-forms when one issuer comes back, and nobody is invited again", {
  timeout: 120_000,
}, async () => {
  const names = ["one", "two", "three", "four"];
  const first = await serve(keyFile);
  for (const name of names) await start(name, { invite: await invite([urlOf(first)]) });
  await meshed(agents);
  const before = agents.map(({ id, scopes }) => ({ id, scopes }));
  await agents[0]?.bucket("app").put("key", "from before", { replicas: 4 });
  for (const agent of agents.splice(0)) await agent.leave();
  await first.close();
  for (const name of names) await age(name, 6 * DAY);

  const door = await serve();
  let back = 0;
  const starting = names.map((name) =>
    start(name, { signaling: [urlOf(door)], joinTimeoutMs: 90_000 }).then((agent) => {
      back++;
      return agent;
    }),
  );
  await pause(3_000);
  expect(back).toBe(0);
  // The one that comes back is a member with the issuing key, at a front door that has none.
  const issuer = await start("issuer", {
    signaling: [urlOf(door)],
    issuingKey: keyFile,
    invite: await offline("issuer"),
  });
  await Promise.all(starting);
  await meshed(agents);
  const after = names.map((name) => agents.find((agent) => agent.name === name) as Agent);
  expect(after.map(({ id, scopes }) => ({ id, scopes }))).toEqual(before);
  for (const agent of after) {
    expect(Date.parse(agent.status().self.tokenExpiresAt ?? "")).toBeGreaterThan(Date.now());
    expect((await agent.bucket("app").get("key"))?.text()).toBe("from before");
  }
  expect(issuer.members().filter(({ state }) => state === "alive")).toHaveLength(5);
});

/** The invite of the issuer itself: it makes its own token. */
async function offline(name: string): Promise<string> {
  await ensurePrivateFolder(join(folder, name));
  return encodeInvite({ cluster, token: { kind: "none" } });
}

test("of two issuers one ends for good, and nobody notices: everybody renews at the other, again and again", {
  timeout: 120_000,
}, async () => {
  const home = join(folder, "second");
  await ensurePrivateFolder(home);
  const second = freshKey();
  await createSigningKeyFile(join(home, "issuing.key"), second, "an issuing key");
  const place = (await readSecretFile(join(folder, "root", "place.key"))) as Uint8Array;
  await writeFile(join(home, "place.key"), `${Buffer.from(place).toString("base64")}\n`, { mode: 0o600 });
  const root = (await readSigningKeyFile(join(folder, "root", "root.key"), crypto)) as SigningKey;
  const [entry] = issuersOf(cluster, crypto).issuers as readonly [IssuingKey];
  const other = { ...entry, kid: kidOf(second.publicKey), publicKey: second.publicKey };
  const body = encodeIssuers({ version: 2, issuers: [entry, other] });
  cluster = { ...cluster, issuers: { body, signature: crypto.authority(root.seed).sign("starling/issuers/1", body) } };
  mint = await mintOf();

  const [gone, stays] = [await serve(keyFile), await serve(join(home, "issuing.key"))];
  const signaling = [urlOf(gone), urlOf(stays)];
  for (const name of ["one", "two", "three"]) await start(name, { invite: await invite(signaling) });
  await meshed(agents);
  const lost = linksLost(agents);
  for (const agent of agents) await agent.rotateToken();
  await gone.kill();
  const ends = new Set<string>();
  for (let turn = 0; turn < 2; turn++) {
    for (const agent of agents) ends.add((await agent.rotateToken()).id);
    expect((await agents[turn]?.bucket("app").put(`key-${turn}`, "value", { replicas: 3 }))?.replicas).toBe(3);
  }
  expect(ends.size).toBe(6);
  for (const { issuedBy } of (await agents[0]?.administration.keys()) ?? []) expect(issuedBy).toBe(other.kid);
  expect(agents.flatMap((agent) => agent.status().warnings)).toEqual([]);
  expect(lost()).toEqual([]);
  await until("everybody to be there", () =>
    agents.every((agent) => agent.members().every(({ state }) => state === "alive")),
  );
});

test("agents that run while their tokens end, and long after, are in again by themselves when an issuer comes back", {
  timeout: 300_000,
}, async () => {
  const door = await serve();
  const signaling = [urlOf(door)];
  for (const name of ["one", "two", "three"]) {
    await using state = await openStateDirectory(join(folder, name), crypto);
    const subject = crypto.nodeIdentity(state.nodeKey.seed).id;
    const issued = await mint.issueMemberToken({ subject, lifeMs: 60_000 }, Date.now());
    if (!issued.ok) throw new Error(issued.fault);
    await state.close();
    const text = encodeInvite({ cluster, token: { kind: "member", text: issued.token } });
    await start(name, { invite: text, signaling });
  }
  await meshed(agents);
  const members = [...agents];
  const isOut = (agent: Agent): boolean => agent.status().links.length === 0;
  await until("everybody to be out", () => members.every(isOut), 150_000);
  for (const agent of members) {
    const [warning] = agent.status().warnings;
    expect(warning).toMatchObject({
      code: "token-expiring",
      message: expect.stringMatching(/ended at .*start an issuer/),
    });
  }
  await start("issuer", { signaling, issuingKey: keyFile, invite: await offline("issuer") });
  await until(
    "everybody to be in",
    () => members.every((agent) => Date.parse(agent.status().self.tokenExpiresAt ?? "") > Date.now()),
    90_000,
  );
  await meshed(agents);
  expect(members.flatMap((agent) => agent.status().warnings)).toEqual([]);
});
