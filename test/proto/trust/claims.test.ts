import { expect, test } from "vitest";
import { peerIdOf } from "../../../src/proto/peer-id.ts";
import {
  claimsFault,
  type Expectation,
  type JoinClaims,
  joinPayload,
  MAX_MEMBER_LIFE_MS,
  type MemberClaims,
  memberPayload,
  parseJoinClaims,
  parseMemberClaims,
  RENEWAL_GRACE_MS,
} from "../../../src/proto/trust/claims.ts";
import { clusterIdOf } from "../../../src/proto/trust/cluster-id.ts";
import { kidOf } from "../../../src/proto/trust/issuers.ts";

const NOW = 1_800_000_000_000;
const HOUR = 3_600_000;
const KEY = new Uint8Array(32).fill(7);
const KID = kidOf(KEY);
const CLUSTER = clusterIdOf(new Uint8Array(32).fill(1));
const ALICE = peerIdOf(new Uint8Array(32).fill(2));
const BOB = peerIdOf(new Uint8Array(32).fill(3));

const member: MemberClaims = {
  cluster: CLUSTER,
  subject: ALICE,
  scopes: ["mesh:join", "kv:*"],
  role: "member",
  id: "AAAAAAAAAAAAAAAAAAAAAA",
  issuedAt: NOW,
  notBefore: NOW,
  expiresAt: NOW + 24 * HOUR,
  place: new Uint8Array(16).fill(9),
};
const { subject: _subject, place: _place, ...common } = member;
const join: JoinClaims = { ...common, expiresAt: NOW + HOUR, uses: 3 };

const expected: Expectation = {
  issuers: {
    version: 1,
    issuers: [{ kid: KID, publicKey: KEY, scopes: ["mesh:join", "kv:*"], notAfter: NOW + 1_000 * HOUR }],
  },
  clusterId: CLUSTER,
  now: NOW,
};

test("what is written is what is read", () => {
  expect(parseMemberClaims(memberPayload(member))).toEqual({ ok: true, value: member });
  expect(parseJoinClaims(joinPayload(join))).toEqual({ ok: true, value: join });
  expect(memberPayload(member)).toEqual({
    iss: CLUSTER,
    aud: "starling/member/1",
    scope: "mesh:join kv:*",
    role: "member",
    jti: "AAAAAAAAAAAAAAAAAAAAAA",
    iat: 1_800_000_000,
    nbf: 1_800_000_000,
    exp: 1_800_086_400,
    sub: ALICE,
    place: "CQkJCQkJCQkJCQkJCQkJCQ",
  });
});

test("claims that nobody knows are ignored", () => {
  expect(parseMemberClaims({ ...memberPayload(member), colour: "green" })).toEqual({ ok: true, value: member });
});

test("a join token is no member token, and the other way round", () => {
  expect(parseMemberClaims(joinPayload(join))).toEqual({ ok: false, fault: "wrong-audience" });
  expect(parseJoinClaims(memberPayload(member))).toEqual({ ok: false, fault: "wrong-audience" });
  // Not even one that carries every claim of the other kind.
  expect(parseMemberClaims({ ...memberPayload(member), aud: "starling/join/1" }).ok).toBe(false);
  expect(parseJoinClaims({ ...joinPayload(join), sub: ALICE })).toEqual({ ok: false, fault: "bad-claim" });
});

test.each([
  ["aud", undefined, "wrong-audience"],
  ["aud", ["starling/member/1"], "wrong-audience"],
  ["aud", "starling/member/2", "wrong-audience"],
  ["iss", undefined, "bad-claim"],
  ["iss", "A".repeat(32), "bad-claim"],
  ["iss", [CLUSTER], "bad-claim"],
  ["sub", undefined, "bad-claim"],
  ["sub", ALICE.toUpperCase(), "bad-claim"],
  ["sub", `${ALICE.slice(0, 51)}b`, "bad-claim"],
  ["sub", 7, "bad-claim"],
  ["scope", undefined, "bad-claim"],
  ["scope", "", "bad-claim"],
  ["scope", ["mesh:join"], "bad-claim"],
  ["scope", "mesh:join mesh:join", "bad-claim"],
  ["role", undefined, "bad-claim"],
  ["role", "", "bad-claim"],
  ["role", "Ad min", "bad-claim"],
  ["role", "x".repeat(33), "bad-claim"],
  ["jti", undefined, "bad-claim"],
  ["jti", "short", "bad-claim"],
  ["jti", "AAAAAAAAAAAAAAAAAAAAAB", "bad-claim"],
  ["place", undefined, "bad-claim"],
  ["place", "CQkJCQkJCQkJCQkJCQkJ", "bad-claim"],
  ["place", "CQkJCQkJCQkJCQkJCQkJCR", "bad-claim"],
  ["iat", undefined, "absurd-time"],
  ["iat", "1800000000", "absurd-time"],
  ["iat", 1_800_000_000.5, "absurd-time"],
  ["nbf", 1_800_000_000_000, "absurd-time"],
  ["nbf", 1_800_086_400, "absurd-time"],
  ["exp", 1_800_000_000, "absurd-time"],
  ["exp", Number.MAX_SAFE_INTEGER, "absurd-time"],
  ["exp", -1, "absurd-time"],
  ["exp", 1_800_000_001 + MAX_MEMBER_LIFE_MS / 1_000, "absurd-time"],
  ["iat", 1_700_000_000, "absurd-time"],
])("a member token whose %s is %o is refused: %s", (claim, value, fault) => {
  expect(parseMemberClaims({ ...memberPayload(member), [claim]: value })).toEqual({ ok: false, fault });
});

test.each([0, -1, 10_001, 1.5, "1", undefined])("a join token for %o uses is refused", (uses) => {
  expect(parseJoinClaims({ ...joinPayload(join), uses })).toEqual({ ok: false, fault: "bad-claim" });
});

test("a join token lives seven days at most", () => {
  const life = (ms: number) => parseJoinClaims(joinPayload({ ...join, expiresAt: NOW + ms })).ok;
  expect([life(7 * 24 * HOUR), life(7 * 24 * HOUR + 1_000)]).toEqual([true, false]);
});

const faultOf = (claims: Partial<MemberClaims>, change: Partial<Expectation> = {}, kid = KID) =>
  claimsFault({ ...member, ...claims }, kid, { ...expected, ...change });

test("valid claims hold", () => {
  expect(faultOf({})).toBeUndefined();
  expect(faultOf({}, { expectedSubject: ALICE, requiredScope: "kv:write:app" })).toBeUndefined();
});

test("claims of another cluster, subject or issuer do not hold", () => {
  expect(faultOf({ cluster: clusterIdOf(KEY) })).toBe("wrong-cluster");
  expect(faultOf({}, { expectedSubject: BOB })).toBe("wrong-subject");
  expect(faultOf({}, {}, kidOf(new Uint8Array(32)))).toBe("unknown-issuer");
  // A join token has no subject, and so is nobody's.
  expect(claimsFault(join, KID, { ...expected, expectedSubject: ALICE })).toBe("wrong-subject");
});

test("clocks may differ by 60 seconds, at the begin and at the end", () => {
  const at = (now: number) => faultOf({}, { now });
  expect(at(NOW - 60_000)).toBeUndefined();
  expect(at(NOW - 60_001)).toBe("not-yet-valid");
  expect(at(NOW + 24 * HOUR + 59_999)).toBeUndefined();
  expect(at(NOW + 24 * HOUR + 60_000)).toBe("expired");
  expect(at(Number.NaN)).toBe("expired");
});

test("a token that begins later than it was issued is not valid before", () => {
  expect(faultOf({ notBefore: NOW + HOUR })).toBe("not-yet-valid");
  expect(faultOf({ notBefore: NOW + HOUR }, { now: NOW + HOUR })).toBeUndefined();
});

test("a token counts for its grace and not a moment longer", () => {
  const at = (now: number) => faultOf({}, { now, graceMs: RENEWAL_GRACE_MS });
  expect(at(NOW + 24 * HOUR + RENEWAL_GRACE_MS - 1)).toBeUndefined();
  expect(at(NOW + 24 * HOUR + RENEWAL_GRACE_MS)).toBe("expired");
  expect(faultOf({}, { now: NOW - 60_001, graceMs: RENEWAL_GRACE_MS })).toBe("not-yet-valid");
});

test("scopes beyond the ceiling of the issuer void the whole token", () => {
  expect(faultOf({ scopes: ["mesh:join", "admin"] })).toBe("scope-above-ceiling");
  expect(faultOf({ scopes: ["*"] })).toBe("scope-above-ceiling");
});

test("no token outlives its issuing key", () => {
  expect(faultOf({ expiresAt: NOW + 1_001 * HOUR })).toBe("issuer-expired");
});

test("a scope that is asked for must be granted", () => {
  expect(faultOf({}, { requiredScope: "admin" })).toBe("missing-scope");
  expect(faultOf({ scopes: ["kv:*"] }, { requiredScope: "mesh:join" })).toBe("missing-scope");
});
