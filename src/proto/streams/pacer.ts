import { MAX_FRAME_BYTES } from "../limits.ts";
import type { Instant } from "../machine.ts";
import { Delivery } from "./delivery.ts";
import { RATE_ROUNDS, RateWindow } from "./rate-window.ts";
import { MINIMUM_WINDOW_MS, RoundTrip } from "./round-trip.ts";
import { INITIAL_BYTES, SlowStart } from "./slow-start.ts";

/**
 * Decides how much may be on its way: enough to keep the path full, little enough that a probe gets through.
 *
 * Below a link is a queue that we neither see nor can reorder: the stack's buffer, SCTP's window, routers. What we hand
 * down beyond what the path holds waits there, and every probe waits behind it. So the bytes outstanding (sent and not
 * acknowledged by the peer's link) are kept at
 *
 *     delivery rate x (smallest round trip + TARGET_QUEUE_MS)
 *
 * in the manner of BBR (Cardwell et al., 2016): the rate is the largest of the last ten round trips, the round trip the
 * smallest of the last ten seconds. The queue of TARGET_QUEUE_MS (less where the path is fast) is both the slack that keeps a path busy while this
 * process does something else and the probe for more: if the path gets faster the queue empties, the same bytes are
 * delivered sooner, the rate rises, and with it the limit, by 25 ms / round trip in every round trip.
 *
 * The largest rate is too large where the stack below sends in bursts (a window, then a pause, as SCTP does on a long path):
 * while the frames of a round trip wait for much longer than the target, a smaller share of the path is filled.
 *
 * Phases. `startup` doubles at least in each round trip and ends when a queue has formed or the rate stands still.
 * `steady` is the rule above. A drain (`emptying`, then `looking`) lets the path run half empty for one round trip,
 * every ten seconds while it is kept full, because the smallest round trip is not to be seen through one's own queue
 * (about 1 % of throughput at 100 ms, less below). A rate that has fallen means that the path has become slower, and
 * its queue must shrink, or longer, and the smallest round trip is out of date; which of the two only an empty path
 * tells. So a drain follows then too, what it sees replaces the smallest round trip, and startup finds the rate again.
 * The same if the queue is twice too long for half a second on end. A stall (SCTP repeats a lost packet after 1
 * s at the earliest) is one long round trip and changes nothing.
 *
 * After a pause the rate is remembered, but the stack below has to find it again: what is outstanding is held to {@link SlowStart}.
 *
 * It does not share fairly with other links over the same bottleneck beyond what the congestion control of SCTP below
 * does, and does not space frames in time: the stack does.
 */
export class Pacer {
  readonly #options: Required<PacerOptions>;
  readonly #delivery: Delivery;
  readonly #roundTrip = new RoundTrip();
  readonly #rates = new RateWindow();
  #phase: Phase = { name: "startup", rate: 0, flatRounds: 0 };
  /** The round trip under way ends when this much is delivered. */
  #roundEnd = 0;
  /** Acknowledgements in a row that show a queue, and since when they show a long one. */
  #queuedSamples = 0;
  #longSince: Instant | undefined;
  /** When the path was last seen without a queue of ours, the largest rate since, and the round trips since. */
  #clearAt: Instant | undefined;
  #clearRate = 0;
  #clearRounds = 0;
  /** The samples of the round trip under way, and the share of the path that is filled because of those before. */
  #roundSumMs = 0;
  #roundSamples = 0;
  #fill = 1;
  readonly #slowStart = new SlowStart(TARGET_QUEUE_MS);
  #wasIdle = false;
  #limit = INITIAL_BYTES;
  #frameBytes = INITIAL_FRAME_BYTES;

  /** @param framesBefore numbered frames that were delivered before, by another channel. */
  constructor(options: PacerOptions = {}, framesBefore = 0) {
    this.#delivery = new Delivery(framesBefore);
    this.#options = { maxFrames: 2_048, maxBytes: 32 * 1_048_576, ...options };
  }

  /** Numbered frames and bytes in flight, and what was delivered. */
  get delivery(): Readonly<Omit<Delivery, "sent" | "idle" | "acknowledged">> {
    return this.#delivery;
  }

  /** The round-trip time. */
  get roundTrip(): Readonly<Omit<RoundTrip, "observe" | "smooth" | "restart">> {
    return this.#roundTrip;
  }

  /** What the path is believed to take, bytes/ms; 0 before the first acknowledgement. */
  get rate(): number {
    return this.#rates.rate;
  }

  /** Bytes that may be outstanding. */
  get limitBytes(): number {
    return this.#limit;
  }

  /** How large a frame should be: 5 ms of the path, less of a fast one, so that a frame under way does not hold up a probe. */
  get frameBytes(): number {
    return this.#frameBytes;
  }

  /** What the stack may hold unsent: the target queue, and more on a path too slow for a few frames. */
  get stackBytes(): number {
    return Math.max(MIN_STACK_BYTES, this.#queueBytes);
  }

  /** Whether another numbered frame may be sent. The last one may exceed the limit by its length. */
  get open(): boolean {
    const delivery = this.#delivery;
    return (
      delivery.outstandingBytes < this.#limit &&
      delivery.framesSent - delivery.framesAcknowledged < this.#options.maxFrames
    );
  }

  /** Whether an urgent numbered frame may be sent: twice the bounds, for a peer that never acknowledges. */
  get openForUrgent(): boolean {
    const { framesSent, framesAcknowledged, outstandingBytes } = this.#delivery;
    const { maxFrames, maxBytes } = this.#options;
    return framesSent - framesAcknowledged < maxFrames * 2 && outstandingBytes < maxBytes * 2;
  }

  /** A numbered frame was handed down. */
  sent(bytes: number, now: Instant): void {
    const delivery = this.#delivery;
    if (this.#wasIdle && delivery.outstandingBytes === 0) {
      this.#slowStart.begin(delivery.deliveredBytes, 0);
      this.#limit = this.#newLimit();
    }
    this.#wasIdle = false;
    delivery.sent(bytes, now);
  }

  /** Everything that could be sent has been, and the path would take more. */
  idle(): void {
    this.#wasIdle = true;
    this.#delivery.idle();
  }

  /** A ping has come back. */
  answered(rttMs: number, now: Instant): void {
    if (rttMs > LARGEST_RTT_MS) return;
    this.#roundTrip.observe(rttMs, now);
    this.#roundTrip.smooth(rttMs);
  }

  /**
   * The peer has the first `frames` numbered frames, and held this acknowledgement back for `delayMs`. False, and
   * nothing changed, when that cannot be.
   */
  acknowledged(frames: number, delayMs: number, now: Instant): boolean {
    const delivery = this.#delivery;
    if (frames < delivery.framesAcknowledged || frames > delivery.framesSent) return false;
    if (frames === delivery.framesAcknowledged) return true;
    const sample = delivery.acknowledged(frames, now);
    if (sample.elapsedMs > LARGEST_RTT_MS) return true;
    const rttMs = Math.max(sample.elapsedMs - Math.min(delayMs, MAX_CREDIBLE_DELAY_MS), SMALLEST_RTT_MS);
    this.#roundTrip.observe(rttMs, now);
    if (sample.limited || this.#clearAt === undefined) this.#clearAt = now;
    const resuming = this.#phase.name === "steady" && this.#slowStartBytes(sample.deliveredBefore) < this.#pathBytes;
    const rate = sample.bytes / Math.max(sample.intervalMs, SHORTEST_INTERVAL_MS);
    this.#roundSumMs += rttMs;
    this.#roundSamples++;
    const roundEnded = sample.deliveredBefore >= this.#roundEnd;
    if (roundEnded) {
      this.#adjustFill();
      this.#roundTrip.smooth(rttMs);
      this.#roundEnd = delivery.deliveredBytes;
      this.#endRound(now);
    }
    this.#rates.add(rate, sample.limited || resuming);
    this.#judgeQueue(rttMs - this.#roundTrip.minimumMs, rate, now);
    if (this.#phase.name === "emptying") this.#empty(this.#phase, now);
    else if (this.#phase.name === "looking") this.#look(this.#phase, roundEnded, rttMs, now);
    this.#limit = this.#newLimit();
    this.#frameBytes = this.#newFrameBytes();
    return true;
  }

  #endRound(now: Instant): void {
    const before = this.#rates.rate;
    if (!this.#rates.endRound()) return;
    const { rate } = this.#rates;
    const phase = this.#phase;
    this.#clearRounds++;
    this.#clearRate = Math.max(this.#clearRate, rate);
    if (phase.name === "startup") {
      if (before >= phase.rate * STARTUP_GROWTH) this.#phase = { name: "startup", rate: before, flatRounds: 0 };
      else if (phase.flatRounds + 1 < STARTUP_FLAT_ROUNDS)
        this.#phase = { name: "startup", rate: phase.rate, flatRounds: phase.flatRounds + 1 };
      else this.#phase = STEADY;
    } else if (phase.name === "steady") {
      if (rate < this.#clearRate * FALLEN_RATE && this.#clearRounds > RATE_ROUNDS) this.#startDrain("fallen", now);
      else if (now - (this.#clearAt ?? now) > MINIMUM_WINDOW_MS) this.#startDrain("routine", now);
    }
  }

  /** Fills less of the path while frames wait for longer than they should, mean over mean. */
  #adjustFill(): void {
    const queueMs = this.#roundSumMs / this.#roundSamples - this.#roundTrip.minimumMs;
    this.#roundSumMs = 0;
    this.#roundSamples = 0;
    if (this.#phase.name === "startup") this.#fill = 1;
    else if (this.#phase.name === "steady")
      this.#fill = queueMs > FULL_QUEUE_MS ? Math.max(this.#fill * 0.95, LEAST_FILL) : Math.min(this.#fill * 1.02, 1);
  }

  #judgeQueue(queueMs: number, rate: number, now: Instant): void {
    const startupQueueMs = Math.max(STARTUP_QUEUE_MS, this.#roundTrip.minimumMs / 6);
    this.#queuedSamples = queueMs > startupQueueMs ? this.#queuedSamples + 1 : 0;
    if (this.#phase.name === "startup" && this.#queuedSamples >= STARTUP_QUEUED_SAMPLES) this.#phase = STEADY;
    if (queueMs <= LONG_QUEUE_MS + this.#roundTrip.minimumMs / 4 || this.#draining) this.#longSince = undefined;
    else if (this.#longSince === undefined) this.#longSince = now;
    else if (now - this.#longSince >= LONG_QUEUE_FOR_MS) {
      this.#rates.restart(rate);
      this.#startDrain("clogged", now);
    }
  }

  #startDrain(reason: DrainReason, now: Instant): void {
    this.#longSince = undefined;
    this.#phase = { name: "emptying", reason, since: now, deliveredBefore: this.#delivery.deliveredBytes };
  }

  /** Waits until few bytes are outstanding. Of a clogged path this shows the rate: it is full all the while. */
  #empty(phase: Phase & { name: "emptying" }, now: Instant): void {
    const { deliveredBytes, outstandingBytes } = this.#delivery;
    const elapsedMs = now - phase.since;
    if (phase.reason === "clogged" && elapsedMs >= Math.max(LONG_ENOUGH_MS, this.#roundTrip.minimumMs))
      this.#rates.restart((deliveredBytes - phase.deliveredBefore) / elapsedMs);
    if (outstandingBytes > this.#drainLimit()) return;
    this.#roundEnd = deliveredBytes + outstandingBytes;
    this.#phase = { name: "looking", reason: phase.reason, minimumMs: Number.POSITIVE_INFINITY };
  }

  /** Looks at the path with few bytes outstanding, for one round trip. */
  #look(phase: Phase & { name: "looking" }, roundEnded: boolean, rttMs: number, now: Instant): void {
    const minimumMs = Math.min(phase.minimumMs, rttMs);
    if (!roundEnded) {
      this.#phase = { ...phase, minimumMs };
      return;
    }
    this.#clearAt = now;
    this.#clearRate = this.#rates.rate;
    this.#clearRounds = 0;
    if (phase.reason === "routine") this.#phase = STEADY;
    else {
      this.#roundTrip.restart(minimumMs, now);
      const { deliveredBytes, outstandingBytes } = this.#delivery;
      this.#slowStart.begin(deliveredBytes, outstandingBytes);
      this.#phase = { name: "startup", rate: 0, flatRounds: 0 };
    }
  }

  get #draining(): boolean {
    return this.#phase.name === "emptying" || this.#phase.name === "looking";
  }

  #newLimit(): number {
    if (this.#draining) return this.#drainLimit();
    // Until the path has been full once the rate says only what was offered.
    const least = this.#rates.measured ? this.#frameBytes * MIN_FRAMES : INITIAL_BYTES;
    const most = Math.min(this.#slowStartBytes(this.#delivery.deliveredBytes), this.#options.maxBytes);
    return Math.min(Math.max(this.#pathBytes, least), most);
  }

  /** What the path and its queue hold. */
  get #pathBytes(): number {
    const { rate } = this.#rates;
    if (rate === 0) return 0;
    return rate * this.#roundTrip.minimumMs * (this.#phase.name === "startup" ? 2 : this.#fill) + this.#queueBytes;
  }

  #slowStartBytes(deliveredBytes: number): number {
    return this.#slowStart.limitBytes(deliveredBytes, this.#roundTrip.minimumMs);
  }

  /** What may wait below at the rate of the path. */
  get #queueBytes(): number {
    const { rate } = this.#rates;
    return Math.min(rate * TARGET_QUEUE_MS, Math.max(TARGET_QUEUE_BYTES, rate * FAST_QUEUE_MS));
  }

  #drainLimit(): number {
    const half = (this.#rates.rate * this.#roundTrip.minimumMs) / 2;
    return Math.min(Math.max(half, this.#frameBytes * 2), this.#options.maxBytes);
  }

  #newFrameBytes(): number {
    const least = this.#rates.measured ? MIN_FRAME_BYTES : INITIAL_FRAME_BYTES;
    const { rate } = this.#rates;
    const bytes = Math.max(Math.min(rate * FRAME_MS, LARGE_FRAME_BYTES), rate * LARGE_FRAME_MS, least);
    return Math.min(Math.floor(bytes), MAX_FRAME_BYTES);
  }
}

export interface PacerOptions {
  /**
   * Numbered frames in flight. Default 2,048: with frames of 16 KiB the bound in bytes. For a stack whose cost grows with the
   * messages it holds (werift) 64.
   */
  readonly maxFrames?: number;
  /** Bytes in flight. Default 32 MiB: 300 MB/s at 100 ms. */
  readonly maxBytes?: number;
}

/**
 * Why the path is drained: it is time, the rate has fallen, or the queue is far too long. See the head of the module.
 */
type DrainReason = "routine" | "fallen" | "clogged";

type Phase =
  | { readonly name: "startup"; readonly rate: number; readonly flatRounds: number }
  | { readonly name: "steady" }
  | {
      readonly name: "emptying";
      readonly reason: DrainReason;
      readonly since: Instant;
      readonly deliveredBefore: number;
    }
  | { readonly name: "looking"; readonly reason: DrainReason; readonly minimumMs: number };

const STEADY: Phase = { name: "steady" };

/**
 * The queue that a path under load carries. A probe must come back within 50 ms of the round trip in 99 of 100 cases:
 * half of that for this queue, the rest for errors of the rate, the frame under way (5 ms) and the turns of two event
 * loops.
 */
const TARGET_QUEUE_MS = 25;

/**
 * A fast path needs less time: so many bytes, but no less than the turns of two busy event loops take. On the loopback of two
 * cores, where both ends compete for them, the full target cost a probe 77 ms in one case of a hundred, this 48.
 */
const TARGET_QUEUE_BYTES = 393_216;
const FAST_QUEUE_MS = 8;

/** The largest rate of ten round trips is too large where packets arrive in bursts, by up to a quarter as measured. */
const LEAST_FILL = 0.7;
const FULL_QUEUE_MS = 1.4 * TARGET_QUEUE_MS;

/** Duration of a frame: a fifth of the target, so that the limit is met closely and turns between streams are short. */
const FRAME_MS = 5;

/** Beyond this length a frame costs little less for being longer: a probe waits for no more than a millisecond of it. */
const LARGE_FRAME_BYTES = 16_384;
const LARGE_FRAME_MS = 1;

/** The smallest frame: one packet of the stacks below. */
const MIN_FRAME_BYTES = 1_152;

/** Before anything is known: 3 ms of a 10 Mbit/s path. */
const INITIAL_FRAME_BYTES = 4_096;

/** Frames that may always be outstanding, or a delayed acknowledgement would stop the path. */
const MIN_FRAMES = 4;

/** What a stack may always hold unsent. */
const MIN_STACK_BYTES = 65_536;

/** Startup ends after this many round trips in a row in which the rate grew by less than a quarter (BBR). */
const STARTUP_GROWTH = 1.25;
const STARTUP_FLAT_ROUNDS = 3;

/**
 * Startup ends as well when this many acknowledgements in a row show a queue near the target, or longer than a sixth of
 * the round trip: on a long path a doubled window arrives in lumps (as HyStart does).
 */
const STARTUP_QUEUE_MS = 0.75 * TARGET_QUEUE_MS;
const STARTUP_QUEUED_SAMPLES = 4;

/**
 * A queue so long (and by a quarter of the round trip longer: startup doubles), for so long, is not ours by the rules above. It
 * comes when SCTP halves its window on a long path, which it does without a loss that we could see. After a stall everything
 * comes at once, not for so long.
 */
const LONG_QUEUE_MS = 2 * TARGET_QUEUE_MS;
const LONG_QUEUE_FOR_MS = 500;

/** Over which, and over a round trip at least, a rate can be told from a burst: a window's worth arrives at line rate. */
const LONG_ENOUGH_MS = 20;

/**
 * A rate that has fallen so far: more than noise, little enough to be found out before the limit has followed it down.
 */
const FALLEN_RATE = 0.85;

/** Rates over less are noise of clocks and of the event loop. */
const SHORTEST_INTERVAL_MS = 1;

/** Half the resolution of the delay that acknowledgements state. */
const SMALLEST_RTT_MS = 0.05;

/** Whoever waits longer for an answer slept meanwhile: nothing about the path. */
const LARGEST_RTT_MS = 10_000;

/** An honest peer holds an acknowledgement back for 2 ms; a busy one for a turn of its event loop. */
const MAX_CREDIBLE_DELAY_MS = 100;
