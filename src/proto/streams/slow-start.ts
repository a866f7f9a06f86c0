/**
 * Slow start: after a pause no more at once than the stack below lets out soon, and twice as much in each round trip.
 *
 * SCTP begins with ten packets, at first and whenever its flight has run out for want of data, whatever the link knows of
 * the path (RFC 6928, and the burst limit of usrsctp). What is handed down beyond that waits for round trips, and every
 * probe behind it: for 600 ms where a path of 100 ms was filled at once after a pause, 170 ms like this. A little more than
 * ten packets must be handed down all the same: when usrsctp runs out of data on the way up it cuts its window to what is in flight.
 *
 * On a short path a few round trips pass in no time: what is out after as many as fit the queue that is allowed may go at once.
 */
export class SlowStart {
  readonly #queueMs: number;
  #deliveredBefore = 0;
  #outstandingBefore = 0;

  /** @param queueMs how long a frame may wait in the stack. */
  constructor(queueMs: number) {
    this.#queueMs = queueMs;
  }

  /** Begins, or begins anew, with so much delivered and so much outstanding, bytes. */
  begin(deliveredBytes: number, outstandingBytes: number): void {
    this.#deliveredBefore = deliveredBytes;
    this.#outstandingBefore = outstandingBytes;
  }

  /** What may be outstanding once so much is delivered. `rttMs`: of the empty path; Infinity while it is not known. */
  limitBytes(deliveredBytes: number, rttMs: number): number {
    const doublings = Math.min(Math.floor(this.#queueMs / rttMs), MAX_DOUBLINGS);
    return Math.max(INITIAL_BYTES << doublings, this.#outstandingBefore) + deliveredBytes - this.#deliveredBefore;
  }
}

/**
 * With what it begins: three times ten packets, 26 ms of a 10 Mbit/s path. With ten alone a link over native reached half of its
 * rate on a path of 100 ms, with this all of it.
 */
export const INITIAL_BYTES = 32_768;

/** 134 MB: no bound on a path as short as that. */
const MAX_DOUBLINGS = 12;
