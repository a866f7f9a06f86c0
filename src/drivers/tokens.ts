/**
 * Tokens: JSON Web Tokens, signed with EdDSA and nothing else, by jose. What a token must look like and what its claims must
 * say is decided by pure code (`proto/trust/compact-token.ts`, `proto/trust/claims.ts`); this file adds the signature.
 *
 * The order: the outer form, the claims' form and the cluster first, because they cost nothing; then the signature, by the
 * key that `kid` names in the list of issuers and no other; then time, ceiling and scope.
 */
// By their own paths: the whole of the library costs every start 20 ms of CPU more.
import { CompactSign } from "jose/jws/compact/sign";
import { compactVerify } from "jose/jws/compact/verify";
import { importJWK } from "jose/key/import";
import { assert } from "../proto/assert.ts";
import { base64url } from "../proto/base64.ts";
import { RecentMap } from "../proto/bounded.ts";
import { equalBytes, utf8 } from "../proto/bytes.ts";
import { sha256 } from "../proto/hash.ts";
import { MAX_TOKEN_LENGTH } from "../proto/limits.ts";
import {
  type Checked,
  type CommonClaims,
  claimsFault,
  type Expectation,
  type JoinClaims,
  joinPayload,
  type MemberClaims,
  memberPayload,
  parseJoinClaims,
  parseMemberClaims,
  type TokenFault,
} from "../proto/trust/claims.ts";
import { compactHeader, parseCompact, signatureOf } from "../proto/trust/compact-token.ts";
import type { SigningKey } from "../proto/trust/crypto.ts";
import { type IssuingKey, issuerOf, kidOf, MAX_ISSUERS } from "../proto/trust/issuers.ts";

/**
 * Tokens whose signature is remembered, about 150 bytes each: those of all that a server lets in, and of as many again that
 * were renewed meanwhile. With fewer than come back at once after an outage each would push out the next.
 */
const MAX_CACHED_TOKENS = 32_768;

/** A member token that holds. */
interface VerifiedMember extends MemberClaims {
  /** Names the issuing key that signed it. */
  readonly kid: string;
}

/** A join token that holds. Whether uses are left only its issuer knows. */
interface VerifiedJoin extends JoinClaims {
  readonly kid: string;
}

/** Checks tokens. Keep one for the process: it remembers whose signature it has seen. */
export interface TokenVerifier {
  /** The claims of a member token, if it holds for `expected`. Never rejects: a bad token is an answer. */
  verifyMemberToken(token: string, expected: Expectation): Promise<Checked<VerifiedMember>>;
  /** The claims of a join token, if it holds for `expected`. Never rejects. */
  verifyJoinToken(token: string, expected: Expectation): Promise<Checked<VerifiedJoin>>;
}

/** Signs tokens with one issuing key. What they say is the caller's business. */
export interface TokenSigner {
  readonly kid: string;
  signMemberToken(claims: MemberClaims): Promise<string>;
  signJoinToken(claims: JoinClaims): Promise<string>;
}

/** Whether `signature` over exactly these bytes is by this Ed25519 key. */
type SignatureCheck = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => Promise<boolean>;
type VerifyKey = Awaited<ReturnType<typeof importJWK>>;
type Parse<Claims> = (payload: Readonly<Record<string, unknown>>) => Checked<Claims>;

/**
 * Makes a {@link TokenVerifier}.
 *
 * @param verify checks a signature over exactly these bytes. Default: WebCrypto, by jose, which is everywhere; a server that is asked
 * thousands of times a second passes `issuerVerifierAside()` of `crypto.ts`.
 */
export function createTokenVerifier(verify?: SignatureCheck): TokenVerifier {
  // By the token's hash: the key under which its signature held. A cached token is still judged against the list and the
  // time of each call. Only tokens that held are kept, so forgeries cannot push others out.
  const signedBy = new RecentMap<string, Uint8Array>(MAX_CACHED_TOKENS);
  const keys = new RecentMap<string, VerifyKey>(MAX_ISSUERS * 2);

  const importKey = async (issuer: IssuingKey): Promise<VerifyKey> => {
    const name = base64url(issuer.publicKey);
    const known = keys.get(name);
    if (known !== undefined) return known;
    const key = await importJWK({ kty: "OKP", crv: "Ed25519", x: name }, "EdDSA");
    keys.set(name, key);
    return key;
  };

  const holds = async (token: string, issuer: IssuingKey): Promise<boolean> => {
    if (verify !== undefined) {
      const { signed, signature } = signatureOf(token);
      return verify(issuer.publicKey, signed, signature);
    }
    try {
      await compactVerify(token, await importKey(issuer), { algorithms: ["EdDSA"] });
      return true;
    } catch {
      return false;
    }
  };

  const isSignedBy = async (token: string, issuer: IssuingKey): Promise<boolean> => {
    const digest = base64url(sha256(utf8(token)));
    const seen = signedBy.get(digest);
    if (seen !== undefined && equalBytes(seen, issuer.publicKey)) return true;
    if (!(await holds(token, issuer))) return false;
    signedBy.set(digest, issuer.publicKey);
    return true;
  };

  const check = async <Claims extends CommonClaims>(
    token: string,
    expected: Expectation,
    parse: Parse<Claims>,
  ): Promise<Checked<Claims & { readonly kid: string }>> => {
    const compact = parseCompact(token);
    if (!compact.ok) return compact;
    const { kid, payload } = compact.token;
    const parsed = parse(payload);
    if (!parsed.ok) return parsed;
    if (parsed.value.cluster !== expected.clusterId) return refuse("wrong-cluster");
    const issuer = issuerOf(expected.issuers, kid);
    if (issuer === undefined) return refuse("unknown-issuer");
    if (!(await isSignedBy(token, issuer))) return refuse("bad-signature");
    const fault = claimsFault(parsed.value, kid, expected);
    return fault === undefined ? { ok: true, value: { ...parsed.value, kid } } : refuse(fault);
  };

  return {
    verifyMemberToken: (token, expected) => check(token, expected, parseMemberClaims),
    verifyJoinToken: (token, expected) => check(token, expected, parseJoinClaims),
  };
}

/** Makes a {@link TokenSigner} for an issuing key. */
export async function createTokenSigner(key: SigningKey): Promise<TokenSigner> {
  const jwk = { kty: "OKP", crv: "Ed25519", d: base64url(key.seed), x: base64url(key.publicKey) };
  const privateKey = await importJWK(jwk, "EdDSA");
  const kid = kidOf(key.publicKey);
  const signPayload = async (payload: Readonly<Record<string, unknown>>): Promise<string> => {
    const token = await new CompactSign(utf8(JSON.stringify(payload)))
      .setProtectedHeader(compactHeader(kid))
      .sign(privateKey);
    assert(token.length <= MAX_TOKEN_LENGTH, "an issuer's scopes are bounded, and so its tokens");
    return token;
  };
  return {
    kid,
    signMemberToken: (claims) => signPayload(memberPayload(claims)),
    signJoinToken: (claims) => signPayload(joinPayload(claims)),
  };
}

function refuse(fault: TokenFault): { readonly ok: false; readonly fault: TokenFault } {
  return { ok: false, fault };
}
