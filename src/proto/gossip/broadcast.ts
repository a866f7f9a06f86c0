import { assert } from "../assert.ts";
import { earlier } from "../deadlines.ts";
import { type Instant, type Machine, NOTHING } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import {
  ANNOUNCE_DELAY_MS,
  ANNOUNCE_SPACING_MS,
  BEND_GAIN_MS,
  MAX_BROADCAST_BYTES,
  MAX_HOPS,
  MAX_IDS_PER_MESSAGE,
  MAX_RECENT_IDS,
  MAX_TREE_NEIGHBOURS,
  RECENT_FOR_MS,
} from "./limits.ts";
import {
  type Announcement,
  type BroadcastMessage,
  decodeBroadcast,
  encodeAnnounce,
  encodeGraft,
  encodePayload,
  encodePrune,
  type MessageId,
  messageIdOf,
  REBUILD,
  SHARED_TREE,
  type Topic,
  treeOf,
} from "./messages.ts";
import { type Absence, type Announcer, Missing } from "./missing.ts";
import { Neighbour } from "./neighbour.ts";
import { patienceMs } from "./patience.ts";
import { Post, Posts } from "./posts.ts";
import { Routes } from "./routes.ts";
import { NO_SLOT, Trees } from "./trees.ts";

export type BroadcastInput =
  /** A link is up; a second one for the same peer replaces the first. `rttMs` sets how patient grafts are. */
  | { readonly type: "neighbour-up"; readonly peer: PeerId; readonly rttMs: number }
  | { readonly type: "neighbour-down"; readonly peer: PeerId }
  /** A message of kind 64 or above from the gossip lane. From a peer that is no neighbour it is ignored. */
  | { readonly type: "message"; readonly peer: PeerId; readonly bytes: Uint8Array }
  /** Tell everybody. `payload`: at most 64 KiB, not to be touched afterwards. What is known already is not sent again. */
  | { readonly type: "publish"; readonly topic: Topic; readonly payload: Uint8Array }
  /** The consumer's answer to `deliver`, at once or within 30 s; without one the payload goes no further. */
  | { readonly type: "verdict"; readonly id: MessageId; readonly verdict: Verdict }
  | { readonly type: "timeout" };

/**
 * `accept`: true and of use, spread it. `ignore`: not wrong but stale, superfluous or not decidable here; it ends here and
 * nobody is blamed. `reject`: no honest member would have accepted it (a bad signature), so whoever sends it is at fault.
 */
export type Verdict = "accept" | "ignore" | "reject";

export type BroadcastOutput =
  /** For the gossip lane. Several outputs may share `bytes`. */
  | { readonly type: "send"; readonly peer: PeerId; readonly bytes: Uint8Array }
  /** A payload that was not seen before; awaits a `verdict`. Kept for grafts: not to be changed. */
  | {
      readonly type: "deliver";
      readonly topic: Topic;
      readonly payload: Uint8Array;
      readonly id: MessageId;
      readonly from: PeerId;
      /** Links that it crossed. */
      readonly hops: number;
    }
  | { readonly type: "fault"; readonly peer: PeerId; readonly fault: BroadcastFault };

/**
 * What a neighbour did: sent what does not decode, or a payload over 64 KiB; more than its rate (reported once a second, the
 * excess is ignored); content that a consumer rejected.
 */
export type BroadcastFault = "malformed" | "oversized" | "flood" | "rejected";

/** How full the bounded parts are. */
export interface BroadcastLoad {
  readonly seen: number;
  readonly heldBytes: number;
  readonly missing: number;
}

/**
 * Broadcast to all members over the links of the overlay: Plumtree (Leitão, Pereira, Rodrigues: Epidemic Broadcast Trees,
 * SRDS 2007).
 *
 * A payload is pushed along *eager* links, which form a tree, and announced by id (IHave) on the others, the *lazy* ones.
 * Who gets a payload twice makes the second link lazy (prune). Who hears of a payload that does not come asks an announcer
 * for it and makes that link eager (graft). So the tree grows from the first flood, loses its duplicates with it, and mends
 * itself where members or links have failed. In a full mesh it becomes a star: N - 1 copies, not N squared.
 *
 * Beyond the paper:
 * - Ids are content hashes, so members who publish the same statement make one broadcast. Their waves meet on tree links;
 *   such a duplicate says nothing about the link, so it prunes only if it came from the same publisher by the same route.
 * - Frequent publishers have trees of their own (`trees.ts`). Such a tree is bent: when an announcement shows that its
 *   sender would have brought the payload earlier than the eager link did, the two change places. The paper compares hops;
 *   here announcements carry the age of the payload, which counts in milliseconds what hops only guess.
 * - The shared tree is rebuilt from time to time (`routes.ts`), and grafts wait for what is usual (`patience.ts`).
 * - A payload is forwarded only after its consumer accepted it, so forged content ends at the first honest member, and
 *   its sender is known.
 * - A new link hears of the payloads of the last seconds, so that a change of all links does not lose one in flight.
 * - Rates are bounded per neighbour; towards a neighbour that is at its rate, payloads are announced instead of pushed.
 *
 * What it does not do: guarantee delivery to a member that was cut off for longer than payloads are held; that is for the
 * anti-entropy of each consumer. It keeps no order, and trusts a neighbour with nothing but its own rate: a neighbour that
 * forwards nothing is passed by through grafts from the others.
 */
export class Broadcast implements Machine<BroadcastInput, BroadcastOutput> {
  readonly #routes: Routes;
  readonly #posts = new Posts();
  readonly #missing = new Missing();
  readonly #trees = new Trees();
  readonly #byPeer = new Map<PeerId, Neighbour>();
  /** The same neighbours as an array: every message goes over them. */
  #neighbours: Neighbour[] = [];
  #meanRttMs = 0;
  /** Accepted and not yet announced; at most one announcement's worth. */
  #fresh: Post[] = [];
  #announceAt: Instant | undefined;
  #announcedAt: Instant = Number.NEGATIVE_INFINITY;

  /** @param self this member. */
  constructor(self: PeerId) {
    this.#routes = new Routes(self);
  }

  handle(input: BroadcastInput, now: Instant): readonly BroadcastOutput[] {
    const out: BroadcastOutput[] = [];
    switch (input.type) {
      case "message":
        this.#message(input.peer, input.bytes, now, out);
        break;
      case "timeout":
        this.#timeout(now, out);
        break;
      case "verdict":
        this.#verdict(input.id, input.verdict, now, out);
        break;
      case "publish":
        this.#publish(input.topic, input.payload, now, out);
        break;
      case "neighbour-up":
        this.#neighbourUp(input.peer, input.rttMs, now, out);
        break;
      case "neighbour-down":
        this.#neighbourDown(input.peer);
        break;
    }
    return out.length === 0 ? NOTHING : out;
  }

  deadline(): Instant | undefined {
    return earlier(this.#announceAt, this.#missing.deadline());
  }

  /** How full the bounded parts are, for counters and tests. */
  load(): BroadcastLoad {
    return { seen: this.#posts.size, heldBytes: this.#posts.heldBytes, missing: this.#missing.size };
  }

  #neighbourUp(peer: PeerId, rttMs: number, now: Instant, out: BroadcastOutput[]): void {
    this.#neighbourDown(peer);
    const neighbour = new Neighbour(peer, this.#freeSlot(), rttMs, now);
    this.#byPeer.set(peer, neighbour);
    this.#neighbours.push(neighbour);
    this.#meanRttMs = this.#neighbours.reduce((sum, other) => sum + other.rttMs, 0) / this.#neighbours.length;
    this.#trees.reset(neighbour.slot);
    this.#posts.reset(neighbour.slot);
    const recent = this.#posts.recent(now - RECENT_FOR_MS, MAX_RECENT_IDS);
    this.#announce(neighbour, recent.reverse(), now, out);
  }

  #neighbourDown(peer: PeerId): void {
    const neighbour = this.#byPeer.get(peer);
    if (neighbour === undefined) return;
    neighbour.up = false;
    this.#byPeer.delete(peer);
    this.#neighbours = this.#neighbours.filter((other) => other !== neighbour);
  }

  #freeSlot(): number {
    for (let slot = 0; slot < MAX_TREE_NEIGHBOURS; slot++) {
      if (!this.#neighbours.some((neighbour) => neighbour.slot === slot)) return slot;
    }
    return NO_SLOT;
  }

  #publish(topic: Topic, payload: Uint8Array, now: Instant, out: BroadcastOutput[]): void {
    assert(payload.length <= MAX_BROADCAST_BYTES, "a broadcast is at most 64 KiB");
    const id = messageIdOf(topic, payload);
    const known = this.#posts.find(id);
    if (known === undefined) {
      this.#missing.arrived(id);
      const path = { route: this.#routes.next(topic, now), hops: 0, parent: NO_SLOT };
      const post = new Post(id, topic, payload, path, now);
      this.#add(post, now);
      this.#forward(post, now, out);
    } else if (known.state === "pending") this.#forward(known, now, out);
  }

  #verdict(id: MessageId, verdict: Verdict, now: Instant, out: BroadcastOutput[]): void {
    const post = this.#posts.find(id);
    if (post?.state !== "pending") return;
    if (verdict === "accept") {
      this.#forward(post, now, out);
      return;
    }
    this.#posts.drop(post, verdict === "reject" ? "rejected" : "spent");
    if (verdict === "ignore") return;
    for (const { slot, peer } of this.#neighbours) {
      if (slot !== NO_SLOT && slot === post.parent) out.push({ type: "fault", peer, fault: "rejected" });
    }
  }

  /** Remembers a new post; a rebuilding one makes every link eager first. */
  #add(post: Post, now: Instant): void {
    this.#posts.expire(now);
    this.#posts.add(post);
    if ((post.route & REBUILD) === 0) return;
    if (this.#routes.adopts(now)) this.#trees.rebuild();
    else post.prunes = false;
  }

  #forward(post: Post, now: Instant, out: BroadcastOutput[]): void {
    post.state = "held";
    if (post.hops >= MAX_HOPS) return;
    const tree = treeOf(post.route);
    let frame: Uint8Array | undefined;
    let lazy = false;
    for (const neighbour of this.#neighbours) {
      const { slot, peer } = neighbour;
      if (post.known.has(slot)) continue;
      if (!this.#trees.isEager(tree, slot) || !neighbour.mayPush(post.payload.length, now)) {
        lazy = true;
        continue;
      }
      frame ??= encodePayload(post.route, post.hops + 1, post.topic, post.payload);
      post.known.add(slot);
      post.sent.add(slot);
      out.push({ type: "send", peer, bytes: frame });
    }
    if (!lazy) return;
    this.#fresh.push(post);
    this.#announceAt ??= Math.max(now + ANNOUNCE_DELAY_MS, this.#announcedAt + ANNOUNCE_SPACING_MS);
    if (this.#fresh.length >= MAX_IDS_PER_MESSAGE) this.#announceFresh(now, out);
  }

  #announceFresh(now: Instant, out: BroadcastOutput[]): void {
    const fresh = this.#fresh;
    this.#fresh = [];
    this.#announceAt = undefined;
    this.#announcedAt = now;
    for (const neighbour of this.#neighbours) this.#announce(neighbour, fresh, now, out);
  }

  /** Tells `neighbour` of those `posts` (512 at most) that it may not know. */
  #announce(neighbour: Neighbour, posts: readonly Post[], now: Instant, out: BroadcastOutput[]): void {
    let announcements: Announcement[] | undefined;
    for (const { state, known, id, hops, at, route } of posts) {
      if (state !== "held" || hops >= MAX_HOPS || known.has(neighbour.slot)) continue;
      known.add(neighbour.slot);
      announcements ??= [];
      announcements.push({ id, ageMs: now - at, own: treeOf(route) !== SHARED_TREE });
    }
    if (announcements !== undefined) this.#send(neighbour, encodeAnnounce(announcements), now, out);
  }

  #message(peer: PeerId, bytes: Uint8Array, now: Instant, out: BroadcastOutput[]): void {
    const neighbour = this.#byPeer.get(peer);
    if (neighbour === undefined) return;
    if (!neighbour.admits(bytes.length, now)) {
      if (neighbour.reportsFlood(now)) out.push({ type: "fault", peer, fault: "flood" });
      return;
    }
    const message = decodeBroadcast(bytes);
    if (typeof message === "string") {
      out.push({ type: "fault", peer, fault: message });
      return;
    }
    switch (message.type) {
      case "payload":
        this.#payload(neighbour, message, now, out);
        return;
      case "announce":
        this.#announced(neighbour, message.announcements, now);
        return;
      case "graft":
        this.#grafted(neighbour, message.ids, message.wanted, now, out);
        return;
      case "prune":
        this.#trees.setLazy(message.tree, neighbour.slot);
    }
  }

  #payload(
    sender: Neighbour,
    { route, hops, topic, payload }: Extract<BroadcastMessage, { type: "payload" }>,
    now: Instant,
    out: BroadcastOutput[],
  ): void {
    const id = messageIdOf(topic, payload);
    const known = this.#posts.find(id);
    if (known !== undefined) {
      this.#duplicate(sender, known, route, now, out);
      return;
    }
    const post = new Post(id, topic, compact(payload), { route, hops, parent: sender.slot }, now);
    post.known.add(sender.slot);
    this.#add(post, now);
    this.#trees.setEager(treeOf(route), sender.slot);
    const absence = this.#missing.arrived(id);
    if (absence !== undefined) this.#wasAbsent(sender, post, absence, now, out);
    out.push({ type: "deliver", topic, payload: post.payload, id, from: sender.peer, hops });
  }

  #duplicate(sender: Neighbour, post: Post, route: number, now: Instant, out: BroadcastOutput[]): void {
    post.known.add(sender.slot);
    if (post.state === "rejected") {
      out.push({ type: "fault", peer: sender.peer, fault: "rejected" });
      return;
    }
    if (!post.prunes || route !== post.route || (sender.slot !== NO_SLOT && sender.slot === post.parent)) return;
    const tree = treeOf(route);
    this.#trees.setLazy(tree, sender.slot);
    this.#send(sender, encodePrune(tree), now, out);
  }

  /** The payload came after announcements of it: bends its publisher's own tree towards an earlier announcer. */
  #wasAbsent(sender: Neighbour, post: Post, absence: Absence, now: Instant, out: BroadcastOutput[]): void {
    let best: Announcer | undefined;
    for (const announcer of absence.announcers) {
      const { neighbour, pushedAt } = announcer;
      post.known.add(neighbour.slot);
      if (neighbour.up && neighbour.slot !== NO_SLOT && (best === undefined || pushedAt < best.pushedAt))
        best = announcer;
    }
    const tree = treeOf(post.route);
    // A payload that had to be asked for says nothing about the eager link, and its graft has changed the tree already.
    if (tree === SHARED_TREE || absence.asked > 0 || best === undefined || best.neighbour === sender) return;
    if (now - best.pushedAt < BEND_GAIN_MS) return;
    this.#trees.setEager(tree, best.neighbour.slot);
    this.#trees.setLazy(tree, sender.slot);
    this.#send(best.neighbour, encodeGraft([post.id], false), now, out);
    this.#send(sender, encodePrune(tree), now, out);
  }

  #announced(neighbour: Neighbour, announcements: readonly Announcement[], now: Instant): void {
    for (const announcement of announcements) {
      const post = this.#posts.find(announcement.id);
      if (post !== undefined) {
        post.known.add(neighbour.slot);
        continue;
      }
      const patience = patienceMs(announcement, this.#meanRttMs, this.#routes.publisher);
      this.#missing.announced(neighbour, announcement, patience, now);
    }
  }

  #grafted(
    neighbour: Neighbour,
    ids: readonly MessageId[],
    wanted: boolean,
    now: Instant,
    out: BroadcastOutput[],
  ): void {
    const { slot, peer } = neighbour;
    for (const id of ids) {
      const post = this.#posts.find(id);
      if (post === undefined) continue;
      this.#trees.setEager(treeOf(post.route), slot);
      if (!wanted || post.state !== "held" || post.hops >= MAX_HOPS || post.sent.has(slot)) continue;
      if (!neighbour.mayPush(post.payload.length, now)) continue;
      post.sent.add(slot);
      post.known.add(slot);
      out.push({ type: "send", peer, bytes: encodePayload(post.route, post.hops + 1, post.topic, post.payload) });
    }
  }

  #timeout(now: Instant, out: BroadcastOutput[]): void {
    if (this.#announceAt !== undefined && now >= this.#announceAt) this.#announceFresh(now, out);
    for (const [neighbour, ids] of this.#missing.due(now)) {
      for (let from = 0; from < ids.length; from += MAX_IDS_PER_MESSAGE) {
        this.#send(neighbour, encodeGraft(ids.slice(from, from + MAX_IDS_PER_MESSAGE), true), now, out);
      }
    }
  }

  /** Sends what is small and must not wait, whatever the rate. */
  #send(neighbour: Neighbour, bytes: Uint8Array, now: Instant, out: BroadcastOutput[]): void {
    neighbour.count(bytes.length, now);
    out.push({ type: "send", peer: neighbour.peer, bytes });
  }
}

/** A payload that shares its buffer with much else is copied, so that keeping it does not keep a whole frame. */
function compact(payload: Uint8Array): Uint8Array {
  return payload.buffer.byteLength > 2 * payload.length + 64 ? payload.slice() : payload;
}
