import { dirname, join } from "node:path";
import { PLACE_KEY_FILE } from "../drivers/state/create-cluster.ts";
import { readSecretFile, readSigningKeyFile } from "../drivers/state/key-file.ts";
import { createTokenSigner, type TokenSigner } from "../drivers/tokens.ts";
import { StarlingError } from "../errors.ts";
import { base64url } from "../proto/base64.ts";
import { type SignedDecree, signDecree } from "../proto/decrees/decree.ts";
import type { Instant } from "../proto/machine.ts";
import { type PeerId, publicKeyOf } from "../proto/peer-id.ts";
import {
  isRole,
  JOIN_LIFE_MS,
  type JoinClaims,
  MAX_JOIN_LIFE_MS,
  MAX_JOIN_USES,
  MAX_MEMBER_LIFE_MS,
  MEMBER_LIFE_MS,
  type MemberClaims,
  type TokenFault,
} from "../proto/trust/claims.ts";
import type { Cluster } from "../proto/trust/cluster.ts";
import type { ClusterId } from "../proto/trust/cluster-id.ts";
import type { Authority, Crypto } from "../proto/trust/crypto.ts";
import { type Desk, encodeDesk } from "../proto/trust/desk.ts";
import { isAcceptablePublicKey } from "../proto/trust/ed25519.ts";
import { acceptIssuers, type IssuerList, issuerOf } from "../proto/trust/issuers.ts";
import type { Lineage } from "../proto/trust/lineage.ts";
import { placeOf } from "../proto/trust/place.ts";
import { mayDo } from "../proto/trust/rights.ts";
import { DEFAULT_ROLE, scopesOfRole } from "../proto/trust/roles.ts";
import { aboveCeiling, checkScopes } from "../proto/trust/scopes.ts";

/**
 * The mint: an issuing key, and what it may make by itself. It records nothing, so any number of processes may use one key
 * at a time: `starling invite` beside a running server. What must be counted or remembered is the issuer's (`issuer.ts`).
 *
 * It never makes a token that members would refuse: beyond its ceiling, beyond its own end, for no usable key.
 */
export interface Mint {
  /** Names the issuing key. */
  readonly kid: string;
  /** A token that anybody may exchange, at an issuer with this very key. */
  issueJoinToken(request: JoinRequest, now: Instant): Promise<Issued>;
  /** A member token for one node key, with no issuer online (`invite --for`). */
  issueMemberToken(request: MemberRequest, now: Instant): Promise<IssuedMember>;
  /** This key's word that requests may be sealed for `desk`; the form in which it travels. */
  signDesk(desk: Desk): Uint8Array;
  /** Signs a decree of this kind; undefined if the list of issuers does not let this key say such a thing. */
  decree(kind: "revocation" | "rotation", body: Uint8Array): SignedDecree | undefined;
}

/** What a join token shall grant. */
interface JoinRequest {
  /** Default: those of the role, which is then one that is built in. */
  readonly scopes?: readonly string[];
  /** Default `member`. */
  readonly role?: string;
  /** 1 to 10,000. Default 1. */
  readonly uses?: number;
  /** 1 minute to 7 days. Default 1 hour. */
  readonly lifeMs?: number;
}

/** What a member token shall grant. */
export interface MemberRequest {
  readonly subject: PeerId;
  readonly scopes?: readonly string[];
  readonly role?: string;
  /** 1 minute to 366 days. Default 24 hours. */
  readonly lifeMs?: number;
  /** 16 bytes. Default: derived from the issuers' secret; a renewal hands on what the member has. */
  readonly place?: Uint8Array;
  /** The public key that signs for its renewal, which the node has made. Default: none is named. */
  readonly refreshKey?: Uint8Array;
  /** The line that it continues; only with a refresh key. Default: it begins one. */
  readonly line?: Pick<Lineage, "family" | "generation">;
}

/** Why no token is issued. */
export type IssueFault =
  | TokenFault
  /** A number, scope or role out of its range, or a PeerId that is no usable key. */
  | "bad-request"
  /** The join token is to be exchanged at the issuer that made it. */
  | "other-issuer"
  /** The join token's count of exchanges is reached. */
  | "used-up"
  /** An API key or a login that is none, or that nobody here takes. */
  | "bad-credential"
  /** The issuer remembers as many exchanges as it can; some expire with their join tokens. */
  | "journal-full"
  /** No scopes are named, and nobody has said what the role means. */
  | "unknown-role"
  /** It is not shown as a renewal must be: signed by the refresh key that it names, with the key of the next. */
  | "refresh-invalid"
  /** A request that was overtaken by a later one of the same member. */
  | "refresh-stale"
  /** Its refresh key was used before, by somebody who has a copy of it: its whole line has ended. */
  | "refresh-reused";

/** The answer without a token. */
interface NotIssued {
  readonly ok: false;
  readonly fault: IssueFault;
}

/** A join token with what it says, or why there is none. */
type Issued = { readonly ok: true; readonly token: string; readonly claims: JoinClaims } | NotIssued;

/** A member token with what it says, or why there is none. */
export type IssuedMember =
  | {
      readonly ok: true;
      readonly token: string;
      readonly claims: MemberClaims;
      /** The revocation of the member in whose place this one comes, for it to spread. */
      readonly retires?: SignedDecree;
    }
  | NotIssued;

/** Where a mint finds its keys, and the cluster that it works for. */
export interface MintOptions {
  /** The issuing key; `place.key` is read from the same folder. */
  readonly keyFile: string;
  readonly clusterId: ClusterId;
  /** The newest list of issuers that was accepted; asked at every token. */
  readonly issuers: () => IssuerList;
  readonly crypto: Crypto;
}

/** The shortest life that is worth a token, ms: clocks may differ by as much. */
const MIN_LIFE_MS = 60_000;

/**
 * Reads an issuing key and the secret of places beside it. Throws `not-found` when one is missing, `key-file-permissions`,
 * `state-corrupt` or `weak-key`.
 */
export async function openMint(options: MintOptions): Promise<Mint> {
  const { keyFile, clusterId, issuers, crypto } = options;
  const key = await readSigningKeyFile(keyFile, crypto);
  if (key === undefined) throw new StarlingError("not-found", `there is no issuing key at ${keyFile}; check the path`);
  const placeFile = join(dirname(keyFile), PLACE_KEY_FILE);
  const placeSecret = await readSecretFile(placeFile);
  if (placeSecret === undefined) {
    const message = `there is no ${placeFile}; copy it from where the cluster's first issuing key is: all issuers share it`;
    throw new StarlingError("not-found", message);
  }
  const signer = await createTokenSigner(key);
  return new KeyMint(signer, crypto.authority(key.seed), placeSecret, { clusterId, issuers, crypto });
}

/** The list of issuers of `cluster`. Throws `state-corrupt` when its root did not sign it. */
export function issuersOf(cluster: Cluster, crypto: Crypto): IssuerList {
  const list = acceptIssuers(cluster.issuers, cluster.rootPublicKey, crypto.verifyAuthority);
  if (!list) throw new StarlingError("state-corrupt", "the list of issuing keys is not signed by the cluster's root");
  return list;
}

interface Terms {
  readonly scopes: readonly string[];
  readonly role: string;
  readonly lifeMs: number;
}

class KeyMint implements Mint {
  readonly kid: string;
  readonly #signer: TokenSigner;
  readonly #authority: Authority;
  readonly #placeSecret: Uint8Array;
  readonly #options: Omit<MintOptions, "keyFile">;

  constructor(
    signer: TokenSigner,
    authority: Authority,
    placeSecret: Uint8Array,
    options: Omit<MintOptions, "keyFile">,
  ) {
    this.kid = signer.kid;
    this.#signer = signer;
    this.#authority = authority;
    this.#placeSecret = placeSecret;
    this.#options = options;
  }

  async issueJoinToken(request: JoinRequest, now: Instant): Promise<Issued> {
    const { role = DEFAULT_ROLE, scopes = scopesOfRole(role), uses = 1, lifeMs = JOIN_LIFE_MS } = request;
    if (scopes === undefined) return refuse("unknown-role");
    if (!isCount(uses, 1, MAX_JOIN_USES)) return refuse("bad-request");
    const life = this.#life({ scopes, role, lifeMs }, MAX_JOIN_LIFE_MS, now);
    if (!life.ok) return life;
    const claims = { ...this.#common(scopes, role), ...life.times, uses };
    return { ok: true, token: await this.#signer.signJoinToken(claims), claims };
  }

  async issueMemberToken(request: MemberRequest, now: Instant): Promise<IssuedMember> {
    const { subject, role = DEFAULT_ROLE, scopes = scopesOfRole(role), lifeMs = MEMBER_LIFE_MS } = request;
    if (scopes === undefined) return refuse("unknown-role");
    if (!isAcceptablePublicKey(publicKeyOf(subject))) return refuse("bad-request");
    const life = this.#life({ scopes, role, lifeMs }, MAX_MEMBER_LIFE_MS, now);
    if (!life.ok) return life;
    const place = request.place ?? placeOf(this.#placeSecret, subject);
    const common = { ...this.#common(scopes, role), ...life.times };
    const { refreshKey, line = { family: common.id, generation: 0 } } = request;
    if (refreshKey !== undefined && !isAcceptablePublicKey(refreshKey)) return refuse("bad-request");
    const lineage = refreshKey && { ...line, refreshKey, issuedAt: common.issuedAt };
    const claims = { ...common, subject, place, ...(lineage && { lineage }) };
    return { ok: true, token: await this.#signer.signMemberToken(claims), claims };
  }

  signDesk(desk: Desk): Uint8Array {
    return encodeDesk(desk, this.#authority);
  }

  decree(kind: "revocation" | "rotation", body: Uint8Array): SignedDecree | undefined {
    const issuer = issuerOf(this.#options.issuers(), this.kid);
    const act = kind === "revocation" ? "revoke" : "rotate";
    if (issuer === undefined || !mayDo(issuer.scopes, act)) return undefined;
    return signDecree(kind, body, this.#authority);
  }

  #common(scopes: readonly string[], role: string) {
    const id = base64url(this.#options.crypto.randomBytes(16));
    return { cluster: this.#options.clusterId, scopes, role, id };
  }

  // The times of a token on these terms, cut at the end of the issuing key; whole seconds, as the token will have them.
  #life(terms: Terms, maxLifeMs: number, now: Instant) {
    const { scopes, role, lifeMs } = terms;
    if (checkScopes(scopes) === undefined || !isRole(role)) return refuse("bad-request");
    if (!isCount(lifeMs, MIN_LIFE_MS, maxLifeMs)) return refuse("bad-request");
    const issuer = issuerOf(this.#options.issuers(), this.kid);
    if (issuer === undefined) return refuse("unknown-issuer");
    if (aboveCeiling(issuer.scopes, scopes) !== undefined) return refuse("scope-above-ceiling");
    const issuedAt = wholeSeconds(now);
    const expiresAt = wholeSeconds(Math.min(issuedAt + lifeMs, issuer.notAfter));
    if (expiresAt - issuedAt < MIN_LIFE_MS) return refuse("issuer-expired");
    return { ok: true, times: { issuedAt, notBefore: issuedAt, expiresAt } } as const;
  }
}

function isCount(value: number, least: number, most: number): boolean {
  return Number.isSafeInteger(value) && value >= least && value <= most;
}

function wholeSeconds(at: number): Instant {
  return Math.floor(at / 1_000) * 1_000;
}

function refuse(fault: IssueFault): NotIssued {
  return { ok: false, fault };
}
