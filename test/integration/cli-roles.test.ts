import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { signalSettings } from "../../src/cli/signal-settings.ts";
import { freshFolder, starling } from "./command.ts";

/** Roles of one's own: what the section `roles` says is what tokens say, and what it cannot mean is refused where it is written. */

test("a role of the configuration stands for its scopes in what the command makes, and a role that nobody knows is an error", {
  timeout: 120_000,
}, async () => {
  const state = join(await freshFolder(), "founder");
  await starling(["init", "--state", state]);
  const config = join(state, "config.yaml");
  const before = await readFile(config, "utf8").catch(() => "");
  await writeFile(config, `${before}\nroles:\n  operator: ["mesh:join", "kv:read:*", "kv:write:app"]\n`);
  expect(await starling(["config", "check", "--state", state])).toMatchObject({ code: 0 });
  const token = await starling(["token", "create", "--state", state, "--role", "operator"]);
  expect(token).toMatchObject({ code: 0 });
  const inspected = await starling(["token", "inspect", "-", "--state", state, "--json"], { input: token.stdout });
  expect(JSON.parse(inspected.stdout)).toMatchObject({
    role: "operator",
    scope: "mesh:join kv:read:* kv:write:app",
    verdict: "valid",
  });
  const named = await starling(["token", "create", "--state", state, "--role", "other", "--scope", "mesh:join"]);
  expect(named).toMatchObject({ code: 0 });
  for (const command of ["token create", "invite"]) {
    const unknown = await starling([...command.split(" "), "--state", state, "--role", "operatr"]);
    expect(unknown).toMatchObject({ code: 2, stdout: "" });
    expect(unknown.stderr).toMatch(/no role "operatr"; known are admin, .*operator\. .*config\.yaml.*--scope/);
  }
});

test.each([
  ["admin: [mesh:join]", /roles\.admin: admin is built in/],
  ["Op!: [mesh:join]", /roles\.Op!: a role's name is/],
  ['operator: ["kv:*"]', /roles\.operator: without mesh:join/],
  ['operator: ["mesh:join", "kv:rea d"]', /roles\.operator: "kv:rea d" is no scope; write for example/],
  ["operator: mesh:join", /roles\.operator: .*array/],
  ["operator: []", /roles\.operator: a role has 1 to 32 scopes/],
])("a configuration whose role is %s is refused, and the message says where and why", async (text, reason) => {
  const state = await freshFolder();
  const config = join(state, "config.yaml");
  await writeFile(config, `roles:\n  ${text}\n`);
  const outcome = await starling(["config", "check", "--state", state]);
  expect(outcome).toMatchObject({ code: 1, stdout: "" });
  expect(outcome.stderr).toMatch(reason);
});

test("a grant to people who log in may name a role alone, which stands for the same scopes", () => {
  const oidc = { issuer: "https://id.example", clientId: "starling" };
  const roles = new Map([["operator", ["mesh:join", "kv:*"]]]);
  const grantsOf = (...grants: object[]) => signalSettings({ oidc: { ...oidc, grants } }, roles).oidc?.grants;
  expect(grantsOf({ value: "ops", role: "operator" }, { value: "*", role: "viewer" })).toEqual([
    { value: "ops", role: "operator", scopes: ["mesh:join", "kv:*"] },
    { value: "*", role: "viewer", scopes: ["mesh:join", "kv:read:*", "topic:subscribe:*"] },
  ]);
  expect(grantsOf({ value: "*", role: "guest", scopes: ["mesh:join"] })?.[0]?.scopes).toEqual(["mesh:join"]);
  expect(() => grantsOf({ value: "*", role: "guest" })).toThrow(/signal\.oidc\.grants\.0: there is no role "guest"/);
});
