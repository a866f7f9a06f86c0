import { assert } from "../assert.ts";
import { concat, equalBytes, hex, utf8 } from "../bytes.ts";
import { sha256 } from "../hash.ts";
import type { Instant } from "../machine.ts";
import { decode, encode, type WireValue } from "../wire/codec.ts";
import { bytesOf, integer, list, tuple } from "../wire/shape.ts";
import { type Cluster, type ClusterKey, MAX_CLUSTER_KEYS, MAX_KEYRING } from "./cluster.ts";
import { KEY_BYTES, keyWeakness } from "./key-strength.ts";

/** The secrets that only members share, as of one rotation (`decrees/rotation.ts`). */
export interface Secrets {
  /** Counts rotations; 1 for the first secrets. */
  readonly epoch: number;
  /** Newest first. One that has an end is accepted until then. */
  readonly clusterKeys: readonly ClusterKey[];
  /** The first one seals, all of them open. */
  readonly keyring: readonly Uint8Array[];
}

/** Encoded secrets, bytes: full lists. */
export const MAX_SECRETS_BYTES = 1_024;

/**
 * After new secrets came, what is broadcast is sealed under the key before for this long, ms: by then they are everywhere
 * where they are to be, and nobody misses what it cannot open yet.
 */
export const SEAL_AFTER_MS = 5_000;

const LABEL = utf8("starling/secrets/1\0");

/**
 * A member's secrets. Others take their place as a whole, by a rotation that commits to them; all members that have taken part in
 * the same rotations hold the same bytes.
 */
export class Keychain {
  #secrets: Secrets;
  #commitment: Uint8Array;
  #sealing: { readonly before: Uint8Array; readonly until: Instant } | undefined;

  constructor(cluster: Pick<Cluster, "epoch" | "clusterKeys" | "keyring">) {
    this.#secrets = secretsOf(cluster);
    this.#commitment = commitmentTo(encodeSecrets(this.#secrets));
  }

  get secrets(): Secrets {
    return this.#secrets;
  }

  get epoch(): number {
    return this.#secrets.epoch;
  }

  /** 32 bytes: a hash that gives nothing away, since the secrets are random. */
  get commitment(): Uint8Array {
    return this.#commitment;
  }

  get encoded(): Uint8Array {
    return encodeSecrets(this.#secrets);
  }

  /** The epoch of the cluster key under which this member proves itself. */
  get clusterEpoch(): number {
    return this.#newest.epoch;
  }

  /** The cluster key of that epoch while it is accepted; undefined for any other. */
  clusterKey(epoch: number, now: Instant): Uint8Array | undefined {
    const known = this.#secrets.clusterKeys.find((key) => key.epoch === epoch);
    return known !== undefined && now < (known.until ?? Number.POSITIVE_INFINITY) ? known.key : undefined;
  }

  /** The gossip key to seal under. */
  sealingKey(now: Instant): Uint8Array {
    const first = this.#secrets.keyring[0] as Uint8Array;
    return this.#sealing !== undefined && now < this.#sealing.until ? this.#sealing.before : first;
  }

  /** Takes others into use. */
  adopt(secrets: Secrets, now: Instant): void {
    const before = this.sealingKey(now);
    const isKept = secrets.keyring.some((key) => equalBytes(key, before));
    this.#sealing = isKept ? { before, until: now + SEAL_AFTER_MS } : undefined;
    this.#secrets = secrets;
    this.#commitment = commitmentTo(encodeSecrets(secrets));
  }

  get #newest(): ClusterKey {
    return this.#secrets.clusterKeys[0] as ClusterKey;
  }
}

/** The secrets in a cluster's files or invite. */
export function secretsOf({
  epoch,
  clusterKeys,
  keyring,
}: Pick<Cluster, "epoch" | "clusterKeys" | "keyring">): Secrets {
  const newest = clusterKeys[0];
  assert(newest !== undefined && keyring.length > 0, "a cluster has a key and a keyring");
  return { epoch: Math.max(newest.epoch, epoch ?? 0), clusterKeys, keyring };
}

export function encodeSecrets({ epoch, clusterKeys, keyring }: Secrets): Uint8Array {
  return encode([epoch, clusterKeys.map(({ epoch, key, until }) => [epoch, key, until ?? null]), keyring]);
}

/** The opposite of {@link encodeSecrets}; undefined for anything else, and for keys that are not random. Never throws. */
export function decodeSecrets(encoded: Uint8Array): Secrets | undefined {
  if (encoded.length > MAX_SECRETS_BYTES) return undefined;
  const decoded = decode(encoded.slice(), { depth: 3, items: 64 });
  const fields = decoded.ok ? tuple(decoded.value, 3) : undefined;
  const epoch = integer(fields?.[0], 1, 0xffff_ffff);
  const clusterKeys = list(fields?.[1], MAX_CLUSTER_KEYS, clusterKeyOf);
  const keyring = list(fields?.[2], MAX_KEYRING, (key) => bytesOf(key, KEY_BYTES)?.slice());
  if (epoch === undefined || !clusterKeys?.length || !keyring?.length) return undefined;
  if (clusterKeys.some(({ epoch }, index) => epoch >= (clusterKeys[index - 1]?.epoch ?? Number.POSITIVE_INFINITY)))
    return undefined;
  if ([...keyring, ...clusterKeys.map(({ key }) => key)].some((key) => keyWeakness(key) !== undefined))
    return undefined;
  return { epoch, clusterKeys, keyring };
}

/** What a rotation says of secrets: 32 bytes. */
export function commitmentTo(encoded: Uint8Array): Uint8Array {
  return sha256(concat(LABEL, encoded));
}

/** The name of a key for people: 8 letters of a hash. */
export function keyName(key: Uint8Array): string {
  return hex(sha256(concat(LABEL, key)).subarray(0, 4));
}

function clusterKeyOf(value: WireValue): ClusterKey | undefined {
  const fields = tuple(value, 3);
  const epoch = integer(fields?.[0], 1, 0xffff_ffff);
  const key = bytesOf(fields?.[1], KEY_BYTES)?.slice();
  const until = fields?.[2] === null ? undefined : (integer(fields?.[2], 1) ?? Number.NaN);
  if (epoch === undefined || key === undefined || Number.isNaN(until)) return undefined;
  return until === undefined ? { epoch, key } : { epoch, key, until };
}
