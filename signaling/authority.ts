import { issuerVerifierAside, verifyAside } from "../src/drivers/crypto.ts";
import { createTokenVerifier } from "../src/drivers/tokens.ts";
import { StarlingError } from "../src/errors.ts";
import { decreesOf } from "../src/issuer/decrees-of.ts";
import type { IssuerDesk } from "../src/issuer/desk.ts";
import type { Issuer } from "../src/issuer/issuer.ts";
import { refusalOf } from "../src/issuer/refusals.ts";
import { equalBytes } from "../src/proto/bytes.ts";
import { decodeDecree } from "../src/proto/decrees/decree.ts";
import type { DecreeSet } from "../src/proto/decrees/decree-set.ts";
import type { Instant } from "../src/proto/machine.ts";
import { type PeerId, publicKeyOf } from "../src/proto/peer-id.ts";
import { signalingLimits } from "../src/proto/signaling/limits.ts";
import { type Statement, signedBytes } from "../src/proto/signed.ts";
import { claimsFault, type Expectation, type TokenFault } from "../src/proto/trust/claims.ts";
import type { Cluster } from "../src/proto/trust/cluster.ts";
import type { Crypto } from "../src/proto/trust/crypto.ts";
import { acceptDesk } from "../src/proto/trust/desk.ts";
import { encodeSignedIssuers, type IssuerList, type SignedIssuers } from "../src/proto/trust/issuers.ts";
import { SCOPE_JOIN } from "../src/proto/trust/scopes.ts";
import type {
  Admission,
  DecreeNotice,
  DecreeVerdict,
  DeskClaim,
  ExchangeRequest,
  KnownDesk,
  LoginRequest,
  OwnDesk,
  Refusal,
  Renewal,
  RenewalRequest,
  ResumeRequest,
  Ticket,
  TicketRequest,
} from "./proto/events.ts";
import type { TicketClaims, TicketOffice } from "./ticket-office.ts";

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
  /** Lets somebody back in by a ticket; undefined when it does not hold. At once, so that the answer leaves with that to the request. */
  resume(request: ResumeRequest): Admission | undefined;
  /** Seals a ticket for a member token that holds and is bound to `peer`; undefined when there is none to be had. */
  sealTicket(request: TicketRequest): Promise<Ticket | undefined>;
  /** Takes what a member says that the cluster has decreed. */
  decree(notice: DecreeNotice): Promise<DecreeVerdict>;
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
  /** Default: nobody comes back without a login. */
  readonly tickets?: TicketOffice;
  /** What the cluster has decreed; grows by what members say. Default: its own list of issuers. */
  readonly decrees?: DecreeSet;
  /** The set has changed: to be kept. */
  readonly keep?: () => void;
}

/** Decides who may log in to a signaling server: by the cluster's list of issuers, and its own issuing key if it has one. */
export function clusterAuthority(options: AuthorityOptions): Authority {
  const {
    cluster,
    crypto,
    issuing,
    now,
    tickets,
    decrees = decreesOf(options.cluster, [], options.crypto, options.now()),
  } = options;
  const issuersInForce = (): { readonly list: IssuerList; readonly signed: SignedIssuers } => {
    const [list, signed] = [decrees.issuers?.list, decrees.signedIssuers];
    if (list === undefined || signed === undefined)
      throw new StarlingError("internal", "a cluster has a list of issuing keys");
    return { list, signed };
  };
  const verifier = createTokenVerifier(issuerVerifierAside());
  const isSigned = ({ signer, label, body, signature }: Statement): Promise<boolean> =>
    verifyAside(publicKeyOf(signer), signedBytes(label, body), signature);
  const encoded = encodedOnce();
  const expected = (expectedSubject: PeerId, at: Instant): Expectation => ({
    issuers: issuersInForce().list,
    clusterId: cluster.clusterId,
    now: at,
    expectedSubject,
    requiredScope: SCOPE_JOIN,
  });
  const admit = (subject: PeerId, { expiresAt, scopes, id, kid, lineage }: TicketClaims): Admission => ({
    ok: true,
    subject,
    expiresAt,
    scopes,
    names: { id, kid, ...(lineage && { lineage }) },
    issuers: encoded(issuersInForce().signed),
  });
  const refuse = (fault: TokenFault, at: Instant): Refusal => ({ ok: false, ...refusalOf(fault, at) });

  return {
    get desks() {
      const desks = issuing?.desk.desks ?? [];
      return desks.map(({ kid, encoded: desk }) => ({ cluster: cluster.clusterId, kid, desk }));
    },
    async authenticate(request) {
      if (request.cluster !== cluster.clusterId) return { ok: false, code: "cluster-unknown" };
      if (!(await isSigned(request.statement))) return { ok: false, code: "signature-invalid" };
      const at = now();
      const checked = await verifier.verifyMemberToken(request.token, expected(request.peer, at));
      if (!checked.ok) return refuse(checked.fault, at);
      if (decrees.voids(checked.value)) return refuse("revoked", at);
      return admit(request.peer, checked.value);
    },
    resume(request) {
      if (request.cluster !== cluster.clusterId) return undefined;
      const at = now();
      const claims = tickets?.open(request, at);
      if (claims === undefined) return undefined;
      const token = { ...claims, cluster: cluster.clusterId, subject: request.peer };
      if (claimsFault(token, claims.kid, expected(request.peer, at)) !== undefined) return undefined;
      return decrees.voids(token) ? undefined : admit(request.peer, claims);
    },
    async sealTicket(request) {
      if (tickets === undefined || request.cluster !== cluster.clusterId) return undefined;
      const at = now();
      const checked = await verifier.verifyMemberToken(request.token, expected(request.peer, at));
      if (!checked.ok || decrees.voids(checked.value)) return undefined;
      return tickets.seal(request, checked.value, at);
    },
    async renew(request) {
      if (!issuing) {
        const detail = "this server holds no issuing key; a member that does renews it over a link";
        return { ok: false, code: "unavailable", detail };
      }
      const at = now();
      const result = await issuing.issuer.renew(request.token, request.peer, at);
      if (!result.ok) return { ok: false, ...refusalOf(result.fault, at) };
      const { subject, expiresAt, scopes, id, lineage } = result.claims;
      const names = { id, kid: issuing.issuer.kid, ...(lineage && { lineage }) };
      return { ok: true, token: result.token, subject, expiresAt, scopes, names };
    },
    async decree({ cluster: home, sums, decrees: offered = [] }) {
      if (home !== cluster.clusterId) return {};
      const rulings = offered.map((decree) => decrees.offer(decree, now()).outcome);
      const own = decrees.sums();
      const isBehind = sums !== undefined && !equalBytes(sums, own);
      const made = isBehind && issuing ? newestBy(issuing.issuer.kid, decrees) : [];
      const wanted = isBehind ? { wanted: own, ...(made.length > 0 && { decreed: made }) } : {};
      if (!rulings.includes("news")) return wanted;
      options.keep?.();
      return { ...wanted, voids: ({ peer, names }) => decrees.voids({ subject: peer, ...names }) };
    },
    async exchange(request) {
      return request.cluster === cluster.clusterId ? issuing?.desk.answer(request.bytes) : undefined;
    },
    async checkDesk({ cluster: home, peer, desk: encoded }) {
      if (home !== cluster.clusterId) return undefined;
      const desk = acceptDesk(encoded, issuersInForce().list, now(), crypto.verifyAuthority);
      return desk?.holder === peer ? { kid: desk.kid, desk: encoded } : undefined;
    },
  };
}

/** Encodes the list in force, which every login is told, again only when there is another. */
function encodedOnce(): (signed: SignedIssuers) => Uint8Array {
  let last: { readonly signed: SignedIssuers; readonly bytes: Uint8Array } | undefined;
  return (signed) => {
    const { signature, heirs } = last?.signed ?? {};
    const isSame = signature === signed.signature && heirs?.length === signed.heirs?.length;
    if (last === undefined || !isSame) last = { signed, bytes: encodeSignedIssuers(signed) };
    return last.bytes;
  };
}

/** What the server's own issuer has revoked of late: members that were away when it said so hear of it when they compare. */
function newestBy(kid: string, decrees: DecreeSet): readonly Uint8Array[] {
  const made: Uint8Array[] = [];
  for (const { bytes } of decrees.encoded()) if (decodeDecree(bytes)?.signer === kid) made.push(bytes);
  return made.slice(-signalingLimits.decreed);
}
