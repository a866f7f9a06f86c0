import { RecentMap } from "../../src/proto/bounded.ts";
import type { Instant } from "../../src/proto/machine.ts";
import { TokenBucket } from "../../src/proto/token-bucket.ts";
import type { TurnLimits } from "./limits.ts";

/**
 * How much longer than their requests the answers may be that go to an address which has not proved to be its sender's.
 *
 * Whoever forges an address makes the server send to it. An answer of at most the request's length gains him nothing, and passes.
 * RFC 8489 leaves two that are longer: a challenge (a realm, a nonce, the algorithms: about 100 bytes for 28) and behaviour
 * discovery's four addresses. What they have in excess is counted for each address, and beyond its share they are
 * withheld. The bare Binding answer (32 bytes for 20, 60 for 48 on the wire) is not counted: a flood of it is no
 * better than a flood of the requests, and it is what STUN is.
 */
export class Amplification {
  readonly #limits: TurnLimits;
  readonly #sources: RecentMap<string, TokenBucket>;

  constructor(limits: TurnLimits) {
    this.#limits = limits;
    this.#sources = new RecentMap(limits.sources);
  }

  /** Whether an answer of `answer` bytes may go to `address` for a request of `request` bytes; it is counted if so. */
  permits(address: string, request: number, answer: number, now: Instant): boolean {
    const excess = answer - request;
    if (excess <= 0) return true;
    const rate = this.#limits.amplification;
    const bucket = this.#sources.get(address) ?? new TokenBucket(rate, now);
    if (bucket.level(rate, now) < excess) return false;
    bucket.spend(excess, rate, now);
    this.#sources.set(address, bucket);
    return true;
  }
}
