import type { MessageId } from "../gossip/messages.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Sign, Signature, Verified, Verify } from "../signed.ts";
import type { Lane } from "../streams/lanes.ts";
import type { Batch, Parcel } from "./batch.ts";
import type { EntryHead } from "./entry.ts";
import type { RowChange } from "./rows.ts";
import type { ReadEntry } from "./store.ts";

/** The words between the replication core and whatever runs it: its inputs and its outputs. */

/** What a replica is told. */
export type ReplicationInput =
  /** This member's token and what it allows; needed before the first write, and again after each renewal. */
  | {
      readonly type: "credentials";
      readonly token: string;
      readonly scopes: readonly string[];
      /** Writes are refused (`forbidden`) from here on. */
      readonly expiresAt: Instant;
    }
  /** How many members there are, this one included; who stores may have changed too. 1 until told. */
  | { readonly type: "members"; readonly count: number }
  /** Read a key from other replicas: of a key that is not ours, or from a majority. Answered by `read` or `unreadable`. */
  | {
      readonly type: "read";
      readonly request: number;
      readonly bucket: string;
      readonly key: string;
      readonly isQuorum: boolean;
    }
  /** Somebody was revoked: what is stored is judged anew, from now on. */
  | { readonly type: "judge" }
  /** Hand over what is here for others to keep; answered by `drained`, once, when it is done. */
  | { readonly type: "drain" }
  | ({ readonly type: "put"; readonly value: Uint8Array } & WriteInput)
  | ({ readonly type: "delete" } & WriteInput)
  /**
   * Local writes to one bucket that belong together, each key once: 1 to 64, 52 KiB in all. On every replica all of them are there or
   * none is. Answered as one write, with the version of the last.
   */
  | ({
      readonly type: "transaction";
      readonly writes: readonly { readonly key: string; readonly value: Uint8Array | null }[];
    } & Omit<WriteInput, "key" | "ifVersion">)
  | { readonly type: "link-up"; readonly peer: PeerId }
  | { readonly type: "link-down"; readonly peer: PeerId }
  /** A message on the data lane of a link. */
  | { readonly type: "message"; readonly peer: PeerId; readonly bytes: Uint8Array }
  /** The content of a routed envelope; `peer` sealed it. */
  | { readonly type: "routed"; readonly peer: PeerId; readonly bytes: Uint8Array }
  /** A broadcast on the replication topic; answered, at once or later, by at most one `verdict`. */
  | { readonly type: "delivered"; readonly id: MessageId; readonly from: PeerId; readonly payload: Uint8Array }
  | Signature<Draft>
  | Verified<Arrival>
  /** The answer to `store`: these rows are durable. In the order of the commits. */
  | { readonly type: "stored"; readonly sequence: number }
  | { readonly type: "timeout" };

/** A local write. It is answered by `refused`, `conflict`, `acknowledged` or `unacknowledged`, exactly once. */
export interface WriteInput {
  /** Chosen by the caller; positive, and unique among the unanswered. */
  readonly request: number;
  readonly bucket: string;
  readonly key: string;
  /**
   * How many members must have it: 1 to 64, a majority of the key's replicas, or all of them. This one counts if it is one of
   * them. Default: 2, or all if fewer.
   */
  readonly replicas?: number | "quorum" | "all";
  /** How long to wait for them, ms: at most 60,000. Default 10,000. */
  readonly timeoutMs?: number;
  /** Write only over this version, null: only where there is none (`conditions.ts`). It then waits for a majority of the replicas at least. */
  readonly ifVersion?: string | null;
}

/** A put or a deletion with a condition. */
export type ConditionalWrite = Extract<ReplicationInput, { readonly type: "put" | "delete" }> & {
  readonly ifVersion: string | null;
};

/** What a replica wants done, or has to say. */
export type ReplicationOutput =
  /** Send on the data lane of the link to `peer`. */
  | { readonly type: "send"; readonly peer: PeerId; readonly lane: typeof Lane.data; readonly bytes: Uint8Array }
  /** Send in a routed envelope: there is no link. Comes back as `routed` at `to`. */
  | { readonly type: "route"; readonly to: PeerId; readonly bytes: Uint8Array }
  /** Publish on the replication topic. */
  | { readonly type: "broadcast"; readonly payload: Uint8Array }
  /** What to make of a delivered broadcast: `reject` is the fault of the neighbour that forwarded it. */
  | { readonly type: "verdict"; readonly id: MessageId; readonly verdict: "accept" | "reject" | "ignore" }
  | Sign<Draft>
  | Verify<Arrival>
  /** Make these changes durable, all or none, and answer `stored`. Only of a replica that is to be durable. */
  | { readonly type: "store"; readonly sequence: number; readonly rows: readonly RowChange[] }
  /** The asked number of members has it; `replicas` counts this one. */
  | { readonly type: "acknowledged"; readonly request: number; readonly replicas: number; readonly version: string }
  /**
   * It is stored here and keeps spreading, but too few members have said so in time. `undecided`: it was conditional, and a rival
   * may have written over the same version.
   */
  | {
      readonly type: "unacknowledged";
      readonly request: number;
      readonly reason: "timeout" | "undecided";
      readonly replicas: number;
      readonly version: string;
    }
  /** Nothing was written: the key has another version than the condition names; null: none. */
  | { readonly type: "conflict"; readonly request: number; readonly found: string | null }
  /** Make a link to a member that is to hold something. */
  | { readonly type: "reach"; readonly peer: PeerId }
  /** The version that enough replicas have; undefined when there is none, or it was deleted. */
  | { readonly type: "read"; readonly request: number; readonly entry: ReadEntry | undefined }
  /** Too few replicas are linked, or have answered in time; or too many reads are under way. */
  | { readonly type: "unreadable"; readonly request: number; readonly reason: "unreachable" | "timeout" | "quota" }
  | { readonly type: "drained" }
  /**
   * This replica was away for longer than deletions are remembered. `followed`: it has taken over what `peer` has, `removed` values
   * that nobody has any more are gone, `setAside` of them written here meanwhile and kept apart. `resumed`: all were away, and go on.
   */
  | {
      readonly type: "followed";
      readonly peer: PeerId;
      readonly awaySince: Instant;
      readonly removed: number;
      readonly setAside: number;
    }
  | { readonly type: "resumed"; readonly awaySince: Instant }
  /** Nothing was written. */
  | { readonly type: "refused"; readonly request: number; readonly reason: Refusal }
  /** A key has a new version. Cursors rise by one with each. */
  | {
      readonly type: "changed";
      readonly cursor: number;
      readonly bucket: string;
      readonly key: string;
      readonly entry: ReadEntry;
    }
  /** A batch from the future was set aside unremembered: somebody's clock is wrong. */
  | { readonly type: "deferred"; readonly peer: PeerId; readonly author: PeerId; readonly aheadMs: number }
  | { readonly type: "fault"; readonly peer?: PeerId; readonly fault: ReplicationFault };

/**
 * Why a write was refused: value over 8 MiB, or transaction over its bounds; quota or too many writes under way; bucket name; key empty, over 512
 * bytes, not well-formed, or twice in a transaction; no valid token that allows it; replicas not an integer from 1 to 64; of a conditional
 * write: no majority in time, or more than 17 members would have to decide.
 */
export type Refusal =
  | "too-large"
  | "quota"
  | "bad-bucket"
  | "bad-key"
  | "forbidden"
  | "bad-replicas"
  | "no-majority"
  | "too-many-replicas";

/**
 * What somebody did wrong. `malformed`: not a message; `not-in-batch`: an entry that its batch's author did not sign;
 * `clock-ahead`: further than any honest neighbour accepts; `forbidden`: the author's token does not allow the write
 * (the author is blamed); `unsolicited`: an answer that was never asked for; `bad-value`: a value that is not what
 * its version says; `no-progress`: lists what it does not have, or never ends; `flood`: far more messages than
 * allowed. The last two end all dealings with the peer until its link is gone. `quota` blames nobody: an entry that
 * does not fit here.
 */
export type ReplicationFault =
  | "malformed"
  | "not-in-batch"
  | "clock-ahead"
  | "forbidden"
  | "unsolicited"
  | "bad-value"
  | "no-progress"
  | "flood"
  | "quota";

/** A batch of local writes on its way to be signed. */
export interface Draft {
  readonly token: string;
  readonly header: Omit<Batch, "signature">;
  /** Who is to hold it; undefined: everybody. */
  readonly audience: readonly PeerId[] | undefined;
  readonly writes: readonly DraftWrite[];
}

/** One write of a draft. */
export interface DraftWrite {
  readonly head: EntryHead;
  readonly path: number;
  readonly value: Uint8Array;
  readonly request: number;
  readonly replicas: number;
  readonly timeoutMs: number;
}

/** Entries on their way to be verified. */
export interface Arrival {
  /** The batch with those of its entries that are news here. */
  readonly parcel: Parcel;
  /** Whether the whole batch came: only then is it acknowledged. */
  readonly isWhole: boolean;
  readonly token: string;
  readonly from: PeerId;
  /** The broadcast that brought them, if one did. */
  readonly delivery: MessageId | undefined;
}

/** What the parts of the core use to reach the outside. */
export interface Outlet {
  readonly self: PeerId;
  send(peer: PeerId, bytes: Uint8Array): void;
  emit(output: ReplicationOutput): void;
  fault(peer: PeerId | undefined, fault: ReplicationFault): void;
  isLinked(peer: PeerId): boolean;
}
