import { earlier } from "./deadlines.ts";
import { Broadcast, type BroadcastInput, type BroadcastOutput, type Verdict } from "./gossip/broadcast.ts";
import { FIRST_BROADCAST_KIND, type MessageId, Topic } from "./gossip/messages.ts";
import type { Instant, Machine } from "./machine.ts";
import type {
  MemberEvent,
  MembershipInput,
  MembershipOutput,
  MembershipResume,
  MemberToken,
} from "./membership/effects.ts";
import { Membership } from "./membership/membership.ts";
import type { MemberProfile, MemberRecord, RecordShelf } from "./membership/record.ts";
import { Overlay, type OverlayInput, type OverlayOutput } from "./overlay/overlay.ts";
import type { PeerId } from "./peer-id.ts";
import type { Random } from "./random.ts";
import type { Arrival, Draft, ReplicationInput, ReplicationOutput } from "./replication/effects.ts";
import { Replication } from "./replication/replication.ts";
import type { Sign, Signature, Verified, Verify } from "./signed.ts";
import { Lane } from "./streams/lanes.ts";

/**
 * The mesh: who is there, whom to be linked with, what everybody is told, what everybody stores.
 *
 * Four machines, put together. Membership learns who is there and tells the overlay, which wants links; a link that stands is
 * made known to all of them; membership and replication hand what everybody must hear to broadcast, and judge what it brings.
 * This file moves the outputs of each to where they belong and decides nothing. It runs unchanged in an agent, which gives it
 * WebRTC links and real signatures, and in the simulator, which gives it neither.
 */
export class Mesh implements Machine<MeshInput, MeshOutput> {
  readonly membership: Membership;
  readonly replication: Replication;
  readonly overlay: Overlay;
  readonly #self: PeerId;
  readonly #broadcast: Broadcast;
  /** What a link may be used for by the parts that ask "is there a link?". */
  readonly #links = new Set<PeerId>();
  #out: MeshOutput[] = [];
  #size = 0;
  #presented: MemberRecord | undefined;

  constructor(options: MeshOptions, now: Instant) {
    const { self, random, token } = options;
    this.#self = self;
    this.membership = new Membership({ ...options, random: random.fork("membership") }, now);
    this.overlay = new Overlay(this.membership.seat, this.membership.rings, random);
    this.#broadcast = new Broadcast(self);
    this.replication = new Replication({
      self,
      random: random.fork("replication"),
      tokenOf: (member) => this.membership.member(member)?.record.token,
    });
    this.#toReplication(credentials(token), now);
  }

  /** Members with whom a link stands. */
  get links(): ReadonlySet<PeerId> {
    return this.#links;
  }

  deadline(): Instant | undefined {
    return earlier(
      earlier(this.membership.deadline(), this.overlay.deadline()),
      earlier(this.#broadcast.deadline(), this.replication.deadline()),
    );
  }

  handle(input: MeshInput, now: Instant): readonly MeshOutput[] {
    switch (input.type) {
      case "message":
        this.#message(input.peer, input.lane, input.bytes, now);
        break;
      case "timeout":
        this.#timeout(now);
        break;
      case "link-up":
        this.#linkUp(input.peer, input.rttMs, now);
        break;
      case "link-down":
        this.#linkDown(input.peer, input.deliberate ?? false, now);
        break;
      case "dial-failed":
      case "dial-refused":
      case "asked":
      case "try":
        this.#toOverlay(input, now);
        break;
      case "verified":
        if (input.resume.of === "membership") this.#toMembership({ ...input, resume: input.resume.resume }, now);
        else this.#toReplication({ ...input, resume: input.resume.arrival }, now);
        break;
      case "signed":
        if (input.resume.of === "membership") this.#toMembership({ ...input, resume: input.resume.resume }, now);
        else this.#toReplication({ ...input, resume: input.resume.draft }, now);
        break;
      case "rejected":
        this.#rejected(input.from, input.resume, now);
        break;
      case "token":
        this.#credentials(input.token, now);
        break;
      case "put":
      case "delete":
        this.#toReplication(input, now);
        break;
      case "introduced":
      case "update":
      case "leave":
      case "revoke":
        this.#toMembership(input, now);
        break;
    }
    const out = this.#out;
    this.#out = [];
    return out;
  }

  #message(peer: PeerId, lane: Lane, bytes: Uint8Array, now: Instant): void {
    if (lane === Lane.data) this.#toReplication({ type: "message", peer, bytes }, now);
    // A message is an array that begins with its kind, and kinds are small: the second byte tells whose it is.
    else if (lane === Lane.gossip && (bytes[1] ?? 0) >= FIRST_BROADCAST_KIND) {
      this.#toBroadcast({ type: "message", peer, bytes }, now);
    } else this.#toMembership({ type: "message", peer, lane, bytes }, now);
  }

  #timeout(now: Instant): void {
    if (due(this.membership, now)) this.#toMembership({ type: "timeout" }, now);
    if (due(this.overlay, now)) this.#toOverlay({ type: "timeout" }, now);
    if (due(this.#broadcast, now)) this.#toBroadcast({ type: "timeout" }, now);
    if (due(this.replication, now)) this.#toReplication({ type: "timeout" }, now);
  }

  #linkUp(peer: PeerId, rttMs: number, now: Instant): void {
    this.#links.add(peer);
    this.#toOverlay({ type: "link-up", peer }, now);
    this.#toBroadcast({ type: "neighbour-up", peer, rttMs }, now);
    this.#toMembership({ type: "link-up", peer, rttMs }, now);
    this.#toReplication({ type: "link-up", peer }, now);
  }

  #linkDown(peer: PeerId, deliberate: boolean, now: Instant): void {
    if (!this.#links.delete(peer)) return;
    this.#toBroadcast({ type: "neighbour-down", peer }, now);
    this.#toReplication({ type: "link-down", peer }, now);
    this.#toMembership({ type: "link-down", peer, deliberate }, now);
    this.#toOverlay({ type: "link-down", peer }, now);
  }

  #credentials(token: MemberToken, now: Instant): void {
    this.#toReplication(credentials(token), now);
    this.#toMembership({ type: "update", token }, now);
  }

  /** A check has failed: what came by broadcast goes no further, and whoever handed it on is to blame. */
  #rejected(from: PeerId, resume: MeshVerifyResume, now: Instant): void {
    const delivery = deliveryOf(resume);
    if (delivery === undefined) this.#out.push({ type: "fault", peer: from, fault: "forged" });
    else this.#toBroadcast({ type: "verdict", id: delivery, verdict: "reject" }, now);
  }

  #toMembership(input: MembershipInput, now: Instant): void {
    for (const output of this.membership.handle(input, now)) this.#fromMembership(output, now);
    const { record } = this.membership.member(this.#self) ?? {};
    if (record !== this.#presented) {
      this.#presented = record;
      const bytes = this.membership.record(this.#self);
      if (bytes !== undefined) this.#out.push({ type: "present", record: bytes });
    }
    const { size } = this.membership.rings;
    if (size === this.#size) return;
    this.#size = size;
    this.#toReplication({ type: "members", count: Math.max(1, size) }, now);
  }

  #fromMembership(output: MembershipOutput, now: Instant): void {
    switch (output.type) {
      case "broadcast":
        this.#toBroadcast({ type: "publish", topic: Topic.membership, payload: output.bytes }, now);
        break;
      case "verdict":
        this.#verdict(output.id, output.verdict, now);
        break;
      case "sign":
      case "verify":
        this.#out.push({ ...output, resume: { of: "membership", resume: output.resume } });
        break;
      case "event":
        this.#memberEvent(output, now);
        break;
      case "retry":
        this.#toOverlay({ type: "try", peer: output.peer }, now);
        break;
      case "route":
        break;
      default:
        this.#out.push(output);
    }
  }

  #memberEvent(event: MemberEvent, now: Instant): void {
    this.#out.push(event);
    if (event.peer === this.#self) return;
    // A suspicion changes nothing about what is wanted, and would make the overlay forget what it knows of the way.
    if (event.event !== "suspect") {
      const there = event.event !== "down" && event.event !== "left";
      this.#toOverlay({ type: there ? "member-up" : "member-gone", peer: event.peer }, now);
    }
    // Silence may pass, so the overlay keeps a link through it for a while; a membership that is void ends its link at once.
    const isVoid = event.cause === "expired" || event.cause === "revoked";
    if (isVoid && this.#links.has(event.peer)) this.#out.push({ type: "drop", peer: event.peer, reason: "gone" });
  }

  #toOverlay(input: OverlayInput, now: Instant): void {
    for (const output of this.overlay.handle(input, now)) this.#out.push(output);
  }

  #toBroadcast(input: BroadcastInput, now: Instant): void {
    for (const output of this.#broadcast.handle(input, now)) this.#fromBroadcast(output, now);
  }

  #fromBroadcast(output: BroadcastOutput, now: Instant): void {
    switch (output.type) {
      case "send":
        this.#out.push({ type: "send", peer: output.peer, lane: Lane.gossip, bytes: output.bytes });
        break;
      case "deliver":
        this.#deliver(output, now);
        break;
      case "fault":
        this.#out.push(output);
        break;
    }
  }

  #deliver(delivery: Extract<BroadcastOutput, { type: "deliver" }>, now: Instant): void {
    const { topic, payload, id, from } = delivery;
    switch (topic) {
      case Topic.membership:
        this.#toMembership({ type: "delivered", from, id, bytes: payload }, now);
        break;
      case Topic.replication:
        this.#toReplication({ type: "delivered", id, from, payload }, now);
        break;
      case Topic.application:
        // Nobody publishes on it in this version.
        this.#verdict(id, "ignore", now);
        break;
    }
  }

  #verdict(id: MessageId, verdict: Verdict, now: Instant): void {
    this.#toBroadcast({ type: "verdict", id, verdict }, now);
  }

  #toReplication(input: ReplicationInput, now: Instant): void {
    for (const output of this.replication.handle(input, now)) this.#fromReplication(output, now);
  }

  #fromReplication(output: ReplicationOutput, now: Instant): void {
    switch (output.type) {
      case "broadcast":
        this.#toBroadcast({ type: "publish", topic: Topic.replication, payload: output.payload }, now);
        break;
      case "verdict":
        this.#verdict(output.id, output.verdict, now);
        break;
      case "sign":
        this.#out.push({ ...output, resume: { of: "replication", draft: output.resume } });
        break;
      case "verify":
        this.#out.push({ ...output, resume: { of: "replication", arrival: output.resume } });
        break;
      case "route":
        break;
      default:
        this.#out.push(output);
    }
  }
}

function credentials({ token, facts }: MemberToken): ReplicationInput {
  return { type: "credentials", token, scopes: facts.scopes, expiresAt: facts.expiresAt };
}

function due(machine: { deadline(): Instant | undefined }, now: Instant): boolean {
  const deadline = machine.deadline();
  return deadline !== undefined && deadline <= now;
}

function deliveryOf(resume: MeshVerifyResume): MessageId | undefined {
  if (resume.of === "replication") return resume.arrival.delivery;
  const source = "source" in resume.resume ? resume.resume.source : undefined;
  return source?.via === "broadcast" ? source.id : undefined;
}

export interface MeshOptions {
  readonly self: PeerId;
  /** How often this member has started, this time included. */
  readonly boot: number;
  readonly profile: MemberProfile;
  readonly token: MemberToken;
  readonly random: Random;
  /** Decoded records, shared between the meshes of one process. Default: a shelf of its own. */
  readonly shelf?: RecordShelf;
}

/** What comes back with a signature. */
export type MeshSignResume =
  | { readonly of: "membership"; readonly resume: MembershipResume }
  | { readonly of: "replication"; readonly draft: Draft };

/** What comes back with a check. */
export type MeshVerifyResume =
  | { readonly of: "membership"; readonly resume: MembershipResume }
  | { readonly of: "replication"; readonly arrival: Arrival };

export type MeshInput =
  | { readonly type: "link-up"; readonly peer: PeerId; readonly rttMs: number }
  /** `deliberate`: one side ended it in good order, which is no hint that the peer is gone. Default false. */
  | { readonly type: "link-down"; readonly peer: PeerId; readonly deliberate?: boolean }
  | { readonly type: "message"; readonly peer: PeerId; readonly lane: Lane; readonly bytes: Uint8Array }
  | Extract<OverlayInput, { type: "dial-failed" | "dial-refused" | "asked" | "try" }>
  | Extract<MembershipInput, { type: "introduced" | "update" | "leave" | "revoke" }>
  | Extract<ReplicationInput, { type: "put" | "delete" }>
  /** Our token was renewed. */
  | { readonly type: "token"; readonly token: MemberToken }
  | Signature<MeshSignResume>
  | Verified<MeshVerifyResume>
  /** The answer to `verify` when something in it does not hold. */
  | { readonly type: "rejected"; readonly from: PeerId; readonly resume: MeshVerifyResume }
  | { readonly type: "timeout" };

export type MeshOutput =
  | { readonly type: "send"; readonly peer: PeerId; readonly lane: Lane; readonly bytes: Uint8Array }
  | OverlayOutput
  | Sign<MeshSignResume>
  | Verify<MeshVerifyResume>
  /** Our record has changed: what a signaling server introduces us by. */
  | { readonly type: "present"; readonly record: Uint8Array }
  | MemberEvent
  | Extract<MembershipOutput, { type: "link-silent" | "isolated" | "superseded" }>
  | Extract<ReplicationOutput, { type: "acknowledged" | "unacknowledged" | "refused" | "changed" | "deferred" }>
  | { readonly type: "fault"; readonly peer?: PeerId; readonly fault: string };
