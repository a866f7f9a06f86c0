/** Goal: one process at a time holds a folder, and no death of a process keeps the next one out. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { acquireLock, type Lock } from "../../../src/drivers/state/lock.ts";
import { freshFolder } from "./lab.ts";

const children = new Set<ChildProcess>();
afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  children.clear();
});

const drivers = new URL("../../../src/drivers/", import.meta.url).href;

/** Opens the state directory named on the command line, says how that went, and holds it until its input ends. */
const HOLD = `
  import { nodeCrypto } from "${drivers}crypto.ts";
  import { openStateDirectory } from "${drivers}state-directory.ts";
  try {
    const state = await openStateDirectory(process.argv[1], nodeCrypto());
    process.stdout.write("held " + state.bootCount);
    process.stdin.on("end", () => state.close().then(() => process.exit(0))).resume();
  } catch (error) {
    process.stdout.write(String(error.code));
  }
`;

/** A process that opens the state directory `folder`, and the line that it says. */
async function start(folder: string): Promise<{ child: ChildProcess; said: string }> {
  const child = spawn(process.execPath, ["--input-type=module", "--eval", HOLD, folder], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  children.add(child);
  const [chunk] = (await once(child.stdout as NonNullable<ChildProcess["stdout"]>, "data")) as [Buffer];
  return { child, said: chunk.toString().trim() };
}

async function kill(child: ChildProcess): Promise<void> {
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  await exit;
}

const NONCE = "0123456789abcdef0123456789abcdef";
const bootId = async () => (await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "")).trim();
const deadPid = (): number => spawnSync(process.execPath, ["-e", ""]).pid;
const owner = async (change: object) =>
  JSON.stringify({ pid: process.pid, started: "1", boot: await bootId(), nonce: NONCE, ...change });

test("a second process is refused, and named the first", async () => {
  const folder = await freshFolder();
  const first = await start(folder);
  expect(first.said).toBe("held 1");
  expect((await start(folder)).said).toBe("state-locked");
  const refusal = acquireLock(join(folder, "lock"));
  await expect(refusal).rejects.toMatchObject({
    code: "state-locked",
    message: expect.stringContaining(`process ${first.child.pid} uses ${folder}`),
  });
});

test("kill -9 does not block the next start, nor does an orderly end, and every start counts", async () => {
  const folder = await freshFolder();
  for (let boot = 1; boot <= 3; boot++) {
    const { child, said } = await start(folder);
    expect(said).toBe(`held ${boot}`);
    await kill(child);
  }
  const { child, said } = await start(folder);
  expect(said).toBe("held 4");
  const exit = once(child, "exit");
  child.stdin?.end();
  expect(await exit).toEqual([0, null]);
  expect(await readdir(folder)).not.toContain("lock");
});

test("of several processes that find a dead holder, one takes over", async () => {
  const folder = await freshFolder();
  await kill((await start(folder)).child);
  const outcomes = await Promise.all(Array.from({ length: 4 }, () => start(folder)));
  expect(outcomes.map(({ said }) => said).sort()).toEqual(["held 2", "state-locked", "state-locked", "state-locked"]);
});

test("of many claims on a stale lock one wins, every time, and leaves nothing behind", async () => {
  for (let round = 0; round < 40; round++) {
    const folder = await freshFolder();
    const path = join(folder, "lock");
    await writeFile(path, await owner({ pid: deadPid() }));
    const claims = await Promise.allSettled(Array.from({ length: 12 }, () => acquireLock(path)));
    const winners = claims.filter((claim): claim is PromiseFulfilledResult<Lock> => claim.status === "fulfilled");
    expect(winners).toHaveLength(1);
    for (const claim of claims)
      if (claim.status === "rejected") expect(claim.reason).toMatchObject({ code: "state-locked" });
    // A loser may have had its claim in place when the winner tidied up; the next holder removes it.
    await winners[0]?.value.release();
    const next = await acquireLock(path);
    expect(await readdir(folder)).toEqual(["lock"]);
    await next.release();
    expect(await readdir(folder)).toEqual([]);
  }
}, 60_000);

test.each<[string, object]>([
  ["a process that is gone", { pid: deadPid() }],
  ["an earlier process with our number", {}],
  ["a process of an earlier boot", { boot: "another" }],
])("a lock of %s is taken over", async (_, change) => {
  const path = join(await freshFolder(), "lock");
  await writeFile(path, await owner(change));
  await (await acquireLock(path)).release();
});

test.each([
  "",
  "{",
  "null",
  "[]",
  '{"pid":-1}',
  '{"pid":1,"started":"","boot":"","nonce":"../../x"}',
  "\u0000".repeat(100),
])("a lock that says %j is nobody's", async (text) => {
  const folder = await freshFolder();
  await writeFile(join(folder, "lock"), text);
  const lock = await acquireLock(join(folder, "lock"));
  await expect(acquireLock(join(folder, "lock"))).rejects.toMatchObject({ code: "state-locked" });
  await lock.release();
  expect(await readdir(folder)).toEqual([]);
});

test("a takeover that itself was killed is taken over", async () => {
  const folder = await freshFolder();
  const path = join(folder, "lock");
  const second = NONCE.replace("0", "f");
  const third = NONCE.replace("0", "e");
  await writeFile(path, await owner({}));
  await writeFile(`${path}.${NONCE}`, await owner({ nonce: second }));
  await writeFile(`${path}.${second}`, await owner({ nonce: third }));
  const lock = await acquireLock(path);
  expect(await readdir(folder)).toEqual(["lock"]);
  await expect(acquireLock(path)).rejects.toMatchObject({ code: "state-locked" });
  await lock.release();
});

test("releasing twice, or after somebody else has taken over, harms nobody", async () => {
  const path = join(await freshFolder(), "lock");
  const first = await acquireLock(path);
  await first.release();
  const second = await acquireLock(path);
  await first.release();
  await expect(acquireLock(path)).rejects.toMatchObject({ code: "state-locked" });
  await second.release();
});
