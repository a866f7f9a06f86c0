import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Batch } from "./batch.ts";
import type { Entry } from "./entry.ts";
import { instantOf } from "./hlc.ts";
import { MAX_JUDGED_PER_STEP } from "./limits.ts";
import type { Store } from "./store.ts";
import type { Tokens } from "./tokens.ts";

/**
 * Whether what is stored still counts, when the cluster has revoked somebody.
 *
 * An entry counts if its batch's last clock lies within the life of its author's token and before the `since` of every revocation of that
 * author, token or issuing key. So it is judged by what is signed, and by what everybody hears in the end, never by when
 * it came: whoever stored it before it heard of the revocation takes it back, whoever heard first never stores it, and both end
 * equal. What such an entry had replaced comes back only from a replica that still has it.
 *
 * A judgement goes through all that is stored, a bounded number of entries at a step; what comes in meanwhile is judged as it comes.
 */

/** Whether a batch by `author` under `token`, at the clock `at`, is void. */
export type Voids = (author: PeerId, token: string, at: Instant) => boolean;

export interface JudgementTools {
  readonly store: Store;
  readonly tokens: Tokens;
  readonly voids: Voids;
  /** Takes a stored version back. */
  readonly withdraw: (entry: Entry, now: Instant) => void;
}

/** The judgement of all that is stored. */
export class Judgement {
  readonly #tools: JudgementTools;
  #left: Iterator<Entry> | undefined;
  #dueAt: Instant | undefined;

  constructor(tools: JudgementTools) {
    this.#tools = tools;
  }

  /** Begins anew with everything. */
  begin(now: Instant): void {
    this.#left = this.#stored();
    this.#dueAt = now;
  }

  *#stored(): Generator<Entry, void, undefined> {
    for (const bucket of this.#tools.store.buckets()) yield* bucket.all();
  }

  /** Whether what a batch says counts for nothing. */
  readonly isVoid = (batch: Batch, token: string): boolean =>
    this.#tools.voids(batch.author, token, instantOf(batch.last));

  deadline(): Instant | undefined {
    return this.#dueAt;
  }

  timeout(now: Instant): void {
    if (this.#dueAt === undefined || this.#dueAt > now) return;
    const { tokens, withdraw } = this.#tools;
    for (let left = MAX_JUDGED_PER_STEP; left > 0; left--) {
      const next = this.#left?.next();
      if (next === undefined || next.done) {
        this.#left = undefined;
        this.#dueAt = undefined;
        return;
      }
      const token = tokens.proofOf(next.value.batch);
      if (token !== undefined && this.isVoid(next.value.batch, token)) withdraw(next.value, now);
    }
  }
}
