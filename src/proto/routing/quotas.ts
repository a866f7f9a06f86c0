import { RecentMap } from "../bounded.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { type Rate, TokenBucket } from "../token-bucket.ts";
import { LINK_RATE, MAX_METERED_SOURCES, SOURCE_RATE, STRANGER_RATE } from "./limits.ts";

/** Excess is reported this often, ms: a flood of messages must not become a flood of reports. */
const REPORT_EVERY_MS = 1_000;

/**
 * How much is carried for whom. A link pays for every message that comes over it, before anything is verified; a source pays
 * for each of its envelopes once its signature has held, so that nobody spends what is another's. Sources that are no
 * members pay together, from what the link that brings them has for strangers.
 */
export class Quotas {
  readonly #links = new Map<PeerId, { readonly all: Allowance; readonly strangers: Allowance }>();
  readonly #sources = new RecentMap<PeerId, Allowance>(MAX_METERED_SOURCES);

  open(link: PeerId, now: Instant): void {
    this.#links.set(link, { all: new Allowance(LINK_RATE, now), strangers: new Allowance(STRANGER_RATE, now) });
  }

  close(link: PeerId): void {
    this.#links.delete(link);
  }

  /** What the link `peer` has left; undefined: there is no such link. */
  ofLink(peer: PeerId): Allowance | undefined {
    return this.#links.get(peer)?.all;
  }

  /** What the source has left, whose envelope `link` brings; undefined: that link is gone. */
  ofSource(source: PeerId, isMember: boolean, link: PeerId, now: Instant): Allowance | undefined {
    if (!isMember) return this.#links.get(link)?.strangers;
    const allowance = this.#sources.get(source) ?? new Allowance(SOURCE_RATE, now);
    this.#sources.set(source, allowance);
    return allowance;
  }
}

/** One rate, and when its excess was last reported. */
export class Allowance {
  readonly #rate: Rate;
  readonly #bucket: TokenBucket;
  #reportedAt: Instant = Number.NEGATIVE_INFINITY;

  constructor(rate: Rate, now: Instant) {
    this.#rate = rate;
    this.#bucket = new TokenBucket(rate, now);
  }

  /** Spends one; `excess`: there is none left, and that is to be reported; `quiet`: there is none left. */
  spend(now: Instant): "admitted" | "excess" | "quiet" {
    if (this.#bucket.level(this.#rate, now) >= 1) {
      this.#bucket.spend(1, this.#rate, now);
      return "admitted";
    }
    if (now - this.#reportedAt < REPORT_EVERY_MS) return "quiet";
    this.#reportedAt = now;
    return "excess";
  }
}
