import { base32, concat, fromBase32, utf8 } from "../bytes.ts";
import { sha256 } from "../hash.ts";

/**
 * A cluster's name is derived from the public key of its root: nobody can claim the name without the key, and whoever
 * knows the name can check a root key that a stranger hands over.
 *
 * SHA-256 over a label and the key is cut to 20 bytes. The attack that matters is a second preimage (another root for a
 * given name), 2^160 work; a collision (2^80) yields two clusters of one's own that share a name, which harms nobody
 * else. 20 bytes are exactly 32 characters of base32: no spare bits, and short enough for a DNS label.
 */

declare const clusterId: unique symbol;

/** 32 characters of lower-case base32. Nominal: {@link clusterIdOf} and {@link parseClusterId} are the only ways in. */
export type ClusterId = string & { readonly [clusterId]: true };

const LABEL = utf8("starling/cluster/1\0");
const BYTES = 20;

/** The name of the cluster whose root has this Ed25519 public key (32 bytes). */
export function clusterIdOf(rootPublicKey: Uint8Array): ClusterId {
  return base32(sha256(concat(LABEL, rootPublicKey)).subarray(0, BYTES)) as ClusterId;
}

/** Parses canonical text; undefined when it is not a cluster's name. */
export function parseClusterId(text: string): ClusterId | undefined {
  if (text.length !== 32) return undefined;
  return fromBase32(text) === undefined ? undefined : (text as ClusterId);
}
