import { base64url, fromBase64url } from "../base64.ts";
import type { Instant } from "../machine.ts";
import { type PeerId, parsePeerId } from "../peer-id.ts";
import type { TokenFacts } from "../signed.ts";
import { type ClusterId, parseClusterId } from "./cluster-id.ts";
import type { CompactFault } from "./compact-token.ts";
import { type IssuerList, issuerOf } from "./issuers.ts";
import { type Lineage, MAX_GENERATION } from "./lineage.ts";
import { PLACE_BYTES } from "./place.ts";
import { aboveCeiling, allows, parseScopes } from "./scopes.ts";
import { CLOCK_LEEWAY_MS, fromSeconds } from "./times.ts";

/**
 * What a token says, and whether that holds here and now: pure functions of the claims, what is expected, and the time.
 * The signature is checked elsewhere, by the key that `kid` names in the list of issuers.
 *
 * There are two kinds. A *member token* binds scopes, a role and a place in the rings to one node key; whoever shows it
 * proves that key as well. A *join token* binds them to nobody: it is good for a number of exchanges, at the one issuer
 * that made it. Their `aud` claims differ, and each kind is read by its own function, so one never passes for the other.
 *
 * Claims that are not named here are ignored, so that a newer issuer can say more to newer members; a change of meaning
 * gets a new `aud`.
 */

const MEMBER_AUDIENCE = "starling/member/1";
const JOIN_AUDIENCE = "starling/join/1";

/** A member token's life unless told otherwise, ms: a day, renewed at half of it. */
export const MEMBER_LIFE_MS = 24 * 3_600_000;
/** The longest life of a member token, ms: a year, for members that no issuer can reach. */
export const MAX_MEMBER_LIFE_MS = 366 * 24 * 3_600_000;
/** A join token's life unless told otherwise, ms: time to walk to the other machine. */
export const JOIN_LIFE_MS = 3_600_000;
/** The longest life of a join token, ms. */
export const MAX_JOIN_LIFE_MS = 7 * 24 * 3_600_000;
/** The most exchanges that one join token is good for. */
export const MAX_JOIN_USES = 10_000;
/** How long after its end a member token still buys a renewal, and nothing else, ms. */
export const RENEWAL_GRACE_MS = 7 * 24 * 3_600_000;

/** Why a token is refused. */
export type TokenFault =
  | CompactFault
  /** `kid` is not in the list of issuers. */
  | "unknown-issuer"
  | "bad-signature"
  /** A claim is missing or has the wrong type, form or range. */
  | "bad-claim"
  | "wrong-audience"
  | "wrong-cluster"
  | "wrong-subject"
  /** Times outside all reason: not in this century, in the wrong order, or too far apart. */
  | "absurd-time"
  | "not-yet-valid"
  | "expired"
  /** The token outlives its issuing key. */
  | "issuer-expired"
  /** It, its subject or its issuing key was revoked. */
  | "revoked"
  | "scope-above-ceiling"
  /** A scope that is needed is not granted. */
  | "missing-scope";

/** The value, or why there is none. */
export type Checked<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly fault: TokenFault };

/** What both kinds of token say. */
export interface CommonClaims {
  readonly cluster: ClusterId;
  /** 1 to 32 scopes. */
  readonly scopes: readonly string[];
  /** What the member is for, shown to people: `member` unless told otherwise. 1 to 32 of `a-z0-9-`. */
  readonly role: string;
  /** `jti`, 22 characters: 16 random bytes. */
  readonly id: string;
  readonly issuedAt: Instant;
  readonly notBefore: Instant;
  readonly expiresAt: Instant;
}

/** What a member token says. */
export interface MemberClaims extends CommonClaims, TokenFacts {
  readonly id: string;
  /** Absent, it is the first of its line and names no refresh key: it was made without the node at hand. */
  readonly lineage?: Lineage;
}

/** What a join token says. */
export interface JoinClaims extends CommonClaims {
  /** 1 to {@link MAX_JOIN_USES}. */
  readonly uses: number;
}

/** What a valid token must fit. */
export interface Expectation {
  readonly issuers: IssuerList;
  readonly clusterId: string;
  readonly now: Instant;
  /** Whose it must be; default: anybody's. Member tokens only. */
  readonly expectedSubject?: PeerId;
  /** A scope that it must grant. Default: none beyond what the token says. */
  readonly requiredScope?: string;
  /** How long after its end it still counts, ms. Default, and at least: the leeway. {@link RENEWAL_GRACE_MS} for renewals. */
  readonly graceMs?: number;
}

type Payload = Readonly<Record<string, unknown>>;

/** The JSON object of a member token. Instants are cut to whole seconds. */
export function memberPayload(claims: MemberClaims): Payload {
  return {
    ...commonPayload(claims, MEMBER_AUDIENCE),
    sub: claims.subject,
    place: base64url(claims.place),
    ...lineagePayload(claims.lineage),
  };
}

function lineagePayload(lineage: Lineage | undefined): Payload {
  if (lineage?.refreshKey === undefined) return {};
  return { fam: lineage.family, gen: lineage.generation, ref: base64url(lineage.refreshKey) };
}

/** The JSON object of a join token. Instants are cut to whole seconds. */
export function joinPayload(claims: JoinClaims): Payload {
  return { ...commonPayload(claims, JOIN_AUDIENCE), uses: claims.uses };
}

function commonPayload(claims: CommonClaims, audience: string): Payload {
  return {
    iss: claims.cluster,
    aud: audience,
    scope: claims.scopes.join(" "),
    role: claims.role,
    jti: claims.id,
    iat: Math.floor(claims.issuedAt / 1_000),
    nbf: Math.floor(claims.notBefore / 1_000),
    exp: Math.floor(claims.expiresAt / 1_000),
  };
}

/** Reads the claims of a member token: their form, not whether they hold. */
export function parseMemberClaims(payload: Payload): Checked<MemberClaims> {
  const common = parseCommon(payload, MEMBER_AUDIENCE, MAX_MEMBER_LIFE_MS);
  if (!common.ok) return common;
  const subject = typeof payload["sub"] === "string" ? parsePeerId(payload["sub"]) : undefined;
  const place = typeof payload["place"] === "string" ? fromBase64url(payload["place"]) : undefined;
  if (subject === undefined || place?.length !== PLACE_BYTES) return refuse("bad-claim");
  if (!("fam" in payload || "gen" in payload || "ref" in payload)) {
    return { ok: true, value: { ...common.value, subject, place } };
  }
  const lineage = parseLineage(payload, common.value);
  if (lineage === undefined) return refuse("bad-claim");
  return { ok: true, value: { ...common.value, subject, place, lineage } };
}

/** All three claims or none; the first of a family is named by its own id, and no other is. */
function parseLineage({ fam, gen, ref }: Payload, { id, issuedAt }: CommonClaims): Lineage | undefined {
  const refreshKey = typeof ref === "string" ? fromBase64url(ref) : undefined;
  if (typeof fam !== "string" || fromBase64url(fam)?.length !== 16 || refreshKey?.length !== 32) return undefined;
  if (typeof gen !== "number" || !Number.isSafeInteger(gen) || gen < 0 || gen > MAX_GENERATION) return undefined;
  if ((gen === 0) !== (fam === id)) return undefined;
  return { family: fam, generation: gen, refreshKey, issuedAt };
}

/** The line of a token: of one that tells none, that it is the first. */
export function lineageOf({ id, issuedAt, lineage }: MemberClaims): Lineage {
  return lineage ?? { family: id, generation: 0, refreshKey: undefined, issuedAt };
}

/** Reads the claims of a join token: their form, not whether they hold. */
export function parseJoinClaims(payload: Payload): Checked<JoinClaims> {
  const common = parseCommon(payload, JOIN_AUDIENCE, MAX_JOIN_LIFE_MS);
  if (!common.ok) return common;
  const uses = payload["uses"];
  if (typeof uses !== "number" || !Number.isSafeInteger(uses) || uses < 1 || uses > MAX_JOIN_USES) {
    return refuse("bad-claim");
  }
  // A join token is nobody's: one with a subject was meant as something else.
  if ("sub" in payload) return refuse("bad-claim");
  return { ok: true, value: { ...common.value, uses } };
}

const ROLE = /^[a-z0-9-]{1,32}$/;

function parseCommon(payload: Payload, audience: string, maxLifeMs: number): Checked<CommonClaims> {
  if (payload["aud"] !== audience) return refuse("wrong-audience");
  const { iss, scope, role, jti, iat, nbf, exp } = payload;
  const cluster = typeof iss === "string" ? parseClusterId(iss) : undefined;
  const scopes = typeof scope === "string" ? parseScopes(scope) : undefined;
  const id = typeof jti === "string" && fromBase64url(jti)?.length === 16 ? jti : undefined;
  if (cluster === undefined || scopes === undefined || id === undefined) return refuse("bad-claim");
  if (!isRole(role)) return refuse("bad-claim");
  const issuedAt = fromSeconds(iat);
  const notBefore = fromSeconds(nbf);
  const expiresAt = fromSeconds(exp);
  if (issuedAt === undefined || notBefore === undefined || expiresAt === undefined) return refuse("absurd-time");
  const begin = Math.min(issuedAt, notBefore);
  if (expiresAt <= Math.max(issuedAt, notBefore) || expiresAt - begin > maxLifeMs) return refuse("absurd-time");
  return { ok: true, value: { cluster, scopes, role, id, issuedAt, notBefore, expiresAt } };
}

/** Whether `value` may stand as a role. */
export function isRole(value: unknown): value is string {
  return typeof value === "string" && ROLE.test(value);
}

/** Why the claims of a token by the key `kid` do not hold as of `expected.now`; undefined when they hold. */
export function claimsFault(
  claims: Omit<CommonClaims, "role"> & { readonly subject?: PeerId },
  kid: string,
  expected: Expectation,
): TokenFault | undefined {
  const { now, expectedSubject, requiredScope, graceMs = 0 } = expected;
  if (claims.cluster !== expected.clusterId) return "wrong-cluster";
  if (expectedSubject !== undefined && claims.subject !== expectedSubject) return "wrong-subject";
  const issuer = issuerOf(expected.issuers, kid);
  if (issuer === undefined) return "unknown-issuer";
  if (aboveCeiling(issuer.scopes, claims.scopes) !== undefined) return "scope-above-ceiling";
  if (claims.expiresAt > issuer.notAfter) return "issuer-expired";
  if (now < claims.issuedAt - CLOCK_LEEWAY_MS || now < claims.notBefore - CLOCK_LEEWAY_MS) return "not-yet-valid";
  // Written so that a `now` that is not a number fails.
  if (!(now < claims.expiresAt + Math.max(CLOCK_LEEWAY_MS, graceMs))) return "expired";
  if (requiredScope !== undefined && !allows(claims.scopes, requiredScope)) return "missing-scope";
  return undefined;
}

function refuse(fault: TokenFault): { readonly ok: false; readonly fault: TokenFault } {
  return { ok: false, fault };
}
