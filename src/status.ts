import type { PeerId } from "./proto/peer-id.ts";

/**
 * What `agent.status()` returns and `starling status --json` prints. Stable: fields are added, never renamed or removed.
 * Times are milliseconds, sizes bytes.
 */
export interface AgentStatus {
  readonly self: SelfStatus;
  readonly signaling: readonly SignalingStatus[];
  /** Every known member, this agent included, by id. */
  readonly members: readonly MemberStatus[];
  readonly links: readonly SignaledLinkStatus[];
  readonly buckets: readonly BucketStatus[];
  readonly store: StoreStatus;
  readonly audit: AuditStatus;
  /** What somebody should see to; empty when all is well. */
  readonly warnings: readonly StatusWarning[];
}

/** The audit log, and its copies at other members. */
export interface AuditStatus {
  /** The number of its last line on the disk. */
  readonly lines: number;
  readonly copiesWanted: number;
  /** Members that keep one, and the number of the last line on their disk. */
  readonly copies: readonly { readonly keeper: PeerId; readonly lines: number }[];
}

export interface StatusWarning {
  /**
   * `token-expiring`: a quarter of the life of this agent's token is left, and nobody has renewed it. `issuing-key-expiring`: in a month at
   * most an issuing key ends, that of this agent's own issuer or the last one that counts in the cluster.
   */
  readonly code: "token-expiring" | "issuing-key-expiring";
  /** What the matter is and what to do, for people. */
  readonly message: string;
}

export interface SelfStatus {
  readonly id: PeerId;
  readonly name: string;
  readonly cluster: string;
  /** `joining` until the first member is known and linked or the signaling server says that there is none. */
  readonly state: "joining" | "joined" | "leaving" | "closed";
  readonly version: string;
  /** ISO 8601; null before a member token is held. */
  readonly tokenExpiresAt: string | null;
  readonly scopes: readonly string[];
  /** When the issuing key ends by which this agent issues, else the last one that counts in the cluster. ISO 8601; null where all are revoked. */
  readonly issuingKeyExpiresAt: string | null;
}

export interface SignalingStatus {
  readonly url: string;
  /** `refused` is final until the agent is restarted; `lastError` says why. */
  readonly state: "connecting" | "ready" | "waiting" | "refused" | "fenced";
  readonly lastError?: string;
  /** The server's clock minus ours; absent before the first answer. */
  readonly skewMs?: number;
}

export type MemberState = "alive" | "suspect" | "down" | "left";

/** How frames travel to a member. `none`: this agent itself, or no way known. */
export type MemberPath = "direct" | "turn" | "relay" | "routed" | "none";

export interface MemberStatus {
  readonly id: PeerId;
  readonly name: string;
  readonly state: MemberState;
  readonly incarnation: number;
  readonly path: MemberPath;
  /** Smoothed; null without a link. */
  readonly rttMs: number | null;
  /** Since something was last heard from it over a link of ours; null without one. */
  readonly lastSeenMs: number | null;
  readonly labels: Readonly<Record<string, string>>;
}

export interface LinkStatus {
  readonly peer: PeerId;
  readonly path: MemberPath;
  /** The WebRTC stack that carries it. */
  readonly rtc: string;
  /** `kind address:port`; null where the stack does not tell. */
  readonly localCandidate: string | null;
  readonly remoteCandidate: string | null;
  readonly rttMs: number | null;
  readonly txBytes: number;
  readonly rxBytes: number;
  readonly sinceMs: number;
}

/** A link, and what carried the signals that made it: a signaling server, or members between the two. */
export interface SignaledLinkStatus extends LinkStatus {
  readonly signaledBy: "mesh" | "server";
}

/** Where this agent keeps the values. Null: not known yet, or there is no file. */
export interface StoreStatus {
  readonly kind: "sqlite" | "lmdb" | "memory";
  readonly rows: number | null;
  readonly fileBytes: number | null;
  /** Rows that were of no use at the start, and are had again from other members. */
  readonly uselessRows: number;
  /**
   * ISO 8601: since when this agent was not in step with anybody, if that was longer than deletions are remembered: it looks for
   * a member that was, or all were away and none has been found. Null otherwise.
   */
  readonly awaySince: string | null;
  /** Values written here while it was away that are kept apart: see `kv export --set-aside`. */
  readonly setAside: number;
  /** What was found damaged since the start; nothing is deleted for being damaged. */
  readonly damage: readonly StoreDamage[];
}

export interface StoreDamage {
  readonly type: "rows" | "file" | "commits" | "lost";
  /** One sentence. */
  readonly detail: string;
  /** Rows that could not be saved; null where nobody can tell. */
  readonly rows: number | null;
  /** The damaged files under their new name; null when there is nothing else in them. */
  readonly setAside: string | null;
}

export interface BucketStatus {
  readonly name: string;
  readonly keys: number;
  readonly bytes: number;
  /** Equal on two members exactly if they hold the same entries. */
  readonly digest: string;
  readonly replicas: "all" | number;
}
