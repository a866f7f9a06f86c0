import type { Rate } from "../../src/proto/token-bucket.ts";

/** Bounds of the wire, which no option changes. */
export const wireLimits = {
  /** Attributes of one message: a CreatePermission with every peer that an allocation may have, and room for the rest. */
  attributes: 192,
  /** A message before its sender has an allocation, bytes: credentials of full length fit, a flood of bytes does not. */
  requestBytes: 4_096,
  /** USERNAME, bytes (RFC 8489, section 14.3: less than 509). */
  usernameBytes: 508,
  /** Realm of a server, bytes. The RFC allows 763; it travels in every challenge, which must stay small. */
  realmBytes: 128,
  /** Codes listed in UNKNOWN-ATTRIBUTES: enough to tell a client what it did, and a bound on the answer. */
  unknownListed: 16,
  /** PADDING that is sent back, bytes: one Ethernet frame (RFC 5780, section 7.6). */
  paddingBytes: 1_500,
  /** An answer, bytes: realm, nonce, two addresses, a reservation and integrity come to less than 400. */
  answerBytes: 2_048,
  /** What a packet sent with DONT-FRAGMENT may have, IP header included, bytes: an Ethernet frame. */
  unfragmentedBytes: 1_500,
} as const;

/** Bounds of one server; each can be set when it starts. */
export interface TurnLimits {
  /** Allocations at once. Each holds one socket, or two with both families. */
  readonly allocations: number;
  /** Allocations of one user at once. */
  readonly allocationsPerUser: number;
  /** Allocations that wait for their socket; a request beyond is answered with 508. */
  readonly pending: number;
  /** Addresses that one allocation has permissions for. */
  readonly permissions: number;
  /** Channels of one allocation. */
  readonly channels: number;
  /** Life of an allocation whose client asks for none or for less, ms (RFC 8656: 10 minutes). */
  readonly defaultLifetimeMs: number;
  /** The longest life that a client is given at once, ms (RFC 8656 recommends an hour). */
  readonly maxLifetimeMs: number;
  /** Life of a permission, ms (RFC 8656: 5 minutes). */
  readonly permissionLifetimeMs: number;
  /** Life of a channel, ms (RFC 8656: 10 minutes). */
  readonly channelLifetimeMs: number;
  /** How long a reserved port waits for its allocation, ms (RFC 8656: 30 s at least). */
  readonly reservationMs: number;
  /** Reserved ports at once. */
  readonly reservations: number;
  /** How long a nonce is good for, ms (RFC 8656 recommends an hour at most). */
  readonly nonceLifetimeMs: number;
  /** Users whose keys are remembered; others are derived again, about 20 µs each. */
  readonly keys: number;
  /** Bytes relayed for one user, both directions together; undefined: no bound. Packets beyond are dropped. */
  readonly userBandwidth: Rate | undefined;
  /** Bytes relayed for everybody. */
  readonly totalBandwidth: Rate | undefined;
  /**
   * By how much answers may be longer than their requests, bytes for each address that has not proved to be its own. 256 KiB/s
   * are 2,500 challenges a second, and 2 Mbit/s against somebody whose address is forged.
   */
  readonly amplification: Rate;
  /** Addresses whose amplification is remembered; the one seen longest ago is forgotten beyond. */
  readonly sources: number;
}

export const defaultTurnLimits: TurnLimits = {
  allocations: 10_000,
  allocationsPerUser: 128,
  pending: 1_024,
  permissions: 128,
  channels: 128,
  defaultLifetimeMs: 600_000,
  maxLifetimeMs: 3_600_000,
  permissionLifetimeMs: 300_000,
  channelLifetimeMs: 600_000,
  reservationMs: 30_000,
  reservations: 512,
  nonceLifetimeMs: 3_600_000,
  keys: 4_096,
  userBandwidth: undefined,
  totalBandwidth: undefined,
  amplification: { perSecond: 262_144, burst: 1_048_576 },
  sources: 4_096,
};
