import { MAX_INLINE_VALUE_BYTES } from "../proto/replication/limits.ts";

/**
 * Lets writes into the replica at a pace that leaves the event loop its turns.
 *
 * An application may hand over any number of writes in one turn of the event loop. Each of them is copied by the
 * replica when it enters, and copying alone holds the loop up for 50 ms where it is 100 MB. So in one turn only so much
 * enters; what is more waits in its order, not copied yet, and so does what would be more than the replica is to have on its way to
 * disks and other members. Whoever waits longer than a write may is turned away, and then nothing was written.
 */

/** Work in one turn: copying 8 MiB takes about 6 ms... */
const TURN_BYTES = 8_388_608;
/** ...as do the checks of so many writes. */
const TURN_WRITES = 512;

/** Bytes inside at once: a disk and a link are busy with less, and what is fetched from others comes on top of it. */
const INSIDE_BYTES = 16_777_216;

/**
 * What is broadcast counts so many times: a link queues 4 MiB of broadcasts and loses what is more, so 2 MiB are on their way. A large
 * value is pulled, at its receiver's pace.
 */
const BROADCAST_WEIGHT = 8;

/** What a write takes in a broadcast beside its value: key, digest, and its part of the proof. */
const WRITE_BYTES = 256;

/** Writes and bytes that wait to enter; the values are still their callers'. What is more is turned away at once. */
const MAX_WAITING_WRITES = 16_384;
const MAX_WAITING_BYTES = 268_435_456;

function weightOf(bytes: number): number {
  return bytes > MAX_INLINE_VALUE_BYTES ? bytes : (bytes + WRITE_BYTES) * BROADCAST_WEIGHT;
}

/** A write at the gate. */
export interface Entrant {
  /** Of its value, or its values together. */
  readonly bytes: number;
  /** How long it waits at most. */
  readonly patienceMs: number;
  enter(): void;
  /** It does not enter, for there is too much. */
  turnAway(): void;
}

interface Waiting extends Entrant {
  readonly timer: NodeJS.Timeout;
}

/** See above. Requests are named by numbers. */
export class WriteGate {
  readonly #waiting = new Map<number, Waiting>();
  /** What each of those inside counts. */
  readonly #inside = new Map<number, number>();
  #waitingBytes = 0;
  #insideBytes = 0;
  /** What has entered in this turn. */
  #turnBytes = 0;
  #turnWrites = 0;
  #isCounting = false;

  /** Lets it in, at once if it may. Of those that wait the earlier enter first. */
  come(request: number, entrant: Entrant): void {
    if (this.#waiting.size === 0 && this.#hasRoom(entrant.bytes)) {
      this.#enter(request, entrant);
      return;
    }
    const { bytes, patienceMs } = entrant;
    if (this.#waiting.size >= MAX_WAITING_WRITES || this.#waitingBytes + bytes > MAX_WAITING_BYTES) {
      entrant.turnAway();
      return;
    }
    const timer = setTimeout(() => {
      if (this.withdraw(request)) entrant.turnAway();
    }, patienceMs);
    this.#waiting.set(request, { ...entrant, timer });
    this.#waitingBytes += bytes;
  }

  /** It no longer wants to enter. False when it does not wait. */
  withdraw(request: number): boolean {
    const waiting = this.#waiting.get(request);
    if (waiting === undefined) return false;
    clearTimeout(waiting.timer);
    this.#waiting.delete(request);
    this.#waitingBytes -= waiting.bytes;
    return true;
  }

  /** The replica has answered: its value is on no way any more. */
  left(request: number): void {
    this.#insideBytes -= this.#inside.get(request) ?? 0;
    if (this.#inside.delete(request)) this.#letIn();
  }

  /** Nobody enters any more. */
  close(): void {
    for (const request of [...this.#waiting.keys()]) this.withdraw(request);
  }

  #hasRoom(bytes: number): boolean {
    if (this.#turnWrites >= TURN_WRITES || this.#turnBytes >= TURN_BYTES) return false;
    // One that is larger than all room enters alone.
    return this.#insideBytes === 0 || this.#insideBytes + weightOf(bytes) <= INSIDE_BYTES;
  }

  #letIn(): void {
    for (const [request, waiting] of this.#waiting) {
      if (!this.#hasRoom(waiting.bytes)) return;
      this.withdraw(request);
      this.#enter(request, waiting);
    }
  }

  #enter(request: number, { bytes, enter }: Entrant): void {
    this.#turnBytes += bytes;
    this.#turnWrites++;
    const weight = weightOf(bytes);
    this.#inside.set(request, weight);
    this.#insideBytes += weight;
    if (!this.#isCounting) {
      this.#isCounting = true;
      setImmediate(() => this.#nextTurn());
    }
    enter();
  }

  #nextTurn(): void {
    this.#isCounting = false;
    this.#turnBytes = 0;
    this.#turnWrites = 0;
    this.#letIn();
  }
}
