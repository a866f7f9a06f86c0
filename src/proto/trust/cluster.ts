import { MAX_NAME_LENGTH } from "../limits.ts";
import type { Instant } from "../machine.ts";
import type { IceServer } from "../negotiation/rtc.ts";
import type { ClusterId } from "./cluster-id.ts";
import type { SignedIssuers } from "./issuers.ts";

/**
 * What an agent must know of its cluster before it can meet anybody: an invite carries it, the state directory keeps it.
 */
export interface Cluster {
  readonly clusterId: ClusterId;
  /** Shown to people. 1 to 64 characters. */
  readonly name: string;
  /** Ed25519, 32 bytes; {@link clusterId} derives from it. */
  readonly rootPublicKey: Uint8Array;
  /** Not verified: whoever takes it in calls `acceptIssuers`. */
  readonly issuers: SignedIssuers;
  /** Of which rotation the secrets below are. Default: the epoch of the newest cluster key. */
  readonly epoch?: number;
  /** Newest first, 1 to {@link MAX_CLUSTER_KEYS}. */
  readonly clusterKeys: readonly ClusterKey[];
  /** Symmetric keys of gossip, 32 bytes each, 1 to {@link MAX_KEYRING}; the first is the one to use. */
  readonly keyring: readonly Uint8Array[];
  /** `ws://` or `wss://`, at most {@link MAX_SIGNALING_URLS}. */
  readonly signaling: readonly string[];
  /** At most {@link MAX_ICE_SERVERS}. */
  readonly iceServers: readonly IceServer[];
}

/** The secret that only members share, in one of its epochs. */
export interface ClusterKey {
  /** 1 for the first key, 2^32 - 1 at most. */
  readonly epoch: number;
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** From here on it opens nothing any more; absent for the newest one. */
  readonly until?: Instant;
}

/** Epochs that overlap while a new cluster key spreads. */
export const MAX_CLUSTER_KEYS = 4;
/** The key in use, the ones before it, and one announced. */
export const MAX_KEYRING = 8;
/** Signaling servers of one cluster, and the length of an address, characters. */
export const MAX_SIGNALING_URLS = 8;
export const MAX_URL_LENGTH = 2_048;
/** STUN and TURN servers of one cluster, addresses of one server, and the length of an address, name or credential. */
export const MAX_ICE_SERVERS = 8;
export const MAX_ICE_URLS = 8;
export const MAX_ICE_TEXT_LENGTH = 512;

// Names reach terminals: no control characters.
const NAME = /^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+$/u;
const SIGNALING_URL = /^wss?:\/\/[^\s/?#@]+(?:[/?#]\S*)?$/;
const ICE_URL = /^(?:stuns?|turns?):\S+$/;

/** Whether `name` may stand as a cluster's name: 1 to 64 characters, none of which steers a terminal. */
export function isClusterName(name: string): boolean {
  return name.length <= MAX_NAME_LENGTH && NAME.test(name);
}

/** Whether `url` may stand as a signaling server: `ws://` or `wss://`, a host, no user name or password. */
export function isSignalingUrl(url: string): boolean {
  return url.length <= MAX_URL_LENGTH && SIGNALING_URL.test(url);
}

/** Whether `url` may stand as a STUN or TURN server. */
export function isIceUrl(url: string): boolean {
  return url.length <= MAX_ICE_TEXT_LENGTH && ICE_URL.test(url);
}
