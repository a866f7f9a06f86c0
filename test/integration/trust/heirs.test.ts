/** Goal: a member's node key has one heir, the one that the member named, on the member's own terms, and nobody else can bring that about. */
import { mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { writeSuccessor } from "../../../src/drivers/state/successor.ts";
import { openStateDirectory } from "../../../src/drivers/state-directory.ts";
import { decreesOf } from "../../../src/issuer/decrees-of.ts";
import type { Issuer } from "../../../src/issuer/issuer.ts";
import type { IssuedMember } from "../../../src/issuer/mint.ts";
import { encodeDecree } from "../../../src/proto/decrees/decree.ts";
import { shortId } from "../../../src/proto/peer-id.ts";
import type { NodeIdentity } from "../../../src/proto/trust/crypto.ts";
import { HEIR_LIFE_MS, nameHeir, parseHeir } from "../../../src/proto/trust/heir.ts";
import { crypto, freshCluster, freshFolder, HOUR, type Lab, NOW } from "./lab.ts";

const DAY = 24 * HOUR;
const said = (issued: IssuedMember): string => (issued.ok ? "ok" : issued.fault);
const someone = (): NodeIdentity => crypto.nodeIdentity(crypto.generateNodeKey());

async function memberOf(issuer: Issuer, request = {}, now = NOW) {
  const identity = someone();
  const issued = await issuer.issueMemberToken({ subject: identity.id, ...request }, now);
  if (!issued.ok) throw new Error(issued.fault);
  const name = (lab: Lab, heir: NodeIdentity, at = NOW) =>
    nameHeir(identity, issued.token, lab.cluster.clusterId, heir.id, at);
  return { identity, token: issued.token, claims: issued.claims, name };
}

describe("an heir", () => {
  test("gets the member's scopes, role and life with a place of its own, and the revocation of the member, who has a minute", async () => {
    const lab = await freshCluster();
    await using issuer = await lab.issuer();
    const member = await memberOf(issuer, { scopes: ["mesh:join", "kv:read:app"], role: "reader", lifeMs: 30 * DAY });
    const heir = someone();
    const issued = await issuer.admit(member.name(lab, heir), heir.id, NOW + 1_000);
    if (!issued.ok) throw new Error(issued.fault);
    const { scopes, role, place } = member.claims;
    expect(issued.claims).toMatchObject({ subject: heir.id, scopes, role });
    expect(issued.claims.expiresAt - issued.claims.issuedAt).toBe(30 * DAY);
    expect(issued.claims.place).not.toEqual(place);
    const decrees = decreesOf(lab.cluster, issued.retires ? [encodeDecree(issued.retires)] : [], crypto, NOW);
    expect(decrees.revokedSince(member.identity.id)).toBe(NOW + 61_000);
    expect(decrees.voids({ subject: member.identity.id })).toBe(true);
    expect(decrees.voids({ subject: member.identity.id }, NOW + 60_000)).toBe(false);
  });

  test("is one: another is refused, also after a restart of the issuer, and the same one is served again", async () => {
    const lab = await freshCluster();
    let member: Awaited<ReturnType<typeof memberOf>>;
    const heir = someone();
    const other = someone();
    {
      await using issuer = await lab.issuer();
      member = await memberOf(issuer);
      expect(said(await issuer.admit(member.name(lab, heir), heir.id, NOW))).toBe("ok");
      expect(said(await issuer.admit(member.name(lab, other), other.id, NOW))).toBe("used-up");
    }
    await using issuer = await lab.issuer();
    expect(said(await issuer.admit(member.name(lab, other), other.id, NOW))).toBe("used-up");
    expect(said(await issuer.admit(member.name(lab, heir), heir.id, NOW + 1_000))).toBe("ok");
  });

  test("of fifty that a member names at once is one", async () => {
    const lab = await freshCluster();
    await using issuer = await lab.issuer();
    const member = await memberOf(issuer);
    const asking = Array.from({ length: 50 }, someone).map((heir) =>
      issuer.admit(member.name(lab, heir), heir.id, NOW),
    );
    expect((await Promise.all(asking)).filter(({ ok }) => ok)).toHaveLength(1);
  });

  test.each<[string, string, (lab: Lab, issuer: Issuer) => Promise<IssuedMember>]>([
    [
      "shows words that name somebody else",
      "wrong-subject",
      async (lab, issuer) => issuer.admit((await memberOf(issuer)).name(lab, someone()), someone().id, NOW),
    ],
    [
      "was named by somebody who only has the member's token",
      "bad-signature",
      async (lab, issuer) => {
        const [member, heir] = [await memberOf(issuer), someone()];
        return issuer.admit(nameHeir(someone(), member.token, lab.cluster.clusterId, heir.id, NOW), heir.id, NOW);
      },
    ],
    [
      "was named for another cluster",
      "bad-signature",
      async (_lab, issuer) => {
        const [member, heir, other] = [await memberOf(issuer), someone(), await freshCluster()];
        return issuer.admit(member.name(other, heir), heir.id, NOW);
      },
    ],
    [
      "puts its own name into the words of another",
      "bad-signature",
      async (lab, issuer) => {
        const [member, heir, thief] = [await memberOf(issuer), someone(), someone()];
        return issuer.admit(member.name(lab, heir).replace(heir.id, thief.id), thief.id, NOW);
      },
    ],
    [
      "comes with words of long ago",
      "expired",
      async (lab, issuer) => {
        const [member, heir] = [await memberOf(issuer), someone()];
        return issuer.admit(member.name(lab, heir), heir.id, NOW + HEIR_LIFE_MS);
      },
    ],
    [
      "comes with words from the future",
      "expired",
      async (lab, issuer) => {
        const [member, heir] = [await memberOf(issuer), someone()];
        return issuer.admit(member.name(lab, heir, NOW + HEIR_LIFE_MS), heir.id, NOW);
      },
    ],
    [
      "was named by a member whose token has ended, although that would buy a renewal",
      "expired",
      async (lab, issuer) => {
        const [member, heir] = [await memberOf(issuer), someone()];
        return issuer.admit(member.name(lab, heir, NOW + 2 * DAY), heir.id, NOW + 2 * DAY);
      },
    ],
    [
      "was named by a member who was revoked",
      "revoked",
      async (lab, issuer) => {
        const [member, heir] = [await memberOf(issuer), someone()];
        await issuer.revoke(member.identity.id, NOW);
        return issuer.admit(member.name(lab, heir), heir.id, NOW);
      },
    ],
    [
      "is the member itself",
      "bad-request",
      async (lab, issuer) => {
        const member = await memberOf(issuer);
        return issuer.admit(member.name(lab, member.identity), member.identity.id, NOW);
      },
    ],
  ])("is refused when it %s", async (_, fault, ask) => {
    const lab = await freshCluster();
    await using issuer = await lab.issuer();
    expect(said(await ask(lab, issuer))).toBe(fault);
  });

  test("of an heir of an heir comes slowly, so that nobody chooses a place by trying, nor fills the list of the revoked", async () => {
    const lab = await freshCluster();
    await using issuer = await lab.issuer();
    let member = await memberOf(issuer);
    let admitted = 0;
    for (let tries = 0; tries < 200; tries++) {
      const heir = someone();
      const issued = await issuer.admit(member.name(lab, heir), heir.id, NOW);
      if (!issued.ok) break;
      admitted++;
      const { token, claims } = issued;
      const name = (home: Lab, next: NodeIdentity, at = NOW) =>
        nameHeir(heir, token, home.cluster.clusterId, next.id, at);
      member = { identity: heir, token, claims, name };
    }
    expect(admitted).toBe(64);
  });

  test("is named by words that nothing else is taken for", () => {
    for (const text of ["", "starling-heir-", "starling-heir-a:b:c:d", "starling-key-x", "a.b.c"])
      expect(parseHeir(text)).toBeUndefined();
  });
});

describe("the key of an heir in a state directory", () => {
  async function directory() {
    const folder = join(await freshFolder(), "state");
    await using state = await openStateDirectory(folder, crypto);
    await state.writeToken("old");
    await mkdir(join(folder, "audit"), { mode: 0o700 });
    await writeFile(join(folder, "audit", "head"), "of the former", { mode: 0o600 });
    const former = crypto.nodeIdentity(state.nodeKey.seed).id;
    const seed = crypto.generateNodeKey();
    const { id } = crypto.nodeIdentity(seed);
    const revocation = Uint8Array.of(1, 2, 3);
    return { folder, former, successor: { former, id, seed, token: "new", revocation } };
  }

  test("takes its place at the next start, with token, revocation and an audit log of its own, and then not again", async () => {
    const { folder, former, successor } = await directory();
    await writeSuccessor(folder, successor);
    expect((await stat(join(folder, "node.next"))).mode & 0o777).toBe(0o600);
    for (let starts = 0; starts < 2; starts++) {
      await using state = await openStateDirectory(folder, crypto);
      expect(crypto.nodeIdentity(state.nodeKey.seed).id).toBe(successor.id);
      expect((await state.readToken())?.trim()).toBe("new");
      expect(await state.readDecrees()).toEqual([successor.revocation]);
    }
    expect(await readFile(join(folder, `audit-${shortId(former)}`, "head"), "utf8")).toBe("of the former");
    await expect(stat(join(folder, "node.next"))).rejects.toThrow();
  });

  test("takes it also when a crash has cut that off at any point", async () => {
    const { folder, successor } = await directory();
    await writeSuccessor(folder, successor);
    const next = await readFile(join(folder, "node.next"));
    await (await openStateDirectory(folder, crypto)).close();
    // As if the last step, the removal, had not been done.
    await writeFile(join(folder, "node.next"), next, { mode: 0o600 });
    await using state = await openStateDirectory(folder, crypto);
    expect(crypto.nodeIdentity(state.nodeKey.seed).id).toBe(successor.id);
    expect(await state.readDecrees()).toEqual([successor.revocation]);
  });

  test("is refused when its file is damaged or readable by others, and the former one stays", async () => {
    const { folder, successor, former } = await directory();
    await writeFile(join(folder, "node.next"), "{}", { mode: 0o600 });
    await expect(openStateDirectory(folder, crypto)).rejects.toMatchObject({ code: "state-corrupt" });
    await writeSuccessor(folder, successor);
    await writeFile(join(folder, "node.open"), await readFile(join(folder, "node.next")), { mode: 0o644 });
    await rename(join(folder, "node.open"), join(folder, "node.next"));
    await expect(openStateDirectory(folder, crypto)).rejects.toMatchObject({ code: "key-file-permissions" });
    await rename(join(folder, "node.next"), join(folder, "gone"));
    await using state = await openStateDirectory(folder, crypto);
    expect(crypto.nodeIdentity(state.nodeKey.seed).id).toBe(former);
  });
});
