import type { RtcEvent } from "../proto/negotiation/rtc.ts";

/**
 * The way out of a WebRTC driver: `closed` exactly once, nothing after it, and no exception of the listener inside the
 * stack. werift would take such an exception for a malformed packet; in a callback of node-datachannel it ends the process.
 */
export class RtcOutlet {
  #notify: ((event: RtcEvent) => void) | undefined;
  #ended = false;

  constructor(notify: (event: RtcEvent) => void) {
    this.#notify = notify;
  }

  /** Whether {@link end} was called. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Delivers `event` unless the connection has ended. What the listener throws becomes an uncaught exception. */
  emit(event: RtcEvent): void {
    if (this.#ended) return;
    this.#deliver(event);
  }

  /** Ends once: `closed` follows in a microtask, never inside the caller. False when it had ended before. */
  end(reason: string): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    queueMicrotask(() => {
      this.#deliver({ type: "closed", reason });
      this.#notify = undefined;
    });
    return true;
  }

  #deliver(event: RtcEvent): void {
    try {
      this.#notify?.(event);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}

/** The text of whatever a stack threw; werift also rejects with plain strings. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
