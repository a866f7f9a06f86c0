import type { Instant, Machine } from "../proto/machine.ts";

/**
 * Runs one machine: applies inputs, carries its outputs out in order, and wakes it at its deadline.
 *
 * An output may cause further inputs at once (a check that is answered synchronously, say); they wait until the outputs
 * of the current input are all carried out, so that the machine is never entered twice.
 */
export class Runner<Input, Output> {
  readonly #machine: Machine<Input, Output>;
  readonly #now: () => Instant;
  readonly #perform: (output: Output) => void;
  readonly #timeout: () => Input;
  readonly #waiting: Input[] = [];
  #busy = false;
  #closed = false;
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #armedFor: Instant | undefined;

  /** @param timeout makes the input that tells the machine that its deadline has passed. */
  constructor(
    machine: Machine<Input, Output>,
    now: () => Instant,
    timeout: () => Input,
    perform: (output: Output) => void,
  ) {
    this.#machine = machine;
    this.#now = now;
    this.#timeout = timeout;
    this.#perform = perform;
    this.#arm();
  }

  /** Applies `input` and everything that follows from it; nothing after {@link close}. */
  input(input: Input): void {
    if (this.#closed) return;
    if (this.#busy) {
      this.#waiting.push(input);
      return;
    }
    this.#busy = true;
    try {
      let next: Input | undefined = input;
      while (next !== undefined && !this.#closed) {
        for (const output of this.#machine.handle(next, this.#now())) this.#perform(output);
        next = this.#waiting.shift();
      }
    } finally {
      this.#busy = false;
    }
    this.#arm();
  }

  /** Stops for good: no further input is applied and no timer is left. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#waiting.length = 0;
    this.#disarm();
  }

  #arm(): void {
    if (this.#closed) return;
    const deadline = this.#machine.deadline();
    if (deadline === this.#armedFor) return;
    this.#disarm();
    if (deadline === undefined) return;
    this.#armedFor = deadline;
    const wait = deadline - this.#now();
    if (wait <= 0) this.#fireAfterIo();
    else this.#timer = setTimeout(this.#fireAfterIo, Math.min(Math.ceil(wait), MAX_TIMER_MS));
  }

  /**
   * Once per turn of the event loop, after its IO: what came in together is handled together, and a loop that was held up hears what has
   * arrived meanwhile before it judges anybody's silence.
   */
  readonly #fireAfterIo = (): void => {
    this.#immediate = setImmediate(this.#fire);
  };

  #disarm(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
    this.#armedFor = undefined;
  }

  readonly #fire = (): void => {
    this.#armedFor = undefined;
    this.input(this.#timeout());
  };
}

/** setTimeout fires at once beyond 2^31 - 1 ms; a machine that is woken early says its deadline again. */
const MAX_TIMER_MS = 2_147_483_647;
