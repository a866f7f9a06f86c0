import { stat } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Agent } from "../../../src/agent.ts";
import { readClusterFiles } from "../../../src/drivers/state/cluster-files.ts";
import { readSigningKeyFile } from "../../../src/drivers/state/key-file.ts";
import type { Authority } from "../../../src/proto/trust/crypto.ts";
import { encodeIssuers, encodeSignedIssuers, kidOf } from "../../../src/proto/trust/issuers.ts";
import { crypto, hasLink, Lab, type Node, until } from "../attack/lab.ts";
import { linksLost, mesh, meshed, Writer } from "./cluster-of-ten.ts";

/**
 * Goal: the keys that speak for a running cluster are replaced, and nobody notices but who still has an old one.
 * Method: ten agents, one of which is away; somebody writes without a pause; a new root or issuing key; the one that was away comes back.
 */

/** How long tokens by the old issuing key count, ms. */
const OVERLAP_MS = 30_000;

let lab: Lab;
let agents: Agent[];
let admin: Agent;
let adminNode: Node;
let awayNode: Node;

beforeEach(async () => {
  lab = await Lab.open();
  adminNode = await lab.node();
  admin = await lab.agent(adminNode, { options: { name: "issuer", issuingKey: lab.issuingKeyFile } });
  agents = [admin, ...(await mesh(lab, 8))];
  awayNode = await lab.node();
  const away = await lab.agent(awayNode);
  await meshed([...agents, away]);
  await away.leave();
}, 90_000);

afterEach(async () => {
  await lab[Symbol.asyncDispose]();
});

test("a new root costs no write and no link, a member that was away follows the chain, and the old root counts for nothing", {
  timeout: 120_000,
}, async () => {
  const outlaw = await lab.node();
  const old = await authorityIn(lab.rootKeyFile);
  await admin.administration.revoke(outlaw.identity.id, { keyFile: lab.rootKeyFile });
  const epoch = (await admin.administration.keys())[0]?.epoch;
  const lost = linksLost(agents, awayNode.identity.id);
  const writer = new Writer(agents);
  const before = performance.now();
  const { kid, former } = await admin.rotations.root(lab.rootKeyFile);
  console.log(`a new root at 9 of 9 after ${Math.round(performance.now() - before)} ms`);
  expect(former).toBe(kidOf(old.publicKey));
  expect(kidOf((await authorityIn(lab.rootKeyFile)).publicKey)).toBe(kid);
  expect((await stat(`${lab.rootKeyFile}.former`)).mode & 0o777).toBe(0o600);

  const back = await lab.agent(awayNode);
  await meshed([...agents, back]);
  await until("it to have what the cluster goes by", async () => {
    const [own] = await back.administration.keys();
    return own?.root === kid && own.issuers === 2 && own.epoch === epoch;
  });
  const cluster = await readClusterFiles(adminNode.folder, crypto);
  if (cluster === undefined) throw new Error("the admin has a cluster");
  const newcomer = await lab.agent(await lab.node(), { cluster: { ...cluster, signaling: [lab.url] } });
  expect((await newcomer.administration.keys())[0]).toMatchObject({ root: kid, issuers: 2 });
  await meshed([...agents, back, newcomer]);

  await expect(admin.administration.revoke(back.id, { keyFile: `${lab.rootKeyFile}.former` })).rejects.toMatchObject({
    code: "issuer-refused",
  });
  await expect(admin.rotations.root(`${lab.rootKeyFile}.former`)).rejects.toMatchObject({ code: "issuer-refused" });
  const thief = crypto.authority(crypto.generateNodeKey());
  const entry = { kid: kidOf(thief.publicKey), publicKey: thief.publicKey, scopes: ["*"], notAfter: Date.now() + 1e9 };
  const body = encodeIssuers({ version: 99, issuers: [entry] });
  await admin.acceptIssuers(encodeSignedIssuers({ body, signature: old.sign("starling/issuers/1", body) }));
  await pause(500);
  const everybody = await admin.administration.keys();
  expect(everybody.map(({ root, issuers }) => ({ root, issuers }))).toEqual(
    everybody.map(() => ({ root: kid, issuers: 2 })),
  );
  // What the old root had revoked stays revoked.
  expect(await admin.administration.revoke(outlaw.identity.id, { rekey: false })).toBe(false);

  const { writes, failed } = await writer.stop();
  console.log(`${writes} writes, ${failed} failed; ${lost().length} links lost`);
  expect(writes).toBeGreaterThan(50);
  expect(failed).toBe(0);
  expect(lost()).toEqual([]);
});

test("a new issuing key costs no write and no link, a member that was away gets a token by it, and the old one ends by itself", {
  timeout: 150_000,
}, async () => {
  const stolen = await lab.node();
  const byOldKey = await lab.token(stolen.identity.id);
  const lost = linksLost(agents, awayNode.identity.id);
  const writer = new Writer(agents);
  const before = performance.now();
  const {
    kid,
    former,
    endsAt = 0,
  } = await admin.rotations.issuing(lab.issuingKeyFile, lab.rootKeyFile, {
    overlapMs: OVERLAP_MS,
  });
  console.log(`tokens by a new issuing key at 9 of 9 after ${Math.round(performance.now() - before)} ms`);
  expect(former).toBe(lab.mint.kid);
  expect(kidOf((await authorityIn(lab.issuingKeyFile)).publicKey)).toBe(kid);

  const back = await lab.agent(awayNode);
  await meshed([...agents, back]);
  await until("it to have a token by the new key", async () => {
    const [own] = await back.administration.keys();
    return own?.issuedBy === kid;
  });

  await pause(Math.max(0, endsAt + 1_000 - Date.now()));
  const thief = await lab.agent(stolen, { token: byOldKey }).catch((error: unknown) => error);
  if (thief instanceof Error) expect(thief).toMatchObject({ code: "token-invalid" });
  else {
    await pause(2_000);
    expect(agents.some((agent) => hasLink(agent, stolen.identity.id))).toBe(false);
  }
  await expect(admin.rotations.issuing(lab.issuingKeyFile, `${lab.issuingKeyFile}`)).rejects.toMatchObject({
    code: "issuer-refused",
  });

  const { writes, failed } = await writer.stop();
  console.log(`${writes} writes, ${failed} failed; ${lost().length} links lost`);
  expect(writes).toBeGreaterThan(50);
  expect(failed).toBe(0);
  expect(lost()).toEqual([]);
});

async function authorityIn(file: string): Promise<Authority> {
  const key = await readSigningKeyFile(file, crypto);
  if (key === undefined) throw new Error(`no key in ${file}`);
  return crypto.authority(key.seed);
}
