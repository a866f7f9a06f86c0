import type { PeerId } from "../../src/proto/peer-id.ts";
import { fraction, type Random } from "../../src/proto/random.ts";
import type { EventHeap } from "./event-heap.ts";
import type { Network } from "./network.ts";
import type { LinkDownReason, MessageInput } from "./node.ts";

/**
 * Links as WebRTC data channels are: reliable and ordered, so that trouble shows as time, never as a gap.
 *
 * A lost packet is resent after 1.5 round trips if more data follows (SCTP's fast retransmission: the gap is reported by
 * what arrives behind it), else after 1 s, 2 s, 4 s... (its retransmission time-out, at least 1 s, doubling). Whatever was
 * sent later waits behind it. A link on which something has waited for 30 s dies, on both sides at once, because the
 * consent checks of ICE (RFC 7675) then fail both ways. One exception: nothing is heard from a process that was killed,
 * and no stack closes a channel for that, so such a link stays up and silent until its node drops it.
 */

/** The smallest and first retransmission time-out, ms; it doubles. */
const RETRANSMISSION_MS = 1_000;
/** In round trips: the loss is reported by what follows, and the copy takes its own way. */
const FAST_RETRANSMISSION_RTTS = 1.5;
/** How long something may wait on a link before the link is dead, ms. */
export const LINK_DIES_AFTER_MS = 30_000;
/** Messages that wait on one direction of a link; one more and the link dies. */
const MAX_QUEUED = 16_384;
/** Bytes of a message that fit one packet. */
const PACKET_BYTES = 1_170;

const NEVER = Number.POSITIVE_INFINITY;

/** One side of a link. */
export class End {
  readonly member: number;
  readonly peer: PeerId;
  /** What this side sends. */
  readonly out: Direction;
  open = true;
  /** Its process was killed: it is not open, and nobody was told. */
  vanished = false;
  /** The other side: set right after both exist. */
  other: End = this;

  constructor(member: number, peer: PeerId, out: Direction) {
    this.member = member;
    this.peer = peer;
    this.out = out;
  }
}

/** The messages on their way from one side of a link to the other, in order. Parallel arrays: a message costs no object. */
export class Direction {
  /** The source of this direction in the event heap. */
  readonly source: number;
  readonly from: number;
  readonly to: number;
  /** From {@link head} up to {@link tail}; `undefined` is the notice that the sending side has closed. */
  inputs: (MessageInput | undefined)[] = [];
  /** When each arrives unless something before it does later; infinite while nothing gets through. */
  arrivals: number[] = [];
  sent: number[] = [];
  head = 0;
  tail = 0;
  /** The message whose loss the next packet will report; -1 for none. */
  lost = -1;
  latencyMs = 0;
  loss = 0;
  /** Since when the path lets nothing through; infinite while it does. */
  blockedSince = NEVER;
  /** When the sender's line is free again. */
  freeAt = 0;
  receiver: End | undefined;
  sender: End | undefined;

  constructor(source: number, from: number, to: number) {
    this.source = source;
    this.from = from;
    this.to = to;
  }

  get length(): number {
    return this.tail - this.head;
  }

  push(input: MessageInput | undefined, sentAt: number, arrival: number): void {
    const tail = this.tail++;
    this.inputs[tail] = input;
    this.sent[tail] = sentAt;
    this.arrivals[tail] = arrival;
  }

  /** Takes the first message. The arrays keep their length: most links carry one message at a time, in place 0. */
  shift(): MessageInput | undefined {
    const input = this.inputs[this.head];
    this.inputs[this.head++] = undefined;
    if (this.head === this.tail) {
      this.head = this.tail = 0;
      this.lost = -1;
    } else if (this.head >= 64 && this.head * 2 > this.tail) {
      this.inputs = this.inputs.slice(this.head, this.tail);
      this.arrivals = this.arrivals.slice(this.head, this.tail);
      this.sent = this.sent.slice(this.head, this.tail);
      this.lost = Math.max(-1, this.lost - this.head);
      this.tail -= this.head;
      this.head = 0;
    }
    return input;
  }

  /** Forgets what was to arrive after `instant`, and everything behind it. */
  cut(instant: number): void {
    let kept = this.head;
    while (kept < this.tail && (this.arrivals[kept] as number) <= instant) kept++;
    this.inputs.length = kept;
    this.tail = kept;
    this.lost = -1;
  }
}

/** What the links need of the world. */
export interface LinkHost {
  readonly heap: EventHeap;
  now: number;
  isFrozen(member: number): boolean;
  deliver(member: number, message: MessageInput): void;
  /** The link is over on this side. */
  linkDown(end: End, reason: LinkDownReason): void;
}

/** All links of a world. */
export class Links {
  /** The most messages that one direction of a link has ever held. */
  deepest = 0;
  readonly #host: LinkHost;
  readonly #network: Network;
  readonly #random: Random;
  /** By heap source minus {@link #firstSource}. */
  readonly #directions: (Direction | undefined)[] = [];
  readonly #firstSource: number;
  readonly #free: number[] = [];

  /** @param firstSource heap sources from here up belong to links. */
  constructor(host: LinkHost, network: Network, random: Random, firstSource: number) {
    this.#host = host;
    this.#network = network;
    this.#random = random;
    this.#firstSource = firstSource;
  }

  /** Makes a link between two members; returns the sides of `a` and of `b`. */
  connect(a: number, aId: PeerId, b: number, bId: PeerId): [End, End] {
    const there = this.#direction(a, b);
    const back = this.#direction(b, a);
    const ends: [End, End] = [new End(a, bId, there), new End(b, aId, back)];
    ends[0].other = ends[1];
    ends[1].other = ends[0];
    there.sender = back.receiver = ends[0];
    there.receiver = back.sender = ends[1];
    return ends;
  }

  /** Hands `input` to the link; it goes nowhere when the other side is gone. */
  send(end: End, input: MessageInput): void {
    const direction = end.out;
    const { heap, now } = this.#host;
    if (!end.other.open) {
      this.#sendIntoVoid(direction, end);
      return;
    }
    if (direction.length >= MAX_QUEUED) {
      this.#kill(end, "overflow");
      return;
    }
    const rescheduled = this.#reportLoss(direction, now);
    direction.push(input, now, this.#arrival(direction, input.bytes.length, now));
    if (direction.length > this.deepest) this.deepest = direction.length;
    if (direction.length === 1 || rescheduled) heap.set(direction.source, this.#due(direction));
  }

  /** This side ends the link: what it has sent still arrives, then the notice, if it can. */
  close(end: End, reason: LinkDownReason): void {
    const direction = end.out;
    this.#shut(end, reason);
    if (!end.other.open) return;
    const { now } = this.#host;
    direction.push(undefined, now, direction.blockedSince === NEVER ? now + direction.latencyMs : NEVER);
    if (direction.length === 1) this.#host.heap.set(direction.source, this.#due(direction));
  }

  /** A newer link takes the place of this one, whatever was on it. */
  replace(end: End): void {
    this.#shut(end, "replaced");
    if (end.other.open) this.#shut(end.other, "replaced");
  }

  /** This side's process ends without a word: what is on the wire arrives, what waits for a retransmission never does. */
  vanish(end: End): void {
    const { heap, now } = this.#host;
    const direction = end.out;
    end.open = false;
    end.vanished = true;
    direction.cut(now + 2 * direction.latencyMs);
    if (direction.length === 0) heap.clear(direction.source);
    this.#emptyVoid(end.other.out);
    this.#release(end);
  }

  /** The heap says that `source` is due: its first message arrives, or it has waited for too long. */
  due(source: number): void {
    const direction = this.#directions[source - this.#firstSource];
    if (direction === undefined) return;
    const { heap, now } = this.#host;
    const receiver = direction.receiver as End;
    const sender = direction.sender as End;
    if (!receiver.open || direction.length === 0) {
      this.#kill(sender.open ? sender : receiver, "stalled");
      return;
    }
    const head = direction.head;
    const waits = (direction.arrivals[head] as number) > now || this.#host.isFrozen(direction.to);
    if (waits) {
      const diesAt = this.#diesAt(direction);
      if (now >= diesAt) this.#kill(sender.open ? sender : receiver, "stalled");
      else heap.set(source, diesAt);
      return;
    }
    const input = direction.shift();
    if (direction.length > 0) heap.set(source, this.#due(direction));
    else if (direction.blockedSince !== NEVER) heap.set(source, this.#diesAt(direction));
    if (input === undefined) this.#shut(receiver, "closed");
    else this.#host.deliver(direction.to, input);
  }

  /** A node runs again after a freeze: what has arrived in the meantime is there. */
  thaw(end: End): void {
    const direction = end.other.out;
    if (direction.length > 0) this.#host.heap.set(direction.source, Math.max(this.#host.now, this.#due(direction)));
  }

  /** Reads the conditions of the network anew, for links that exist; what was stuck goes with the next retransmission. */
  refresh(): void {
    for (const direction of this.#directions) if (direction !== undefined) this.#refresh(direction);
  }

  #refresh(direction: Direction): void {
    const network = this.#network;
    direction.latencyMs = network.latencyMs(direction.from, direction.to);
    direction.loss = network.lossBetween(direction.from, direction.to);
    const { heap, now } = this.#host;
    const passes = network.reaches(direction.from, direction.to);
    if (passes === (direction.blockedSince === NEVER)) return;
    direction.blockedSince = passes ? NEVER : now;
    if (direction.receiver?.open !== true) return;
    if (direction.length === 0) {
      if (passes) heap.clear(direction.source);
      else heap.set(direction.source, now + LINK_DIES_AFTER_MS);
      return;
    }
    for (let index = direction.head; index < direction.tail; index++) {
      if (direction.arrivals[index] !== NEVER) continue;
      direction.arrivals[index] = nextRetransmission(direction.sent[index] as number, now) + direction.latencyMs;
    }
    heap.set(direction.source, this.#due(direction));
  }

  /** When a packet of this many bytes, sent at `now`, arrives if nothing follows it. */
  #arrival(direction: Direction, bytes: number, now: number): number {
    if (direction.blockedSince !== NEVER) return NEVER;
    let left = now;
    if (this.#network.bytesPerMs !== NEVER) {
      left = Math.max(now, direction.freeAt) + bytes / this.#network.bytesPerMs;
      direction.freeAt = left;
    }
    const jitter = this.#network.jitterMs === 0 ? 0 : this.#network.jitterMs * fraction(this.#random);
    let arrival = left + direction.latencyMs + jitter;
    if (direction.loss === 0) return arrival;
    const packets = Math.ceil(bytes / PACKET_BYTES);
    for (let packet = 1; packet < packets; packet++) {
      // A packet of the same message follows and reports the loss.
      if (fraction(this.#random) < direction.loss) arrival += FAST_RETRANSMISSION_RTTS * 2 * direction.latencyMs;
    }
    if (fraction(this.#random) >= direction.loss) return arrival;
    direction.lost = direction.tail;
    for (let wait = RETRANSMISSION_MS; ; wait *= 2) {
      arrival += wait;
      if (arrival - now >= LINK_DIES_AFTER_MS) return NEVER;
      if (fraction(this.#random) >= direction.loss) return arrival;
    }
  }

  /** What is being sent now reports the last loss: the lost message comes earlier. True when that was the head. */
  #reportLoss(direction: Direction, now: number): boolean {
    const lost = direction.lost;
    if (lost < direction.head || direction.blockedSince !== NEVER) return false;
    direction.lost = -1;
    const resent = now + FAST_RETRANSMISSION_RTTS * 2 * direction.latencyMs;
    if (resent >= (direction.arrivals[lost] as number)) return false;
    direction.arrivals[lost] = resent;
    return lost === direction.head;
  }

  #due(direction: Direction): number {
    const arrival = direction.arrivals[direction.head] as number;
    if (arrival === NEVER) return this.#diesAt(direction);
    return arrival > this.#host.now ? arrival : this.#host.now;
  }

  /** When the link dies if nothing on it moves. */
  #diesAt(direction: Direction): number {
    const since =
      direction.blockedSince === NEVER ? (direction.sent[direction.head] as number) : direction.blockedSince;
    return since + LINK_DIES_AFTER_MS;
  }

  #sendIntoVoid(direction: Direction, end: End): void {
    const { heap, now } = this.#host;
    if (end.other.vanished || heap.at(direction.source) !== NEVER) return;
    heap.set(direction.source, now + LINK_DIES_AFTER_MS);
  }

  /** The receiver of `direction` is gone: nothing on it arrives, and its sender notices by sending, if at all. */
  #emptyVoid(direction: Direction): void {
    const waited = direction.length > 0;
    direction.cut(Number.NEGATIVE_INFINITY);
    this.#host.heap.clear(direction.source);
    const sender = direction.sender as End;
    if (waited && sender.open) this.#sendIntoVoid(direction, sender);
  }

  #kill(end: End, reason: LinkDownReason): void {
    this.#shut(end, reason);
    if (end.other.open) this.#shut(end.other, reason);
  }

  #shut(end: End, reason: LinkDownReason): void {
    end.open = false;
    this.#emptyVoid(end.other.out);
    this.#release(end);
    this.#host.linkDown(end, reason);
  }

  /** Gives the heap sources back once neither side is open and nothing is under way. */
  #release(end: End): void {
    if (end.open || end.other.open) return;
    for (const direction of [end.out, end.other.out]) {
      direction.cut(Number.NEGATIVE_INFINITY);
      this.#host.heap.clear(direction.source);
      if (this.#directions[direction.source - this.#firstSource] !== direction) continue;
      this.#directions[direction.source - this.#firstSource] = undefined;
      this.#free.push(direction.source);
    }
  }

  #direction(from: number, to: number): Direction {
    const source = this.#free.pop() ?? this.#firstSource + this.#directions.length;
    const direction = new Direction(source, from, to);
    this.#directions[source - this.#firstSource] = direction;
    this.#refresh(direction);
    return direction;
  }
}

/** The first of the retransmissions of a packet sent at `sentAt` (after 1, 3, 7, 15... s) that is not before `now`. */
export function nextRetransmission(sentAt: number, now: number): number {
  let at = sentAt;
  for (let wait = RETRANSMISSION_MS; at < now; wait *= 2) at += wait;
  return at;
}
