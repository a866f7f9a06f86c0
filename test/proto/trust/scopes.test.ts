import fc from "fast-check";
import { expect, test } from "vitest";
import {
  aboveCeiling,
  allows,
  checkScopes,
  covers,
  DEFAULT_SCOPES,
  isScope,
  parseScopes,
} from "../../../src/proto/trust/scopes.ts";

test.each([
  ["kv:read:app", "kv:read:app", true],
  ["kv:read:*", "kv:read:app", true],
  ["kv:*", "kv:read:app", true],
  ["kv:*", "kv:read:*", true],
  ["*", "admin", true],
  ["*", "*", true],
  ["kv:read:app", "kv:read:app2", false],
  ["kv:read:app", "kv:write:app", false],
  ["kv:read:*", "kv:*", false],
  ["kv:read:*", "kv:read", false],
  ["kv:*", "kv", false],
  ["kv:*", "kvx:read", false],
  ["kv:*", "*", false],
  ["admin", "mesh:join", false],
])("%s covers %s: %s", (granted, wanted, expected) => {
  expect(covers(granted, wanted)).toBe(expected);
});

test("well-formed scopes are told from others", () => {
  const good = ["mesh:join", "kv:read:my-bucket.v2", "admin", "*", "kv:*", "a:b:c:d:e:f", ...DEFAULT_SCOPES];
  expect(good.filter((scope) => !isScope(scope))).toEqual([]);
  const bad = [
    "",
    ":",
    "kv:",
    ":kv",
    "kv::x",
    "*:kv",
    "kv:*:x",
    "kv:a*",
    "k v",
    "kv:\n",
    "a:b:c:d:e:f:g",
    "x".repeat(129),
  ];
  expect(bad.filter(isScope)).toEqual([]);
});

test("a scope claim is one to 32 different scopes, separated by single spaces", () => {
  expect(parseScopes("mesh:join kv:*")).toEqual(["mesh:join", "kv:*"]);
  for (const claim of ["", " ", "mesh:join ", "mesh:join  kv:*", "mesh:join mesh:join", "mesh:join\tkv:*"]) {
    expect(parseScopes(claim)).toBeUndefined();
  }
  const many = Array.from({ length: 33 }, (_, index) => `s${index}`);
  expect(parseScopes(many.join(" "))).toBeUndefined();
  expect(checkScopes(many.slice(1))).toHaveLength(32);
  expect(checkScopes(Array.from({ length: 16 }, (_, index) => "x".repeat(100) + index))).toBeUndefined();
});

test("what a ceiling covers grants nothing that the ceiling does not", () => {
  const segment = fc.constantFrom("kv", "read", "a", "b");
  const scope = fc
    .tuple(fc.array(segment, { maxLength: 3 }), fc.constantFrom("*", "x"))
    .map(([parts, last]) => [...parts, last].join(":"));
  fc.assert(
    fc.property(fc.array(scope, { minLength: 1 }), scope, scope, (ceiling, granted, wanted) => {
      fc.pre(allows(ceiling, granted) && covers(granted, wanted));
      expect(allows(ceiling, wanted)).toBe(true);
    }),
  );
});

test("the first scope above a ceiling is named", () => {
  expect(aboveCeiling(["mesh:join", "kv:read:*"], ["mesh:join", "kv:read:a", "kv:write:a", "admin"])).toBe(
    "kv:write:a",
  );
  expect(aboveCeiling(["*"], ["admin", "kv:*"])).toBeUndefined();
});
