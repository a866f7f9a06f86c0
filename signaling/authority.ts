import { createTokenVerifier } from "../src/drivers/tokens.ts";
import { StarlingError } from "../src/errors.ts";
import type { Instant } from "../src/proto/machine.ts";
import type { RefusalCode } from "../src/proto/signaling/messages.ts";
import type { Cluster } from "../src/proto/trust/cluster.ts";
import type { Crypto } from "../src/proto/trust/crypto.ts";
import { acceptIssuers, encodeSignedIssuers, type IssuerList } from "../src/proto/trust/issuers.ts";
import { SCOPE_JOIN } from "../src/proto/trust/scopes.ts";
import { CLOCK_LEEWAY_MS } from "../src/proto/trust/times.ts";
import type { IssuedMember, IssueFault } from "./mint.ts";
import type { Admission, LoginRequest, Refusal, Renewal, RenewalRequest } from "./proto/events.ts";
import type { Authority } from "./server.ts";
import type { Issuer } from "./token.ts";

/** What an authority decides by. */
export interface AuthorityOptions {
  readonly cluster: Cluster;
  readonly crypto: Crypto;
  /** Absent: a server that only checks tokens; join tokens and renewals need another one. */
  readonly issuer?: Issuer;
  readonly now: () => Instant;
}

/** Decides who may log in to a signaling server: by the cluster's list of issuers, and its own issuing key if it has one. */
export function clusterAuthority(options: AuthorityOptions): Authority {
  const { cluster, crypto, issuer, now } = options;
  const issuers = issuersOf(cluster, crypto);
  const encodedIssuers = encodeSignedIssuers(cluster.issuers);
  const verifier = createTokenVerifier();

  const issued = (result: IssuedMember, at: Instant): Renewal | Refusal =>
    result.ok
      ? {
          ok: true,
          token: result.token,
          subject: result.claims.subject,
          expiresAt: result.claims.expiresAt,
          scopes: result.claims.scopes,
        }
      : refusal(result.fault, at);

  return {
    async authenticate(request: LoginRequest): Promise<Admission | Refusal> {
      if (request.cluster !== cluster.clusterId) return { ok: false, code: "cluster-unknown" };
      if (!crypto.verify(request.statement)) return { ok: false, code: "signature-invalid" };
      const { kind, token } = request.credential;
      const at = now();
      if (kind === "member") {
        const expected = { issuers, clusterId: cluster.clusterId, now: at };
        const checked = await verifier.verifyMemberToken(token, {
          ...expected,
          expectedSubject: request.peer,
          requiredScope: SCOPE_JOIN,
        });
        if (!checked.ok) return refusal(checked.fault, at);
        const { subject, expiresAt, scopes } = checked.value;
        return { ok: true, subject, expiresAt, scopes, issuers: encodedIssuers };
      }
      if (!issuer) return noIssuer();
      const answer =
        kind === "join" ? await issuer.exchange(token, request.peer, at) : await issuer.renew(token, request.peer, at);
      const result = issued(answer, at);
      return result.ok ? { ...result, issuers: encodedIssuers } : result;
    },
    async renew(request: RenewalRequest): Promise<Renewal | Refusal> {
      if (!issuer) return noIssuer();
      const at = now();
      return issued(await issuer.renew(request.token, request.peer, at), at);
    },
  };
}

/** The list of issuers of `cluster`. Throws `state-corrupt` when its root did not sign it. */
export function issuersOf(cluster: Cluster, crypto: Crypto): IssuerList {
  const list = acceptIssuers(cluster.issuers, cluster.rootPublicKey, crypto.verifyAuthority);
  if (!list) throw new StarlingError("state-corrupt", "the list of issuing keys is not signed by the cluster's root");
  return list;
}

function noIssuer(): Refusal {
  const detail = "this server holds no issuing key; start it with --issuing-key, or use another server";
  return { ok: false, code: "unavailable", detail };
}

/** Faults in the words of signaling. Times are the usual trouble, so the server's own goes along. */
function refusal(fault: IssueFault, at: Instant): Refusal {
  const code = CODES[fault] ?? "token-invalid";
  const late = code === "token-expired" || code === "token-not-yet-valid";
  const clock = `the server's clock says ${new Date(at).toISOString()}, and ${CLOCK_LEEWAY_MS / 1_000} s are forgiven`;
  return { ok: false, code, detail: late ? `${ADVICE[code]}; ${clock}` : (ADVICE[code] ?? fault) };
}

const CODES: Partial<Record<IssueFault, RefusalCode>> = {
  expired: "token-expired",
  "issuer-expired": "token-expired",
  "not-yet-valid": "token-not-yet-valid",
  "wrong-cluster": "cluster-unknown",
  "wrong-subject": "token-mismatch",
  "missing-scope": "not-permitted",
  "scope-above-ceiling": "not-permitted",
  revoked: "token-revoked",
  "used-up": "token-used",
  "journal-full": "unavailable",
  "other-issuer": "unavailable",
};

const ADVICE: Partial<Record<RefusalCode, string>> = {
  "token-expired": "the token has expired; ask for a new invite",
  "token-not-yet-valid": "the token is not valid yet; check this machine's clock",
  "cluster-unknown": "the token is for another cluster; check which invite was used",
  "token-mismatch": "the token was made for another node key; ask for an invite of your own",
  "not-permitted": "the token does not allow joining; ask for an invite with the scope mesh:join",
  "token-revoked": "this member was revoked",
  "token-used": "the invite was used as often as it may be; ask for a new one",
  unavailable: "this server cannot issue the token; the server whose key made the invite can",
};
