/** setTimeout fires at once beyond 2^31 - 1 ms. */
const MAX_TIMER_MS = 2_147_483_647;

/** The timers of one host, which all end with it. */
export class Timers {
  readonly #armed = new Set<NodeJS.Timeout>();
  #stopped = false;

  /** Runs `run` once, after `ms`, at most 2^31 - 1; never after {@link stop}. */
  readonly later = (ms: number, run: () => void): void => {
    if (this.#stopped) return;
    const timer = setTimeout(
      () => {
        this.#armed.delete(timer);
        run();
      },
      Math.min(ms, MAX_TIMER_MS),
    );
    this.#armed.add(timer);
  };

  /** Ends all of them for good. Idempotent. */
  stop(): void {
    this.#stopped = true;
    for (const timer of this.#armed) clearTimeout(timer);
    this.#armed.clear();
  }
}
