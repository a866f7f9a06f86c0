import { fraction, type Random } from "../../../src/proto/random.ts";
import type { LinkOptions } from "../../../src/proto/streams/channel.ts";
import type { LinkInput, LinkOutput } from "../../../src/proto/streams/events.ts";
import { Link } from "../../../src/proto/streams/link.ts";

/**
 * A deterministic model of what lies below two links: in each direction a stack that takes everything, a bottleneck
 * that serves frames in order at a fixed rate, a delay, and (on request) losses that hold back everything behind them
 * until SCTP repeats the packet. Time is virtual; equal options give equal runs.
 */
export interface PathOptions {
  /** Of the bottleneck, either way. */
  readonly bytesPerMs: number;
  /** Both ways together, without queues. */
  readonly rttMs: number;
  /** Unsent bytes that the stack holds without admitting it, as libdatachannel does. Default 1 MiB. */
  readonly hiddenBytes?: number;
  /** Probability that a frame stalls its direction, and for how long. */
  readonly stall?: { readonly probability: number; readonly ms: number; readonly random: Random };
  /** The ends look at what has come only once in so long, as busy event loops do. Default: at once. */
  readonly turnMs?: number;
  /** What the stack lets be unacknowledged on the wire, as SCTP's congestion window does. Default: no bound. */
  readonly windowBytes?: number;
  /**
   * How far the window may exceed what is in flight: it is cut to that when there was no more to send, and grows by what is
   * acknowledged, as that of usrsctp does. Default: as far as it likes.
   */
  readonly burstBytes?: number;
  readonly link?: LinkOptions;
}

/** One direction of the path. */
class Direction {
  readonly #options: PathOptions;
  /** When the bottleneck has sent everything that it was given. */
  #freeAt = 0;
  #latestArrival = 0;
  /** Set to cut the direction: nothing arrives any more. */
  cut = false;
  bytesPerMs: number;
  delayMs: number;
  windowBytes: number;
  /** Frames on the wire: how long, and when the stack hears that they have come. */
  #flight: { bytes: number; until: number }[] = [];
  #flightBytes = 0;
  readonly #burstBytes: number;
  /** What of the window is open so far. */
  #window = Number.POSITIVE_INFINITY;

  constructor(options: PathOptions) {
    this.#options = options;
    this.bytesPerMs = options.bytesPerMs;
    this.delayMs = options.rttMs / 2;
    this.windowBytes = options.windowBytes ?? Number.POSITIVE_INFINITY;
    this.#burstBytes = options.burstBytes ?? Number.POSITIVE_INFINITY;
  }

  /** Takes a frame; returns when it arrives. */
  send(bytes: number, now: number): number {
    this.#freeAt = Math.max(this.#freeAt, now, this.#admission(bytes, now)) + bytes / this.bytesPerMs;
    if (this.windowBytes < Number.POSITIVE_INFINITY) {
      this.#flight.push({ bytes, until: this.#freeAt + 2 * this.delayMs });
      this.#flightBytes += bytes;
    }
    const { stall } = this.#options;
    const stalled = stall !== undefined && fraction(stall.random) < stall.probability ? stall.ms : 0;
    this.#latestArrival = Math.max(this.#latestArrival, this.#freeAt + this.delayMs + stalled);
    const { turnMs = 0 } = this.#options;
    return turnMs === 0 ? this.#latestArrival : Math.ceil(this.#latestArrival / turnMs) * turnMs;
  }

  /** When the window has room for `bytes`. */
  #admission(bytes: number, now: number): number {
    let at = now;
    let gone = 0;
    for (const sent of this.#flight) {
      if (sent.until > now && this.#flightBytes + bytes <= Math.min(this.windowBytes, this.#window)) break;
      at = Math.max(at, sent.until);
      this.#flightBytes -= sent.bytes;
      this.#window += sent.bytes;
      gone++;
    }
    if (gone > 0) this.#flight = this.#flight.slice(gone);
    if (at === now) this.#window = Math.min(this.#window, this.#flightBytes + this.#burstBytes);
    return at;
  }

  bufferedBytes(now: number): number {
    const unsent = Math.max(0, this.#freeAt - now) * this.bytesPerMs;
    return Math.max(0, unsent - (this.#options.hiddenBytes ?? 1_048_576));
  }
}

/** One end: a link, its driver, and whatever `onOutput` does with the rest. */
export class End {
  readonly link: Link;
  readonly direction: Direction;
  readonly #path: Path;
  /** Every output that is not a frame goes here. */
  onOutput: (output: LinkOutput, now: number) => void = () => {};
  frames = 0;
  bytes = 0;
  readonly #inputs: LinkInput[] = [];
  #busy = false;
  #wakeAt = Number.POSITIVE_INFINITY;
  peer: End | undefined;

  constructor(path: Path, role: "dialer" | "answerer", options: PathOptions) {
    this.#path = path;
    this.link = new Link(role, options.link);
    this.direction = new Direction(options);
  }

  /**
   * Applies one input and, at the end of the turn, whatever the link wants at once. Inputs that `onOutput` makes wait
   * until all outputs of the one before are carried out, or frames would overtake each other.
   */
  handle(input: LinkInput): void {
    this.#inputs.push(input);
    if (!this.#busy) this.#turn();
  }

  /** Sends `bytes` until the queue of `stream` is full. Sends that are taken have no outputs, so they need not wait. */
  fill(stream: number, bytes: Uint8Array): void {
    while (this.link.writable(stream)) this.link.handle({ type: "send", stream, bytes }, this.#path.now);
    if (!this.#busy) this.#turn();
  }

  #turn(): void {
    this.#busy = true;
    for (;;) {
      const input = this.#inputs.shift();
      if (input !== undefined) this.#outputs(this.link.handle(input, this.#path.now));
      else if (!this.#flush()) break;
    }
    this.#busy = false;
  }

  /** Flushes if the link wants it now, else arms its deadline. */
  #flush(): boolean {
    const { now } = this.#path;
    const deadline = this.link.deadline();
    if (deadline === undefined) return false;
    if (deadline > now) {
      if (deadline < this.#wakeAt) this.#wake(deadline);
      return false;
    }
    this.#outputs(this.link.handle({ type: "flush", bufferedBytes: this.direction.bufferedBytes(now) }, now));
    return true;
  }

  #wake(at: number): void {
    this.#wakeAt = at;
    this.#path.at(at, () => {
      if (this.#wakeAt === at) this.#wakeAt = Number.POSITIVE_INFINITY;
      if (!this.#busy) this.#turn();
    });
  }

  #outputs(outputs: readonly LinkOutput[]): void {
    const { now } = this.#path;
    for (const output of outputs) {
      if (output.type !== "frame") {
        this.onOutput(output, now);
        continue;
      }
      this.frames++;
      this.bytes += output.bytes.length;
      const arrival = this.direction.send(output.bytes.length, now);
      if (!this.direction.cut)
        this.#path.at(arrival, () => {
          if (!this.direction.cut) this.peer?.handle({ type: "frame", bytes: output.bytes });
        });
    }
  }
}

/** Two ends and the path between them. */
export class Path {
  now = 1_000;
  readonly dialer: End;
  readonly answerer: End;
  readonly #events: { at: number; order: number; run: () => void }[] = [];
  #order = 0;

  constructor(options: PathOptions) {
    this.dialer = new End(this, "dialer", options);
    this.answerer = new End(this, "answerer", options);
    this.dialer.peer = this.answerer;
    this.answerer.peer = this.dialer;
  }

  /** Runs `run` at `at`; at equal times in the order of the calls. */
  at(at: number, run: () => void): void {
    const events = this.#events;
    const event = { at, order: this.#order++, run };
    let index = events.length;
    events.push(event);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = events[parent] as typeof event;
      if (!earlier(event, above)) break;
      events[index] = above;
      index = parent;
    }
    events[index] = event;
  }

  /** Runs the world for `ms`. */
  run(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const first = this.#events[0];
      if (first === undefined || first.at > end) break;
      this.#pop();
      this.now = Math.max(this.now, first.at);
      first.run();
    }
    this.now = end;
  }

  #pop(): void {
    const events = this.#events;
    const last = events.pop();
    if (last === undefined || events.length === 0) return;
    let index = 0;
    for (;;) {
      let child = index * 2 + 1;
      const left = events[child];
      if (left === undefined) break;
      const right = events[child + 1];
      if (right !== undefined && earlier(right, left)) child++;
      const least = events[child] as typeof last;
      if (!earlier(least, last)) break;
      events[index] = least;
      index = child;
    }
    events[index] = last;
  }
}

function earlier(a: { at: number; order: number }, b: { at: number; order: number }): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
