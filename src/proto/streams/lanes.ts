/**
 * A link carries numbered message streams. The first few numbers are *lanes*: open from the first frame, one for each
 * kind of mesh traffic, each with its own priority, so that a probe never waits behind a value.
 */
export const Lane = {
  /** Probes and their answers. Never retransmitted to a resumed session: a late probe is worse than none. */
  probe: 0,
  /** Membership and broadcast. */
  gossip: 1,
  /** Sealed signals and other routed envelopes. */
  signal: 2,
  /** Replication: entries and anti-entropy. */
  data: 3,
} as const;

export type Lane = (typeof Lane)[keyof typeof Lane];
