import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { writeClusterFiles } from "../../src/drivers/state/cluster-files.ts";
import { createCluster } from "../../src/drivers/state/create-cluster.ts";
import { DECREES_FILE, writeDecreeFile } from "../../src/drivers/state/decree-file.ts";
import { createSigningKeyFile, readSigningKeyFile } from "../../src/drivers/state/key-file.ts";
import { readMinted, recordMinted } from "../../src/drivers/state/minted-tokens.ts";
import { issuersOf } from "../../src/issuer/mint.ts";
import { encodeDecree, signDecree } from "../../src/proto/decrees/decree.ts";
import { encodeRevocation } from "../../src/proto/decrees/revocation.ts";
import type { SigningKey } from "../../src/proto/trust/crypto.ts";
import { encodeIssuers, type IssuingKey, kidOf } from "../../src/proto/trust/issuers.ts";
import type { MintedToken } from "../../src/proto/trust/minted.ts";
import { freshFolder, starling, startStarling } from "./command.ts";
import { crypto, freshKey } from "./trust/lab.ts";

/** What an issuer has issued, at the command line: by commands and by a server, listed, renewed, used up and revoked. */

interface Listed {
  readonly id: string;
  readonly kind: string;
  readonly subject: string | null;
  readonly role: string;
  readonly scopes: readonly string[];
  readonly uses: { readonly spent: number; readonly of: number } | null;
  readonly state: string;
  readonly revoked: boolean;
  readonly family: string | null;
  readonly generation: number | null;
  readonly issuedBy: string;
}

test("the command lists what was issued by commands and by a server, with its uses, renewals and revocations", {
  timeout: 120_000,
}, async () => {
  const folder = await freshFolder();
  const founder = join(folder, "founder");
  await starling(["init", "--state", founder]);
  const list = async (...args: string[]): Promise<readonly Listed[]> => {
    const outcome = await starling(["token", "list", "--state", founder, "--json", ...args]);
    expect(outcome).toMatchObject({ code: 0 });
    return JSON.parse(outcome.stdout) as Listed[];
  };
  expect(await list()).toEqual([]);
  const created = ["token", "create", "--state", founder];
  // Several at once: none is lost.
  const outcomes = await Promise.all(
    ["viewer", "developer", "node"].map((role) => starling([...created, "--uses", "3", "--role", role])),
  );
  expect(outcomes.map(({ code }) => code)).toEqual([0, 0, 0]);
  const three = await list();
  expect(three.map(({ role }) => role).sort()).toEqual(["developer", "node", "viewer"]);
  expect(three).toMatchObject(
    Array(3).fill({ kind: "join", subject: null, state: "valid", uses: { spent: 0, of: 3 }, family: null }),
  );
  expect((await stat(join(founder, "issuing.key.minted"))).mode & 0o777).toBe(0o600);

  const server = startStarling(["signal", "--listen", "127.0.0.1:0", "--state", founder, "--json", "--log", "silent"]);
  const { url } = JSON.parse(await server.line()) as { url: string };
  const invite = (await starling(["invite", "--state", founder, "--signaling", url])).stdout;
  const member = join(folder, "member");
  const up = startStarling(["up", "--state", member, "--json", "--log", "silent", "--invite-file", "-"], {
    input: invite,
  });
  const { id } = JSON.parse(await up.line()) as { id: string };
  expect((await list("--all")).find(({ state }) => state === "used-up")?.uses).toEqual({ spent: 1, of: 1 });
  const [joined] = (await list()).filter(({ kind }) => kind === "member");
  expect(joined).toMatchObject({ subject: id, role: "member", generation: 0, uses: null, revoked: false });

  const rotated = await starling(["token", "rotate", "--state", member, "--json"]);
  const { id: jti } = JSON.parse(rotated.stdout) as { id: string };
  const after = (await list()).filter(({ kind }) => kind === "member");
  expect(after).toMatchObject([{ id: jti, subject: id, generation: 1, family: joined?.id }]);

  // The first token's id stands for all that was renewed from it.
  await up.signal("SIGTERM");
  await up.ended;
  expect(await starling(["token", "revoke", joined?.id as string, "--state", founder])).toMatchObject({ code: 0 });
  expect((await list()).find((token) => token.id === jti)).toMatchObject({ state: "revoked", revoked: true });
  const text = await starling(["token", "list", "--state", founder]);
  expect(text.stdout).toMatch(/ID +KIND +SUBJECT +ROLE +USES +EXPIRES +STATE +SCOPES/);
  expect(text.stdout).toContain(id.slice(0, 8));
  expect(text.stderr).toContain("--all");
  server.signal("SIGTERM");
  await server.ended;
  const offline = await starling(["token", "rotate", "--state", member]);
  expect(offline).toMatchObject({ code: 1, stdout: "" });
  expect(offline.stderr).toContain("no agent is running");
  const nowhere = await starling(["token", "list", "--state", founder, "--issuing-key", join(folder, "none")]);
  expect(nowhere).toMatchObject({ code: 1, stdout: "" });
});

test("tokens are judged by the key that signed them: after a rotation those of the key before are listed and read as they are", {
  timeout: 60_000,
}, async () => {
  const state = join(await freshFolder(), "founder");
  const { cluster } = await createCluster(state, {}, crypto);
  const list = async (): Promise<string[]> => {
    const { stdout } = await starling(["token", "list", "--state", state, "--json"]);
    return (JSON.parse(stdout) as Listed[]).map(({ issuedBy, state: is }) => `${issuedBy} ${is}`);
  };
  const first = (await starling(["token", "create", "--state", state])).stdout;
  const verdict = async (): Promise<unknown> => {
    const { stdout } = await starling(["token", "inspect", "-", "--state", state, "--json"], { input: first });
    return (JSON.parse(stdout) as { readonly verdict: unknown }).verdict;
  };
  const read = async (name: string) => (await readSigningKeyFile(join(state, name), crypto)) as SigningKey;
  const old = await read("issuing.key");
  const root = crypto.authority((await read("root.key")).seed);
  const [entry] = issuersOf(cluster, crypto).issuers as readonly [IssuingKey];
  const next = freshKey();
  await rm(join(state, "issuing.key"));
  await createSigningKeyFile(join(state, "issuing.key"), next, "an issuing key of a cluster");
  const names = [kidOf(old.publicKey), kidOf(next.publicKey)] as const;
  const issuers = [entry, { ...entry, kid: names[1], publicKey: next.publicKey }];
  const newer = encodeDecree(signDecree("issuers", encodeIssuers({ version: 2, issuers }), root));
  const decreesFile = join(state, DECREES_FILE);
  await writeDecreeFile(decreesFile, [newer]);
  // Commands that make tokens go by the cluster's file.
  const body = encodeIssuers({ version: 2, issuers });
  const signed = { body, signature: root.sign("starling/issuers/1", body) };
  await writeClusterFiles(state, { ...cluster, issuers: signed }, crypto);
  expect(await starling(["token", "create", "--state", state])).toMatchObject({ code: 0 });
  expect(await list()).toEqual([`${names[0]} valid`, `${names[1]} valid`]);
  expect(await verdict()).toBe("valid");

  const revocation = encodeRevocation({ target: { of: "issuer", kid: names[0] }, since: Date.now() - 1_000, until: 0 });
  await writeDecreeFile(decreesFile, [newer, encodeDecree(signDecree("revocation", revocation, root))]);
  expect(await list()).toEqual([`${names[0]} revoked`, `${names[1]} valid`]);
  expect(await verdict()).toBe("revoked");
  const without = encodeIssuers({ version: 3, issuers: issuers.slice(0, 1) });
  await writeDecreeFile(decreesFile, [encodeDecree(signDecree("issuers", without, root))]);
  expect(await list()).toEqual([`${names[0]} valid`, `${names[1]} revoked`]);
});

const minted = (index: number, now: number, expiresAt = now + 3_600_000): MintedToken => ({
  kind: "join",
  id: Buffer.from(String(index).padStart(16)).toString("base64url"),
  role: "member",
  scopes: ["mesh:join"],
  uses: 1,
  issuedAt: now,
  expiresAt,
});

test("the record beside an issuing key is bounded, forgets what has ended, and passes over what it cannot read", async () => {
  const keyFile = join(await freshFolder(), "issuing.key");
  const now = Date.UTC(2030, 1, 1);
  await recordMinted(keyFile, minted(1, now, now + 60_000), now);
  const file = `${keyFile}.minted`;
  await writeFile(file, `${await readFile(file, "utf8")}join nonsense\ntoken\n\u0000\n`, { mode: 0o600 });
  await recordMinted(keyFile, minted(2, now), now + 7 * 86_400_000);
  expect((await readMinted(keyFile)).map(({ id }) => id)).toEqual([minted(1, now).id, minted(2, now).id]);
  await recordMinted(keyFile, minted(3, now), now + 9 * 86_400_000);
  expect((await readMinted(keyFile)).map(({ id }) => id)).toEqual([minted(3, now).id]);
  const line = (await readFile(file, "utf8")).trim();
  const many = Array.from({ length: 10_000 }, (_, index) =>
    line.replace(minted(3, now).id, minted(index + 10, now).id),
  );
  await writeFile(file, `${many.join("\n")}\n`, { mode: 0o600 });
  await recordMinted(keyFile, minted(4, now), now);
  const kept = await readMinted(keyFile);
  expect(kept).toHaveLength(10_000);
  expect(kept[0]?.id).toBe(minted(11, now).id);
  expect(kept.at(-1)?.id).toBe(minted(4, now).id);
});
