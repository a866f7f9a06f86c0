/** Goal: whenever a member's process ends, and whatever of it did not reach the disk, its next start renews. */
import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { RefreshKeys } from "../../../src/agent/refresh-keys.ts";
import type { Trust } from "../../../src/agent/trust.ts";
import { readRefreshKeys } from "../../../src/drivers/state/refresh-keys.ts";
import { readShowing } from "../../../src/proto/trust/showing.ts";
import { crypto, freshCluster, freshFolder, HOUR, NOW } from "./lab.ts";

/** A member's keys and an issuer of its cluster; `start` is the member's next start on the same folder. */
async function begin() {
  const lab = await freshCluster();
  const issuer = await lab.issuer();
  const folder = await freshFolder();
  const identity = crypto.nodeIdentity(crypto.generateNodeKey());
  let now = NOW;
  const trust = { crypto, identity, cluster: lab.cluster } as unknown as Trust;
  const start = () => RefreshKeys.open(folder, trust, () => now);
  const keys = await start();
  const first = await issuer.issueMemberToken({ subject: identity.id, refreshKey: keys.first }, NOW);
  const renew = async (from: RefreshKeys, token: string): Promise<string> => {
    now += HOUR;
    const issued = await issuer.renew(await from.show(token), identity.id, now);
    if (!issued.ok) throw new Error(issued.fault);
    return issued.token;
  };
  return { issuer, folder, keys, start, renew, token: first.ok ? first.token : "" };
}

const nextKeyOf = (shown: string) => readShowing(shown)?.proof?.nextKey;

test("the key of the next renewal is on the disk before anybody hears of it, and the same however often it is asked for", async () => {
  const { issuer, folder, keys, start, token } = await begin();
  await using _issuer = issuer;
  const shown = await Promise.all([keys.show(token), keys.show(token), keys.show(token)]);
  const next = nextKeyOf(shown[0] as string);
  expect(shown.map(nextKeyOf)).toEqual([next, next, next]);
  const kept = await readRefreshKeys(join(folder, "refresh.keys"));
  expect(kept).toHaveLength(2);
  expect(crypto.authority(kept[1] as Uint8Array).publicKey).toEqual(next);
  expect(nextKeyOf(await (await start()).show(token))).toEqual(next);
});

test("a member that ends before the answer, or before that is written, renews after its next start", async () => {
  const { issuer, keys, start, renew, token } = await begin();
  await using _issuer = issuer;
  await renew(keys, token);
  const again = await start();
  const second = await renew(again, token);
  const third = await renew(await start(), second);
  expect(await renew(await start(), third)).toMatch(/^eyJ/);
});

test("a token that three renewals did not replace on the disk has its key still, and one further back says so at the issuer", async () => {
  const { issuer, keys, start, renew, token } = await begin();
  await using _issuer = issuer;
  const tokens = [token];
  for (let turn = 0; turn < 4; turn++) tokens.push(await renew(keys, tokens.at(-1) as string));
  const later = await start();
  expect(tokens.map((one) => later.owns(one))).toEqual([false, true, true, true, true]);
  await expect(renew(later, tokens[0] as string)).rejects.toThrow("refresh-invalid");
});

test("a token that names somebody else's refresh key is not ours, one that names none is", async () => {
  const { issuer, keys, token } = await begin();
  await using _issuer = issuer;
  const stranger = await begin();
  await using _other = stranger.issuer;
  expect(keys.owns(token)).toBe(true);
  expect(keys.owns(stranger.token)).toBe(false);
  const offline = await issuer.issueMemberToken({ subject: crypto.nodeIdentity(crypto.generateNodeKey()).id }, NOW);
  expect(keys.owns(offline.ok ? offline.token : "")).toBe(true);
  expect(keys.owns("no token")).toBe(true);
});

test("a file that is damaged, or that others may read, stops the start and says so", async () => {
  const { issuer, folder, start } = await begin();
  await using _issuer = issuer;
  const file = join(folder, "refresh.keys");
  const good = await readFile(file, "utf8");
  for (const text of ["junk\n", `${good}${good}${good}${good}${good}`, `${Buffer.alloc(32).toString("base64")}\n`]) {
    await writeFile(file, text, { mode: 0o600 });
    await expect(start()).rejects.toMatchObject({ code: expect.stringMatching(/state-corrupt|weak-key/) });
  }
  await writeFile(file, good);
  await chmod(file, 0o644);
  await expect(start()).rejects.toMatchObject({ code: "key-file-permissions" });
});
