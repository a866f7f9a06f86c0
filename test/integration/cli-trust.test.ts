import { join } from "node:path";
import { expect, test } from "vitest";
import { freshFolder, starling, startMember, startStarling } from "./command.ts";
import { until } from "./until.ts";

/** What an administrator does at the command line to a running cluster: revoke a member, change its keys. */

test("the command revokes a member, changes keys, shows who holds which, and repeats what is done without harm", {
  timeout: 120_000,
}, async () => {
  const folder = await freshFolder();
  const state = (name: string): string => join(folder, name);
  const founder = state("founder");
  await starling(["init", "--state", founder]);
  const server = startStarling(["signal", "--listen", "127.0.0.1:0", "--state", founder, "--json", "--log", "silent"]);
  const { url } = JSON.parse(await server.line()) as { url: string };
  const json = async <T>(...args: string[]): Promise<T> => {
    const outcome = await starling([...args, "--json"]);
    expect(outcome).toMatchObject({ code: 0 });
    return JSON.parse(outcome.stdout) as T;
  };
  interface Up {
    readonly id: string;
  }
  interface Keys {
    readonly members: number;
    readonly cluster: readonly { epoch: number; holders: number; inUse: number }[];
    readonly gossip: readonly { name: string; holders: number; inUse: number }[];
  }
  const ids: string[] = [];
  for (const name of ["founder", "one", "two"]) {
    const invite = await starling(["invite", "--state", founder, "--signaling", url]);
    const up = startMember({ state: state(name), name, url, invite: invite.stdout });
    ids.push((JSON.parse(await up.line()) as Up).id);
  }
  const admin = ["--state", founder];
  await until("three members", async () => {
    const members = await json<{ state: string }[]>("members", ...admin);
    return members.filter(({ state }) => state === "alive").length === 3 ? true : undefined;
  });

  const installed = await json<Keys>("keys", "install", ...admin);
  expect(installed).toMatchObject({
    members: 3,
    gossip: [
      { holders: 3, inUse: 3 },
      { holders: 3, inUse: 0 },
    ],
  });
  const fresh = installed.gossip[1]?.name as string;
  const used = await json<Keys>("keys", "use", fresh, ...admin);
  expect(used.gossip[0]).toEqual({ name: fresh, holders: 3, inUse: 3 });
  const old = used.gossip[1]?.name as string;
  for (let repeated = 0; repeated < 2; repeated++) {
    const removed = await json<Keys>("keys", "remove", old, ...admin);
    expect(removed.gossip).toEqual([{ name: fresh, holders: 3, inUse: 3 }]);
  }
  expect(await starling(["keys", "remove", fresh, ...admin])).toMatchObject({ code: 2 });

  const rotated = await starling(["keys", "rotate", "--what", "cluster", "--grace", "1h", ...admin]);
  expect(rotated).toMatchObject({ code: 0 });
  expect(rotated.stderr).toContain("3 of 3 members");
  expect(rotated.stdout).toMatch(/cluster +epoch 5 +3\/3 +3\/3/);

  const revoked = await json<{ target: string; revoked: boolean }>("token", "revoke", "two", ...admin);
  expect(revoked).toEqual({ target: ids[2], revoked: true, online: true });
  expect(await json("token", "revoke", ids[2] as string, ...admin)).toMatchObject({ revoked: false });
  await until("two is out", async () => {
    const members = await json<{ id: string; state: string }[]>("members", "--state", state("one"));
    return members.some(({ id, state }) => id === ids[2] && state === "alive") ? undefined : true;
  });
  const after = await json<Keys>("keys", "list", ...admin);
  expect(after.members).toBe(2);
  expect(after.cluster[0]).toMatchObject({ holders: 2, inUse: 2 });
  const again = await starling(["up", "--state", state("two"), "--log", "silent"]);
  expect(again).toMatchObject({ code: 1 });
  expect(again.stderr).toContain("was revoked");

  // Without a running agent it is written down, and counts from the next start.
  const offline = await json("token", "revoke", ids[1] as string, "--state", await stopped(founder));
  expect(offline).toEqual({ target: ids[1], revoked: true, online: false });
});

async function stopped(state: string): Promise<string> {
  await starling(["down", "--state", state]);
  return state;
}
