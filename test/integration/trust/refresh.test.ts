/**
 * Goal: whoever has copied a member's state cannot go on beside it, however the two take turns; and nothing that happens to an
 * honest member (a lost answer, a restart of the issuer, another issuer, a carrier that replays) costs it its membership.
 */
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createSigningKeyFile } from "../../../src/drivers/state/key-file.ts";
import { decreesOf } from "../../../src/issuer/decrees-of.ts";
import { type IssuerOptions, openIssuer, type RefreshReuse } from "../../../src/issuer/issuer.ts";
import type { IssuedMember } from "../../../src/issuer/mint.ts";
import { lineageOf, type MemberClaims } from "../../../src/proto/trust/claims.ts";
import { type IssuerList, kidOf } from "../../../src/proto/trust/issuers.ts";
import { crypto, freshCluster, freshFolder, freshKey, HOUR, type Lab, NOW, Node } from "./lab.ts";

const said = (issued: IssuedMember): string => (issued.ok ? "ok" : issued.fault);
const tokenOf = (issued: IssuedMember): string => (issued.ok ? issued.token : issued.fault);
const DAY = 24 * HOUR;

/** A cluster, a node with a first token of it, and what its issuer says of reuse. */
async function begin(scopes?: readonly string[]) {
  const lab = await freshCluster(scopes);
  const reuses: RefreshReuse[] = [];
  const open = (change: Partial<IssuerOptions> = {}) =>
    lab.issuer({ reused: (reuse) => reuses.push(reuse), ...change });
  const issuer = await open();
  const node = new Node(lab.cluster.clusterId);
  const request = { subject: node.id, refreshKey: node.refreshKey, ...(scopes && { scopes: ["mesh:join"] }) };
  const issued = await issuer.issueMemberToken(request, NOW);
  if (!issued.ok) throw new Error(issued.fault);
  return { lab, issuer, open, node, token: issued.token, family: issued.claims.id, reuses };
}

/** An issuer with a key and a disk of its own. */
async function another(lab: Lab, change: Partial<IssuerOptions> = {}) {
  const folder = await freshFolder();
  const key = freshKey();
  const keyFile = join(folder, "issuing.key");
  await createSigningKeyFile(keyFile, key, "an issuing key");
  await copyFile(join(lab.folder, "place.key"), join(folder, "place.key"));
  const entry = { kid: kidOf(key.publicKey), publicKey: key.publicKey, scopes: ["*"], notAfter: NOW + 300 * DAY };
  const list: IssuerList = { version: 2, issuers: [...lab.issuers.issuers, entry] };
  const { clusterId } = lab.cluster;
  return { list, open: () => openIssuer({ keyFile, clusterId, issuers: () => list, crypto, now: NOW, ...change }) };
}

describe("a member that renews", () => {
  test("gets a token of the same line each time, under a key of its own each time", async () => {
    const { issuer, node, token: first, family } = await begin();
    await using _issuer = issuer;
    let token = first;
    for (let generation = 1; generation <= 5; generation++) {
      const at = NOW + generation * 12 * HOUR;
      const issued = await issuer.renew(node.show(token, at), node.id, at);
      expect(issued.ok && issued.claims.lineage).toMatchObject({ family, generation, refreshKey: node.refreshKey });
      token = tokenOf(issued);
    }
  });

  test("and loses the answer, also twice and across a restart of the issuer, asks again and goes on", async () => {
    const { issuer, open, node, token, reuses } = await begin();
    const at = NOW + 12 * HOUR;
    expect(said(await issuer.renew(node.show(token, at), node.id, at))).toBe("ok");
    expect(said(await issuer.renew(node.show(token, at + HOUR), node.id, at + HOUR))).toBe("ok");
    await issuer.close();
    await using later = await open();
    const heard = tokenOf(await later.renew(node.show(token, at + 2 * HOUR), node.id, at + 2 * HOUR));
    const next = at + 12 * HOUR;
    expect(said(await later.renew(node.show(heard, next), node.id, next))).toBe("ok");
    expect(reuses).toEqual([]);
  });

  test("asks ten times at once, and may go on with any of the answers", async () => {
    const { issuer, node, token, reuses } = await begin();
    await using _issuer = issuer;
    const shown = Array.from({ length: 10 }, (_, index) => node.show(token, NOW + index));
    const answers = await Promise.all(shown.map((text) => issuer.renew(text, node.id, NOW + 20)));
    expect(answers.map(said)).toEqual(Array(10).fill("ok"));
    const next = await Promise.all(
      answers.map((answer) => issuer.renew(node.show(tokenOf(answer), NOW + DAY), node.id, NOW + DAY)),
    );
    expect(next.map(said)).toEqual(Array(10).fill("ok"));
    expect(reuses).toEqual([]);
  });

  test("goes on at another issuer when the first is gone for good, and at the first if that comes back", async () => {
    const { lab, issuer, open, node, token, reuses } = await begin();
    const { list, open: openOther } = await another(lab);
    const first = tokenOf(await issuer.renew(node.show(token, NOW + HOUR), node.id, NOW + HOUR));
    await issuer.close();
    await using other = await openOther();
    const second = tokenOf(await other.renew(node.show(first, NOW + 2 * HOUR), node.id, NOW + 2 * HOUR));
    const third = tokenOf(await other.renew(node.show(second, NOW + 3 * HOUR), node.id, NOW + 3 * HOUR));
    await using back = await open({ issuers: () => list });
    expect(said(await back.renew(node.show(third, NOW + 4 * HOUR), node.id, NOW + 4 * HOUR))).toBe("ok");
    expect(reuses).toEqual([]);
  });

  test("after six days without any issuer renews once and is in", async () => {
    const { issuer, node, token } = await begin();
    await using _issuer = issuer;
    const late = NOW + 7 * DAY - HOUR;
    expect(said(await issuer.renew(node.show(token, late), node.id, late))).toBe("ok");
  });

  test("loses nothing by a carrier that hands its requests over again, at once or much later", async () => {
    const { issuer, node, token: first, reuses } = await begin();
    await using _issuer = issuer;
    const carried: string[] = [];
    let token = first;
    for (let turn = 1; turn <= 4; turn++) {
      const at = NOW + turn * HOUR;
      carried.push(node.show(token, at));
      token = tokenOf(await issuer.renew(carried.at(-1) as string, node.id, at));
    }
    for (const text of carried.slice(0, 3))
      expect(said(await issuer.renew(text, node.id, NOW + 5 * HOUR))).toBe("refresh-stale");
    expect(said(await issuer.renew(carried[3] as string, node.id, NOW + 5 * HOUR))).toBe("ok");
    expect(said(await issuer.renew(node.show(token, NOW + 6 * HOUR), node.id, NOW + 6 * HOUR))).toBe("ok");
    expect(reuses).toEqual([]);
  });

  test("shows a token from before it had a key, and has one from then on", async () => {
    const { issuer, node } = await begin();
    await using _issuer = issuer;
    const offline = await issuer.issueMemberToken({ subject: node.id }, NOW);
    const shown = node.show(tokenOf(offline), NOW + HOUR);
    const issued = await issuer.renew(shown, node.id, NOW + HOUR);
    const family = offline.ok ? offline.claims.id : "";
    expect(issued.ok && issued.claims.lineage).toMatchObject({ family, generation: 1, refreshKey: node.refreshKey });
  });
});

describe("a thief", () => {
  test("of a token, and even of the node key, renews nothing without the refresh key", async () => {
    const { lab, issuer, node, token, reuses } = await begin();
    await using _issuer = issuer;
    const withNothing = new Node(lab.cluster.clusterId);
    expect(said(await issuer.renew(withNothing.show(token, NOW + 1), withNothing.id, NOW + 1))).toBe("wrong-subject");
    expect(said(await issuer.renew(withNothing.show(token, NOW + 1), node.id, NOW + 1))).toBe("refresh-invalid");
    const withNodeKey = new Node(lab.cluster.clusterId, node.identity);
    expect(said(await issuer.renew(withNodeKey.show(token, NOW + 1), node.id, NOW + 1))).toBe("refresh-invalid");
    expect(said(await issuer.renew(token, node.id, NOW + 1))).toBe("refresh-invalid");
    expect(said(await issuer.renew(node.show(token, NOW + 2), node.id, NOW + 2))).toBe("ok");
    expect(reuses).toEqual([]);
  });

  test("of the whole state who comes second is found out, and the whole line ends, also after a restart", async () => {
    const { lab, issuer, open, node, token, family, reuses } = await begin();
    const thief = node.copy();
    const renewed = await issuer.renew(node.show(token, NOW + HOUR), node.id, NOW + HOUR);
    expect(said(await issuer.renew(thief.show(token, NOW + 2 * HOUR), node.id, NOW + 2 * HOUR))).toBe("refresh-reused");
    expect(reuses).toMatchObject([{ subject: node.id, family }]);
    const shown = () => node.show(tokenOf(renewed), NOW + 3 * HOUR);
    expect(said(await issuer.renew(shown(), node.id, NOW + 3 * HOUR))).toBe("revoked");
    await issuer.close();
    await using later = await open();
    expect(said(await later.renew(shown(), node.id, NOW + 3 * HOUR))).toBe("revoked");
    // The revocation voids every token of the line for everybody else, and no other of the member.
    const decrees = decreesOf(lab.cluster, [], crypto, NOW);
    for (const { revocation } of reuses) if (revocation) decrees.accept(revocation, NOW + 2 * HOUR);
    const claims = renewed.ok ? renewed.claims : ({} as MemberClaims);
    expect(decrees.voids(claims)).toBe(true);
    expect(decrees.voids({ subject: node.id, id: family })).toBe(true);
    const fresh = await later.issueMemberToken({ subject: node.id, refreshKey: node.refreshKey }, NOW + 4 * HOUR);
    expect(fresh.ok && decrees.voids(fresh.claims)).toBe(false);
    const again = NOW + 5 * HOUR;
    expect(said(await later.renew(node.show(tokenOf(fresh), again), node.id, again))).toBe("ok");
  });

  test("of the whole state who comes first is found out by the member's own renewal", async () => {
    const { issuer, node, token, reuses } = await begin();
    await using _issuer = issuer;
    const thief = node.copy();
    const stolen = await issuer.renew(thief.show(token, NOW + HOUR), node.id, NOW + HOUR);
    expect(said(stolen)).toBe("ok");
    expect(said(await issuer.renew(node.show(token, NOW + 2 * HOUR), node.id, NOW + 2 * HOUR))).toBe("refresh-reused");
    const later = NOW + 3 * HOUR;
    expect(said(await issuer.renew(thief.show(tokenOf(stolen), later), node.id, later))).toBe("revoked");
    expect(reuses).toHaveLength(1);
  });

  test("who asks in the same moment as the member gets at most one turn", async () => {
    const { issuer, node, token } = await begin();
    await using _issuer = issuer;
    const thief = node.copy();
    const both = [node, thief].map((one) => one.show(token, NOW + HOUR));
    const answers = await Promise.all(both.map((text) => issuer.renew(text, node.id, NOW + HOUR)));
    expect(answers.map(said).sort()).toEqual(["ok", "refresh-stale"]);
    const loser = answers[0]?.ok ? thief : node;
    const later = NOW + 2 * HOUR;
    expect(said(await issuer.renew(loser.show(token, later), node.id, later))).toBe("refresh-reused");
  });

  test("of an old copy is found out however old it is", async () => {
    const { issuer, node, token: first, reuses } = await begin();
    await using _issuer = issuer;
    const thief = node.copy();
    let token = first;
    for (let turn = 1; turn <= 6; turn++) {
      const at = NOW + turn * HOUR;
      token = tokenOf(await issuer.renew(node.show(token, at), node.id, at));
    }
    const at = NOW + 7 * HOUR;
    expect(said(await issuer.renew(thief.show(first, at), node.id, at))).toBe("refresh-reused");
    expect(reuses).toHaveLength(1);
  });

  test("who goes to another issuer is found out where the two lines meet", async () => {
    const { lab, issuer, node, token, reuses } = await begin();
    await using _issuer = issuer;
    const thief = node.copy();
    const { list, open } = await another(lab);
    await using other = await open();
    const at = NOW + HOUR;
    const mine = tokenOf(await issuer.renew(node.show(token, at), node.id, at));
    const stolen = tokenOf(await other.renew(thief.show(token, at), node.id, at));
    await issuer.close();
    await using both = await lab.issuer({ issuers: () => list, reused: (reuse) => reuses.push(reuse) });
    expect(said(await both.renew(thief.show(stolen, at + 1), node.id, at + 1))).toBe("refresh-reused");
    expect(said(await both.renew(node.show(mine, at + 2), node.id, at + 2))).toBe("revoked");
  });

  test("who goes to an issuer that never saw the line is found out by the token that the member shows everybody", async () => {
    const { lab, issuer, node, token } = await begin();
    await using _issuer = issuer;
    const thief = node.copy();
    const at = NOW + HOUR;
    const mine = await issuer.renew(node.show(token, at), node.id, at);
    if (!mine.ok) throw new Error(mine.fault);
    const reuses: RefreshReuse[] = [];
    const newestOf = () => lineageOf(mine.claims);
    const { open } = await another(lab, { newestOf, reused: (reuse) => reuses.push(reuse) });
    await using other = await open();
    expect(said(await other.renew(node.show(token, at + HOUR), node.id, at + HOUR))).toBe("ok");
    expect(said(await other.renew(thief.show(token, at + HOUR), node.id, at + HOUR))).toBe("refresh-reused");
    expect(reuses).toHaveLength(1);
  });

  test("makes a line end also at an issuer that may not revoke", async () => {
    const { issuer, node, token, reuses } = await begin(["mesh:join"]);
    await using _issuer = issuer;
    const thief = node.copy();
    const at = NOW + HOUR;
    expect(said(await issuer.renew(node.show(token, at), node.id, at))).toBe("ok");
    expect(said(await issuer.renew(thief.show(token, 2 * HOUR + NOW), node.id, at))).toBe("refresh-reused");
    expect(reuses).toMatchObject([{ revocation: undefined }]);
  });
});
