import { concat, utf8 } from "./bytes.ts";
import type { Instant } from "./machine.ts";
import type { PeerId } from "./peer-id.ts";
import type { Lineage } from "./trust/lineage.ts";

/**
 * Statements that carry their author's Ed25519 signature.
 *
 * The signature covers `label`, a zero byte and `body`. The label names the kind of statement and its version, so that a
 * signature made for one purpose means nothing for another. A PeerId is its own public key: checking needs no look-up.
 *
 * Machines neither sign nor verify. They emit {@link Sign} and {@link Verify}, each with a `resume` value that carries
 * everything needed to go on; the driver answers with {@link Signature} or {@link Verified}. A statement that fails
 * never comes back: the driver counts it and blames the peer named in `from`.
 */
export interface Statement {
  readonly signer: PeerId;
  readonly label: SignatureLabel;
  readonly body: Uint8Array;
  /** 64 bytes. */
  readonly signature: Uint8Array;
}

/** Every purpose for which a node key signs; a closed list keeps them apart. */
export type SignatureLabel =
  | "starling/admission/1"
  | "starling/audit/1"
  | "starling/batch/1"
  | "starling/envelope/1"
  | "starling/exchange/1"
  | "starling/heir/1"
  | "starling/login/1"
  | "starling/post/1"
  | "starling/record/1"
  | "starling/refresh/1"
  | "starling/refutation/1"
  | "starling/relay/1"
  | "starling/signal/1"
  | "starling/suspicion/1";

/**
 * Every purpose for which a key of the cluster itself signs: the root its list of issuers and its successor, both
 * revocations and rotations, an issuing key its desk; and a refresh key, which a token names, the one that follows it.
 * Node keys never sign under these labels, nor these keys under a {@link SignatureLabel}.
 */
export type AuthorityLabel =
  | "starling/desk/1"
  | "starling/issuers/1"
  | "starling/refresh-key/1"
  | "starling/revocation/1"
  | "starling/rotation/1"
  | "starling/succession/1";

/** Effect: sign `body` with this node's key and answer {@link Signature}. */
export interface Sign<Resume> {
  readonly type: "sign";
  readonly label: SignatureLabel;
  readonly body: Uint8Array;
  readonly resume: Resume;
}

/** Input: the answer to {@link Sign}. */
export interface Signature<Resume> {
  readonly type: "signed";
  readonly signature: Uint8Array;
  readonly resume: Resume;
}

/** Effect: check `statements` (and `token`, as of `at`, where given) and answer {@link Verified} if all of it holds. */
export interface Verify<Resume> {
  readonly type: "verify";
  /** Who handed it to us: blamed if it fails. */
  readonly from: PeerId;
  readonly statements: readonly Statement[];
  /** A member token that must be valid, and bound to the signer of the first statement. */
  readonly token?: string;
  /** The instant at which the token must be valid, revocations included; now when absent. */
  readonly at?: Instant;
  readonly resume: Resume;
}

/** Input: everything in the {@link Verify} holds. */
export interface Verified<Resume> {
  readonly type: "verified";
  readonly resume: Resume;
  /** The claims of the token, when one was checked. */
  readonly token?: TokenFacts;
}

/** What protocol cores need to know of a valid member token. */
export interface TokenFacts {
  readonly subject: PeerId;
  readonly expiresAt: number;
  readonly scopes: readonly string[];
  /** 16 bytes from the issuers' secret: equal across renewals, unknown before the member has joined. */
  readonly place: Uint8Array;
  /** Its `jti`, and the name of the key that signed it: what a revocation may name. Absent where nobody revokes. */
  readonly id?: string;
  readonly kid?: string;
  /** Where it stands among those that it was renewed from; a revocation may name its family. Absent where nobody renews. */
  readonly lineage?: Lineage;
}

/** The exact bytes that a signature covers. */
export function signedBytes(label: SignatureLabel | AuthorityLabel, body: Uint8Array): Uint8Array {
  return concat(utf8(label), ZERO, body);
}

const ZERO = new Uint8Array(1);
