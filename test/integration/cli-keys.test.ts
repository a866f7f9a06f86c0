import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { freshFolder, starling, startMember, startStarling } from "./command.ts";
import { until } from "./until.ts";

/** What `starling keys rotate` does to a running cluster whose server issues its tokens: each kind of key, one after the other. */

test("the command replaces keys of the cluster, of a member and of TURN servers, and the cluster goes on and takes newcomers", {
  timeout: 150_000,
}, async () => {
  const folder = await freshFolder();
  const state = (name: string): string => join(folder, name);
  const founder = state("founder");
  const admin = ["--state", founder];
  await starling(["init", ...admin]);
  const server = startStarling(["signal", "--listen", "127.0.0.1:0", ...admin, "--json", "--log", "silent"]);
  const { url } = JSON.parse(await server.line()) as { url: string };
  const json = async <T>(...args: string[]): Promise<T> => {
    const outcome = await starling([...args, "--json"], { timeoutMs: 60_000 });
    expect(outcome).toMatchObject({ code: 0 });
    return JSON.parse(outcome.stdout) as T;
  };
  const join_ = async (name: string): Promise<string> => {
    const invite = await starling(["invite", ...admin, "--signaling", url]);
    const up = startMember({ state: state(name), name, url, invite: invite.stdout });
    return (JSON.parse(await up.line()) as { id: string }).id;
  };
  const alive = (count: number) =>
    until(`${count} members`, async () => {
      const members = await json<{ id: string; name: string; state: string }[]>("members", ...admin);
      const present = members.filter((member) => member.state === "alive");
      return present.length === count && present;
    });
  await join_("founder");
  const former = await join_("one");
  await alive(2);
  await starling(["kv", "put", "greeting", "hello", ...admin]);

  expect(await json("keys", "rotate", "--what", "rest", ...admin)).toEqual({ what: "rest", rows: expect.any(Number) });

  const rooted = await json<{ kid: string }>("keys", "rotate", "--what", "root", ...admin);
  const issued = await json<{ kid: string; former: string }>(
    ...["keys", "rotate", "--what", "issuing", "--grace", "0s", ...admin],
  );
  expect((await stat(join(founder, "root.key.former"))).mode & 0o777).toBe(0o600);
  const keys = await json<{ root: unknown; issuing: unknown }>("keys", "list", ...admin);
  expect(keys.root).toEqual([{ kid: rooted.kid, holders: 2 }]);
  expect(keys.issuing).toEqual([{ kid: issued.kid, tokens: 2 }]);

  const heir = await json<{ id: string; former: string }>("keys", "rotate", "--what", "node", "--state", state("one"));
  expect(heir.former).toBe(former);
  const present = await alive(2);
  expect((present || []).map(({ id }) => id)).toContain(heir.id);
  expect((await starling(["kv", "get", "greeting", "--state", state("one")])).stdout).toBe("hello");
  expect(await json("token", "revoke", former, ...admin)).toMatchObject({ revoked: false });
  expect(await starling(["audit", "verify", "--state", state("one")])).toMatchObject({ code: 0 });

  const secretFile = join(folder, "turn.secret");
  await writeFile(secretFile, "a secret of these tests only\n", { mode: 0o600 });
  await json("keys", "rotate", "--what", "turn", "--secret-file", secretFile, ...admin);
  expect(await readFile(secretFile, "utf8")).toMatch(/^# .*\n\S{43}\na secret of these tests only until \S+Z\n$/);

  await join_("two");
  await alive(3);
  for (const [args, code] of [
    [["--what", "everything"], 2],
    [["--what", "turn"], 2],
    [["--what", "root", "--root-key", join(folder, "nowhere")], 1],
    [["--what", "root", "--root-key", join(founder, "root.key.former")], 1],
  ] as const) {
    expect(await starling(["keys", "rotate", ...args, ...admin])).toMatchObject({ code });
  }
});
