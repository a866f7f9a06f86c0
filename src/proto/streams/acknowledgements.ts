import type { Instant } from "../machine.ts";
import { encodeLinkControl } from "./control.ts";

/**
 * When to tell the peer how many of its numbered frames have come: in any frame that goes out anyway; without one, as
 * soon as {@link ACK_BYTES} have come or the first of them has waited {@link ACK_DELAY_MS}. The wait is stated in the
 * acknowledgement, so that it does not count as round-trip time.
 */
export class Acknowledgements {
  #received = 0;
  /** Frames still to come that have come by an earlier channel; undefined until the peer has said where it begins. */
  #repeats: number | undefined = 0;
  #reported = 0;
  #bytes = 0;
  #dueAt: Instant | undefined;
  #latestAt: Instant = 0;

  /** Numbered frames received since the session began. */
  get framesReceived(): number {
    return this.#received;
  }

  /** What the next numbered frame is; `unexpected` before the peer has said which one it begins with. */
  get next(): "fresh" | "repeated" | "unexpected" {
    if (this.#repeats === undefined) return "unexpected";
    return this.#repeats > 0 ? "repeated" : "fresh";
  }

  /** Whether the peer has not been told of all. */
  get owed(): boolean {
    return this.#reported < this.#received - (this.#repeats ?? 0);
  }

  /** When an acknowledgement must go out by itself; in the past: at once; undefined when none is owed. */
  get dueAt(): Instant | undefined {
    return this.#dueAt;
  }

  /** A numbered frame has come. */
  received(bytes: number, now: Instant): void {
    if (this.#repeats !== undefined && this.#repeats > 0) this.#repeats--;
    else this.#received++;
    this.#bytes += bytes;
    this.#latestAt = now;
    if (this.#bytes >= ACK_BYTES) this.#dueAt = now;
    else if (this.#dueAt === undefined) this.#dueAt = now + ACK_DELAY_MS;
  }

  /** Another channel, on which the peer has yet to say where it begins. */
  restart(): void {
    this.#repeats = undefined;
    this.#reported = this.#received;
    this.#bytes = 0;
    this.#dueAt = undefined;
  }

  /** On this channel the peer begins after its first `frames`; false when that cannot be, or has been said. */
  begin(frames: number): boolean {
    if (this.#repeats !== undefined || frames > this.#received) return false;
    this.#repeats = this.#received - frames;
    this.#reported = frames;
    return true;
  }

  /** The control chunk to send now. */
  take(now: Instant): Uint8Array {
    this.#reported = this.#received - (this.#repeats ?? 0);
    this.#bytes = 0;
    this.#dueAt = undefined;
    return encodeLinkControl({ op: "ack", frames: this.#reported, delayMs: now - this.#latestAt });
  }
}

/** A millisecond at 1 Gbit/s: smooth enough a clock for the sender, 1,000 small frames a second at most. */
export const ACK_BYTES = 131_072;

/** Time for an answer to carry it; small against the round trips that matter. */
const ACK_DELAY_MS = 2;
