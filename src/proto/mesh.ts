import { Decrees } from "./decrees/decrees.ts";
import type { DecreesInput, DecreesOutput } from "./decrees/effects.ts";
import { FIRST_DECREE_KIND } from "./decrees/messages.ts";
import { Dissemination, type DisseminationInput, type DisseminationOutput } from "./dissemination.ts";
import type { Verdict } from "./gossip/broadcast.ts";
import { FIRST_BROADCAST_KIND, type MessageId, Topic } from "./gossip/messages.ts";
import type { Instant, Machine } from "./machine.ts";
import type { MemberEvent, MembershipInput, MembershipOutput } from "./membership/effects.ts";
import { Membership } from "./membership/membership.ts";
import { scopesOf, seatOf } from "./membership/standing.ts";
import { credentials, deliveryOf, type MeshInput, type MeshOptions, type MeshOutput } from "./mesh-effects.ts";
import { Outputs } from "./outputs.ts";
import { Overlay, type OverlayInput, type OverlayOutput } from "./overlay/overlay.ts";
import { Part } from "./part.ts";
import type { PeerId } from "./peer-id.ts";
import { replicaOf } from "./replica.ts";
import type { ReplicationInput, ReplicationOutput } from "./replication/effects.ts";
import type { Replication } from "./replication/replication.ts";
import type { RoutingInput, RoutingOutput } from "./routing/effects.ts";
import { Purpose } from "./routing/envelope.ts";
import { Routing } from "./routing/routing.ts";
import { unruled } from "./rule.ts";
import { Lane } from "./streams/lanes.ts";

export type { MeshInput, MeshOptions, MeshOutput } from "./mesh-effects.ts";

/**
 * The mesh: who is there, whom to be linked with, what everybody is told, what everybody stores, and how one reaches another.
 *
 * Six machines, put together, and a seventh before them: no link is used before its two ends agree on what the cluster has decreed
 * (`decrees/`). Membership learns who is there and tells the overlay, which wants links; a link that stands is
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
  readonly #dissemination: Part<DisseminationInput, DisseminationOutput>;
  readonly #routing: Part<RoutingInput, RoutingOutput>;
  readonly #decrees: Part<DecreesInput, DecreesOutput>;
  /** What a link may be used for by the parts that ask "is there a link?". */
  readonly #links = new Set<PeerId>();
  readonly #out = new Outputs<MeshOutput>();
  #size = 0;

  constructor(options: MeshOptions, now: Instant) {
    const { self, random, token, rule = unruled() } = options;
    this.#self = self;
    this.#decrees = new Part(new Decrees(rule.decrees, rule.keychain, rule.box));
    this.membership = new Membership({ ...options, routing: true, random: random.fork("membership") }, now);
    this.overlay = new Overlay(this.membership.seat, this.membership.rings, random);
    this.#membership = new Part(this.membership);
    this.#overlay = new Part(this.overlay);
    this.#dissemination = new Part(
      new Dissemination(self, (peer) => scopesOf(this.membership, peer), rule.seal, random),
    );
    this.#routing = new Part(new Routing(self, this.membership.rings, (peer) => seatOf(this.membership, peer), random));
    this.replication = replicaOf(options, this.membership);
    this.#replication = new Part(this.replication);
    this.#toReplication(credentials(token), now);
    for (const { target } of rule.decrees.revocations()) this.#toMembership({ type: "revoke", target }, now);
    if (rule.decrees.revokesAny) this.#toReplication({ type: "judge" }, now);
    if (options.like === undefined) return;
    this.#present();
    this.#toOverlay({ type: "member-up", peer: self }, now);
  }

  /** Members with whom a link stands. */
  get links(): ReadonlySet<PeerId> {
    return this.#links;
  }

  deadline(): Instant | undefined {
    const next = Math.min(
      this.#membership.dueAt,
      this.#overlay.dueAt,
      this.#dissemination.dueAt,
      this.#replication.dueAt,
      this.#routing.dueAt,
      this.#decrees.dueAt,
    );
    return next === Number.POSITIVE_INFINITY ? undefined : next;
  }

  handle(input: MeshInput, now: Instant): readonly MeshOutput[] {
    switch (input.type) {
      case "message":
        this.#message(input, now);
        break;
      case "timeout":
        this.#timeout(now);
        break;
      case "link-up":
      case "decree":
        this.#toDecrees(input, now);
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
        else if (input.resume.of === "topics")
          this.#toBroadcast({ of: "topics", input: { ...input, resume: input.resume.resume } }, now);
        else this.#toReplication({ ...input, resume: input.resume.resume }, now);
        break;
      case "signed":
        if (input.resume.of === "membership") this.#toMembership({ ...input, resume: input.resume.resume }, now);
        else if (input.resume.of === "routing") this.#toRouting({ ...input, resume: input.resume.resume }, now);
        else if (input.resume.of === "topics")
          this.#toBroadcast({ of: "topics", input: { ...input, resume: input.resume.resume } }, now);
        else this.#toReplication({ ...input, resume: input.resume.resume }, now);
        break;
      case "signal":
        this.#route(input.to, Purpose.signal, input.letter, now, input.request);
        break;
      case "rejected":
        this.#rejected(input, now);
        break;
      case "token":
        this.#toReplication(credentials(input.token), now);
        this.#toMembership({ type: "update", token: input.token }, now);
        break;
      case "publish":
        this.#toBroadcast({ of: "topics", input }, now);
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
    return this.#out.take();
  }

  #message(message: Extract<MeshInput, { type: "message" }>, now: Instant): void {
    const { peer, lane, bytes } = message;
    const isDecree = lane === Lane.gossip && (bytes[1] ?? 0) >= FIRST_DECREE_KIND;
    if (isDecree || !this.#links.has(peer)) this.#toDecrees(message, now);
    else if (lane === Lane.data) this.#toReplication({ type: "message", peer, bytes }, now);
    else if (lane === Lane.signal) this.#toRouting({ type: "message", peer, bytes }, now);
    // A message is an array that begins with its kind, and kinds are small: the second byte tells whose it is.
    else if (lane === Lane.gossip && (bytes[1] ?? 0) >= FIRST_BROADCAST_KIND) {
      this.#toBroadcast({ type: "message", peer, bytes }, now);
    } else this.#toMembership(message, now);
  }

  #timeout(now: Instant): void {
    if (this.#decrees.dueAt <= now) this.#toDecrees(TIMEOUT, now);
    if (this.#membership.dueAt <= now) this.#toMembership(TIMEOUT, now);
    if (this.#overlay.dueAt <= now) this.#toOverlay(TIMEOUT, now);
    if (this.#dissemination.dueAt <= now) this.#toBroadcast(TIMEOUT, now);
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
    this.#toDecrees({ type: "link-down", peer }, now);
    // To the overlay, which hears of a link when the decrees are compared, the dial is still under way.
    if (!this.#links.has(peer)) this.#toOverlay({ type: "dial-failed", peer, reason: "absent" }, now);
    if (!this.#links.delete(peer)) return;
    this.#toRouting({ type: "link-down", peer }, now);
    this.#toBroadcast({ type: "neighbour-down", peer }, now);
    this.#toReplication({ type: "link-down", peer }, now);
    this.#toMembership({ type: "link-down", peer, deliberate }, now);
    this.#toOverlay({ type: "link-down", peer }, now);
  }

  #toDecrees(input: DecreesInput, now: Instant): void {
    for (const output of this.#decrees.handle(input, now)) this.#fromDecrees(output, now);
  }

  #fromDecrees(output: DecreesOutput, now: Instant): void {
    switch (output.type) {
      case "send":
        this.#out.push({ type: "send", peer: output.peer, lane: Lane.gossip, bytes: output.bytes });
        break;
      case "broadcast":
        this.#toBroadcast({ type: "publish", topic: Topic.decrees, payload: output.payload }, now);
        break;
      case "verdict":
        this.#verdict(output.id, output.verdict, now);
        break;
      case "open":
        this.#out.push({ type: "opened", peer: output.peer });
        this.#linkUp(output.peer, output.rttMs, now);
        for (const { lane, bytes } of output.held)
          this.#message({ type: "message", peer: output.peer, lane, bytes }, now);
        break;
      case "shut":
        this.#out.push({ type: "drop", peer: output.peer, reason: output.revoked ? "gone" : "unwanted" });
        if (output.wasOpen) this.#linkDown(output.peer, true, now);
        else this.#toOverlay({ type: "dial-failed", peer: output.peer, reason: "absent" }, now);
        break;
      case "decreed":
        this.#out.push(output);
        if (output.decree.kind !== "revocation") break;
        this.#toMembership({ type: "revoke", target: output.decree.target }, now);
        this.#toReplication({ type: "judge" }, now);
        break;
      default:
        this.#out.push(output);
    }
  }

  /** A check has failed: what came by broadcast goes no further, and whoever handed it on is to blame. */
  #rejected({ from, resume, blameless }: Extract<MeshInput, { type: "rejected" }>, now: Instant): void {
    const delivery = deliveryOf(resume);
    if (delivery !== undefined) this.#verdict(delivery, blameless ? "ignore" : "reject", now);
    else if (!blameless) this.#out.push({ type: "fault", peer: from, fault: "forged" });
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
      case "introduced":
        this.#toOverlay(output, now);
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

  #toBroadcast(input: DisseminationInput, now: Instant): void {
    for (const output of this.#dissemination.handle(input, now)) this.#fromBroadcast(output, now);
  }

  #fromBroadcast(output: DisseminationOutput, now: Instant): void {
    switch (output.type) {
      case "send":
        this.#out.push({ type: "send", peer: output.peer, lane: Lane.gossip, bytes: output.bytes });
        break;
      case "deliver":
        this.#deliver(output, now);
        break;
      default:
        this.#out.push(output);
    }
  }

  #deliver({ topic, payload, id, from }: Extract<DisseminationOutput, { type: "deliver" }>, now: Instant): void {
    if (topic === Topic.membership) this.#toMembership({ type: "delivered", from, id, bytes: payload }, now);
    else if (topic === Topic.replication) this.#toReplication({ type: "delivered", id, from, payload }, now);
    else if (topic === Topic.decrees) this.#toDecrees({ type: "delivered", from, id, payload }, now);
  }

  #verdict(id: MessageId, verdict: Verdict, now: Instant): void {
    this.#toBroadcast({ type: "verdict", id, verdict }, now);
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
        this.#out.push({ ...output, resume: { of: "replication", resume: output.resume } });
        break;
      case "verify":
        this.#out.push({ ...output, resume: { of: "replication", resume: output.resume } });
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
