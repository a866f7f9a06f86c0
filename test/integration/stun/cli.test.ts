import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Method } from "../../../stun/proto/message.ts";
import { errorCode, request } from "../../proto/stun/requests.ts";
import { freshFolder, starling, startStarling } from "../command.ts";
import { HAS_OPENSSL, makeFiles, SECRET, USER } from "./lab.ts";
import { RawClient } from "./raw-client.ts";

/** `address:port` of the first UDP socket in a ready line. */
function udpOf(line: string): { address: string; port: number } {
  const match = /udp:([\d.]+):(\d+)/.exec(line);
  return { address: match?.[1] ?? "", port: Number(match?.[2]) };
}

test.skipIf(!HAS_OPENSSL)(
  "it says where it listens in one line, serves, and ends with 0 at SIGTERM and SIGINT",
  async () => {
    const files = await makeFiles();
    const tls = ["--tls-listen=127.0.0.1:0", `--tls-cert=${files.cert}`, `--tls-key=${files.key}`];
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const program = startStarling([
        "stun",
        "--listen=127.0.0.1:0",
        "--json",
        `--user-file=${files.users}`,
        ...tls,
        `--realm=${USER.realm}`,
      ]);
      const line = JSON.parse(await program.line()) as {
        listening: { transport: string; port: number }[];
        relays: boolean;
      };
      expect(line.listening.map(({ transport }) => transport)).toEqual(["udp", "tcp", "tls"]);
      expect(line.relays).toBe(true);
      const client = await RawClient.open({ address: "127.0.0.1", port: line.listening[0]?.port ?? 0 }, USER);
      await client.allocate();
      client.close();
      program.signal(signal);
      expect(await program.ended).toMatchObject({ code: 0, signal: null });
    }
  },
);

test("a password on the command line works and draws a warning, which does not repeat it", async () => {
  const password = "seen by everybody";
  const program = startStarling(["stun", "--listen=127.0.0.1:0", "--user", `north:${password}`]);
  const client = await RawClient.open(udpOf(await program.line()), { username: "north", password, realm: "starling" });
  await client.allocate();
  client.close();
  program.signal("SIGTERM");
  const { stderr, code } = await program.ended;
  expect(code).toBe(0);
  expect(stderr).toMatch(/warning:.*--user-file/);
  expect(stderr).not.toContain(password);
});

test("without credentials it answers Binding and relays for nobody", async () => {
  const program = startStarling(["stun", "--listen=127.0.0.1:0"]);
  const at = udpOf(await program.line());
  expect(program.stderr).toContain("relays for nobody");
  const client = await RawClient.open(at, USER);
  expect((await client.ask(request(Method.binding)))?.cls).toBe(2);
  const refused = await client.ask(request(Method.allocate));
  expect(refused && errorCode(refused)).toBe(401);
  client.close();
  program.signal("SIGTERM");
  await program.ended;
});

test("a credential that it prints is good for the server with the same secret", async () => {
  const files = await makeFiles();
  const issued = await starling([
    "stun",
    "credential",
    `--secret-file=${files.secret}`,
    "--name=kite",
    "--for=1h",
    "--json",
  ]);
  const credential = JSON.parse(issued.stdout) as { username: string; password: string };
  expect(credential.username).toMatch(/^\d{10}:kite$/);
  expect(issued.stdout + issued.stderr).not.toContain(SECRET);
  const program = startStarling(["stun", "--listen=127.0.0.1:0", `--secret-file=${files.secret}`]);
  const client = await RawClient.open(udpOf(await program.line()), { ...credential, realm: "starling" });
  await client.allocate();
  client.close();
  program.signal("SIGTERM");
  await program.ended;
});

test("settings come from flags, then the environment, then the file, and unknown ones are refused", async () => {
  const folder = await freshFolder();
  const config = join(folder, "config.yaml");
  const env = { STARLING_STUN_REALM: "from-environment" };
  const realm = async (args: readonly string[], environment = {}): Promise<unknown> => {
    const program = startStarling(["stun", "--json", `--config=${config}`, ...args], { env: environment });
    const line = JSON.parse(await program.line()) as { realm: string };
    program.signal("SIGTERM");
    await program.ended;
    return line.realm;
  };
  writeFileSync(config, "stun:\n  listen: ['127.0.0.1:0']\n  realm: from-file\n");
  expect(await realm([])).toBe("from-file");
  expect(await realm([], env)).toBe("from-environment");
  expect(await realm(["--realm=from-flag"], env)).toBe("from-flag");
  writeFileSync(config, "stun:\n  lisen: ['127.0.0.1:0']\n");
  expect(await starling(["stun", `--config=${config}`])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('"lisen"'),
  });
});

test("what cannot be is said before anything listens, with what to do", async () => {
  const files = await makeFiles();
  chmodSync(files.users, 0o644);
  const folder = await freshFolder();
  writeFileSync(join(folder, "short"), "short\n", { mode: 0o600 });
  for (const [args, code, message] of [
    [["--listen=nowhere"], 2, "not address:port"],
    [["--listen=127.0.0.1:0", "--allow-peer=10/8"], 2, "no range"],
    [["--listen=127.0.0.1:0", "--tls-listen=127.0.0.1:0"], 2, "go together"],
    [["--listen=127.0.0.1:0", "--min-port=5000", "--max-port=4000"], 2, "lowest before the highest"],
    [["--listen=127.0.0.1:0", "--max-lifetime=1s"], 2, "10s at least"],
    [["--listen=127.0.0.1:0", "--user=north"], 2, "NAME:PASSWORD"],
    [["--listen=192.0.2.1:0"], 2, "no address of this host"],
    [["--listen=127.0.0.1:0", `--user-file=${files.users}`], 1, "chmod 600"],
    [["--listen=127.0.0.1:0", `--secret-file=${join(folder, "short")}`], 1, "16 characters"],
    [["--listen=127.0.0.1:0", `--secret-file=${join(folder, "none")}`], 1, "no file"],
  ] as const) {
    const outcome = await starling(["stun", ...args]);
    expect({ args, code: outcome.code, stderr: outcome.stderr }).toEqual({
      args,
      code,
      stderr: expect.stringContaining(message),
    });
  }
});
