/** Goal: a use of a join token is never given twice, and a lost answer never costs one. */
import { appendFile, chmod, copyFile, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { expect, test } from "vitest";
import { createSigningKeyFile } from "../../../src/drivers/state/key-file.ts";
import { openUseJournal } from "../../../src/drivers/state/use-journal.ts";
import { createTokenSigner, createTokenVerifier } from "../../../src/drivers/tokens.ts";
import { decreesOf } from "../../../src/issuer/decrees-of.ts";
import { type Issuer, openIssuer } from "../../../src/issuer/issuer.ts";
import type { IssuedMember } from "../../../src/issuer/mint.ts";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import { peerIdOf } from "../../../src/proto/peer-id.ts";
import { type IssuerList, kidOf } from "../../../src/proto/trust/issuers.ts";
import { until } from "../until.ts";
import { crypto, freshCluster, freshFolder, freshKey, HOUR, type Lab, NOW, Node, opened, stranger } from "./lab.ts";

const DAY = 24 * HOUR;
const said = (issued: IssuedMember): string => (issued.ok ? "ok" : issued.fault);

async function joinTokenOf(issuer: Issuer, request = {}, now = NOW): Promise<string> {
  const issued = await issuer.issueJoinToken(request, now);
  if (!issued.ok) throw new Error(issued.fault);
  return issued.token;
}

async function memberOf(issued: Promise<IssuedMember>) {
  const member = await issued;
  if (!member.ok) throw new Error(member.fault);
  return member;
}

/** A second issuer of the same cluster, with a key and a ceiling of its own. */
async function secondIssuer(lab: Lab, scopes: readonly string[], shareSecret = true) {
  const folder = await freshFolder();
  const key = freshKey();
  const keyFile = join(folder, "issuing.key");
  await createSigningKeyFile(keyFile, key, "an issuing key");
  if (shareSecret) await copyFile(join(lab.folder, "place.key"), join(folder, "place.key"));
  const entry = { kid: kidOf(key.publicKey), publicKey: key.publicKey, scopes, notAfter: NOW + 300 * DAY };
  const issuers: IssuerList = { version: 2, issuers: [...lab.issuers.issuers, entry] };
  const clusterId = lab.cluster.clusterId;
  const open = () => openIssuer({ keyFile, clusterId, issuers: () => issuers, crypto, now: NOW });
  return { issuers, open };
}

test("a join token becomes a member token for the node that asks, with what the join token grants", async () => {
  const lab = await freshCluster();
  await using issuer = await lab.issuer();
  const alice = stranger();
  const joinToken = await joinTokenOf(issuer, { scopes: ["mesh:join", "kv:read:app"], role: "reader" });
  const { token, claims } = await memberOf(issuer.exchange(joinToken, alice, NOW + 1_234));
  expect(claims).toMatchObject({
    subject: alice,
    scopes: ["mesh:join", "kv:read:app"],
    role: "reader",
    issuedAt: NOW + 1_000,
  });
  const expected = { issuers: lab.issuers, clusterId: lab.cluster.clusterId, now: NOW, expectedSubject: alice };
  expect(await createTokenVerifier().verifyMemberToken(token, expected)).toMatchObject({ ok: true, value: claims });
});

test("a join token for one use is good for one node, and for that node again", async () => {
  const lab = await freshCluster();
  await using issuer = await lab.issuer();
  const joinToken = await joinTokenOf(issuer);
  const [alice, bob] = [stranger(), stranger()];
  expect(said(await issuer.exchange(joinToken, alice, NOW))).toBe("ok");
  expect(said(await issuer.exchange(joinToken, bob, NOW))).toBe("used-up");
  expect(said(await issuer.exchange(joinToken, alice, NOW + 1_000))).toBe("ok");
  expect(said(await issuer.exchange(joinToken, bob, NOW))).toBe("used-up");
});

test("of fifty nodes that ask at once for three uses, three are served", async () => {
  const lab = await freshCluster();
  await using issuer = await lab.issuer();
  const joinToken = await joinTokenOf(issuer, { uses: 3 });
  const answers = await Promise.all(Array.from({ length: 50 }, () => issuer.exchange(joinToken, stranger(), NOW)));
  expect(answers.filter((answer) => answer.ok)).toHaveLength(3);
});

test("the count survives restarts, a line that was cut off by a crash, and a copy of the request", async () => {
  const lab = await freshCluster();
  const journal = `${lab.issuingKeyFile}.uses`;
  const [alice, bob, carol] = [stranger(), stranger(), stranger()];
  let joinToken = "";
  {
    await using issuer = await lab.issuer();
    joinToken = await joinTokenOf(issuer, { uses: 2 });
    expect(said(await issuer.exchange(joinToken, alice, NOW))).toBe("ok");
  }
  {
    await using issuer = await lab.issuer();
    expect(said(await issuer.exchange(joinToken, alice, NOW))).toBe("ok");
    expect(said(await issuer.exchange(joinToken, bob, NOW))).toBe("ok");
  }
  await appendFile(journal, `use AAAAAAAAAAAAAAAAAAAAAA ${carol.slice(0, 20)}`);
  {
    await using issuer = await lab.issuer();
    expect(said(await issuer.exchange(joinToken, carol, NOW))).toBe("used-up");
    expect(said(await issuer.exchange(joinToken, bob, NOW))).toBe("ok");
  }
  expect((await readFile(journal, "utf8")).split("\n").filter((line) => line.startsWith("use "))).toHaveLength(2);
});

test("a use is on the disk before the answer", async () => {
  const lab = await freshCluster();
  await using issuer = await lab.issuer();
  const joinToken = await joinTokenOf(issuer, { uses: 10 });
  for (let count = 1; count <= 10; count++) {
    const node = stranger();
    expect(said(await issuer.exchange(joinToken, node, NOW))).toBe("ok");
    expect(await readFile(`${lab.issuingKeyFile}.uses`, "utf8")).toContain(` ${node} `);
  }
});

test("uses of tokens that have long expired are forgotten at the next start, those of others are not", async () => {
  const lab = await freshCluster();
  const journal = `${lab.issuingKeyFile}.uses`;
  {
    await using issuer = await lab.issuer();
    await issuer.exchange(await joinTokenOf(issuer, { lifeMs: HOUR }), stranger(), NOW);
    await issuer.exchange(await joinTokenOf(issuer, { lifeMs: 7 * DAY }), stranger(), NOW);
    await issuer.revoke(stranger(), NOW);
  }
  const lines = async () =>
    (await readFile(journal, "utf8")).split("\n").filter((line) => /^(use|revoke) /.test(line)).length;
  expect(await lines()).toBe(3);
  await (await lab.issuer({ now: NOW + 3 * DAY })).close();
  expect(await lines()).toBe(2);
});

test("a journal with a damaged line stops the issuer instead of forgetting", async () => {
  const lab = await freshCluster();
  await (await lab.issuer()).close();
  for (const line of [
    "use\n",
    "use AAAA BBBB 1\n",
    `revoke ${stranger()} x\n`,
    `spend AAAAAAAAAAAAAAAAAAAAAA ${stranger()} 1\n`,
  ]) {
    await writeFile(`${lab.issuingKeyFile}.uses`, line);
    await expect(lab.issuer()).rejects.toMatchObject({ code: "state-corrupt" });
  }
});

test("only one process at a time is the issuer of a key, and minting needs none", async () => {
  const lab = await freshCluster();
  const issuer = await lab.issuer();
  await expect(lab.issuer()).rejects.toMatchObject({ code: "state-locked" });
  await issuer.close();
  await issuer.close();
  await (await lab.issuer()).close();
  await expect(issuer.exchange(await joinTokenOf(issuer), stranger(), NOW)).rejects.toMatchObject({ code: "closed" });
});

test("a join token is exchanged at the issuer that made it, at no other", async () => {
  const lab = await freshCluster();
  await using first = await lab.issuer();
  const { open } = await secondIssuer(lab, ["*"]);
  await using second = await open();
  expect(said(await second.exchange(await joinTokenOf(first), stranger(), NOW))).toBe("other-issuer");
});

test("an expired, foreign or forged join token buys nothing", async () => {
  const lab = await freshCluster();
  await using issuer = await lab.issuer();
  const joinToken = await joinTokenOf(issuer, { lifeMs: HOUR });
  const alice = stranger();
  expect(said(await issuer.exchange(joinToken, alice, NOW + HOUR + 60_000))).toBe("expired");
  const other = await freshCluster();
  await using foreign = await other.issuer();
  expect(said(await foreign.exchange(joinToken, alice, NOW))).toBe("wrong-cluster");
  const signer = await createTokenSigner(freshKey());
  const claims = { ...(await memberOf(issuer.issueMemberToken({ subject: alice }, NOW))).claims, uses: 1 };
  expect(said(await issuer.exchange(await signer.signJoinToken(claims), alice, NOW))).toBe("unknown-issuer");
  const member = (await memberOf(issuer.issueMemberToken({ subject: alice }, NOW))).token;
  expect(said(await issuer.exchange(member, alice, NOW))).toBe("wrong-audience");
  expect(said(await issuer.exchange("", alice, NOW))).toBe("malformed");
});

test("no use is spent on a node that cannot have a token", async () => {
  const lab = await freshCluster();
  await using issuer = await lab.issuer();
  const joinToken = await joinTokenOf(issuer);
  const smallOrder = peerIdOf(new Uint8Array(32));
  expect(said(await issuer.exchange(joinToken, smallOrder, NOW))).toBe("bad-request");
  expect(said(await issuer.exchange(joinToken, stranger(), NOW))).toBe("ok");
});

test("a renewal keeps scopes, role and place, through any issuer, with or without the secret of places", async () => {
  const lab = await freshCluster();
  await using first = await lab.issuer();
  const { open } = await secondIssuer(lab, ["*"]);
  await using second = await open();
  const node = new Node(lab.cluster.clusterId);
  const alice = node.id;
  const request = { subject: alice, scopes: ["mesh:join", "kv:read:app"], role: "reader" };
  const { token, claims } = await memberOf(first.issueMemberToken(request, NOW));
  const renewed = await memberOf(second.renew(node.show(token, NOW + 12 * HOUR), alice, NOW + 12 * HOUR));
  expect(renewed.claims).toMatchObject({ ...request, place: claims.place, expiresAt: NOW + 36 * HOUR });
  expect(renewed.claims.id).not.toBe(claims.id);
  // Both derive one place for a node that has none yet.
  const bob = stranger();
  const places = await Promise.all(
    [first, second].map((issuer) => memberOf(issuer.issueMemberToken({ subject: bob }, NOW))),
  );
  expect(places[0]?.claims.place).toEqual(places[1]?.claims.place);
  expect(places[0]?.claims.place).not.toEqual(claims.place);
});

test("a token that expired less than seven days ago buys a renewal, and nothing else; later not even that", async () => {
  const lab = await freshCluster();
  await using issuer = await lab.issuer();
  const node = new Node(lab.cluster.clusterId);
  const alice = node.id;
  const { token, claims } = await memberOf(issuer.issueMemberToken({ subject: alice }, NOW));
  const weekend = claims.expiresAt + 2 * DAY;
  const expected = { issuers: lab.issuers, clusterId: lab.cluster.clusterId, now: weekend };
  expect(await createTokenVerifier().verifyMemberToken(token, expected)).toEqual({ ok: false, fault: "expired" });
  expect(said(await issuer.renew(node.show(token, weekend), alice, weekend))).toBe("ok");
  expect(
    said(await issuer.renew(node.show(token, claims.expiresAt + 7 * DAY - 1), alice, claims.expiresAt + 7 * DAY - 1)),
  ).toBe("ok");
  expect(
    said(await issuer.renew(node.show(token, claims.expiresAt + 7 * DAY), alice, claims.expiresAt + 7 * DAY)),
  ).toBe("expired");
  expect(said(await issuer.renew(node.show(token, NOW - 2 * HOUR), alice, NOW - 2 * HOUR))).toBe("not-yet-valid");
});

test("nobody renews the token of another, a join token, or one above the ceiling of the issuer", async () => {
  const lab = await freshCluster();
  await using issuer = await lab.issuer();
  const { open } = await secondIssuer(lab, ["mesh:join", "kv:*"]);
  await using modest = await open();
  const node = new Node(lab.cluster.clusterId);
  const alice = node.id;
  const { token } = await memberOf(issuer.issueMemberToken({ subject: alice, scopes: ["mesh:join", "admin"] }, NOW));
  expect(said(await issuer.renew(token, stranger(), NOW))).toBe("wrong-subject");
  expect(said(await issuer.renew(await joinTokenOf(issuer), alice, NOW))).toBe("wrong-audience");
  expect(said(await modest.renew(node.show(token, NOW), alice, NOW))).toBe("scope-above-ceiling");
  expect(said(await issuer.renew(node.show(token, NOW), alice, NOW))).toBe("ok");
});

test("a revoked node gets no token by any way, also after a restart", async () => {
  const lab = await freshCluster();
  const node = new Node(lab.cluster.clusterId);
  const alice = node.id;
  let joinToken = "";
  let token = "";
  {
    await using issuer = await lab.issuer();
    joinToken = await joinTokenOf(issuer, { uses: 5 });
    ({ token } = await memberOf(issuer.exchange(joinToken, alice, NOW)));
    const revocation = await issuer.revoke(alice, NOW + 5);
    const decrees = decreesOf(lab.cluster, [], crypto, NOW);
    expect(revocation && decrees.accept(revocation, NOW)).toMatchObject({ outcome: "news" });
    expect(decrees.revokedSince(alice)).toBe(NOW + 5);
  }
  await using issuer = await lab.issuer();
  expect(said(await issuer.renew(node.show(token, NOW), alice, NOW))).toBe("revoked");
  expect(said(await issuer.exchange(joinToken, alice, NOW))).toBe("revoked");
  expect(said(await issuer.exchange(joinToken, stranger(), NOW))).toBe("ok");
});

test("a revocation that the cluster knows counts like the issuer's own", async () => {
  const lab = await freshCluster();
  const node = new Node(lab.cluster.clusterId);
  const alice = node.id;
  await using issuer = await lab.issuer({ voids: ({ subject }) => subject === alice });
  const { token } = await memberOf(issuer.issueMemberToken({ subject: alice }, NOW));
  expect(said(await issuer.renew(node.show(token, NOW), alice, NOW))).toBe("revoked");
});

test("an issuer makes nothing that members would refuse", async () => {
  const lab = await freshCluster(["mesh:join", "kv:read:*"]);
  await using issuer = await lab.issuer();
  const subject = stranger();
  const member = async (change: object, now = NOW) =>
    said(await issuer.issueMemberToken({ subject, scopes: ["mesh:join"], ...change }, now));
  expect(await member({})).toBe("ok");
  expect(await member({ scopes: ["mesh:join", "kv:write:a"] })).toBe("scope-above-ceiling");
  expect(await member({ scopes: ["*"] })).toBe("scope-above-ceiling");
  expect(await member({ scopes: [] })).toBe("bad-request");
  expect(await member({ role: "Root!" })).toBe("bad-request");
  expect(await member({ lifeMs: 59_999 })).toBe("bad-request");
  expect(await member({ lifeMs: 367 * DAY })).toBe("bad-request");
  expect(await member({ lifeMs: Number.NaN })).toBe("bad-request");
  expect(await member({ subject: peerIdOf(new Uint8Array(32)) })).toBe("bad-request");
  expect(await issuer.issueJoinToken({ scopes: ["admin"] }, NOW)).toEqual({ ok: false, fault: "scope-above-ceiling" });
  for (const request of [{ uses: 0 }, { uses: 10_001 }, { lifeMs: 8 * DAY }]) {
    expect(await issuer.issueJoinToken({ scopes: ["mesh:join"], ...request }, NOW)).toEqual({
      ok: false,
      fault: "bad-request",
    });
  }
  expect(issuer.decree("revocation", new Uint8Array(1))).toBeUndefined();
  expect(issuer.decree("rotation", new Uint8Array(1))).toBeUndefined();
  expect(await issuer.revoke(subject, NOW)).toBeUndefined();
});

test("a role stands for its scopes in the token, scopes that are named win, and the ceiling holds for both", async () => {
  const lab = await freshCluster(["mesh:join", "kv:*", "topic:*"]);
  await using issuer = await lab.issuer();
  const subject = stranger();
  const viewer = await issuer.issueMemberToken({ subject, role: "viewer" }, NOW);
  expect(viewer.ok && viewer.claims).toMatchObject({
    role: "viewer",
    scopes: ["mesh:join", "kv:read:*", "topic:subscribe:*"],
  });
  const named = await issuer.issueMemberToken({ subject, role: "viewer", scopes: ["mesh:join"] }, NOW);
  expect(named.ok && named.claims.scopes).toEqual(["mesh:join"]);
  expect(said(await issuer.issueMemberToken({ subject, role: "admin" }, NOW))).toBe("scope-above-ceiling");
  expect(said(await issuer.issueMemberToken({ subject, role: "developer" }, NOW))).toBe("scope-above-ceiling");
  // What nobody has given a meaning means nothing, and not what an invite grants by default.
  expect(said(await issuer.issueMemberToken({ subject, role: "guest" }, NOW))).toBe("unknown-role");
  expect(await issuer.issueJoinToken({ role: "guest" }, NOW)).toEqual({ ok: false, fault: "unknown-role" });
});

test("tokens end with their issuing key, and an issuer that left the list issues none", async () => {
  const lab = await freshCluster();
  const [entry] = lab.issuers.issuers as [IssuerList["issuers"][number]];
  let issuers: IssuerList = { version: 2, issuers: [{ ...entry, notAfter: NOW + 2 * HOUR }] };
  await using issuer = await lab.issuer({ issuers: () => issuers });
  const node = new Node(lab.cluster.clusterId);
  const subject = node.id;
  const { claims, token } = await memberOf(issuer.issueMemberToken({ subject }, NOW));
  expect(claims.expiresAt).toBe(NOW + 2 * HOUR);
  expect(said(await issuer.issueMemberToken({ subject }, NOW + 2 * HOUR))).toBe("issuer-expired");
  issuers = { version: 3, issuers: [entry] };
  // What was cut short by the key's end is whole again once the key lives on.
  expect((await memberOf(issuer.renew(node.show(token, NOW), subject, NOW))).claims.expiresAt).toBe(NOW + DAY);
  issuers = { version: 4, issuers: [{ ...entry, kid: "aaaaaaaaaaaaaaaa" }] };
  expect(said(await issuer.issueMemberToken({ subject }, NOW))).toBe("unknown-issuer");
  expect(said(await issuer.renew(node.show(token, NOW), subject, NOW))).toBe("unknown-issuer");
});

test("an issuing key that others may read, or without the secret of places, does not open", async () => {
  const lab = await freshCluster();
  await chmod(lab.issuingKeyFile, 0o640);
  await expect(lab.issuer()).rejects.toMatchObject({ code: "key-file-permissions" });
  await chmod(lab.issuingKeyFile, 0o600);
  const { open } = await secondIssuer(lab, ["*"], false);
  await expect(open()).rejects.toMatchObject({ code: "not-found", message: expect.stringContaining("place.key") });
  await rm(lab.issuingKeyFile);
  await expect(lab.issuer()).rejects.toMatchObject({ code: "not-found" });
});

test("a full journal refuses, and goes on once join tokens have expired, forgetting nothing else", async () => {
  const path = join(await freshFolder(), "uses");
  const journal = await openUseJournal(path, NOW);
  const idOf = (index: number) => Buffer.from(String(index).padStart(16)).toString("base64url");
  const nodes = Array.from({ length: 10_000 }, (_, index) =>
    peerIdOf(
      new Uint8Array(32)
        .fill(1)
        .fill(index & 255, 0, 1)
        .fill(index >> 8, 1, 2),
    ),
  );
  for (let index = 0; index < 10; index++) {
    // One of the ten lives on for a week.
    const spent = { id: idOf(index), uses: 10_000, expiresAt: index === 0 ? NOW + 7 * DAY : NOW + HOUR };
    await Promise.all(nodes.map((node) => journal.use(spent, node, NOW)));
  }
  await journal.revoke(nodes[0] as PeerId, NOW);
  const one = { id: idOf(11), uses: 1, expiresAt: NOW + 4 * DAY };
  expect(await journal.use(one, nodes[0] as PeerId, NOW + HOUR)).toBe("full");
  const size = (await stat(path)).size;
  expect(await journal.use(one, nodes[0] as PeerId, NOW + 2 * DAY)).toBe("recorded");
  expect((await stat(path)).size).toBeLessThan(size / 9);
  expect(await journal.use(one, nodes[1] as PeerId, NOW + 2 * DAY)).toBe("used-up");
  await journal.close();
  const reopened = await openUseJournal(path, NOW + 2 * DAY);
  expect(await reopened.use(one, nodes[1] as PeerId, NOW + 2 * DAY)).toBe("used-up");
  expect(await reopened.use({ id: idOf(0), uses: 10_000, expiresAt: NOW + 7 * DAY }, stranger(), NOW + 2 * DAY)).toBe(
    "used-up",
  );
  expect(reopened.isRevoked(nodes[0] as PeerId)).toBe(true);
  await reopened.close();
});

test("the journal is as private as the key", async () => {
  const lab = await freshCluster();
  await using _issuer = await lab.issuer();
  expect((await stat(`${lab.issuingKeyFile}.uses`)).mode & 0o777).toBe(0o600);
});

test("another key in the file is taken into use when the list names it, and join tokens by the one before still count, once", async () => {
  const lab = await freshCluster();
  const next = freshKey();
  const entry = { kid: kidOf(next.publicKey), publicKey: next.publicKey, scopes: ["*"], notAfter: NOW + 300 * DAY };
  let issuers = lab.issuers;
  let rekeyed = 0;
  await using issuer = await lab.issuer({ issuers: () => issuers, rekeyed: () => rekeyed++ });
  const former = issuer.kid;
  const [early, late] = [await joinTokenOf(issuer), await joinTokenOf(issuer)];
  expect(said(await issuer.exchange(early, stranger(), NOW))).toBe("ok");
  await rename(lab.issuingKeyFile, `${lab.issuingKeyFile}.former`);
  await createSigningKeyFile(lab.issuingKeyFile, next, "an issuing key");
  await pause(2_500);
  expect(issuer.kid).toBe(former);
  issuers = { version: 2, issuers: [...lab.issuers.issuers, entry] };
  await until("the new key", () => rekeyed === 1);
  expect(issuer.kids).toEqual([entry.kid, former]);
  expect(said(await issuer.exchange(early, stranger(), NOW))).toBe("used-up");
  expect(said(await issuer.exchange(late, stranger(), NOW))).toBe("ok");
  const { token } = await memberOf(issuer.exchange(await joinTokenOf(issuer), stranger(), NOW));
  expect(opened(token).header["kid"]).toBe(entry.kid);
});
