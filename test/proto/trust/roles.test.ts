import { expect, test } from "vitest";
import { BUILT_IN_ROLES, roleFault, scopesOfRole } from "../../../src/proto/trust/roles.ts";
import { allows, checkScopes } from "../../../src/proto/trust/scopes.ts";

test("every role that is built in stands for scopes that a token can have, joining among them", () => {
  expect([...BUILT_IN_ROLES.keys()]).toEqual(["admin", "developer", "viewer", "node", "member"]);
  for (const [role, scopes] of BUILT_IN_ROLES) {
    expect(checkScopes(scopes), role).toBe(scopes);
    expect(allows(scopes, "mesh:join"), role).toBe(true);
  }
  expect(allows(BUILT_IN_ROLES.get("viewer") ?? [], "kv:write:app")).toBe(false);
  expect(allows(BUILT_IN_ROLES.get("developer") ?? [], "relay")).toBe(false);
});

test("a role of one's own stands for its scopes beside those that are built in, and never for theirs", () => {
  const own = new Map([
    ["operator", ["mesh:join", "kv:*"]],
    ["admin", ["mesh:join"]],
  ]);
  expect(scopesOfRole("operator", own)).toEqual(["mesh:join", "kv:*"]);
  expect(scopesOfRole("admin", own)).toEqual(["*"]);
  expect(scopesOfRole("operator")).toBeUndefined();
});

test.each([
  ["Operator!", ["mesh:join"], /1 to 32/],
  ["admin", ["mesh:join"], /built in/],
  ["member", ["mesh:join"], /built in/],
  ["operator", [], /1 to 32 scopes/],
  ["operator", Array.from({ length: 33 }, (_, index) => `kv:read:b${index}`), /1 to 32 scopes/],
  ["operator", ["mesh:join", "kv:rea d"], /"kv:rea d" is no scope/],
  ["operator", ["mesh:join", "mesh:join"], /repeated/],
  ["operator", ["kv:*"], /without mesh:join/],
] as const)("a role called %s for %j is refused with the reason", (name, scopes, reason) => {
  expect(roleFault(name, scopes)).toMatch(reason);
});

test("a role that covers joining by a pattern is one", () => {
  expect(roleFault("operator", ["mesh:*", "kv:read:*"])).toBeUndefined();
  expect(roleFault("root", ["*"])).toBeUndefined();
});
