import type { NatFiltering, NatKind, NatMapping } from "./proto/negotiation/nat-verdict.ts";

/**
 * What `agent.netcheck()` returns and `starling netcheck --json` prints. Stable: fields are added, never renamed or removed. Times are
 * milliseconds; mapping and filtering in the words of RFC 4787.
 */
export interface NetcheckReport {
  /** Whether any STUN or TURN server answers over UDP; `unknown` where none was asked. */
  readonly udp: "open" | "blocked" | "unknown";
  readonly ipv4: FamilyReport;
  readonly ipv6: FamilyReport;
  readonly nat: NatReport;
  readonly servers: readonly ServerReport[];
  readonly signaling: readonly SignalingReport[];
  /** What looks as if somebody stood in the way: proxies, opened TLS. Empty is good. */
  readonly signs: readonly string[];
  /** What it comes to, in a sentence or two. */
  readonly meaning: string;
}

export interface FamilyReport {
  /** Addresses of this machine other than loopback and link-local ones. */
  readonly local: readonly string[];
  /** By which servers see it; null when none has told. */
  readonly public: string | null;
}

export interface NatReport {
  readonly mapping: NatMapping;
  readonly filtering: NatFiltering;
  /** How hard it is to reach this machine directly. */
  readonly kind: NatKind;
}

export interface ServerReport {
  /** As configured, without its credential. */
  readonly url: string;
  readonly transport: "udp" | "tcp" | "tls";
  /** The round trip; null when it did not answer. */
  readonly rttMs: number | null;
  /** What it lent us for a moment, `address:port`; null for STUN and where it did not. */
  readonly relay: string | null;
  /** Null when all is well. */
  readonly error: string | null;
}

export interface SignalingReport {
  readonly url: string;
  readonly rttMs: number | null;
  /** The server's clock minus ours; null when it did not tell. To the second where no agent runs. */
  readonly skewMs: number | null;
  readonly error: string | null;
}
