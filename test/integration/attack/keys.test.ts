import { execFile } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createAgent } from "../../../src/agent.ts";
import { base64url, fromBase64, fromBase64url } from "../../../src/proto/base64.ts";
import { concat } from "../../../src/proto/bytes.ts";
import { sha256 } from "../../../src/proto/hash.ts";
import { encodeInvite } from "../../../src/proto/trust/invite.ts";
import { decode, encode, type WireValue } from "../../../src/proto/wire/codec.ts";
import { Lab, type Node, type Pair } from "./lab.ts";

/**
 * Goal: keys that others know or may read are not used. Method: files and invites with such keys are given to the agent and,
 * as a person would meet it, to the command.
 */

/** Stands in the documentation of clusters far older than this one. */
const PUBLISHED = "7RB0TPs+d/VuD3rL/7ZD2JEcpA14aNCBvLOPHwEBy9s=";
const COMMAND = fileURLToPath(new URL("../../../src/cli/starling.js", import.meta.url));

let lab: Lab;
let pair: Pair;
let scratch: string;

beforeAll(async () => {
  lab = await Lab.open();
  pair = await lab.pair();
  scratch = await mkdtemp(join(tmpdir(), "starling-keys-"));
});

afterAll(async () => {
  await lab[Symbol.asyncDispose]();
  await rm(scratch, { recursive: true, force: true });
});

/** A state directory of a member that has been in the cluster and is not running. */
async function formerMember(): Promise<Node> {
  const node = await lab.node();
  const agent = await lab.agent(node);
  await agent.close();
  return node;
}

async function inviteFor(node: Node): Promise<string> {
  const text = await lab.token(node.identity.id);
  return encodeInvite({ cluster: lab.cluster, token: { kind: "member", text } });
}

/** An invite whose cluster key is the published one, made by hand: our own encoder refuses. */
function withPublishedKey(invite: string): string {
  const prefix = "starling1-";
  const body = fromBase64url(invite.slice(prefix.length + 8));
  const decoded = body && decode(body, { depth: 5, items: 512 });
  if (!decoded?.ok || !Array.isArray(decoded.value)) throw new Error("an invite of ours is well-formed");
  const fields: WireValue[] = [...(decoded.value as readonly WireValue[])];
  fields[4] = fromBase64(PUBLISHED) ?? null;
  const altered = encode(fields);
  const length = Uint8Array.of(altered.length >>> 8, altered.length & 0xff);
  return prefix + base64url(concat(length, sha256(altered).subarray(0, 4))) + base64url(altered);
}

/** Runs `starling` and returns how it ended and what it said. */
function starling(...words: string[]): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [COMMAND, ...words], { timeout: 20_000 }, (error, out, err) => {
      resolve({ code: typeof error?.code === "number" ? error.code : error ? -1 : 0, out, err });
    });
  });
}

test("an agent whose cluster key is the published example does not start", async () => {
  const { folder } = await formerMember();
  await writeFile(join(folder, "cluster.key"), `1 ${PUBLISHED}\n`, { mode: 0o600 });
  await expect(createAgent({ stateDirectory: folder })).rejects.toMatchObject({
    code: "weak-key",
    message: expect.stringContaining("published"),
  });
  await pair.unharmed();
});

test("an invite with the published example key is refused before anything is written", async () => {
  const node = await lab.node();
  const invite = withPublishedKey(await inviteFor(node));
  await expect(createAgent({ stateDirectory: node.folder, invite })).rejects.toMatchObject({
    code: "invite-invalid",
    message: expect.stringContaining("published"),
  });
  await expect(readFile(join(node.folder, "cluster.key"))).rejects.toMatchObject({ code: "ENOENT" });
  await pair.unharmed();
});

test("the command refuses the published example key in an invite with exit code 1", async () => {
  const node = await lab.node();
  const file = join(scratch, "invite");
  await writeFile(file, withPublishedKey(await inviteFor(node)), { mode: 0o600 });
  const { code, out, err } = await starling("up", "--state", node.folder, "--invite-file", file);
  expect([code, out]).toEqual([1, ""]);
  expect(err).toContain("published");
  expect(err).not.toContain(PUBLISHED);
});

test.each(["node.key", "cluster.key", "keyring", "token"])(
  "an agent whose %s others may read does not start, and says what to do",
  async (name) => {
    const { folder } = await formerMember();
    const path = join(folder, name);
    await chmod(path, 0o644);
    await expect(createAgent({ stateDirectory: folder })).rejects.toMatchObject({
      code: "key-file-permissions",
      message: expect.stringContaining(`chmod 600 ${path}`),
    });
    await chmod(path, 0o600);
    const agent = await createAgent({ stateDirectory: folder });
    await agent.close();
    await pair.unharmed();
  },
);

test("the command refuses a node key that others may read with exit code 1 and the advice to chmod", async () => {
  const { folder } = await formerMember();
  const path = join(folder, "node.key");
  await chmod(path, 0o644);
  const { code, out, err } = await starling("up", "--state", folder);
  expect([code, out]).toEqual([1, ""]);
  expect(err).toContain(`chmod 600 ${path}`);
  expect(err).not.toContain((await readFile(path, "utf8")).trim().split("\n").at(-1) ?? "?");
});
