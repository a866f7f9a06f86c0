import { createTokenVerifier } from "../src/drivers/tokens.ts";
import type { IssuerDesk } from "../src/issuer/desk.ts";
import type { Issuer } from "../src/issuer/issuer.ts";
import { issuersOf } from "../src/issuer/mint.ts";
import { refusalOf } from "../src/issuer/refusals.ts";
import type { Instant } from "../src/proto/machine.ts";
import type { TokenFault } from "../src/proto/trust/claims.ts";
import type { Cluster } from "../src/proto/trust/cluster.ts";
import type { Crypto } from "../src/proto/trust/crypto.ts";
import { acceptDesk } from "../src/proto/trust/desk.ts";
import { encodeSignedIssuers } from "../src/proto/trust/issuers.ts";
import { SCOPE_JOIN } from "../src/proto/trust/scopes.ts";
import type { OwnDesk } from "./proto/desks.ts";
import type {
  Admission,
  DeskClaim,
  ExchangeRequest,
  KnownDesk,
  LoginRequest,
  Refusal,
  Renewal,
  RenewalRequest,
} from "./proto/events.ts";

/** Who may log in. All answer in the end; a rejection counts as `unavailable`, or as no answer. */
export interface Authority {
  /** The server's own desks: none for a server without an issuing key. */
  readonly desks: readonly OwnDesk[];
  /** The answer of an own desk to a sealed request; undefined when it has none to give. */
  exchange(request: ExchangeRequest): Promise<Uint8Array | undefined>;
  /** The desk that a member hands in, if an issuing key has signed it for that member; undefined otherwise. */
  checkDesk(claim: DeskClaim): Promise<KnownDesk | undefined>;
  /** Checks the statement's signature, then the member token, which must be bound to `peer`. */
  authenticate(request: LoginRequest): Promise<Admission | Refusal>;
  /** Issues another token in place of `request.token`. */
  renew(request: RenewalRequest): Promise<Renewal | Refusal>;
}

/** What an authority decides by. */
export interface AuthorityOptions {
  readonly cluster: Cluster;
  readonly crypto: Crypto;
  /** Absent: a server that only checks tokens, and hands requests to the desks of members. */
  readonly issuing?: { readonly issuer: Issuer; readonly desk: IssuerDesk };
  readonly now: () => Instant;
}

/** Decides who may log in to a signaling server: by the cluster's list of issuers, and its own issuing key if it has one. */
export function clusterAuthority(options: AuthorityOptions): Authority {
  const { cluster, crypto, issuing, now } = options;
  const issuers = issuersOf(cluster, crypto);
  const encodedIssuers = encodeSignedIssuers(cluster.issuers);
  const verifier = createTokenVerifier();
  const refuse = (fault: TokenFault, at: Instant): Refusal => ({ ok: false, ...refusalOf(fault, at) });

  return {
    desks: issuing ? [{ cluster: cluster.clusterId, kid: issuing.desk.kid, desk: issuing.desk.encoded }] : [],
    async authenticate(request) {
      if (request.cluster !== cluster.clusterId) return { ok: false, code: "cluster-unknown" };
      if (!crypto.verify(request.statement)) return { ok: false, code: "signature-invalid" };
      const at = now();
      const checked = await verifier.verifyMemberToken(request.token, {
        issuers,
        clusterId: cluster.clusterId,
        now: at,
        expectedSubject: request.peer,
        requiredScope: SCOPE_JOIN,
      });
      if (!checked.ok) return refuse(checked.fault, at);
      const { subject, expiresAt, scopes } = checked.value;
      return { ok: true, subject, expiresAt, scopes, issuers: encodedIssuers };
    },
    async renew(request) {
      if (!issuing) {
        const detail = "this server holds no issuing key; a member that does renews it over a link";
        return { ok: false, code: "unavailable", detail };
      }
      const at = now();
      const result = await issuing.issuer.renew(request.token, request.peer, at);
      if (!result.ok) return { ok: false, ...refusalOf(result.fault, at) };
      const { subject, expiresAt, scopes } = result.claims;
      return { ok: true, token: result.token, subject, expiresAt, scopes };
    },
    async exchange(request) {
      return request.cluster === cluster.clusterId ? issuing?.desk.answer(request.bytes) : undefined;
    },
    async checkDesk({ cluster: home, peer, desk: encoded }) {
      if (home !== cluster.clusterId) return undefined;
      const desk = acceptDesk(encoded, issuers, now(), crypto.verifyAuthority);
      return desk?.holder === peer ? { kid: desk.kid, desk: encoded } : undefined;
    },
  };
}
