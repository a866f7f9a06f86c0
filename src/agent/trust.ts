import type { TokenVerifier } from "../drivers/tokens.ts";
import { StarlingError } from "../errors.ts";
import type { Instant } from "../proto/machine.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { AdmissionOptions } from "../proto/session/admission.ts";
import type { TokenRefusal } from "../proto/session/refusal.ts";
import { admissionMacKey } from "../proto/session/transcript.ts";
import type { SignatureLabel, TokenFacts, Verify } from "../proto/signed.ts";
import type { TokenFault } from "../proto/trust/claims.ts";
import type { Cluster } from "../proto/trust/cluster.ts";
import type { BoxKeyPair, Crypto, NodeIdentity } from "../proto/trust/crypto.ts";
import {
  acceptIssuers,
  decodeSignedIssuers,
  type IssuerList,
  type SignedIssuers,
  supersedes,
} from "../proto/trust/issuers.ts";
import { SCOPE_JOIN } from "../proto/trust/scopes.ts";

/** What a {@link Verify} came to. */
export type Verdict =
  | { readonly ok: true; readonly token?: TokenFacts }
  | { readonly ok: false; readonly reason: TokenRefusal };

/** The member token that an agent holds. */
export interface HeldToken {
  readonly text: string;
  readonly facts: TokenFacts;
}

/**
 * Everything an agent knows about keys: its own, its cluster's and its token; and the one place where signatures and
 * tokens of others are checked.
 */
export class Trust {
  readonly identity: NodeIdentity;
  /** Fresh at each start: what was sealed to an earlier run stays closed. */
  readonly box: BoxKeyPair;
  readonly crypto: Crypto;
  readonly cluster: Cluster;
  readonly #verifier: TokenVerifier;
  readonly #now: () => Instant;
  #issuers: { readonly signed: SignedIssuers; readonly list: IssuerList };
  #token: HeldToken | undefined;

  constructor(options: {
    readonly identity: NodeIdentity;
    readonly crypto: Crypto;
    readonly cluster: Cluster;
    readonly verifier: TokenVerifier;
    readonly now: () => Instant;
  }) {
    this.identity = options.identity;
    this.crypto = options.crypto;
    this.cluster = options.cluster;
    this.box = options.crypto.boxKeyPair();
    this.#verifier = options.verifier;
    this.#now = options.now;
    const list = this.#accept(options.cluster.issuers);
    if (!list) throw new StarlingError("state-corrupt", "the list of issuing keys is not signed by the cluster's root");
    this.#issuers = { signed: options.cluster.issuers, list };
  }

  get id(): PeerId {
    return this.identity.id;
  }

  /** The member token in use; undefined before the first one. */
  get token(): HeldToken | undefined {
    return this.#token;
  }

  /** Takes a member token for this node into use; why not, if it does not hold. */
  async holdToken(text: string): Promise<TokenFault | undefined> {
    const checked = await this.#verifier.verifyMemberToken(text, {
      ...this.#expectation(),
      expectedSubject: this.id,
      requiredScope: SCOPE_JOIN,
    });
    if (!checked.ok) return checked.fault;
    this.#token = { text, facts: checked.value };
    return undefined;
  }

  /** The list of issuing keys in force. */
  get issuers(): IssuerList {
    return this.#issuers.list;
  }

  /** The same as the root signed it. */
  get signedIssuers(): SignedIssuers {
    return this.#issuers.signed;
  }

  /** Takes a newer list of issuing keys; the signed list if it was one. */
  offerIssuers(encoded: Uint8Array): SignedIssuers | undefined {
    const signed = decodeSignedIssuers(encoded);
    const list = signed && this.#accept(signed);
    if (!signed || !list || !supersedes(list, this.#issuers.list)) return undefined;
    this.#issuers = { signed, list };
    return signed;
  }

  sign(label: SignatureLabel, body: Uint8Array): Uint8Array {
    return this.identity.sign(label, body);
  }

  /** Checks signatures, and the token where there is one: valid at `at` (default: now) and bound to the first signer. */
  async verify(request: Verify<unknown>): Promise<Verdict> {
    // The token first: its check is cached, and a stranger's statement is not worth a signature.
    let token: TokenFacts | undefined;
    if (request.token !== undefined) {
      const subject = request.statements[0]?.signer;
      const checked = await this.#verifier.verifyMemberToken(request.token, {
        ...this.#expectation(),
        ...(request.at !== undefined && { now: request.at }),
        ...(subject !== undefined && { expectedSubject: subject }),
        requiredScope: SCOPE_JOIN,
      });
      if (!checked.ok) return { ok: false, reason: refusalOf(checked.fault) };
      token = checked.value;
    }
    for (const statement of request.statements) {
      if (!this.crypto.verify(statement)) return { ok: false, reason: "bad-signature" };
    }
    return token ? { ok: true, token } : { ok: true };
  }

  /** What an admission needs of us; only with a token in hand. */
  admissionFacts(): Pick<AdmissionOptions, "clusterId" | "token" | "boxKey" | "epoch" | "macKey"> {
    const newest = this.cluster.clusterKeys[0];
    if (!this.#token || !newest) throw new StarlingError("internal", "admission begins with a token and a cluster key");
    return {
      clusterId: this.cluster.clusterId,
      token: this.#token.text,
      boxKey: this.box.publicKey,
      epoch: newest.epoch,
      macKey: (epoch) => {
        const known = this.cluster.clusterKeys.find((key) => key.epoch === epoch);
        return known && admissionMacKey(known.key, epoch);
      },
    };
  }

  #expectation(): { issuers: IssuerList; clusterId: string; now: Instant } {
    return { issuers: this.#issuers.list, clusterId: this.cluster.clusterId, now: this.#now() };
  }

  #accept(signed: SignedIssuers): IssuerList | undefined {
    return acceptIssuers(signed, this.cluster.rootPublicKey, this.crypto.verifyAuthority);
  }
}

/** The word that a peer is told for what is wrong with its token. */
function refusalOf(fault: TokenFault): TokenRefusal {
  switch (fault) {
    case "expired":
    case "issuer-expired":
      return "expired";
    case "not-yet-valid":
      return "not-yet-valid";
    case "wrong-subject":
      return "wrong-subject";
    case "wrong-cluster":
    case "unknown-issuer":
      return "wrong-issuer";
    case "missing-scope":
    case "scope-above-ceiling":
      return "scope";
    default:
      return "bad-signature";
  }
}
