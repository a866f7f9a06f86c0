import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { freshFolder, starling, startStarling } from "../command.ts";

/** Export, import, backup and restore as a person would use them, with a cluster of one that is stopped and begun anew. */
test("buckets are agreed about, a bucket goes out and in as JSON lines, and a whole agent by a sealed backup", async () => {
  const folder = await freshFolder();
  const founder = join(folder, "founder");
  await starling(["init", "--state", founder, "--name", "test"]);
  const server = startStarling(["signal", "--state", founder, "--listen", "127.0.0.1:0", "--json", "--log", "warn"]);
  const { url } = JSON.parse(await server.line()) as { url: string };
  const invited = await starling(["invite", "--state", founder, "--uses", "2", "--signaling", url]);
  const env = { STARLING_INVITE: invited.stdout.trim() };
  const state = (name: string): readonly string[] => ["--state", join(folder, name)];
  const up = (name: string) =>
    startStarling(["up", ...state(name), "--name", name, "--json", "--log", "warn"], { env });
  const one = up("one");
  await one.line();

  const lines = [
    { key: "a", value: "text, also ünicode" },
    { key: "b", base64: Buffer.from([0, 255, 1]).toString("base64") },
    { key: "c", value: "" },
  ].map((line) => JSON.stringify(line));
  const imported = await starling(["kv", "import", "--json", ...state("one")], { input: `${lines.join("\n")}\n` });
  expect(imported).toMatchObject({ code: 0, stderr: "" });
  expect(JSON.parse(imported.stdout)).toEqual({ keys: 3 });
  expect((await starling(["kv", "export", ...state("one")])).stdout).toBe(`${lines.join("\n")}\n`);
  const range = await starling(["kv", "list", "--start", "b", "--end", "c", ...state("one")]);
  expect(range.stdout).toBe("b\n");
  const wrong = await starling(["kv", "import", ...state("one")], { input: "no JSON\n" });
  expect(wrong).toMatchObject({ code: 2, stdout: "" });
  expect(wrong.stderr).toContain("line 1");

  const policy = async (...args: string[]) => {
    const outcome = await starling(["bucket", ...args, "--json", ...state("one")]);
    return outcome.code === 0 ? (JSON.parse(outcome.stdout) as unknown) : outcome.code;
  };
  const created = { name: "app", replicas: 2, ttlMs: 3_600_000, retentionMs: null, maxKeys: null, maxBytes: null };
  expect(await policy("create", "app", "--replicas", "2", "--ttl", "1h")).toEqual(created);
  expect(await policy("create", "app", "--replicas", "3")).toBe(1);
  expect(await policy("create", "other", "--replicas", "1")).toBe(2);
  expect(await policy("set", "app", "--ttl", "none", "--max-keys", "100")).toEqual({
    ...created,
    ttlMs: null,
    maxKeys: 100,
  });
  expect(await policy("drop", "app")).toMatchObject({ replicas: "all", ttlMs: 60_000 });
  expect(await policy("show", "app")).toMatchObject({ name: "app", maxKeys: null });
  expect(await policy("list")).toMatchObject([{ name: "default", keys: 3, replicas: "all" }]);

  const file = join(folder, "copy.backup");
  const passphrase = { env: { STARLING_BACKUP_PASSPHRASE: "correct horse" } };
  expect((await starling(["backup", file, ...state("one")])).code).toBe(2);
  expect((await starling(["backup", file, "--json", ...state("one")], passphrase)).code).toBe(0);
  expect((await readFile(file)).includes("ünicode")).toBe(false);
  one.signal("SIGINT");
  await one.ended;

  // A member that has joined, and lost its values.
  const two = up("two");
  await two.line();
  expect(await starling(["restore", file, ...state("two")], passphrase)).toMatchObject({ code: 1 });
  two.signal("SIGINT");
  await two.ended;
  const foreign = await starling(["restore", file, ...state("two")], { env: { STARLING_BACKUP_PASSPHRASE: "wrong" } });
  expect(foreign.code).toBe(1);
  expect(foreign.stderr).toContain("passphrase");
  expect(await starling(["restore", file, ...state("two")], passphrase)).toMatchObject({ code: 0 });
  const again = up("two");
  await again.line();
  expect((await starling(["kv", "export", ...state("two")])).stdout).toBe(`${lines.join("\n")}\n`);
  again.signal("SIGINT");
  await again.ended;
  expect((await starling(["restore", file, ...state("two")], passphrase)).stderr).toContain("holds values");
}, 90_000);
