import type { Logger } from "../options.ts";
import type { Instant } from "../proto/machine.ts";
import { type KeyEnd, keyEndWarning } from "../proto/trust/key-end.ts";

/** Between two looks at the end of the issuing keys, ms: a notice of a month may come an hour late. */
const LOOK_MS = 3_600_000;
/** Before the first look, ms: whoever is to hear of it has begun to listen by then. */
const FIRST_LOOK_MS = 1_000;

/** Tells in time of the end of the issuing key that matters here (`proto/trust/key-end.ts`): to the log, and once for each key to `tell`. */
export class KeyNotice {
  readonly #options: {
    readonly end: () => KeyEnd | undefined;
    readonly now: () => Instant;
    readonly later: (ms: number, run: () => void) => void;
    readonly log: Pick<Logger, "warn">;
    readonly tell: (end: KeyEnd, warning: string) => void;
  };
  /** The key that was told of. */
  #told: string | undefined;

  /** @param options `later`: a timer that ends with whoever asks. */
  constructor(options: {
    readonly end: () => KeyEnd | undefined;
    readonly now: () => Instant;
    readonly later: (ms: number, run: () => void) => void;
    readonly log: Pick<Logger, "warn">;
    readonly tell: (end: KeyEnd, warning: string) => void;
  }) {
    this.#options = options;
  }

  /** What is to be said at this instant; undefined while the end is far. */
  get warning(): string | undefined {
    const { end, now } = this.#options;
    const found = end();
    return found && keyEndWarning(found, now(), new Date(found.endsAt).toISOString());
  }

  /** Looks soon, and again and again. */
  begin(pauseMs = FIRST_LOOK_MS): void {
    this.#options.later(pauseMs, () => {
      this.look();
      this.begin(LOOK_MS);
    });
  }

  /** Something has changed that may matter: tells of an end of which nobody was told. */
  look(): void {
    const { end, log, tell } = this.#options;
    const found = end();
    const { warning } = this;
    if (found === undefined || warning === undefined || found.kid === this.#told) return;
    this.#told = found.kid;
    log.warn(warning);
    tell(found, warning);
  }
}
