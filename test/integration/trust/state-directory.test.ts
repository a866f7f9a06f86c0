/** Goal: what an agent keeps comes back as it was, is private, and is refused when it is not right. */
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createCluster } from "../../../src/drivers/state/create-cluster.ts";
import { MAX_CACHED_RECORDS } from "../../../src/drivers/state/member-cache.ts";
import { hasCluster, openStateDirectory } from "../../../src/drivers/state-directory.ts";
import { base64 } from "../../../src/proto/base64.ts";
import { concat } from "../../../src/proto/bytes.ts";
import { peerIdOf } from "../../../src/proto/peer-id.ts";
import { encodeInvite, parseInvite } from "../../../src/proto/trust/invite.ts";
import { acceptIssuers, encodeSignedIssuers } from "../../../src/proto/trust/issuers.ts";
import { parseKey } from "../../../src/proto/trust/key-strength.ts";
import { crypto, freshFolder, freshKey, HOUR, NOW } from "./lab.ts";

const OPTIONS = {
  name: "home",
  signaling: ["wss://signal.example.org"],
  iceServers: [{ urls: ["turn:turn.example.org"], username: "u", credential: "c" }],
  now: NOW,
};
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "ok",
    (error) => (error as { code: string }).code,
  );

async function openOnce(folder: string) {
  const state = await openStateDirectory(folder, crypto);
  await state.close();
  return state;
}

test("a node keeps its key over restarts, and each start counts one more", async () => {
  const folder = join(await freshFolder(), "not", "yet", "there");
  const first = await openOnce(folder);
  const second = await openOnce(folder);
  expect(second.nodeKey).toEqual(first.nodeKey);
  expect(crypto.nodeIdentity(first.nodeKey.seed).id).toBe(peerIdOf(first.nodeKey.publicKey));
  expect([first.bootCount, second.bootCount]).toEqual([1, 2]);
  expect((await stat(folder)).mode & 0o777).toBe(0o700);
  expect((await stat(join(folder, "node.key"))).mode & 0o777).toBe(0o600);
});

test("the node key is tweetnacl's 64 bytes in base64", async () => {
  const folder = await freshFolder();
  const { nodeKey } = await openOnce(folder);
  const text = await readFile(join(folder, "node.key"), "utf8");
  expect(text.split("\n")[1]).toBe(base64(concat(nodeKey.seed, nodeKey.publicKey)));
});

test("a lost count of starts continues above every earlier one", async () => {
  const folder = await freshFolder();
  await openOnce(folder);
  for (const damage of [() => rm(join(folder, "boot")), () => writeFile(join(folder, "boot"), "0x7\n")]) {
    await damage();
    expect((await openOnce(folder)).bootCount).toBeGreaterThan(1_700_000_000);
  }
});

test.each([0o640, 0o604, 0o666, 0o660])(
  "a node key with mode %o is refused, with the command that mends it",
  async (mode) => {
    const folder = await freshFolder();
    await openOnce(folder);
    const path = join(folder, "node.key");
    await chmod(path, mode);
    await expect(openStateDirectory(folder, crypto)).rejects.toMatchObject({
      code: "key-file-permissions",
      message: expect.stringContaining(`chmod 600 ${path}`),
    });
    await chmod(path, 0o600);
    await openOnce(folder);
  },
);

test.each<[string, string, (text: string) => string]>([
  ["cut off", "state-corrupt", (text) => text.slice(0, -20)],
  ["empty", "state-corrupt", () => ""],
  ["with two keys", "state-corrupt", (text) => text + text],
  ["of zeros", "weak-key", () => `${base64(new Uint8Array(64))}\n`],
  ["whose halves do not fit", "state-corrupt", () => `${base64(concat(freshKey().seed, freshKey().publicKey))}\n`],
  ["of a gigabyte", "state-corrupt", () => "x".repeat(5_000)],
])("a node key %s is refused", async (_, code, damage) => {
  const folder = await freshFolder();
  await openOnce(folder);
  const path = join(folder, "node.key");
  await writeFile(path, damage(await readFile(path, "utf8")));
  expect(await codeOf(openStateDirectory(folder, crypto))).toBe(code);
  expect(await readdir(folder)).not.toContain("lock");
});

test("a folder that cannot be made, or a key that is a folder, is an error with a hint", async () => {
  const folder = await freshFolder();
  await writeFile(join(folder, "file"), "");
  await expect(openStateDirectory(join(folder, "file", "state"), crypto)).rejects.toMatchObject({
    code: "state-unavailable",
    message: expect.stringContaining("--state"),
  });
  await mkdir(join(folder, "node.key"));
  expect(await codeOf(openStateDirectory(folder, crypto))).toBe("state-corrupt");
});

test("token, cluster and records come back as they were kept", async () => {
  const origin = await freshFolder();
  const { cluster } = await createCluster(origin, OPTIONS, crypto);
  const folder = await freshFolder();
  await using state = await openStateDirectory(folder, crypto);
  expect([await state.readCluster(), await state.readToken(), await state.readMembers()]).toEqual([
    undefined,
    undefined,
    [],
  ]);
  expect(await hasCluster(folder)).toBe(false);
  const older = { epoch: 1, key: crypto.randomBytes(32) };
  const rotated = { ...cluster, clusterKeys: [{ epoch: 2, key: crypto.randomBytes(32) }, older] };
  await state.writeCluster(rotated);
  await state.writeToken("a.b.c");
  const records = [crypto.randomBytes(10), crypto.randomBytes(2_000)];
  await state.writeMembers(records);
  expect(await state.readCluster()).toEqual(rotated);
  expect(await state.readToken()).toBe("a.b.c");
  expect(await state.readMembers()).toEqual(records);
  expect(await hasCluster(folder)).toBe(true);
  await state.removeToken();
  await state.removeToken();
  expect(await state.readToken()).toBeUndefined();
  for (const name of await readdir(folder)) expect((await stat(join(folder, name))).mode & 0o077).toBe(0);
});

test("the cache of records is bounded, and a damaged one is empty", async () => {
  const folder = await freshFolder();
  await using state = await openStateDirectory(folder, crypto);
  await state.writeMembers([
    new Uint8Array(16_385),
    ...Array.from({ length: 600 }, (_, index) => Uint8Array.of(index & 255)),
  ]);
  expect(await state.readMembers()).toHaveLength(MAX_CACHED_RECORDS);
  const path = join(folder, "members.cache");
  const content = await readFile(path);
  for (const damaged of [
    content.subarray(0, 100),
    new Uint8Array(0),
    Buffer.concat([content, content]),
    Buffer.alloc(1e7),
  ]) {
    await writeFile(path, damaged);
    expect(await state.readMembers()).toEqual([]);
  }
});

test("an invite made from a new cluster is all that a second node needs", async () => {
  const { cluster } = await createCluster(await freshFolder(), OPTIONS, crypto);
  const parsed = parseInvite(encodeInvite({ cluster, token: { kind: "join", text: "t" } }));
  expect(parsed).toEqual({ ok: true, invite: { cluster, token: { kind: "join", text: "t" } } });
  await using state = await openStateDirectory(await freshFolder(), crypto);
  if (parsed.ok) await state.writeCluster(parsed.invite.cluster);
  expect(await state.readCluster()).toEqual(cluster);
});

test("a new cluster has private keys of full strength and a list that its root signed", async () => {
  const folder = await freshFolder();
  const { cluster, rootKeyFile, issuingKeyFile, advice } = await createCluster(folder, OPTIONS, crypto);
  expect(cluster).toMatchObject({ name: "home", signaling: OPTIONS.signaling, iceServers: OPTIONS.iceServers });
  const list = acceptIssuers(cluster.issuers, cluster.rootPublicKey, crypto.verifyAuthority);
  expect(list).toMatchObject({ version: 1, issuers: [{ scopes: ["*"] }] });
  expect(list?.issuers[0]?.notAfter).toBeGreaterThan(NOW + 365 * 24 * HOUR);
  expect(advice.join("\n")).toContain(rootKeyFile);
  expect([rootKeyFile, issuingKeyFile]).toEqual([join(folder, "root.key"), join(folder, "issuing.key")]);
  const names = await readdir(folder);
  expect(names.sort()).toEqual([
    "cluster.json",
    "cluster.key",
    "config.yaml",
    "issuing.key",
    "keyring",
    "place.key",
    "root.key",
  ]);
  for (const name of names) expect((await stat(join(folder, name))).mode & 0o077, name).toBe(0);
  const other = await createCluster(await freshFolder(), OPTIONS, crypto);
  expect(other.cluster.clusterId).not.toBe(cluster.clusterId);
});

test.each(["root.key", "issuing.key", "place.key", "cluster.json", "cluster.key", "keyring"])(
  "nothing is created where there is a %s",
  async (name) => {
    const folder = await freshFolder();
    await writeFile(join(folder, name), "precious");
    expect(await codeOf(createCluster(folder, OPTIONS, crypto))).toBe("already-exists");
    expect(await readdir(folder)).toEqual([name]);
    expect(await readFile(join(folder, name), "utf8")).toBe("precious");
  },
);

test("a cluster is not created under a running agent, or over one that exists", async () => {
  const folder = await freshFolder();
  {
    await using _state = await openStateDirectory(folder, crypto);
    expect(await codeOf(createCluster(folder, OPTIONS, crypto))).toBe("state-locked");
  }
  const { cluster } = await createCluster(folder, OPTIONS, crypto);
  expect(await codeOf(createCluster(folder, OPTIONS, crypto))).toBe("already-exists");
  await using state = await openStateDirectory(folder, crypto);
  expect((await state.readCluster())?.clusterId).toBe(cluster.clusterId);
});

test.each([
  [{ name: "" }],
  [{ name: "a\nb" }],
  [{ signaling: ["https://example.org"] }],
  [{ signaling: Array(9).fill("wss://example.org") }],
  [{ iceServers: [{ urls: "example.org:3478" }] }],
  [{ scopes: [] }],
  [{ scopes: ["kv:*:x"] }],
])("a cluster with %o is not created", async (options) => {
  const folder = await freshFolder();
  expect(await codeOf(createCluster(folder, options, crypto))).toBe("usage");
  expect(await readdir(folder)).toEqual([]);
});

const EXAMPLE = "7RB0TPs+d/VuD3rL/7ZD2JEcpA14aNCBvLOPHwEBy9s=";
test.each<[string, string, string, (text: string) => string]>([
  ["cluster.key", "the published example", "weak-key", () => `1 ${EXAMPLE}\n`],
  [
    "cluster.key",
    "a typed key",
    "weak-key",
    () => `1 ${base64(new TextEncoder().encode("correct horse battery staple 42!"))}`,
  ],
  ["cluster.key", "a short key", "weak-key", () => `1 ${base64(crypto.randomBytes(16))}\n`],
  ["cluster.key", "no epoch", "state-corrupt", () => `${base64(crypto.randomBytes(32))}\n`],
  [
    "cluster.key",
    "epochs in the wrong order",
    "state-corrupt",
    (text) => `${text}2 ${base64(crypto.randomBytes(32))}\n`,
  ],
  ["cluster.key", "nothing", "state-corrupt", () => ""],
  ["keyring", "the published example", "weak-key", (text) => `${text}${EXAMPLE}\n`],
  ["keyring", "zeros", "weak-key", () => `${base64(new Uint8Array(32))}\n`],
  ["keyring", "words", "state-corrupt", () => "open sesame\n"],
  [
    "keyring",
    "nine keys",
    "state-corrupt",
    () => Array.from({ length: 9 }, () => `${base64(crypto.randomBytes(32))}\n`).join(""),
  ],
  ["cluster.json", "half of it", "state-corrupt", (text) => text.slice(0, 200)],
  ["cluster.json", "an unknown field", "state-corrupt", (text) => text.replace("{", '{"colour":"green",')],
  ["cluster.json", "another id", "state-corrupt", (text) => text.replace(/"id": "./, '"id": "7')],
  [
    "cluster.json",
    "another root",
    "state-corrupt",
    (text) => text.replace(/"rootPublicKey": "[^"]+/, `"rootPublicKey": "${base64(freshKey().publicKey)}`),
  ],
  ["cluster.json", "a server that is none", "state-corrupt", (text) => text.replace("wss://", "http://")],
])("a %s with %s is refused as damaged or weak", async (name, _, code, damage) => {
  const folder = await freshFolder();
  await createCluster(folder, OPTIONS, crypto);
  await using state = await openStateDirectory(folder, crypto);
  const path = join(folder, name);
  const text = await readFile(path, "utf8");
  const damaged = damage(text);
  expect(damaged).not.toBe(text);
  await writeFile(path, damaged);
  await expect(state.readCluster()).rejects.toMatchObject({ code, message: expect.stringContaining(path) });
});

test("a list of issuers that the root did not sign is refused on the disk, too", async () => {
  const folder = await freshFolder();
  const { cluster } = await createCluster(folder, OPTIONS, crypto);
  await using state = await openStateDirectory(folder, crypto);
  const forged = {
    ...cluster.issuers,
    signature: crypto.authority(freshKey().seed).sign("starling/issuers/1", cluster.issuers.body),
  };
  const path = join(folder, "cluster.json");
  const text = await readFile(path, "utf8");
  await writeFile(path, text.replace(/"issuers": "[^"]+/, `"issuers": "${base64(encodeSignedIssuers(forged))}`));
  expect(await codeOf(state.readCluster())).toBe("state-corrupt");
  await expect(state.writeCluster({ ...cluster, issuers: forged })).rejects.toThrow("checked before it is kept");
});

test("a world-readable cluster key or token is refused", async () => {
  const folder = await freshFolder();
  await createCluster(folder, OPTIONS, crypto);
  await using state = await openStateDirectory(folder, crypto);
  await state.writeToken("a.b.c");
  await chmod(join(folder, "cluster.key"), 0o644);
  await chmod(join(folder, "token"), 0o644);
  expect(await codeOf(state.readCluster())).toBe("key-file-permissions");
  expect(await codeOf(state.readToken())).toBe("key-file-permissions");
});

test("a write that fails leaves what was there, and no temporary file", async () => {
  const folder = await freshFolder();
  await using state = await openStateDirectory(folder, crypto);
  await state.writeToken("old");
  await rm(join(folder, "token"));
  await mkdir(join(folder, "token"));
  await writeFile(join(folder, "token", "x"), "");
  expect(await codeOf(state.writeToken("new"))).toBe("state-unavailable");
  expect((await readdir(folder)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
});

test("temporary files of a crash are removed once they are old", async () => {
  const folder = await freshFolder();
  const [old, young, foreign] = [".token.0123456789ab.tmp", ".token.0123456789ac.tmp", "mine.tmp"];
  for (const name of [old, young, foreign]) await writeFile(join(folder, name), "");
  await utimes(join(folder, old), 1, 1);
  await utimes(join(folder, foreign), 1, 1);
  await openOnce(folder);
  const names = await readdir(folder);
  expect([old, young, foreign].map((name) => names.includes(name))).toEqual([false, true, true]);
});

test("a state directory that is a link to another is the same directory", async () => {
  const folder = await freshFolder();
  const other = join(await mkdtemp(join(tmpdir(), "starling-link-")), "link");
  await symlink(folder, other);
  await using _state = await openStateDirectory(folder, crypto);
  expect(await codeOf(openStateDirectory(other, crypto))).toBe("state-locked");
  await rm(join(other, ".."), { recursive: true });
});

test("the keys that are written would all pass as keys", async () => {
  const folder = await freshFolder();
  await createCluster(folder, OPTIONS, crypto);
  const place = (await readFile(join(folder, "place.key"), "utf8")).split("\n")[1] as string;
  expect(parseKey(place)).toBeInstanceOf(Uint8Array);
});
