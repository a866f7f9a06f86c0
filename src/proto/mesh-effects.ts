import type { DecreesInput, DecreesOutput } from "./decrees/effects.ts";
import type { MessageId } from "./gossip/messages.ts";
import type {
  MemberEvent,
  MembershipInput,
  MembershipOutput,
  MembershipResume,
  MemberToken,
} from "./membership/effects.ts";
import type { Membership } from "./membership/membership.ts";
import type { MemberProfile, RecordShelf } from "./membership/record.ts";
import type { OverlayInput, OverlayOutput } from "./overlay/overlay.ts";
import type { PeerId } from "./peer-id.ts";
import type { Random } from "./random.ts";
import type { Arrival, Draft, ReplicationInput, ReplicationOutput } from "./replication/effects.ts";
import type { Restoration } from "./replication/restoration.ts";
import type { RoutingOutput, RoutingSignResume, RoutingVerifyResume } from "./routing/effects.ts";
import type { Rule } from "./rule.ts";
import type { Sign, Signature, Verified, Verify } from "./signed.ts";
import type { Lane } from "./streams/lanes.ts";
import type { TopicsInput, TopicsOutput, TopicsSignResume, TopicsVerifyResume } from "./topics/topics.ts";

/** Everything that goes into the mesh and comes out of it. */

export interface MeshOptions {
  readonly self: PeerId;
  /** How often this member has started, this time included. */
  readonly boot: number;
  readonly profile: MemberProfile;
  readonly token: MemberToken;
  readonly random: Random;
  /** What members of one process share. Default: a shelf of its own. */
  readonly shelf?: RecordShelf;
  /** Whether membership watches this member's own health. Default true; false is for comparison only. */
  readonly localHealth?: boolean;
  /** Another member of this process, with the same shelf, whose list this one begins with: for simulations. */
  readonly like?: Membership;
  /** What an earlier run has stored of the buckets; this run then stores as well. Default: in memory only. */
  readonly restoration?: Restoration;
  /** What the cluster has decreed, and its secrets. Default: nothing, and secrets that nobody ever changes. */
  readonly rule?: Rule;
}

/** What comes back with a signature. */
export type MeshSignResume =
  | { readonly of: "membership"; readonly resume: MembershipResume }
  | { readonly of: "routing"; readonly resume: RoutingSignResume }
  | { readonly of: "topics"; readonly resume: TopicsSignResume }
  | { readonly of: "replication"; readonly resume: Draft };

/** What comes back with a check. */
export type MeshVerifyResume =
  | { readonly of: "membership"; readonly resume: MembershipResume }
  | { readonly of: "routing"; readonly resume: RoutingVerifyResume }
  | { readonly of: "topics"; readonly resume: TopicsVerifyResume }
  | { readonly of: "replication"; readonly resume: Arrival };

export type MeshInput =
  | { readonly type: "link-up"; readonly peer: PeerId; readonly rttMs: number }
  /** `deliberate`: one side ended it in good order, which is no hint that the peer is gone. Default false. */
  | { readonly type: "link-down"; readonly peer: PeerId; readonly deliberate?: boolean }
  | { readonly type: "message"; readonly peer: PeerId; readonly lane: Lane; readonly bytes: Uint8Array }
  | Extract<OverlayInput, { type: "dial-failed" | "dial-refused" | "asked" | "try" }>
  | Extract<MembershipInput, { type: "introduced" | "update" | "leave" }>
  | Extract<TopicsInput, { type: "publish" }>
  | Extract<DecreesInput, { type: "decree" }>
  | Extract<ReplicationInput, { type: "put" | "delete" | "transaction" | "stored" | "read" | "drain" }>
  /**
   * Carry a sealed signal, at most 18 KiB, to a member over the links of others. `request`: the caller's own number, which
   * comes back with `delivered` or `unreachable`.
   */
  | { readonly type: "signal"; readonly to: PeerId; readonly letter: Uint8Array; readonly request: number }
  /** Our token was renewed. */
  | { readonly type: "token"; readonly token: MemberToken }
  | Signature<MeshSignResume>
  | Verified<MeshVerifyResume>
  /** The answer to `verify` when something in it does not hold. `blameless`: an honest member may not know yet. Default false. */
  | {
      readonly type: "rejected";
      readonly from: PeerId;
      readonly resume: MeshVerifyResume;
      readonly blameless?: boolean;
    }
  | { readonly type: "timeout" };

export type MeshOutput =
  | { readonly type: "send"; readonly peer: PeerId; readonly lane: Lane; readonly bytes: Uint8Array }
  | OverlayOutput
  /** Both sides of this link hold the same decrees and secrets: it may be used for everything. */
  | { readonly type: "opened"; readonly peer: PeerId }
  | Extract<DecreesOutput, { type: "decreed" | "rekeyed" }>
  | Sign<MeshSignResume>
  | Verify<MeshVerifyResume>
  /** Our record has changed: what a signaling server introduces us by. */
  | { readonly type: "present"; readonly record: Uint8Array }
  | MemberEvent
  | Extract<MembershipOutput, { type: "link-silent" | "isolated" | "superseded" }>
  /** A sealed signal that others have carried here; `from` has signed its envelope. */
  | { readonly type: "signal"; readonly from: PeerId; readonly letter: Uint8Array }
  | Extract<RoutingOutput, { type: "delivered" | "unreachable" }>
  | Extract<TopicsOutput, { type: "post" }>
  | Extract<
      ReplicationOutput,
      {
        type:
          | "acknowledged"
          | "unacknowledged"
          | "refused"
          | "conflict"
          | "changed"
          | "deferred"
          | "store"
          | "read"
          | "unreadable"
          | "drained"
          | "followed"
          | "resumed";
      }
    >
  | { readonly type: "fault"; readonly peer?: PeerId; readonly fault: string };

/** The broadcast that a check was about; undefined where none was. */
export function deliveryOf(resume: MeshVerifyResume): MessageId | undefined {
  if (resume.of === "routing") return undefined;
  if (resume.of !== "membership") return resume.resume.delivery;
  const source = "source" in resume.resume ? resume.resume.source : undefined;
  return source?.via === "broadcast" ? source.id : undefined;
}

/** Our token as replication is told of it. */
export function credentials({ token, facts }: MemberToken): ReplicationInput {
  return { type: "credentials", token, scopes: facts.scopes, expiresAt: facts.expiresAt };
}
