import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { isSealed, Sealer } from "../../../src/drivers/state/sealed-text.ts";
import { freshFolder, starling, startStarling } from "../command.ts";

/**
 * Keys at rest under a passphrase. Goal: a copied state directory gives away no key, and everything that uses a key works with
 * the passphrase and says what is missing without it. Method: the command as people use it, and the bytes on the disk.
 */

/** A line with a key in base64: a seed, or a seed and a public key, alone or before something else. */
const OPEN_KEY = /^([A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==)( |$)/m;

const KEYS = [
  "node.key",
  "refresh.keys",
  "root.key",
  "issuing.key",
  "place.key",
  "cluster.key",
  "keyring",
  "tickets.keys",
];

let folder: string;
let state: string;
let right: Readonly<Record<string, string>>;
let wrong: Readonly<Record<string, string>>;

async function passphraseFile(name: string, passphrase: string): Promise<Record<string, string>> {
  const file = join(folder, name);
  await writeFile(file, `${passphrase}\n`, { mode: 0o600 });
  return { STARLING_PASSPHRASE_FILE: file };
}

const sealedFiles = async (): Promise<string[]> => {
  const sealed: string[] = [];
  for (const name of await readdir(state))
    if (KEYS.includes(name) && isSealed(await readFile(join(state, name), "utf8"))) sealed.push(name);
  return sealed.sort();
};

/** Files of the state directory that hold a key in the open, whatever their name. */
const openKeys = async (): Promise<string[]> => {
  const entries = await readdir(state, { withFileTypes: true });
  const names = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
  const texts = await Promise.all(names.map((name) => readFile(join(state, name), "utf8")));
  return names.filter((_, index) => OPEN_KEY.test(texts[index] ?? ""));
};

const all = (...names: string[]): string[] => [...names].sort();

beforeAll(async () => {
  folder = await freshFolder();
  state = join(folder, "founder");
  right = await passphraseFile("right", "correct horse battery");
  wrong = await passphraseFile("wrong", "incorrect horse battery");
});

describe("keys at rest", () => {
  test("are made sealed while a passphrase is given, and everything that uses one takes it", {
    timeout: 60_000,
  }, async () => {
    expect(await starling(["init", "--state", state], { env: right })).toMatchObject({ code: 0 });
    expect(await starling(["keygen", "--state", state], { env: right })).toMatchObject({ code: 0 });
    // The keys of its renewals an agent makes at its first start, those of its tickets a server.
    const later = ["refresh.keys", "tickets.keys"];
    expect(await sealedFiles()).toEqual(all(...KEYS.filter((name) => !later.includes(name))));
    const signal = startStarling(["signal", "--listen", "127.0.0.1:0", "--state", state, "--json", "--log", "silent"], {
      env: right,
    });
    const { url } = JSON.parse(await signal.line()) as { url: string };
    const invite = await starling(["invite", "--state", state, "--signaling", url], { env: right });
    const up = ["up", "--state", state, "--signaling", url, "--json", "--log", "silent"];
    const member = startStarling([...up, "--invite-file", "-"], { env: right, input: invite.stdout });
    expect(JSON.parse(await member.line())).toMatchObject({ id: expect.any(String) });
    // What a running member writes is sealed as well.
    const rotated = await starling(["keys", "rotate", "--what", "cluster", "--state", state, "--json"], { env: right });
    expect(rotated).toMatchObject({ code: 0 });
    expect(await starling(["down", "--state", state])).toMatchObject({ code: 0 });
    expect(await sealedFiles()).toEqual(all(...KEYS));
    expect(await openKeys()).toEqual([]);
  });

  test.each([
    ["no passphrase", () => ({}), "STARLING_PASSPHRASE_FILE"],
    ["another passphrase", () => wrong, "does not open"],
  ])(
    "are worth nothing with %s: up, signal, invite and keygen end with 1, and say what to do",
    async (_, env, word) => {
      for (const command of ["up", "signal", "invite", "keygen"]) {
        const outcome = await starling([command, "--state", state], { env: env() });
        expect([command, outcome.code, outcome.stdout]).toEqual([command, 1, ""]);
        expect(outcome.stderr).toContain("passphrase");
        expect(outcome.stderr).toContain(word);
        expect(outcome.stderr).not.toContain("horse");
      }
    },
  );

  test("have another passphrase after `passphrase set`, and the old one opens nothing", async () => {
    const changed = await starling(
      ["passphrase", "set", "--state", state, "--new-file", join(folder, "wrong"), "--json"],
      {
        env: right,
      },
    );
    expect(JSON.parse(changed.stdout)).toEqual({
      sealed: true,
      files: KEYS.map((name) => join(state, name)),
    });
    expect(await starling(["keygen", "--state", state], { env: right })).toMatchObject({ code: 1 });
    expect(await starling(["keygen", "--state", state], { env: wrong })).toMatchObject({ code: 0 });
  });

  test("are as they were after `passphrase remove`, and a wrong passphrase removes nothing", async () => {
    expect(await starling(["passphrase", "remove", "--state", state], { env: right })).toMatchObject({ code: 1 });
    expect(await sealedFiles()).toEqual(all(...KEYS));
    expect(await starling(["passphrase", "remove", "--state", state], { env: wrong })).toMatchObject({ code: 0 });
    expect(await sealedFiles()).toEqual([]);
    expect((await openKeys()).sort()).toEqual(
      all("issuing.key", "keyring", "node.key", "place.key", "refresh.keys", "root.key"),
    );
    expect(await starling(["keygen", "--state", state])).toMatchObject({ code: 0 });
  });

  test("a passphrase that others may read, or that is short, is refused", async () => {
    const short = await passphraseFile("short", "1234567");
    expect((await starling(["keygen", "--state", join(folder, "new")], { env: short })).stderr).toContain("characters");
    const open = join(folder, "open");
    await writeFile(open, "correct horse battery\n", { mode: 0o644 });
    const outcome = await starling(["keygen", "--state", join(folder, "new")], {
      env: { STARLING_PASSPHRASE_FILE: open },
    });
    expect(outcome.stderr).toContain("chmod 600");
  });
});

describe("the seal of a key file", () => {
  const sealer = new Sealer("correct horse battery");

  test("opens for its passphrase however it is typed, and shows nothing of the text", async () => {
    const sealed = await new Sealer("re\u0301sume\u0301 horse").seal("a key\n");
    expect(sealed).not.toContain("a key");
    expect(sealed).toContain("sealed-1 N=65536 r=8 p=1 ");
    expect(await new Sealer("r\u00e9sum\u00e9 horse").open(sealed)).toEqual({ text: "a key\n" });
    expect(await sealer.open(sealed)).toBe("locked");
  });

  test("opens for nobody when one character of it was changed", async () => {
    const sealed = await sealer.seal("a key\n");
    const from = sealed.indexOf("p=1 ") + 4;
    for (let at = from; at < sealed.length - 1; at += 9) {
      const spoiled = sealed.slice(0, at) + (sealed[at] === "A" ? "B" : "A") + sealed.slice(at + 1);
      expect(["locked", "damaged"]).toContain(await sealer.open(spoiled));
    }
  });

  test("that asks for gigabytes or for next to nothing is damaged", async () => {
    const sealed = await sealer.seal("a key\n");
    for (const cost of ["524288", "999424", "65537", "1000", "0001"])
      expect(await sealer.open(sealed.replace("N=65536", `N=${cost}`))).toBe("damaged");
    expect(await sealer.open(sealed.replace("N=65536", "N=32768"))).toBe("locked");
    expect(await sealer.open("# Starling: sealed under a passphrase.\nnothing\n")).toBe("damaged");
  });
});
