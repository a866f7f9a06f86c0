import type { TokenVerifier } from "../drivers/tokens.ts";
import { StarlingError } from "../errors.ts";
import { decreesOf } from "../issuer/decrees-of.ts";
import { foundationOf, type SignedDecree } from "../proto/decrees/decree.ts";
import type { DecreeSet } from "../proto/decrees/decree-set.ts";
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
  type IssuingKey,
  type SignedIssuers,
} from "../proto/trust/issuers.ts";
import { Keychain } from "../proto/trust/keychain.ts";
import { SCOPE_JOIN } from "../proto/trust/scopes.ts";

/** What a {@link Verify} came to. */
export type Verdict =
  | { readonly ok: true; readonly token?: TokenFacts }
  | { readonly ok: false; readonly reason: TokenRefusal };

/** The member token that an agent holds. */
export interface HeldToken {
  readonly text: string;
  readonly facts: TokenFacts & { readonly issuedAt: Instant };
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
  /** What the cluster has decreed: who issues, who is revoked, which secrets hold. */
  readonly decrees: DecreeSet;
  /** The members' secrets. */
  readonly keychain: Keychain;
  readonly #cluster: Cluster;
  readonly #verifier: TokenVerifier;
  readonly #now: () => Instant;
  #token: HeldToken | undefined;

  constructor(options: {
    readonly identity: NodeIdentity;
    readonly crypto: Crypto;
    readonly cluster: Cluster;
    /** Encoded decrees that were kept; each is checked again. */
    readonly decrees: readonly Uint8Array[];
    readonly verifier: TokenVerifier;
    readonly now: () => Instant;
  }) {
    this.identity = options.identity;
    this.crypto = options.crypto;
    this.#cluster = options.cluster;
    this.box = options.crypto.boxKeyPair();
    this.#verifier = options.verifier;
    this.#now = options.now;
    this.keychain = new Keychain(options.cluster);
    this.decrees = decreesOf(options.cluster, options.decrees, options.crypto, options.now());
    if (!this.decrees.issuers) {
      throw new StarlingError("state-corrupt", "the list of issuing keys is not signed by the cluster's root");
    }
  }

  /** The cluster as it is to be kept: with the secrets and the list of issuing keys in force. */
  get cluster(): Cluster {
    return { ...this.#cluster, ...this.keychain.secrets, issuers: this.signedIssuers };
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
    if (this.decrees.voids(checked.value)) return "revoked";
    this.#token = { text, facts: checked.value };
    return undefined;
  }

  /** Whether an issuing key of the list will outlive the one that our token is by. */
  get isOutdated(): boolean {
    const { issuers } = this.issuers;
    const own = issuers.find(({ kid }) => kid === this.#token?.facts.kid);
    const counts = ({ kid }: IssuingKey): boolean => !this.decrees.voids({ kid });
    return own !== undefined && issuers.some((other) => other.notAfter > own.notAfter && counts(other));
  }

  /** The list of issuing keys in force. */
  get issuers(): IssuerList {
    const { issuers } = this.decrees;
    if (!issuers) throw new StarlingError("internal", "a cluster has a list of issuing keys");
    return issuers.list;
  }

  /** The same in the form for whoever knows only the first root: what files and invites begin with. */
  get signedIssuers(): SignedIssuers {
    return this.decrees.signedIssuers ?? this.#cluster.issuers;
  }

  /**
   * The decrees in a list of issuing keys that some root has signed, the first with its heirs, or one that is known; none when it is
   * no such list. Whether they are news, the set decides.
   */
  foundation(encoded: Uint8Array): readonly SignedDecree[] {
    const signed = decodeSignedIssuers(encoded);
    const root = signed && this.decrees.roots.find((key) => acceptIssuers(signed, key, this.crypto.verifyAuthority));
    return signed && root ? foundationOf(signed, root) : [];
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
      if (this.decrees.voids(checked.value, request.at)) return { ok: false, reason: "revoked" };
      token = checked.value;
    }
    for (const statement of request.statements) {
      if (!this.crypto.verify(statement)) return { ok: false, reason: "bad-signature" };
    }
    return token ? { ok: true, token } : { ok: true };
  }

  /** What an admission needs of us; only with a token in hand. */
  admissionFacts(): Pick<AdmissionOptions, "clusterId" | "token" | "boxKey" | "epoch" | "macKey"> {
    if (!this.#token) throw new StarlingError("internal", "admission begins with a token");
    const { keychain } = this;
    return {
      clusterId: this.#cluster.clusterId,
      token: this.#token.text,
      boxKey: this.box.publicKey,
      epoch: keychain.clusterEpoch,
      macKey: (epoch) => {
        const key = keychain.clusterKey(epoch, this.#now());
        return key && admissionMacKey(key, epoch);
      },
    };
  }

  #expectation(): { issuers: IssuerList; clusterId: string; now: Instant } {
    return { issuers: this.issuers, clusterId: this.#cluster.clusterId, now: this.#now() };
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
    case "revoked":
      return "revoked";
    case "missing-scope":
    case "scope-above-ceiling":
      return "scope";
    default:
      return "bad-signature";
  }
}
