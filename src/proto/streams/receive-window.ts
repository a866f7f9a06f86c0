import type { Instant } from "../machine.ts";
import {
  CROWDED_WINDOW_BYTES,
  EARLY_CREDIT_BYTES,
  INITIAL_WINDOW_BYTES,
  LINK_ASSEMBLY_BYTES,
  LINK_WINDOW_BYTES,
  MAX_WINDOW_BYTES,
} from "./limits.ts";

/** The room that one link's windows share. */
export class WindowBudget {
  windowBytes = 0;
  assemblyBytes = 0;
}

/**
 * How much the peer may send on one stream: what the application has consumed, plus a window.
 *
 * The window doubles while half of it is consumed within one round trip: then it, and not the path, limits the stream
 * (dynamic right-sizing, Fisk and Feng 2001, as in QUIC). A message longer than its window would never complete, so
 * its missing part is promised on top, out of a budget that all streams of the link share.
 *
 * All amounts count as {@link Inbox.cost} does: bytes, and an overhead for each message.
 */
export class ReceiveWindow {
  readonly #budget: WindowBudget;
  #windowBytes = 0;
  #promised = 0;
  #granted: number;
  #consumed = 0;
  #delivered = 0;
  #epochAt: Instant | undefined;
  #epochConsumed = 0;

  /** A window that nothing is granted in but the early credit, which an opener has without asking. */
  constructor(budget: WindowBudget) {
    this.#budget = budget;
    this.#granted = EARLY_CREDIT_BYTES;
  }

  /** Opens the window; returns its size, to be told to the peer. */
  open(): number {
    const fits = this.#budget.windowBytes + INITIAL_WINDOW_BYTES <= LINK_WINDOW_BYTES;
    this.#windowBytes = fits ? INITIAL_WINDOW_BYTES : CROWDED_WINDOW_BYTES;
    this.#budget.windowBytes += this.#windowBytes;
    this.#granted = this.#windowBytes;
    return this.#windowBytes;
  }

  /** Whether the peer was allowed to send `cost` in all. */
  allows(cost: number): boolean {
    return cost <= this.#granted;
  }

  /** A message of `cost` goes to the application. */
  delivered(cost: number): void {
    this.#delivered += cost;
  }

  /** The application is done with `cost`; false, and nothing changed, when it never had so much. */
  consumed(cost: number): boolean {
    if (this.#consumed + cost > this.#delivered) return false;
    this.#consumed += cost;
    return true;
  }

  /** Credit to be given now, or 0. `rttMs`: smoothed round trip, undefined when not known. */
  grant(rttMs: number | undefined, now: Instant): number {
    this.#tune(rttMs, now);
    const due = this.#consumed + this.#windowBytes - this.#granted;
    if (due < this.#windowBytes / 8) return 0;
    this.#granted += due;
    this.#release();
    return due;
  }

  /**
   * Credit to be given so that a message of `messageCost`, after which the cost will be `cost`, can be completed: 0
   * when the window allows it sooner or later, undefined when the budget is used up.
   */
  promise(messageCost: number, cost: number): number | undefined {
    const missing = cost - this.#granted;
    // Up to an eighth of the window is not granted for want of a full step.
    if (missing <= 0 || this.#windowBytes === 0 || messageCost <= this.#windowBytes - this.#windowBytes / 8) return 0;
    if (this.#budget.assemblyBytes + missing > LINK_ASSEMBLY_BYTES) return undefined;
    this.#budget.assemblyBytes += missing;
    this.#promised += missing;
    this.#granted += missing;
    return missing;
  }

  /** Gives back what it holds of the budget. */
  close(): void {
    this.#budget.windowBytes -= this.#windowBytes;
    this.#budget.assemblyBytes -= this.#promised;
    this.#windowBytes = 0;
    this.#promised = 0;
  }

  /** A promise is kept once the application has caught up, and the window alone covers what is granted. */
  #release(): void {
    this.#budget.assemblyBytes -= this.#promised;
    this.#promised = 0;
  }

  #tune(rttMs: number | undefined, now: Instant): void {
    const consumed = this.#consumed - this.#epochConsumed;
    if (this.#epochAt !== undefined && consumed * 2 < this.#windowBytes) return;
    const fast = this.#epochAt !== undefined && rttMs !== undefined && now - this.#epochAt < rttMs;
    this.#epochAt = now;
    this.#epochConsumed = this.#consumed;
    if (!fast || this.#windowBytes * 2 > MAX_WINDOW_BYTES) return;
    if (this.#budget.windowBytes + this.#windowBytes > LINK_WINDOW_BYTES) return;
    this.#budget.windowBytes += this.#windowBytes;
    this.#windowBytes *= 2;
  }
}
