/**
 * Cryptography by node:crypto: the implementation that agents on Node use. `crypto-portable.ts` does the same with the same
 * bytes where node:crypto does not exist.
 *
 * Keys are turned into KeyObjects once. That of a peer is kept, because importing one costs a noticeable part of a check and
 * a member's statements come again and again.
 */
import {
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from "node:crypto";
import nacl from "tweetnacl";
import { assert } from "../proto/assert.ts";
import { base64url } from "../proto/base64.ts";
import { RecentMap } from "../proto/bounded.ts";
import { concat } from "../proto/bytes.ts";
import { type PeerId, peerIdOf, publicKeyOf } from "../proto/peer-id.ts";
import { signedBytes } from "../proto/signed.ts";
import { boxKey } from "../proto/trust/box-key.ts";
import { BOX_OVERHEAD_BYTES, type Crypto, SEAL_NONCE_BYTES } from "../proto/trust/crypto.ts";
import { isAcceptablePublicKey, isAcceptableSignature } from "../proto/trust/ed25519.ts";

/** Imported keys of peers that are kept, about 1 KiB each: more than the members that sign within a minute. */
const MAX_CACHED_KEYS = 4_096;

/** Agreed keys of the box that are kept: as many peers as one may pair with at once, a dozen letters to and from each. */
const MAX_CACHED_BOXES = 256;

// What stands before the 32 bytes of a raw private key in DER (RFC 8410).
const ED25519_PRIVATE = Buffer.from("302e020100300506032b657004220420", "hex");
const X25519_PRIVATE = Buffer.from("302e020100300506032b656e04220420", "hex");

/** {@link Crypto} by node:crypto. Keep one for the process: it caches the keys of peers. */
export function nodeCrypto(): Crypto {
  const peerKeys = new RecentMap<PeerId, KeyObject>(MAX_CACHED_KEYS);

  const keyOfPeer = (id: PeerId): KeyObject | undefined => {
    const known = peerKeys.get(id);
    const key = known ?? ed25519Public(publicKeyOf(id));
    if (key !== undefined) peerKeys.set(id, key);
    return key;
  };

  const sharedKey = boxKeys();

  return {
    name: "node",
    randomBytes: random,
    generateNodeKey: () => random(32),
    nodeIdentity(seed) {
      const { key, publicKey } = ed25519Private(seed);
      return { id: peerIdOf(publicKey), sign: (label, body) => signWith(key, signedBytes(label, body)) };
    },
    verify({ signer, label, body, signature }) {
      if (!isAcceptableSignature(signature)) return false;
      const key = keyOfPeer(signer);
      return key !== undefined && verifyWith(key, signedBytes(label, body), signature);
    },
    authority(seed) {
      const { key, publicKey } = ed25519Private(seed);
      return { publicKey, sign: (label, body) => signWith(key, signedBytes(label, body)) };
    },
    verifyAuthority(publicKey, label, body, signature) {
      if (!isAcceptableSignature(signature)) return false;
      const key = ed25519Public(publicKey);
      return key !== undefined && verifyWith(key, signedBytes(label, body), signature);
    },
    boxKeyPair() {
      const secretKey = random(32);
      return { publicKey: publicBytes(x25519Private(secretKey)), secretKey };
    },
    seal(plain, recipientBoxPublic, senderBoxSecret) {
      const key = sharedKey(recipientBoxPublic, senderBoxSecret);
      if (key === undefined) return undefined;
      const nonce = random(SEAL_NONCE_BYTES);
      return concat(nonce, nacl.secretbox(plain, nonce, key));
    },
    open(sealed, senderBoxPublic, recipientBoxSecret) {
      if (sealed.length < SEAL_NONCE_BYTES + BOX_OVERHEAD_BYTES) return undefined;
      const key = sharedKey(senderBoxPublic, recipientBoxSecret);
      if (key === undefined) return undefined;
      const nonce = sealed.subarray(0, SEAL_NONCE_BYTES);
      return nacl.secretbox.open(sealed.subarray(SEAL_NONCE_BYTES), nonce, key) ?? undefined;
    },
    agree: sharedBoxKey,
  };
}

function ed25519Private(seed: Uint8Array): { readonly key: KeyObject; readonly publicKey: Uint8Array } {
  assert(seed.length === 32, "an Ed25519 seed has 32 bytes");
  const key = createPrivateKey({ key: Buffer.concat([ED25519_PRIVATE, seed]), format: "der", type: "pkcs8" });
  return { key, publicKey: publicBytes(key) };
}

function ed25519Public(publicKey: Uint8Array): KeyObject | undefined {
  if (!isAcceptablePublicKey(publicKey)) return undefined;
  return importPublic("Ed25519", publicKey);
}

function x25519Private(secret: Uint8Array): KeyObject {
  assert(secret.length === 32, "an X25519 key has 32 bytes");
  return createPrivateKey({ key: Buffer.concat([X25519_PRIVATE, secret]), format: "der", type: "pkcs8" });
}

// Bytes from outside: a library that refuses them must not bring the process down.
// As a JWK (RFC 8037), which costs a third of DER.
function importPublic(crv: "Ed25519" | "X25519", raw: Uint8Array): KeyObject | undefined {
  try {
    return createPublicKey({ key: { kty: "OKP", crv, x: base64url(raw) }, format: "jwk" });
  } catch {
    return undefined;
  }
}

function publicBytes(privateKey: KeyObject): Uint8Array {
  return plain(createPublicKey(privateKey).export({ format: "der", type: "spki" }).subarray(-32));
}

function signWith(key: KeyObject, message: Uint8Array): Uint8Array {
  return plain(sign(null, message, key));
}

/**
 * Whether `signature` over exactly these bytes is by this Ed25519 key, strictly; found out on libuv's pool. For whoever checks thousands a
 * second for strangers and serves others meanwhile: a check takes 90 us, of which the calling thread spends 10.
 */
export function verifyAside(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<boolean> {
  return checkAside(ed25519Public(publicKey), message, signature);
}

/** {@link verifyAside} for the few keys of issuers: each is imported once, for as long as the very array that holds it lives. */
export function issuerVerifierAside(): typeof verifyAside {
  const imported = new WeakMap<Uint8Array, KeyObject>();
  return (publicKey, message, signature) => {
    const key = imported.get(publicKey) ?? ed25519Public(publicKey);
    if (key !== undefined) imported.set(publicKey, key);
    return checkAside(key, message, signature);
  };
}

function checkAside(key: KeyObject | undefined, message: Uint8Array, signature: Uint8Array): Promise<boolean> {
  if (key === undefined || !isAcceptableSignature(signature)) return Promise.resolve(false);
  return new Promise((resolve) => {
    verify(null, message, key, signature, (error, holds) => resolve(error === null && holds));
  });
}

function verifyWith(key: KeyObject, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify(null, message, key, signature);
  } catch {
    return false;
  }
}

/** Agrees on the key of a box, once for as long as the same two parties write to each other. */
function boxKeys(): (theirPublic: Uint8Array, ourSecret: Uint8Array) => Uint8Array | undefined {
  const ofSecret = new WeakMap<Uint8Array, RecentMap<string, Uint8Array>>();
  return (theirPublic, ourSecret) => {
    let agreed = ofSecret.get(ourSecret);
    if (agreed === undefined) {
      agreed = new RecentMap(MAX_CACHED_BOXES);
      ofSecret.set(ourSecret, agreed);
    }
    const name = Buffer.from(theirPublic).toString("latin1");
    const key = agreed.get(name) ?? sharedBoxKey(theirPublic, ourSecret);
    if (key !== undefined) agreed.set(name, key);
    return key;
  };
}

// The key of the nacl box between two parties; undefined for a point of small order, which OpenSSL refuses by an error.
function sharedBoxKey(theirPublic: Uint8Array, ourSecret: Uint8Array): Uint8Array | undefined {
  const privateKey = x25519Private(ourSecret);
  const publicKey = theirPublic.length === 32 ? importPublic("X25519", theirPublic) : undefined;
  if (publicKey === undefined) return undefined;
  try {
    return boxKey(diffieHellman({ privateKey, publicKey }));
  } catch {
    return undefined;
  }
}

function random(length: number): Uint8Array {
  return plain(randomBytes(length));
}

// A Buffer's slice and toString differ from a Uint8Array's, and its memory may be a shared pool's.
function plain(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer);
}
