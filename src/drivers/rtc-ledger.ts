import { assert } from "../proto/assert.ts";

/** The connections of one stack: which are open, and which have ended and are still letting go of sockets and threads. */
export class RtcLedger {
  readonly #disposals = new Set<Promise<void>>();
  #open = 0;

  /** Enters a connection; it calls the answer once when it ends, with what settles when nothing of it is left. */
  enter(): (disposal: Promise<void>) => void {
    this.#open++;
    return (disposal) => {
      this.#open--;
      const done = disposal.finally(() => this.#disposals.delete(done));
      this.#disposals.add(done);
    };
  }

  /** Resolves when nothing of any connection is left. All must have been closed. */
  async settled(): Promise<void> {
    assert(this.#open === 0, "a stack is closed after its connections");
    await Promise.all(this.#disposals);
  }
}
