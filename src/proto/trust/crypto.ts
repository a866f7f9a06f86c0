import type { PeerId } from "../peer-id.ts";
import type { AuthorityLabel, SignatureLabel, Statement } from "../signed.ts";

/**
 * What Starling asks of a cryptographic library. Two drivers implement it with the same bytes: `drivers/crypto.ts` by
 * node:crypto, `drivers/crypto-portable.ts` by tweetnacl for browsers; one contract suite runs both.
 *
 * Everything is synchronous. Input from outside (signatures, public keys of others, sealed bytes) never throws: the
 * answer is false or undefined. Keys of our own with a wrong length are a bug and throw.
 */
export interface Crypto {
  readonly name: "node" | "portable";
  /** `length` bytes from the system's CSPRNG. */
  randomBytes(length: number): Uint8Array;

  /** A fresh Ed25519 seed, 32 bytes. */
  generateNodeKey(): Uint8Array;
  /** The identity of a 32-byte seed, with the private key ready for use. */
  nodeIdentity(seed: Uint8Array): NodeIdentity;
  /** Whether the statement's signature is its signer's, strictly (see `ed25519.ts`). */
  verify(statement: Statement): boolean;
  /** A key of the cluster itself, root or issuing, from its 32-byte seed. */
  authority(seed: Uint8Array): Authority;
  /** Whether `signature` over `label` and `body` is by the authority with this public key, strictly. */
  verifyAuthority: VerifyAuthority;

  /** A fresh X25519 pair. */
  boxKeyPair(): BoxKeyPair;
  /**
   * Seals `plain` so that only the recipient opens it and knows that the sender made it: 24 random bytes of nonce, then a
   * nacl box (X25519, XSalsa20, Poly1305), 40 bytes longer than `plain`. Undefined if the recipient's key is unusable.
   */
  seal(plain: Uint8Array, recipientBoxPublic: Uint8Array, senderBoxSecret: Uint8Array): Uint8Array | undefined;
  /** The plain bytes; undefined if it was not sealed by that sender for us, or was altered. */
  open(sealed: Uint8Array, senderBoxPublic: Uint8Array, recipientBoxSecret: Uint8Array): Uint8Array | undefined;
  /** The 32 bytes that two pairs have in common, the key of their box; undefined if the other's key is unusable. */
  agree(theirBoxPublic: Uint8Array, ourBoxSecret: Uint8Array): Uint8Array | undefined;
}

/** A node's own key. */
export interface NodeIdentity {
  readonly id: PeerId;
  /** The 64-byte signature over `signedBytes(label, body)`. */
  sign(label: SignatureLabel, body: Uint8Array): Uint8Array;
}

/** A key that speaks for the cluster. */
export interface Authority {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  sign(label: AuthorityLabel, body: Uint8Array): Uint8Array;
}

/** See {@link Crypto.verifyAuthority}. */
export type VerifyAuthority = (
  publicKey: Uint8Array,
  label: AuthorityLabel,
  body: Uint8Array,
  signature: Uint8Array,
) => boolean;

/** An X25519 pair, 32 bytes each. */
export interface BoxKeyPair {
  readonly publicKey: Uint8Array;
  readonly secretKey: Uint8Array;
}

/** Bytes that {@link Crypto.seal} puts before the box. */
export const SEAL_NONCE_BYTES = 24;

/** What a box adds to the plain bytes: its authenticator. */
export const BOX_OVERHEAD_BYTES = 16;

/** A key pair of Ed25519 as files and signers hold it: the 32-byte seed and the 32-byte public key. */
export interface SigningKey {
  readonly seed: Uint8Array;
  readonly publicKey: Uint8Array;
}
