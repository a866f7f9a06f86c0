import type { Instant, Machine } from "./machine.ts";

/**
 * A machine among several of a larger one, with its deadline as of its last input: nothing else can change it, so the larger
 * one need not ask all of them again after each input to one of them.
 */
export class Part<Input, Output> {
  /** When it wants a time-out; Infinity: never. */
  dueAt: Instant;
  readonly #machine: Machine<Input, Output>;

  constructor(machine: Machine<Input, Output>) {
    this.#machine = machine;
    this.dueAt = machine.deadline() ?? Number.POSITIVE_INFINITY;
  }

  handle(input: Input, now: Instant): readonly Output[] {
    const outputs = this.#machine.handle(input, now);
    this.dueAt = this.#machine.deadline() ?? Number.POSITIVE_INFINITY;
    return outputs;
  }
}
