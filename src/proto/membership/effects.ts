import type { RevocationTarget } from "../decrees/revocation.ts";
import type { MessageId } from "../gossip/messages.ts";
import type { PeerId } from "../peer-id.ts";
import type { Sign, Signature, TokenFacts, Verified, Verify } from "../signed.ts";
import type { Lane } from "../streams/lanes.ts";
import type { MemberProfile, MemberRecord, RecordDraft } from "./record.ts";
import type { Refutation, Suspicion } from "./statements.ts";
import type { MemberState } from "./table.ts";

/** Everything that goes into the membership machine and comes out of it. */

export type MembershipInput =
  | { readonly type: "link-up"; readonly peer: PeerId; readonly rttMs: number }
  /** `deliberate`: one side ended it in good order, which is no hint that the peer is gone. */
  | { readonly type: "link-down"; readonly peer: PeerId; readonly deliberate: boolean }
  /** A message on the probe lane, or one on the gossip lane whose kind is below 64. */
  | { readonly type: "message"; readonly peer: PeerId; readonly lane: Lane; readonly bytes: Uint8Array }
  /** The contents of a routed envelope, whose author `from` the envelope's box proves. */
  | { readonly type: "routed"; readonly from: PeerId; readonly bytes: Uint8Array }
  /** A broadcast payload, handed on by `from`. Is answered by {@link MembershipOutput} `verdict`, at once or after `verified`. */
  | { readonly type: "delivered"; readonly from: PeerId; readonly id: MessageId; readonly bytes: Uint8Array }
  | Verified<MembershipResume>
  | Signature<MembershipResume>
  /**
   * Records from outside the mesh, as {@link Membership.record} encodes them. `present`: the signaling server says that
   * they are there; `remembered`: from an earlier life of this agent, down until they show themselves.
   */
  | {
      readonly type: "introduced";
      readonly standing: "present" | "remembered";
      readonly records: readonly Uint8Array[];
    }
  /** Our own record changes; fields that are left out stay. */
  | { readonly type: "update"; readonly profile?: Partial<MemberProfile>; readonly token?: MemberToken }
  /** Announces that we leave; `event` `left` about ourselves follows when the announcement is on its way. */
  | { readonly type: "leave" }
  /** A member is out for good, whatever it signs; or a token, or all of an issuing key, is void, and who shows it is down until it shows another. */
  | { readonly type: "revoke"; readonly target: RevocationTarget }
  | { readonly type: "timeout" };

/** A member token with what its check has told. */
export interface MemberToken {
  readonly token: string;
  readonly facts: TokenFacts;
}

export type MembershipOutput =
  | { readonly type: "send"; readonly peer: PeerId; readonly lane: Lane; readonly bytes: Uint8Array }
  /** Send in an envelope along the rings; lost without harm. Only with `routing: true`. */
  | { readonly type: "route"; readonly to: PeerId; readonly bytes: Uint8Array }
  | { readonly type: "broadcast"; readonly bytes: Uint8Array }
  /** What broadcast is to do with a payload: hand it on, drop it and blame whoever sent it, or just drop it. */
  | { readonly type: "verdict"; readonly id: MessageId; readonly verdict: "accept" | "reject" | "ignore" }
  | Sign<MembershipResume>
  | Verify<MembershipResume>
  | MemberEvent
  /** A member that we were introduced to is good: one of several who could tell us of all others. */
  | { readonly type: "introduced"; readonly peer: PeerId }
  /** A member worth a dial although it may not be a neighbour: down and due for another try. */
  | { readonly type: "retry"; readonly peer: PeerId }
  /** Two probes over this link went unanswered, whatever became of its peer: time for a fresh connection. */
  | { readonly type: "link-silent"; readonly peer: PeerId }
  /** No link answers: it is probably us who lost the network. */
  | { readonly type: "isolated" }
  /** Somebody has started under our key later than we did: another process, or our boot count was lost. */
  | { readonly type: "superseded"; readonly boot: number }
  /** `peer` is left out where an honest peer may have caused it. */
  | { readonly type: "fault"; readonly peer?: PeerId; readonly fault: MembershipFault };

/** A member's standing or record has changed. */
export interface MemberEvent {
  readonly type: "event";
  /** `up`: it counts as alive again or for the first time. `updated`: alive before and after, with another record. */
  readonly event: "up" | "suspect" | "down" | "left" | "updated";
  readonly peer: PeerId;
  readonly record: MemberRecord;
  /** What it was held for before; undefined: it was unknown. */
  readonly previous: MemberState | undefined;
  /** Why; of `up`: `record`, a newer record, `answer`, to a suspicion, or `dismissed`: its accusers are not its observers. */
  readonly cause: "record" | "answer" | "dismissed" | "silence" | "claim" | "expired" | "revoked";
}

export type MembershipFault =
  /** A message or payload that cannot be decoded, or on the wrong lane. */
  | "malformed"
  /** More than an honest member sends; without a peer, more than we take of what others have said, whoever passes it on. */
  | "flood"
  /** An accusation by a member that does not observe the accused, as far as we see: its view may differ, so it is not named. */
  | "not-an-observer"
  /** An accusation by, or of, somebody who is not a member; a record of a revoked one. */
  | "not-a-member"
  /** A record or statement older than what is known. */
  | "stale"
  /** Records that nobody asked for. */
  | "unsolicited"
  /** The list is full. */
  | "table-full";

/** What membership remembers across a signature or its check. */
export type MembershipResume =
  | { readonly of: "own-record"; readonly draft: RecordDraft; readonly facts: TokenFacts; readonly body: Uint8Array }
  | { readonly of: "own-suspicion"; readonly accused: PeerId; readonly body: Uint8Array }
  | {
      readonly of: "own-refutation";
      readonly id: string;
      readonly body: Uint8Array;
      readonly askedBy: readonly PeerId[];
    }
  | { readonly of: "record"; readonly record: MemberRecord; readonly source: Source; readonly standing: Standing }
  | { readonly of: "suspicion"; readonly suspicion: Suspicion; readonly source: Source }
  | { readonly of: "refutation"; readonly refutation: Refutation; readonly source: Source };

/** How something reached us. */
export type Source =
  | { readonly via: "broadcast"; readonly from: PeerId; readonly id: MessageId }
  | { readonly via: "link"; readonly from: PeerId }
  /** In an envelope of `from`, which it has signed. */
  | { readonly via: "route"; readonly from: PeerId }
  /** From outside the mesh: nobody is to blame. */
  | { readonly via: "introduction" };

/** What whoever handed us a record says of its subject. */
export type Standing =
  | { readonly there: true }
  /** Down, as far as they know for this long. */
  | { readonly there: false; readonly ageMs: number };
