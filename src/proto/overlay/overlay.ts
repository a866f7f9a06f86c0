import { Deadlines, earlier } from "../deadlines.ts";
import { type Instant, type Machine, NOTHING } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { fraction, type Random } from "../random.ts";
import { Entrance } from "./entrance.ts";
import { gapsRound, isWithin, neighbourLimits, wantedLinks } from "./neighbours.ts";
import type { RingView } from "./rings.ts";
import type { RingSeat } from "./seat.ts";
import { dialBackoffMs, overlayLimits } from "./timing.ts";

/**
 * Which links a member has.
 *
 * The membership list is the topology: everybody computes from the rings whom it wants a link with, and since the
 * relation is symmetric both sides come to the same answer without a word. The lower PeerId dials. The higher one waits
 * two seconds and then asks for the dial, because the lower one may not know it yet. A newcomer dials whom it was
 * introduced to, whoever is lower: they cannot know it. A few of them are enough (`entrance.ts`), and until one of these links
 * stands it dials nobody else: of the few members that it knows it would take all for its neighbours.
 *
 * Three failed dials in a row mark a pair as unconnectable, on each side by its own experience, and the side passes over
 * the other for the next member in the same direction. Only that side knows, so the substitute sees a link that it does
 * not want itself: a *guest*. The side that dialed or asked for a link decides when it goes; the other keeps it, up to a
 * number of guests. The unconnectable pair itself is tried again at the far end of the back-off, for networks change.
 *
 * Links no longer wanted go after a grace, and not while fewer than half of the wanted ones stand: a bad link in the
 * hand beats a good one in the list. The overlay decides nothing about who is alive, trusts its rings to be membership's,
 * and reads no peer's message: asks arrive authenticated over the signal lane.
 */
export class Overlay implements Machine<OverlayInput, OverlayOutput> {
  readonly #self: RingSeat;
  readonly #rings: RingView;
  readonly #random: Random;
  readonly #peers = new Map<PeerId, PeerState>();
  readonly #deadlines = new Deadlines<PeerId>();
  readonly #unconnectable = new Set<PeerId>();
  readonly #entrance = new Entrance();
  #wanted: ReadonlySet<PeerId> = new Set();
  /** How near our neighbours are; undefined before the first look. */
  #gaps: Float64Array | undefined;
  #tries = 0;
  #out: OverlayOutput[] = [];

  /**
   * @param self this member's own seat.
   * @param rings membership's rings: changed there before the overlay hears of it.
   */
  constructor(self: RingSeat, rings: RingView, random: Random) {
    this.#self = self;
    this.#rings = rings;
    this.#random = random.fork("overlay");
  }

  /** The members that this side wants links with, substitutes for unconnectable ones included. */
  get wanted(): ReadonlySet<PeerId> {
    return this.#wanted;
  }

  /** Members that count as unconnectable from here. */
  get unconnectable(): ReadonlySet<PeerId> {
    return this.#unconnectable;
  }

  handle(input: OverlayInput, now: Instant): readonly OverlayOutput[] {
    switch (input.type) {
      case "member-up":
        this.#memberUp(input.peer, now);
        break;
      case "member-gone":
        this.#memberGone(input.peer, now);
        break;
      case "link-up":
        this.#linkUp(input.peer, now);
        break;
      case "link-down":
        this.#linkDown(input.peer, now);
        break;
      case "dial-failed":
        this.#failed(input.peer, input.reason === "no-path" ? 1 : 0, now);
        break;
      case "dial-refused":
        this.#failed(input.peer, overlayLimits.failuresToSkip, now);
        break;
      case "introduced":
        this.#introduced(input.peer, now);
        break;
      case "asked":
      case "try":
        this.#try(input.peer, input.type === "asked", now);
        break;
      case "timeout":
        this.#timeout(now);
        break;
    }
    if (this.#out.length === 0) return NOTHING;
    const out = this.#out;
    this.#out = [];
    return out;
  }

  deadline(): Instant | undefined {
    return earlier(this.#deadlines.next(), this.#entrance.until);
  }

  /** Appeared or came back: what was learnt of its reachability is forgotten. */
  #memberUp(peer: PeerId, now: Instant): void {
    if (!this.#concerns(peer)) return;
    this.#unconnectable.delete(peer);
    const state = this.#peers.get(peer);
    if (state?.state === "waiting") this.#forget(peer);
    else if (state !== undefined && state.state !== "linked") state.failures = 0;
    this.#refresh(now);
  }

  #memberGone(peer: PeerId, now: Instant): void {
    if (!this.#concerns(peer)) return;
    this.#unconnectable.delete(peer);
    if (this.#peers.get(peer)?.state === "waiting") this.#forget(peer);
    this.#refresh(now);
  }

  /** Whether it makes a difference here that a member comes or goes. Of thousands who join, a few sit down beside us. */
  #concerns(peer: PeerId): boolean {
    if (this.#gaps === undefined || this.#rings.size <= neighbourLimits.fullMesh + 1) return true;
    if (this.#unconnectable.size > 0 || this.#peers.has(peer) || this.#wanted.has(peer)) return true;
    const seat = this.#rings.seat(peer);
    return seat !== undefined && isWithin(this.#gaps, this.#self, seat);
  }

  #linkUp(peer: PeerId, now: Instant): void {
    const before = this.#peers.get(peer);
    if (before?.state === "linked") return;
    const ours = before?.state === "asking" || (before?.state === "dialing" && !before.asked);
    const extra = before?.state === "dialing" && before.extra;
    this.#forget(peer);
    this.#entrance.linked();
    const skipped = this.#unconnectable.delete(peer);
    const linked: Linked = { state: "linked", ours, extra, since: now, failures: before?.failures ?? 0 };
    this.#peers.set(peer, linked);
    if (skipped) this.#refresh(now);
    else this.#review(peer, linked, now);
    if (!ours && !this.#wanted.has(peer)) this.#admitGuest(peer, now);
  }

  #linkDown(peer: PeerId, now: Instant): void {
    const link = this.#peers.get(peer);
    if (link?.state !== "linked") return;
    this.#forget(peer);
    if (!this.#seeks(peer)) return;
    // A link that dies young counts as a failed dial, or a pair that flaps would dial several times a second.
    if (now - link.since < overlayLimits.youthMs) this.#retreat(peer, link.failures + 1, 0, now);
    else this.#wait(peer, now);
  }

  /** `weight`: how much the failure says about the pair's network; 0: nothing. */
  #failed(peer: PeerId, weight: number, now: Instant): void {
    const state = this.#peers.get(peer);
    if (state === undefined || state.state === "linked") return;
    const failures = state.failures + Math.max(1, weight);
    const failuresOfPath = state.failuresOfPath + weight;
    this.#forget(peer);
    const skip = failuresOfPath >= overlayLimits.failuresToSkip;
    const grew = skip && !this.#unconnectable.has(peer);
    if (grew) this.#unconnectable.add(peer);
    if (this.#seeks(peer)) this.#retreat(peer, failures, failuresOfPath, now);
    if (grew) this.#refresh(now);
    const next = this.#entrance.failed(peer);
    if (next !== undefined) this.#try(next, false, now);
  }

  #introduced(peer: PeerId, now: Instant): void {
    const state = this.#peers.get(peer)?.state;
    if (peer === this.#self.id || state === "linked" || state === "dialing") return;
    if (this.#entrance.admits(peer, this.#isAlone(), now)) this.#try(peer, false, now);
  }

  /** Dials `peer` at once, wanted or not, unless it is linked or being dialed. */
  #try(peer: PeerId, asked: boolean, now: Instant): void {
    if (peer === this.#self.id) return;
    const before = this.#peers.get(peer);
    if (before?.state === "linked" || before?.state === "dialing") return;
    if (!this.#seeks(peer) && this.#tries >= overlayLimits.tries) return;
    this.#dial(peer, asked, before?.failures ?? 0, before?.failuresOfPath ?? 0, now);
  }

  #timeout(now: Instant): void {
    for (const peer of this.#entrance.expire(now)) this.#try(peer, false, now);
    for (let peer = this.#deadlines.take(now); peer !== undefined; peer = this.#deadlines.take(now)) {
      const state = this.#peers.get(peer);
      if (state === undefined) continue;
      if (state.state === "linked") this.#expire(peer, state, now);
      else if (state.state === "waiting") this.#attempt(peer, state, now);
      else this.#failed(peer, state.state === "asking" ? 1 : 0, now);
    }
  }

  #attempt(peer: PeerId, state: Waiting, now: Instant): void {
    const { failures, failuresOfPath, members } = state;
    const large = this.#rings.size > neighbourLimits.fullMesh;
    if (this.#isEntering() || (large && this.#rings.size > members * overlayLimits.growth)) {
      this.#peers.set(peer, { ...state, members: this.#rings.size });
      this.#deadlines.set(peer, now + spread(overlayLimits.arrivingMs, this.#random));
      return;
    }
    if (this.#self.id < peer) {
      this.#dial(peer, false, failures, failuresOfPath, now);
      return;
    }
    this.#forget(peer);
    this.#peers.set(peer, { state: "asking", failures, failuresOfPath });
    this.#deadlines.set(peer, now + overlayLimits.askPatienceMs);
    this.#out.push({ type: "ask", peer });
  }

  #dial(peer: PeerId, asked: boolean, failures: number, failuresOfPath: number, now: Instant): void {
    this.#forget(peer);
    const extra = !this.#seeks(peer);
    if (extra) this.#tries++;
    this.#peers.set(peer, { state: "dialing", extra, asked, failures, failuresOfPath });
    this.#deadlines.set(peer, now + overlayLimits.dialPatienceMs);
    this.#out.push({ type: "dial", peer });
  }

  /** Whether we are about to hear who is there. */
  #isEntering(): boolean {
    return this.#entrance.until !== undefined && this.#isAlone();
  }

  #isAlone(): boolean {
    for (const { state } of this.#peers.values()) if (state === "linked") return false;
    return true;
  }

  /** Waits for the next attempt after `failures` in a row. */
  #retreat(peer: PeerId, failures: number, failuresOfPath: number, now: Instant): void {
    this.#peers.set(peer, { state: "waiting", failures, failuresOfPath, members: Number.POSITIVE_INFINITY });
    this.#deadlines.set(peer, now + dialBackoffMs(failures, this.#random));
  }

  /** Waits for the first attempt: the lower side dials once things have settled, the higher one asks much later. */
  #wait(peer: PeerId, now: Instant): void {
    const settleMs = spread(overlayLimits.settleMs, this.#random);
    this.#peers.set(peer, { state: "waiting", failures: 0, failuresOfPath: 0, members: this.#rings.size });
    this.#deadlines.set(peer, now + (this.#self.id < peer ? settleMs : overlayLimits.askAfterMs));
  }

  /** Whether a link to `peer` is to be attempted: it is wanted, or it would be if the pair could connect. */
  #seeks(peer: PeerId): boolean {
    return this.#wanted.has(peer) || this.#unconnectable.has(peer);
  }

  /** Brings every peer's state in line with the rings. */
  #refresh(now: Instant): void {
    const skipping = this.#unconnectable.size > 0;
    this.#wanted = wantedLinks(this.#rings, this.#self, skipping ? (id) => !this.#unconnectable.has(id) : undefined);
    this.#gaps = gapsRound(this.#rings, this.#self);
    if (skipping) this.#forgive();
    for (const peer of this.#wanted) if (!this.#peers.has(peer)) this.#wait(peer, now);
    for (const [peer, state] of this.#peers) {
      if (state.state === "linked") this.#review(peer, state, now);
      else if (state.state !== "dialing" && !this.#seeks(peer)) this.#forget(peer);
    }
  }

  /** An unconnectable member that would not be wanted even if it could be reached is of no interest any more. */
  #forgive(): void {
    for (const peer of this.#unconnectable) {
      const reachable = (id: PeerId): boolean => id === peer || !this.#unconnectable.has(id);
      if (!wantedLinks(this.#rings, this.#self, reachable).has(peer)) this.#unconnectable.delete(peer);
    }
  }

  /** Starts or stops the grace of a link. */
  #review(peer: PeerId, link: Linked, now: Instant): void {
    if (this.#wanted.has(peer)) link.extra = false;
    const welcome = this.#wanted.has(peer) || (!link.ours && this.#isGuestWelcome(peer));
    if (welcome) this.#deadlines.clear(peer);
    else if (this.#deadlines.at(peer) === undefined) this.#deadlines.set(peer, now + graceMs(link));
  }

  /** A member that only the other side wants a link with; a stranger's record may still be on its way. */
  #isGuestWelcome(peer: PeerId): boolean {
    return this.#rings.has(peer);
  }

  #expire(peer: PeerId, link: Linked, now: Instant): void {
    if (this.#wanted.has(peer) || (!link.ours && this.#isGuestWelcome(peer))) return;
    let standing = 0;
    for (const id of this.#wanted) if (this.#peers.get(id)?.state === "linked") standing++;
    if (this.#rings.has(peer) && standing * 2 < this.#wanted.size) {
      this.#deadlines.set(peer, now + graceMs(link));
      return;
    }
    this.#out.push({ type: "drop", peer, reason: this.#rings.has(peer) ? "unwanted" : "gone" });
  }

  /** Keeps the number of links that only peers want within its bound. */
  #admitGuest(peer: PeerId, now: Instant): void {
    let guests = 0;
    let oldest: PeerId | undefined;
    let oldestSince = now;
    for (const [id, state] of this.#peers) {
      if (state.state !== "linked" || state.ours || this.#wanted.has(id)) continue;
      guests++;
      if (state.since < oldestSince) {
        oldest = id;
        oldestSince = state.since;
      }
    }
    if (guests <= overlayLimits.guests) return;
    if (oldest !== undefined && now - oldestSince > overlayLimits.guestMs)
      this.#out.push({ type: "drop", peer: oldest, reason: "unwanted" });
    else this.#out.push({ type: "drop", peer, reason: "full" });
  }

  #forget(peer: PeerId): void {
    const state = this.#peers.get(peer);
    if (state?.state === "dialing" && state.extra) this.#tries--;
    this.#peers.delete(peer);
    this.#deadlines.clear(peer);
  }
}

/** `meanMs`, or up to half of it more or less. */
function spread(meanMs: number, random: Random): number {
  return meanMs * (0.5 + fraction(random));
}

function graceMs(link: Linked): number {
  return link.extra ? overlayLimits.extraGraceMs : overlayLimits.graceMs;
}

/** A peer without a link. */
type Unlinked = {
  /** Failed attempts in a row: they set the back-off. */
  failures: number;
  /** Those of them that say something about the path between the two. */
  failuresOfPath: number;
} & (
  | {
      readonly state: "waiting";
      /** How many there were when the wait began; infinite after a failure, when that says nothing any more. */
      readonly members: number;
    }
  /** `extra`: it was not wanted when the dial began. `asked`: the peer asked for it. */
  | { readonly state: "dialing"; readonly extra: boolean; readonly asked: boolean }
  | { readonly state: "asking" }
);

type Waiting = Extract<Unlinked, { readonly state: "waiting" }>;

interface Linked {
  readonly state: "linked";
  /** We asked for it, or dialed of our own accord: it is ours to end. */
  readonly ours: boolean;
  /** It has never been wanted. */
  extra: boolean;
  readonly since: Instant;
  /** Failed attempts before it. */
  readonly failures: number;
}

type PeerState = Unlinked | Linked;

export type OverlayInput =
  /** A member has appeared, come back or changed; its seat is in the rings. */
  | { readonly type: "member-up"; readonly peer: PeerId }
  /** A member is down, has left, expired or been revoked; its seat is out of the rings. */
  | { readonly type: "member-gone"; readonly peer: PeerId }
  | { readonly type: "link-up"; readonly peer: PeerId }
  | { readonly type: "link-down"; readonly peer: PeerId }
  /** A dial ended without a link. `no-path`: both sides tried and no path was found; `absent`: the peer never answered. */
  | { readonly type: "dial-failed"; readonly peer: PeerId; readonly reason: "no-path" | "absent" }
  /** The peer does not want this link: it is full, or refuses us. */
  | { readonly type: "dial-refused"; readonly peer: PeerId }
  /** The peer asks us to dial it. */
  | { readonly type: "asked"; readonly peer: PeerId }
  /** One of several members that we were introduced to, any of whom could tell us of all others. */
  | { readonly type: "introduced"; readonly peer: PeerId }
  /** A member worth a dial although it may not be wanted: down and due for another try, or an application needs it. */
  | { readonly type: "try"; readonly peer: PeerId }
  | { readonly type: "timeout" };

export type OverlayOutput =
  /** Open a link; ends in `link-up`, `dial-failed` or `dial-refused`. */
  | { readonly type: "dial"; readonly peer: PeerId }
  /** Ask the peer, by any path, to dial us. */
  | { readonly type: "ask"; readonly peer: PeerId }
  /** Close the link; `link-down` follows. */
  | { readonly type: "drop"; readonly peer: PeerId; readonly reason: "unwanted" | "gone" | "full" };
