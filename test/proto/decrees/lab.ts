import { portableCrypto } from "../../../src/drivers/crypto-portable.ts";
import { concat, utf8 } from "../../../src/proto/bytes.ts";
import { type DecreeKind, type SignedDecree, signDecree } from "../../../src/proto/decrees/decree.ts";
import type { DecreeId } from "../../../src/proto/decrees/decree-id.ts";
import { DecreeSet } from "../../../src/proto/decrees/decree-set.ts";
import { encodeRevocation, type RevocationTarget } from "../../../src/proto/decrees/revocation.ts";
import { encodeRotation } from "../../../src/proto/decrees/rotation.ts";
import { encodeSuccession } from "../../../src/proto/decrees/succession.ts";
import { sha256 } from "../../../src/proto/hash.ts";
import { peerIdOf } from "../../../src/proto/peer-id.ts";
import type { Authority, VerifyAuthority } from "../../../src/proto/trust/crypto.ts";
import { encodeIssuers, kidOf } from "../../../src/proto/trust/issuers.ts";

/** Decrees of a cluster with a root, its successor, and three issuing keys, whose signatures cost a hash: pure tests need many. */

export const NOW = 1_800_000_000_000;
const NEVER = NOW + 1e10;

/** Public keys are real points, for lists refuse others. The signature is a hash of public key, label and body. */
const real = portableCrypto();
export function authority(seed: number): Authority {
  const { publicKey } = real.authority(new Uint8Array(32).fill(seed));
  return { publicKey, sign: (label, body) => mark(publicKey, label, body) };
}
function mark(publicKey: Uint8Array, label: string, body: Uint8Array): Uint8Array {
  const hash = sha256(concat(publicKey, utf8(label), body));
  return concat(hash, hash);
}
export const verify: VerifyAuthority = (publicKey, label, body, signature) =>
  mark(publicKey, label, body).every((byte, index) => byte === signature[index]);

export const root = authority(1);
export const heir = authority(2);
export const issuers = [authority(3), authority(4), authority(5)] as const;
export const [first, second, third] = issuers;
export const stranger = authority(6);

export const peer = (number: number) => peerIdOf(new Uint8Array(32).fill(number));
export const member = (number: number): RevocationTarget => ({ of: "member", peer: peer(number) });
export const token = (number: number): RevocationTarget => ({ of: "token", id: `${"A".repeat(20)}${number % 10}A` });
export const issuer = (key: Authority): RevocationTarget => ({ of: "issuer", kid: kidOf(key.publicKey) });

export function list(
  version: number,
  keys: readonly Authority[],
  by = root,
  scopes: readonly string[] = ["*"],
): SignedDecree {
  const entries = keys.map(({ publicKey }) => ({ kid: kidOf(publicKey), publicKey, scopes, notAfter: NEVER }));
  return signDecree("issuers", encodeIssuers({ version, issuers: entries }), by);
}

export function revocation(target: RevocationTarget, by = first, since = NOW): SignedDecree {
  const until = target.of === "token" ? since + 1_000_000 : 0;
  return signDecree("revocation", encodeRevocation({ target, since, until }), by);
}

export function rotation(
  epoch: number,
  commitment: Uint8Array,
  by = first,
  behind: readonly DecreeId[] = [],
): SignedDecree {
  return signDecree("rotation", encodeRotation({ epoch, commitment, behind, at: NOW }), by);
}

export function succession(generation: number, to: Authority, by = root): SignedDecree {
  return signDecree("succession", encodeSuccession({ generation, publicKey: to.publicKey }), by);
}

/** The same decree with a signature that does not hold. */
export function forged(decree: SignedDecree): SignedDecree {
  return { ...decree, signature: new Uint8Array(64) };
}

/** Signed as something else. */
export function mislabelled(decree: SignedDecree, kind: DecreeKind): SignedDecree {
  return { ...decree, kind };
}

export function setWith(...decrees: readonly SignedDecree[]): DecreeSet {
  const set = new DecreeSet(root.publicKey, verify);
  for (const decree of decrees) set.accept(decree, NOW);
  return set;
}

/** One of many peers. */
export function peerNumbered(number: number) {
  return peerIdOf(sha256(Uint8Array.of(number >>> 8, number & 255)));
}
