import { randomBytes } from "node:crypto";
import { portableCrypto } from "../../../src/drivers/crypto-portable.ts";
import type { Cluster } from "../../../src/proto/trust/cluster.ts";
import { clusterIdOf } from "../../../src/proto/trust/cluster-id.ts";
import { encodeIssuers, type IssuingKey, kidOf } from "../../../src/proto/trust/issuers.ts";

/** Keys and a signed list for tests of pure code, made without a disk. */

export const crypto = portableCrypto();
export const NOW = 1_800_000_000_000;

const rootSeed = new Uint8Array(randomBytes(32));
export const root = crypto.authority(rootSeed);
const issuingSeed = new Uint8Array(randomBytes(32));
export const issuing = crypto.authority(issuingSeed);

export function entry(change: Partial<IssuingKey> = {}): IssuingKey {
  const publicKey = change.publicKey ?? issuing.publicKey;
  return { kid: kidOf(publicKey), publicKey, scopes: ["*"], notAfter: NOW + 1e10, ...change };
}

/** The root's signature over a list with these entries. */
export function signedList(version: number, issuers: readonly IssuingKey[]) {
  const body = encodeIssuers({ version, issuers });
  return { body, signature: root.sign("starling/issuers/1", body) };
}

export const cluster: Cluster = {
  clusterId: clusterIdOf(root.publicKey),
  name: "home",
  rootPublicKey: root.publicKey,
  issuers: signedList(1, [entry()]),
  clusterKeys: [{ epoch: 3, key: new Uint8Array(randomBytes(32)) }],
  keyring: [new Uint8Array(randomBytes(32)), new Uint8Array(randomBytes(32))],
  signaling: ["wss://signal.example.org/mesh", "ws://127.0.0.1:7000"],
  iceServers: [
    { urls: ["stun:stun.example.org"] },
    { urls: ["turn:turn.example.org:3478?transport=udp"], username: "u", credential: "c" },
  ],
};
