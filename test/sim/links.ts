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

/** A message under way, or the notice that the sending side has closed: `undefined`. */
interface Flight {
  readonly input: MessageInput | undefined;
  readonly sentAt: number;
  /** When it arrives unless something before it does later; infinite while nothing gets through. */
  arrivesAt: number;
  next: Flight | undefined;
}

/** The messages on their way from one side of a link to the other, in order: mostly none or one. */
export class Direction {
  /** The source of this direction in the event heap. */
  readonly source: number;
  readonly from: number;
  readonly to: number;
  first: Flight | undefined;
  #last: Flight | undefined;
  length = 0;
  /** The message whose loss the next packet will report. */
  lost: Flight | undefined;
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

  push(input: MessageInput | undefined, sentAt: number, arrivesAt: number): Flight {
    const flight: Flight = { input, sentAt, arrivesAt, next: undefined };
    if (this.#last === undefined) this.first = flight;
    else this.#last.next = flight;
    this.#last = flight;
    this.length++;
    return flight;
  }

  /** Takes the first message, `first`, out of the queue. */
  shift(first: Flight): void {
    if (first === this.lost) this.lost = undefined;
    this.first = first.next;
    if (this.first === undefined) this.#last = undefined;
    // To the collector, what is old keeps alive what came after it.
    first.next = undefined;
    this.length--;
  }

  /** Forgets what was to arrive after `instant`, and everything behind it. */
  cut(instant: number): void {
    let kept: Flight | undefined;
    let length = 0;
    for (let flight = this.first; flight !== undefined && flight.arrivesAt <= instant; flight = flight.next) {
      kept = flight;
      length++;
    }
    if (kept === undefined) this.first = undefined;
    else kept.next = undefined;
    this.#last = kept;
    this.length = length;
    this.lost = undefined;
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
    this.#launch(direction, input, now);
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
    const { first } = direction;
    if (!receiver.open || first === undefined) {
      this.#kill(sender.open ? sender : receiver, "stalled");
      return;
    }
    if (first.arrivesAt > now || this.#host.isFrozen(direction.to)) {
      const diesAt = this.#diesAt(direction);
      if (now >= diesAt) this.#kill(sender.open ? sender : receiver, "stalled");
      else heap.set(source, diesAt);
      return;
    }
    direction.shift(first);
    if (direction.length > 0) heap.set(source, this.#due(direction));
    else if (direction.blockedSince !== NEVER) heap.set(source, this.#diesAt(direction));
    if (first.input === undefined) this.#shut(receiver, "closed");
    else this.#host.deliver(direction.to, first.input);
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
    for (let flight = direction.first; flight !== undefined; flight = flight.next) {
      if (flight.arrivesAt === NEVER) flight.arrivesAt = nextRetransmission(flight.sentAt, now) + direction.latencyMs;
    }
    heap.set(direction.source, this.#due(direction));
  }

  /** Puts a message on the path: when it arrives if nothing follows it. */
  #launch(direction: Direction, input: MessageInput, now: number): void {
    if (direction.blockedSince !== NEVER) {
      direction.push(input, now, NEVER);
      return;
    }
    const bytes = input.bytes.length;
    let left = now;
    if (this.#network.bytesPerMs !== NEVER) {
      left = Math.max(now, direction.freeAt) + bytes / this.#network.bytesPerMs;
      direction.freeAt = left;
    }
    const jitter = this.#network.jitterMs === 0 ? 0 : this.#network.jitterMs * fraction(this.#random);
    let arrival = left + direction.latencyMs + jitter;
    if (direction.loss === 0) {
      direction.push(input, now, arrival);
      return;
    }
    const packets = Math.ceil(bytes / PACKET_BYTES);
    for (let packet = 1; packet < packets; packet++) {
      // A packet of the same message follows and reports the loss.
      if (fraction(this.#random) < direction.loss) arrival += FAST_RETRANSMISSION_RTTS * 2 * direction.latencyMs;
    }
    if (fraction(this.#random) >= direction.loss) direction.push(input, now, arrival);
    else direction.lost = direction.push(input, now, this.#retransmitted(direction, arrival, now));
  }

  /** When what was lost arrives, by time-outs alone: it would have come at `arrival`. */
  #retransmitted(direction: Direction, arrival: number, now: number): number {
    let again = arrival;
    for (let wait = RETRANSMISSION_MS; ; wait *= 2) {
      again += wait;
      if (again - now >= LINK_DIES_AFTER_MS) return NEVER;
      if (fraction(this.#random) >= direction.loss) return again;
    }
  }

  /** What is being sent now reports the last loss: the lost message comes earlier. True when that was the head. */
  #reportLoss(direction: Direction, now: number): boolean {
    const { lost } = direction;
    if (lost === undefined || direction.blockedSince !== NEVER) return false;
    direction.lost = undefined;
    const resent = now + FAST_RETRANSMISSION_RTTS * 2 * direction.latencyMs;
    if (resent >= lost.arrivesAt) return false;
    lost.arrivesAt = resent;
    return lost === direction.first;
  }

  #due(direction: Direction): number {
    const arrival = direction.first?.arrivesAt ?? NEVER;
    return arrival === NEVER ? this.#diesAt(direction) : Math.max(arrival, this.#host.now);
  }

  /** When the link dies if nothing on it moves. */
  #diesAt(direction: Direction): number {
    const since = direction.blockedSince === NEVER ? (direction.first?.sentAt ?? NEVER) : direction.blockedSince;
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
