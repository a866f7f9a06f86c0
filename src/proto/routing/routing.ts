import { assert } from "../assert.ts";
import { RecentMap } from "../bounded.ts";
import { Deadlines, earlier } from "../deadlines.ts";
import { type Instant, type Machine, NOTHING } from "../machine.ts";
import type { RingView } from "../overlay/rings.ts";
import type { RingSeat } from "../overlay/seat.ts";
import type { PeerId } from "../peer-id.ts";
import { type Random, randomBytes } from "../random.ts";
import { TokenBucket } from "../token-bucket.ts";
import { CLOCK_LEEWAY_MS } from "../trust/times.ts";
import { Bearings, UNKNOWN_DISTANCE } from "./bearings.ts";
import type { RoutingFault, RoutingInput, RoutingOutput, RoutingSignResume, RoutingVerifyResume } from "./effects.ts";
import {
  decodeRouting,
  type Envelope,
  type EnvelopeKey,
  encodeBody,
  encodeBounce,
  encodeEnvelope,
  envelopeStatement,
  ID_BYTES,
  keyOf,
  Purpose,
  type Search,
} from "./envelope.ts";
import * as limits from "./limits.ts";
import { type Passage, Passages } from "./passages.ts";
import { Quotas } from "./quotas.ts";
import { BEGIN, BEGIN_PROBE, hasSeen, joined, passedBy, tagOf } from "./search.ts";

/**
 * Carries envelopes between members that have no link with each other, hop by hop over the links of others.
 *
 * There is no routing protocol: everybody computes from the rings who is whose neighbour (`bearings.ts`) and hands an
 * envelope to the link that is nearest to its destination. The computed graph is not the real one. Links are missing, and views
 * differ for moments, so an envelope searches in depth: each member handles it once and remembers who brought it and who was
 * handed it; who cannot get on *bounces* it, and the one before tries its next best link, up to a few. An envelope that comes
 * round again is bounced as well, so there are no loops. The envelope and its bounces carry what bounds the whole search: a
 * count of transmissions that are left, and who has had it (`search.ts`). A link that breaks counts as a bounce.
 *
 * What is lost in silence (a peer that has died unnoticed, or carries nothing on) only the source can notice: where it wants
 * a *receipt*, an envelope that the destination signs, it sends the same envelope again by its next best link when none
 * comes in time, and gives up after two seconds. What wants no receipt is tried once.
 *
 * The source signs an envelope, and everybody who carries it verifies that first: nobody can spend the rate of another, or
 * make others remember what was never sent. Whoever hands on what does not verify is at fault itself. Refused before any signature is checked: what
 * is too long, malformed, over its link's rate, of another time, or known. A replay is known wherever the envelope has passed; elsewhere it
 * costs its source what the source was entitled to spend.
 *
 * What it trusts: signatures that its driver has checked. What it does not do: hide who sends to whom from those who carry
 * it, keep order, deliver exactly once across two paths of the caller's (server and mesh). Contents arrive once per envelope.
 */
export class Routing implements Machine<RoutingInput, RoutingOutput> {
  readonly #self: PeerId;
  readonly #random: Random;
  readonly #seatOf: (peer: PeerId) => RingSeat | undefined;
  readonly #bearings: Bearings;
  readonly #quotas = new Quotas();
  readonly #passages = new Passages();
  /** With the tag of each peer. */
  readonly #links = new Map<PeerId, number>();
  readonly #tag: number;
  /** Who brought the last envelope of a source: the way back while it stands in no ring, or its link with us is half gone. */
  readonly #hints = new RecentMap<PeerId, PeerId>(limits.MAX_HINTS);
  readonly #awaited = new Map<EnvelopeKey, Awaited>();
  readonly #retries = new Deadlines<EnvelopeKey>();
  #restAt: Instant | undefined;
  #out: RoutingOutput[] = [];

  /** @param seatOf where a member sits or would sit, also one that is down; undefined: it is no member. */
  /** What we may still send ourselves; full before the first envelope. */
  #own: TokenBucket | undefined;

  constructor(self: PeerId, rings: RingView, seatOf: (peer: PeerId) => RingSeat | undefined, random: Random) {
    this.#self = self;
    this.#tag = tagOf(self);
    this.#seatOf = seatOf;
    this.#bearings = new Bearings(self, rings);
    this.#random = random.fork("routing");
  }

  handle(input: RoutingInput, now: Instant): readonly RoutingOutput[] {
    switch (input.type) {
      case "message":
        this.#message(input.peer, input.bytes, now);
        break;
      case "verified":
        this.#verified(input.resume, now);
        break;
      case "route":
        this.#route(input, now);
        break;
      case "signed":
        this.#signed(input.resume, input.signature, now);
        break;
      case "link-up":
        this.#links.set(input.peer, tagOf(input.peer));
        this.#hints.delete(input.peer);
        this.#quotas.open(input.peer, now);
        this.#bearings.setLinks([...this.#links.keys()]);
        break;
      case "link-down":
        this.#linkDown(input.peer, now);
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
    return earlier(this.#retries.next(), this.#restAt);
  }

  /** How full the bounded parts are. */
  load(): { readonly passages: number; readonly heldBytes: number; readonly awaited: number } {
    return { passages: this.#passages.size, heldBytes: this.#passages.heldBytes, awaited: this.#awaited.size };
  }

  #linkDown(peer: PeerId, now: Instant): void {
    if (!this.#links.delete(peer)) return;
    this.#quotas.close(peer);
    this.#bearings.setLinks([...this.#links.keys()]);
    for (const passage of this.#passages.lastTried(peer)) {
      passage.returned.push(peer);
      this.#advance(passage, now);
    }
  }

  #timeout(now: Instant): void {
    if (this.#restAt !== undefined && this.#restAt <= now) {
      this.#restAt = undefined;
      this.#bearings.rest();
    }
    for (let key = this.#retries.take(now); key !== undefined; key = this.#retries.take(now)) {
      const awaited = this.#awaited.get(key);
      const passage = this.#passages.find(key);
      if (awaited === undefined) continue;
      if (awaited.until <= now) this.#settle(key, "unreachable");
      else {
        this.#retries.set(key, Math.min(awaited.until, now + limits.RETRY_MS));
        if (passage !== undefined) this.#insist(passage, now);
      }
    }
  }

  #route({ to, purpose, contents, request }: Extract<RoutingInput, { type: "route" }>, now: Instant): void {
    assert(to !== this.#self, "nobody routes to itself");
    assert(contents.length <= limits.MAX_CONTENT_BYTES, "contents fit one envelope");
    const isFull = request !== undefined && this.#awaited.size >= limits.MAX_AWAITED;
    if (this.#links.size > 0 && !isFull) this.#send(to, purpose, contents, request, now);
    else if (request !== undefined) this.#out.push({ type: "unreachable", request });
  }

  #send(to: PeerId, purpose: Purpose, contents: Uint8Array, request: number | undefined, now: Instant): void {
    this.#own ??= new TokenBucket(limits.OWN_RATE, now);
    if (this.#own.level(limits.OWN_RATE, now) < 1) {
      if (request !== undefined) this.#out.push({ type: "unreachable", request });
      return;
    }
    this.#own.spend(1, limits.OWN_RATE, now);
    const id = randomBytes(this.#random, ID_BYTES);
    const envelope: Envelope = {
      source: this.#self,
      destination: to,
      id,
      time: Math.floor(now),
      purpose,
      contents,
    };
    const body = encodeBody(envelope);
    this.#out.push({ type: "sign", label: "starling/envelope/1", body, resume: { envelope, body, request } });
  }

  #signed({ envelope, body, request }: RoutingSignResume, signature: Uint8Array, now: Instant): void {
    const { source, destination, id } = envelope;
    const key = keyOf(source, id);
    if (request !== undefined) {
      this.#awaited.set(key, { request, destination, until: now + limits.PATIENCE_MS });
      this.#retries.set(key, now + limits.RETRY_MS);
    }
    const sealed = { body, signature };
    const begin = envelope.purpose === Purpose.membership ? BEGIN_PROBE : BEGIN;
    const passage = passageOf(envelope, undefined, begin, sealed, now);
    this.#passages.add(passage);
    this.#advance(passage, now);
  }

  #message(peer: PeerId, bytes: Uint8Array, now: Instant): void {
    const allowance = this.#quotas.ofLink(peer);
    if (allowance === undefined) return;
    const spent = allowance.spend(now);
    if (spent !== "admitted") {
      if (spent === "excess") this.#fault("route-flood");
      return;
    }
    const message = decodeRouting(bytes);
    if (message === undefined) {
      this.#fault("route-malformed", peer);
      return;
    }
    if (message.type === "bounce") {
      this.#bounced(peer, keyOf(message.source, message.id), message.search, now);
      return;
    }
    const { envelope, sealed, search } = message;
    const { source, id, time } = envelope;
    const known = this.#passages.find(keyOf(source, id));
    if (known !== undefined) this.#again(known, peer, search, now);
    else if (source === this.#self) this.#fault("route-replayed");
    else if (time < now - limits.ENVELOPE_LIFE_MS - CLOCK_LEEWAY_MS || time > now + CLOCK_LEEWAY_MS) {
      this.#fault("route-stale");
    } else {
      const statements = [envelopeStatement(source, sealed)];
      this.#out.push({ type: "verify", from: peer, statements, resume: { peer, search, envelope, sealed } });
    }
  }

  /** The signature holds. */
  #verified({ peer, search, envelope, sealed }: RoutingVerifyResume, now: Instant): void {
    const { source, destination, id, purpose, contents } = envelope;
    const known = this.#passages.find(keyOf(source, id));
    if (known !== undefined) {
      this.#again(known, peer, search, now);
      return;
    }
    const isMember = this.#seatOf(source) !== undefined;
    const spent = this.#quotas.ofSource(source, isMember, peer, now)?.spend(now);
    if (spent !== "admitted") {
      // A member has signed what it sends; for strangers, whoever brings them answers.
      if (spent === "excess") this.#fault("route-flood", isMember ? source : undefined);
      return;
    }
    this.#hints.set(source, peer);
    const arrived = destination === this.#self;
    const passage = passageOf(envelope, peer, search, arrived ? undefined : sealed, now);
    this.#passages.add(passage);
    if (!arrived) this.#advance(passage, now);
    else if (purpose === Purpose.receipt) this.#receipt(source, contents);
    else {
      this.#out.push({ type: "arrived", from: source, purpose, contents });
      if (purpose === Purpose.signal) this.#send(source, Purpose.receipt, id, undefined, now);
    }
  }

  #receipt(from: PeerId, id: Uint8Array): void {
    const key = keyOf(this.#self, id);
    if (this.#awaited.get(key)?.destination === from) this.#settle(key, "delivered");
  }

  /** It has been here before. */
  #again(passage: Passage, peer: PeerId, search: Search, now: Instant): void {
    const { previous, destination, source, id, tried } = passage;
    passage.search = joined(passage.search, search);
    if (destination === this.#self) {
      // Its source has not had the receipt. Another goes the way that this copy came, for a few of them.
      if (tried.length >= limits.MAX_COPIES) return;
      tried.push(peer);
      passage.previous = peer;
      this.#send(source, Purpose.receipt, id, undefined, now);
    } else if (previous === peer) this.#insist(passage, now);
    else this.#bounce(peer, passage);
  }

  #bounced(peer: PeerId, key: EnvelopeKey, search: Search, now: Instant): void {
    const passage = this.#passages.find(key);
    if (passage === undefined || !passage.tried.includes(peer) || passage.returned.includes(peer)) {
      this.#fault("route-unsolicited");
      return;
    }
    passage.returned.push(peer);
    passage.search = joined(passage.search, search);
    // A source in doubt may have gone on meanwhile: then this was one of several that are out.
    if (passage.tried.at(-1) === peer || passage.returned.length === passage.tried.length) this.#advance(passage, now);
  }

  /** Hands the envelope to the best link that has not had it: true; or back, when all that had it have sent it back. */
  #advance(passage: Passage, now: Instant): boolean {
    const { tried, previous, held, key, returned } = passage;
    const most = previous === undefined ? limits.MAX_SOURCE_TRIES : limits.MAX_TRIES;
    const next =
      held !== undefined && passage.search.hops > 0 && tried.length < most ? this.#next(passage, now) : undefined;
    if (next !== undefined && held !== undefined) {
      passage.search = passedBy(passage.search, this.#tag);
      tried.push(next);
      this.#out.push({ type: "send", peer: next, bytes: encodeEnvelope(held, passage.search) });
      return true;
    }
    if (returned.length < tried.length) return false;
    if (previous === undefined) this.#settle(key, "unreachable");
    else {
      this.#passages.release(passage);
      if (this.#links.has(previous)) this.#bounce(previous, passage);
    }
    return true;
  }

  /**
   * No receipt has come in time: the next best link. Where none is left to try, one that has had the envelope and not sent
   * it back has it again, and tries others in its turn.
   */
  #insist(passage: Passage, now: Instant): void {
    if (this.#advance(passage, now)) return;
    const { tried, returned, held, search } = passage;
    const out = tried.filter((peer) => !returned.includes(peer) && this.#links.has(peer));
    const peer = out[passage.repeats++ % Math.max(1, out.length)];
    if (held !== undefined && peer !== undefined)
      this.#out.push({ type: "send", peer, bytes: encodeEnvelope(held, search) });
  }

  #next(passage: Passage, now: Instant): PeerId | undefined {
    const { destination, tried, previous, id, receiptOf, search } = passage;
    const isFree = (peer: PeerId): boolean => {
      const tag = this.#links.get(peer);
      return tag !== undefined && peer !== previous && !tried.includes(peer) && !hasSeen(search, tag);
    };
    // A receipt goes back the way its envelope came: that way has just worked.
    const back = receiptOf === undefined ? undefined : this.#passages.find(receiptOf)?.previous;
    if (back !== undefined && isFree(back)) return back;
    const seat = this.#seatOf(destination);
    const isLinked = this.#links.has(destination);
    const hint = isLinked || seat === undefined ? this.#hints.get(destination) : undefined;
    // Who writes by way of others although we have a link to it has given that link up: ours is the half that is left.
    if (hint !== undefined && isFree(hint)) return hint;
    if (isLinked && !tried.includes(destination)) return destination;
    if (seat === undefined) return undefined;
    this.#restAt = now + limits.REST_MS;
    const free = this.#bearings.towards(seat).filter(({ peer }) => isFree(peer));
    const least = free[0]?.distance ?? UNKNOWN_DISTANCE;
    let equal = 0;
    while (equal < free.length && free[equal]?.distance === least) equal++;
    // Among equals the id decides: envelopes spread over them, and those of one dial do not all meet the same trouble.
    return free[(id[0] ?? 0) % Math.max(1, equal)]?.peer;
  }

  #bounce(peer: PeerId, { source, id, search }: Passage): void {
    this.#out.push({ type: "send", peer, bytes: encodeBounce(source, id, passedBy(search, this.#tag, 0)) });
  }

  /** The end of a request of ours, if one is waiting under this key. */
  #settle(key: EnvelopeKey, type: "delivered" | "unreachable"): void {
    const awaited = this.#awaited.get(key);
    if (awaited === undefined) return;
    this.#awaited.delete(key);
    this.#retries.clear(key);
    const passage = this.#passages.find(key);
    if (passage !== undefined) this.#passages.release(passage);
    this.#out.push({ type, request: awaited.request });
  }

  #fault(fault: RoutingFault, peer?: PeerId): void {
    this.#out.push(peer === undefined ? { type: "fault", fault } : { type: "fault", peer, fault });
  }
}

/** An envelope of ours whose receipt has not come. */
interface Awaited {
  readonly request: number;
  readonly destination: PeerId;
  readonly until: Instant;
}

function passageOf(
  { source, destination, id, purpose, contents }: Envelope,
  previous: PeerId | undefined,
  search: Search,
  held: Passage["held"],
  at: Instant,
): Passage {
  const key = keyOf(source, id);
  const receiptOf = purpose === Purpose.receipt ? keyOf(destination, contents.subarray(0, ID_BYTES)) : undefined;
  const own = id.slice();
  return {
    key,
    source,
    destination,
    id: own,
    receiptOf,
    previous,
    tried: [],
    returned: [],
    repeats: 0,
    search,
    held,
    at,
  };
}
