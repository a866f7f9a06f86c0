import type { PeerId } from "../peer-id.ts";
import type { Random } from "../random.ts";
import type { Voids } from "./judgement.ts";
import type { Quotas } from "./limits.ts";
import type { Storer } from "./placement.ts";
import type { Restoration } from "./restoration.ts";

/** What a replica needs. */
export interface ReplicationOptions {
  readonly self: PeerId;
  /** Forked; decides with whom and when this replica compares. */
  readonly random: Random;
  /** The token in a member's current record. */
  readonly tokenOf: (member: PeerId) => string | undefined;
  /** What a member's token grants. Default: everything. */
  readonly scopesOf?: (member: PeerId) => readonly string[] | undefined;
  /** Whether the cluster has revoked what a batch was written under; when that changes it is told `judge`. Default: never. */
  readonly voids?: Voids;
  /** Default {@link DEFAULT_QUOTAS}. */
  readonly quotas?: Quotas;
  /** The members that store, as of when it is asked: what buckets with a fixed number of copies are placed on. Default: nobody. */
  readonly storers?: () => Iterable<Storer>;
  /** Whether no other member is known, not even as down. Default: whether none is there. */
  readonly isAlone?: () => boolean;
  /** What an earlier run has stored; this run then stores as well. Undefined: in memory only. */
  readonly restoration?: Restoration;
}
