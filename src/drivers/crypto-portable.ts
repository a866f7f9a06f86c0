/**
 * Cryptography by tweetnacl and the noble libraries: for browsers, and for any runtime without node:crypto. The bytes are those
 * of `crypto.ts`; a check of a signature takes some 14 ms instead of 0.1.
 */
import nacl from "tweetnacl";
import { assert } from "../proto/assert.ts";
import { concat } from "../proto/bytes.ts";
import { peerIdOf, publicKeyOf } from "../proto/peer-id.ts";
import { signedBytes } from "../proto/signed.ts";
import { boxKey } from "../proto/trust/box-key.ts";
import { BOX_OVERHEAD_BYTES, type Crypto, SEAL_NONCE_BYTES } from "../proto/trust/crypto.ts";
import { isAcceptablePublicKey, isAcceptableSignature } from "../proto/trust/ed25519.ts";

/** {@link Crypto} by tweetnacl, which draws its randomness from `crypto.getRandomValues`. */
export function portableCrypto(): Crypto {
  return {
    name: "portable",
    randomBytes: (length) => nacl.randomBytes(length),
    generateNodeKey: () => nacl.randomBytes(32),
    nodeIdentity(seed) {
      const { publicKey, secretKey } = pairOf(seed);
      return {
        id: peerIdOf(publicKey),
        sign: (label, body) => nacl.sign.detached(signedBytes(label, body), secretKey),
      };
    },
    verify: ({ signer, label, body, signature }) =>
      verifyWith(publicKeyOf(signer), signedBytes(label, body), signature),
    authority(seed) {
      const { publicKey, secretKey } = pairOf(seed);
      return { publicKey, sign: (label, body) => nacl.sign.detached(signedBytes(label, body), secretKey) };
    },
    verifyAuthority: (publicKey, label, body, signature) => verifyWith(publicKey, signedBytes(label, body), signature),
    boxKeyPair: () => nacl.box.keyPair(),
    seal(plain, recipientBoxPublic, senderBoxSecret) {
      const key = sharedBoxKey(recipientBoxPublic, senderBoxSecret);
      if (key === undefined) return undefined;
      const nonce = nacl.randomBytes(SEAL_NONCE_BYTES);
      return concat(nonce, nacl.secretbox(plain, nonce, key));
    },
    open(sealed, senderBoxPublic, recipientBoxSecret) {
      if (sealed.length < SEAL_NONCE_BYTES + BOX_OVERHEAD_BYTES) return undefined;
      const key = sharedBoxKey(senderBoxPublic, recipientBoxSecret);
      if (key === undefined) return undefined;
      const nonce = sealed.subarray(0, SEAL_NONCE_BYTES);
      return nacl.secretbox.open(sealed.subarray(SEAL_NONCE_BYTES), nonce, key) ?? undefined;
    },
    agree: sharedBoxKey,
  };
}

function pairOf(seed: Uint8Array): nacl.SignKeyPair {
  assert(seed.length === 32, "an Ed25519 seed has 32 bytes");
  return nacl.sign.keyPair.fromSeed(seed);
}

function verifyWith(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (!isAcceptablePublicKey(publicKey) || !isAcceptableSignature(signature)) return false;
  return nacl.sign.detached.verify(message, signature, publicKey);
}

// An all-zero secret comes from a point of small order: everybody knows it.
function sharedBoxKey(theirPublic: Uint8Array, ourSecret: Uint8Array): Uint8Array | undefined {
  assert(ourSecret.length === 32, "an X25519 key has 32 bytes");
  if (theirPublic.length !== 32) return undefined;
  const shared = nacl.scalarMult(ourSecret, theirPublic);
  return shared.every((byte) => byte === 0) ? undefined : boxKey(shared);
}
