import { Broadcast, type BroadcastInput, type BroadcastOutput, type Verdict } from "./gossip/broadcast.ts";
import { FIRST_BROADCAST_KIND, type MessageId, Topic } from "./gossip/messages.ts";
import type { Instant, Machine } from "./machine.ts";
import type { MemberEvent, MembershipInput, MembershipOutput } from "./membership/effects.ts";
import { Membership } from "./membership/membership.ts";
import {
  credentials,
  deliveryOf,
  type MeshInput,
  type MeshOptions,
  type MeshOutput,
  type MeshVerifyResume,
} from "./mesh-effects.ts";
import { Overlay, type OverlayInput, type OverlayOutput } from "./overlay/overlay.ts";
import type { RingSeat } from "./overlay/seat.ts";
import { Part } from "./part.ts";
import type { PeerId } from "./peer-id.ts";
import type { ReplicationInput, ReplicationOutput } from "./replication/effects.ts";
import { Replication } from "./replication/replication.ts";
import type { RoutingInput, RoutingOutput } from "./routing/effects.ts";
import { Purpose } from "./routing/envelope.ts";
import { Routing } from "./routing/routing.ts";
import { storersAmong } from "./storers.ts";
import { Lane } from "./streams/lanes.ts";
import { Topics, type TopicsInput, type TopicsOutput } from "./topics/topics.ts";

export type { MeshInput, MeshOptions, MeshOutput } from "./mesh-effects.ts";

/**
 * The mesh: who is there, whom to be linked with, what everybody is told, what everybody stores, and how one reaches another.
 *
 * Six machines, put together. Membership learns who is there and tells the overlay, which wants links; a link that stands is
 * made known to all of them; membership and replication hand what everybody must hear to broadcast, and judge what it brings;
 * what they have for one member without a link, and the signals that make a link, routing carries over the links of others.
 * This file moves the outputs of each to where they belong and decides nothing. It runs unchanged in an agent, which gives it
 * WebRTC links and real signatures, and in the simulator, which gives it neither.
 */
export class Mesh implements Machine<MeshInput, MeshOutput> {
  readonly membership: Membership;
  readonly replication: Replication;
  readonly overlay: Overlay;
  readonly #self: PeerId;
  readonly #membership: Part<MembershipInput, MembershipOutput>;
  readonly #overlay: Part<OverlayInput, OverlayOutput>;
  readonly #replication: Part<ReplicationInput, ReplicationOutput>;
  readonly #broadcast: Part<BroadcastInput, BroadcastOutput>;
  readonly #routing: Part<RoutingInput, RoutingOutput>;
  readonly #topics: Topics;
  /** What a link may be used for by the parts that ask "is there a link?". */
  readonly #links = new Set<PeerId>();
  #out: MeshOutput[] = [];
  #size = 0;

  constructor(options: MeshOptions, now: Instant) {
    const { self, random, token } = options;
    this.#self = self;
    this.membership = new Membership({ ...options, routing: true, random: random.fork("membership") }, now);
    this.overlay = new Overlay(this.membership.seat, this.membership.rings, random);
    this.#membership = new Part(this.membership);
    this.#overlay = new Part(this.overlay);
    this.#broadcast = new Part(new Broadcast(self));
    this.#routing = new Part(new Routing(self, this.membership.rings, (peer) => this.#seatOf(peer), random));
    this.#topics = new Topics(self, (peer) => this.#scopesOf(peer), random);
    this.replication = new Replication({
      self,
      random: random.fork("replication"),
      tokenOf: (member) => this.membership.member(member)?.record.token,
      storers: () => storersAmong(this.membership.members()),
      ...(options.restoration !== undefined && { restoration: options.restoration }),
    });
    this.#replication = new Part(this.replication);
    this.#toReplication(credentials(token), now);
    if (options.like === undefined) return;
    this.#present();
    this.#toOverlay({ type: "member-up", peer: self }, now);
  }

  /** Members with whom a link stands. */
  get links(): ReadonlySet<PeerId> {
    return this.#links;
  }

  deadline(): Instant | undefined {
    const { dueAt } = this.#membership;
    const next = Math.min(
      dueAt,
      this.#overlay.dueAt,
      this.#broadcast.dueAt,
      this.#replication.dueAt,
      this.#routing.dueAt,
    );
    return next === Number.POSITIVE_INFINITY ? undefined : next;
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
        else if (input.resume.of === "routing") this.#toRouting({ ...input, resume: input.resume.resume }, now);
        else if (input.resume.of === "topics") this.#toTopics({ ...input, resume: input.resume.resume }, now);
        else this.#toReplication({ ...input, resume: input.resume.arrival }, now);
        break;
      case "signed":
        if (input.resume.of === "membership") this.#toMembership({ ...input, resume: input.resume.resume }, now);
        else if (input.resume.of === "routing") this.#toRouting({ ...input, resume: input.resume.resume }, now);
        else if (input.resume.of === "topics") this.#toTopics({ ...input, resume: input.resume.resume }, now);
        else this.#toReplication({ ...input, resume: input.resume.draft }, now);
        break;
      case "signal":
        this.#route(input.to, Purpose.signal, input.letter, now, input.request);
        break;
      case "rejected":
        this.#rejected(input.from, input.resume, now);
        break;
      case "token":
        this.#toReplication(credentials(input.token), now);
        this.#toMembership({ type: "update", token: input.token }, now);
        break;
      case "publish":
        this.#toTopics(input, now);
        break;
      case "put":
      case "transaction":
      case "read":
      case "drain":
      case "delete":
      case "stored":
        this.#toReplication(input, now);
        break;
      default:
        this.#toMembership(input, now);
        break;
    }
    const out = this.#out;
    this.#out = [];
    return out;
  }

  #message(peer: PeerId, lane: Lane, bytes: Uint8Array, now: Instant): void {
    if (lane === Lane.data) this.#toReplication({ type: "message", peer, bytes }, now);
    else if (lane === Lane.signal) this.#toRouting({ type: "message", peer, bytes }, now);
    // A message is an array that begins with its kind, and kinds are small: the second byte tells whose it is.
    else if (lane === Lane.gossip && (bytes[1] ?? 0) >= FIRST_BROADCAST_KIND) {
      this.#toBroadcast({ type: "message", peer, bytes }, now);
    } else this.#toMembership({ type: "message", peer, lane, bytes }, now);
  }

  #timeout(now: Instant): void {
    if (this.#membership.dueAt <= now) this.#toMembership(TIMEOUT, now);
    if (this.#overlay.dueAt <= now) this.#toOverlay(TIMEOUT, now);
    if (this.#broadcast.dueAt <= now) this.#toBroadcast(TIMEOUT, now);
    if (this.#replication.dueAt <= now) this.#toReplication(TIMEOUT, now);
    if (this.#routing.dueAt <= now) this.#toRouting(TIMEOUT, now);
  }

  #linkUp(peer: PeerId, rttMs: number, now: Instant): void {
    this.#links.add(peer);
    this.#toRouting({ type: "link-up", peer }, now);
    this.#toOverlay({ type: "link-up", peer }, now);
    this.#toBroadcast({ type: "neighbour-up", peer, rttMs }, now);
    this.#toMembership({ type: "link-up", peer, rttMs }, now);
    this.#toReplication({ type: "link-up", peer }, now);
  }

  #linkDown(peer: PeerId, deliberate: boolean, now: Instant): void {
    if (!this.#links.delete(peer)) return;
    this.#toRouting({ type: "link-down", peer }, now);
    this.#toBroadcast({ type: "neighbour-down", peer }, now);
    this.#toReplication({ type: "link-down", peer }, now);
    this.#toMembership({ type: "link-down", peer, deliberate }, now);
    this.#toOverlay({ type: "link-down", peer }, now);
  }

  /** A check has failed: what came by broadcast goes no further, and whoever handed it on is to blame. */
  #rejected(from: PeerId, resume: MeshVerifyResume, now: Instant): void {
    const delivery = deliveryOf(resume);
    if (delivery === undefined) this.#out.push({ type: "fault", peer: from, fault: "forged" });
    else this.#toBroadcast({ type: "verdict", id: delivery, verdict: "reject" }, now);
  }

  #toMembership(input: MembershipInput, now: Instant): void {
    for (const output of this.#membership.handle(input, now)) this.#fromMembership(output, now);
    const { size } = this.membership.rings;
    if (size === this.#size) return;
    this.#size = size;
    this.#toReplication({ type: "members", count: Math.max(1, size) }, now);
  }

  /** What a server is to introduce us by. */
  #present(): void {
    const record = this.membership.record(this.#self);
    if (record !== undefined) this.#out.push({ type: "present", record });
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
        this.#route(output.to, Purpose.membership, output.bytes, now);
        break;
      default:
        this.#out.push(output);
    }
  }

  #memberEvent(event: MemberEvent, now: Instant): void {
    this.#out.push(event);
    // What is not everywhere may have to move.
    if (this.replication.isPlacing) this.#toReplication({ type: "members", count: Math.max(1, this.#size) }, now);
    if (event.peer === this.#self) {
      this.#present();
      return;
    }
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
    for (const output of this.#overlay.handle(input, now)) this.#out.push(output);
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
        this.#toTopics({ type: "delivered", from, id, payload }, now);
        break;
    }
  }

  #verdict(id: MessageId, verdict: Verdict, now: Instant): void {
    this.#toBroadcast({ type: "verdict", id, verdict }, now);
  }

  #toTopics(input: TopicsInput, now: Instant): void {
    for (const output of this.#topics.handle(input, now)) this.#fromTopics(output, now);
  }

  #fromTopics(output: TopicsOutput, now: Instant): void {
    switch (output.type) {
      case "broadcast":
        this.#toBroadcast({ type: "publish", topic: Topic.application, payload: output.payload }, now);
        break;
      case "verdict":
        this.#verdict(output.id, output.verdict, now);
        break;
      case "sign":
        this.#out.push({ ...output, resume: { of: "topics", resume: output.resume } });
        break;
      case "verify":
        this.#out.push({ ...output, resume: { of: "topics", resume: output.resume } });
        break;
      default:
        this.#out.push(output);
    }
  }

  /** What the token of a member grants; undefined: it is none, or its token has expired. */
  #scopesOf(peer: PeerId): readonly string[] | undefined {
    const member = this.membership.member(peer);
    return member === undefined || member.lapsed ? undefined : member.facts.scopes;
  }

  #route(to: PeerId, purpose: Exclude<Purpose, 0>, contents: Uint8Array, now: Instant, request?: number): void {
    const input = { type: "route", to, purpose, contents } as const;
    this.#toRouting(request === undefined ? input : { ...input, request }, now);
  }

  #toRouting(input: RoutingInput, now: Instant): void {
    for (const output of this.#routing.handle(input, now)) this.#fromRouting(output, now);
  }

  #fromRouting(output: RoutingOutput, now: Instant): void {
    switch (output.type) {
      case "send":
        this.#out.push({ type: "send", peer: output.peer, lane: Lane.signal, bytes: output.bytes });
        break;
      case "sign":
        this.#out.push({ ...output, resume: { of: "routing", resume: output.resume } });
        break;
      case "verify":
        this.#out.push({ ...output, resume: { of: "routing", resume: output.resume } });
        break;
      case "arrived":
        this.#arrived(output, now);
        break;
      default:
        this.#out.push(output);
    }
  }

  /** What a later version routes for a purpose of its own ends here. */
  #arrived({ from, purpose, contents }: Extract<RoutingOutput, { type: "arrived" }>, now: Instant): void {
    if (purpose === Purpose.membership) this.#toMembership({ type: "routed", from, bytes: contents }, now);
    else if (purpose === Purpose.replication) this.#toReplication({ type: "routed", peer: from, bytes: contents }, now);
    else if (purpose === Purpose.signal) this.#out.push({ type: "signal", from, letter: contents });
  }

  /** Where a member sits, or would sit if it came back; one whose token has expired is none. */
  #seatOf(peer: PeerId): RingSeat | undefined {
    const member = this.membership.member(peer);
    return member === undefined || member.lapsed ? undefined : member.seat;
  }

  #toReplication(input: ReplicationInput, now: Instant): void {
    for (const output of this.#replication.handle(input, now)) this.#fromReplication(output, now);
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
        this.#route(output.to, Purpose.replication, output.bytes, now);
        break;
      case "reach":
        this.#toOverlay({ type: "try", peer: output.peer }, now);
        break;
      default:
        this.#out.push(output);
    }
  }
}

const TIMEOUT = { type: "timeout" } as const;
