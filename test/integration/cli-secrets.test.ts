import { chmod, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { readSecret } from "../../src/cli/secret.ts";
import { freshFolder, starling, startStarling } from "./command.ts";

/** Goal: each secret that a command takes comes by a file or stdin, from a file that nobody else reads, and is told to nobody. */

const NAME = "STARLING_TEST_SECRET";

afterEach(() => {
  delete process.env[NAME];
  delete process.env[`${NAME}_FILE`];
});

async function secretFile(text: string, mode = 0o600): Promise<string> {
  const path = join(await freshFolder(), "secret");
  await writeFile(path, text, { mode });
  await chmod(path, mode);
  return path;
}

describe("a secret", () => {
  test("comes from the file of the flag, else that of the environment, else the environment", async () => {
    expect(await readSecret(NAME)).toBeUndefined();
    process.env[NAME] = " plain ";
    expect(await readSecret(NAME)).toBe("plain");
    expect(await readSecret(NAME, await secretFile("by flag\n"))).toBe("by flag");
    delete process.env[NAME];
    process.env[`${NAME}_FILE`] = await secretFile("\tby name\r\n");
    expect(await readSecret(NAME)).toBe("by name");
    expect(await readSecret(NAME, await secretFile("by flag"))).toBe("by flag");
  });

  test("that is said twice, not there, empty, or readable by others is refused or none, and is not told", async () => {
    process.env[NAME] = "hushhush";
    process.env[`${NAME}_FILE`] = await secretFile("hushhush");
    const said: unknown[] = [];
    const refused = async (code: string, flag?: string) => {
      const error = await readSecret(NAME, flag).catch((error: unknown) => error);
      expect(error).toMatchObject({ code });
      said.push(String(error));
    };
    await refused("usage");
    delete process.env[NAME];
    for (const mode of [0o640, 0o604, 0o666]) await refused("key-file-permissions", await secretFile("hushhush", mode));
    await refused("usage", join(await freshFolder(), "none"));
    await refused("state-corrupt", await secretFile("hushhush".repeat(1_000)));
    expect(await readSecret(NAME, await secretFile("\n"))).toBeUndefined();
    expect(said.join()).not.toContain("hushhush");
  });
});

describe("the command", { timeout: 120_000 }, () => {
  test("takes an invite, the passphrases of store, backup and keys by files and stdin", async () => {
    const folder = await freshFolder();
    const state = (name: string) => ["--state", join(folder, name)];
    const alone = ["--signaling", "ws://127.0.0.1:9", "--log", "silent", "--json"];
    const keys = { STARLING_PASSPHRASE_FILE: "-" };
    const init = await starling(["init", ...state("founder")], { env: keys, input: "the passphrase of keys\n" });
    expect(init).toMatchObject({ code: 0 });
    expect(await readFile(join(folder, "founder", "issuing.key"), "utf8")).not.toMatch(/^[A-Za-z0-9+/]{86}==$/m);
    const env = {
      STARLING_PASSPHRASE_FILE: await secretFile("the passphrase of keys"),
      STARLING_STORE_PASSPHRASE_FILE: await secretFile("the passphrase of the store"),
    };
    const up = startStarling(["up", ...state("founder"), ...alone], { env });
    await up.line();
    const backup = ["backup", join(folder, "backup"), ...state("founder"), "--passphrase-file", "-"];
    expect(await starling(backup, { input: "the passphrase of the backup" })).toMatchObject({ code: 0 });
    expect((await stat(join(folder, "backup"))).size).toBeGreaterThan(0);
    const open = await secretFile("the passphrase of the backup", 0o644);
    const again = ["backup", join(folder, "again"), ...state("founder"), "--passphrase-file", open];
    expect(await starling(again)).toMatchObject({ code: 1, stderr: expect.stringContaining("chmod 600") });
    up.signal("SIGTERM");
    await up.ended;
    const { STARLING_PASSPHRASE_FILE } = env;
    const locked = await starling(["up", ...state("founder"), ...alone], { env: { STARLING_PASSPHRASE_FILE } });
    expect(locked).toMatchObject({ code: 1, stdout: "" });

    const nobody = ["--issuing-key", join(folder, "founder", "issuing.key"), "--for"];
    const { id } = JSON.parse((await starling(["keygen", ...state("member"), "--json"])).stdout) as { id: string };
    const invite = (await starling(["invite", ...state("founder"), ...nobody, id], { env })).stdout;
    const file = await secretFile(invite, 0o644);
    const member = startStarling(["up", ...state("member"), ...alone], { env: { STARLING_INVITE_FILE: file } });
    expect(JSON.parse(await member.line())).toMatchObject({ id });
    expect(member.stderr).toContain(`chmod 600 ${file}`);
    expect(member.stderr).not.toContain(invite.trim());
    member.signal("SIGTERM");
    await member.ended;
  });

  test("warns of a gossip key in its arguments", async () => {
    const outcome = await starling(["keys", "install", "c2VjcmV0", "--state", join(await freshFolder(), "none")]);
    expect(outcome.stderr).toContain("everybody on this machine can see command lines");
  });
});
