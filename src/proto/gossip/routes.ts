import type { Instant } from "../machine.ts";
import { type PeerId, publicKeyOf } from "../peer-id.ts";
import { OWN_TREE_PUBLICATIONS, OWN_TREE_WINDOW_MS, REBUILD_INTERVAL_MS, REBUILD_SETTLES_MS } from "./limits.ts";
import { OWN_TREE, REBUILD, type Route, Topic } from "./messages.ts";

/**
 * Which way our publications go, and whether a rebuilding one lays the shared tree anew.
 *
 * - A publisher that publishes often uses a tree of its own, which bends towards its shortest paths. Membership news never
 *   does: when links fail everybody has some at once, and fifty trees that are laid for a few words each are a storm.
 * - The others share a tree. Repairs and strangers' shortest ways slowly lengthen its paths, so the first of their
 *   broadcasts after a quiet time goes over all links and rebuilds it. A cluster in which little happens therefore floods
 *   the little there is, which is the fastest and surest way; a busy one pays one flood in ten minutes.
 * - Of several rebuilding broadcasts at once a member adopts the first: a tree pruned by two waves falls apart.
 */
export class Routes {
  /** 30 bits of our identity above the two flags. */
  readonly publisher: number;
  #rebuiltAt: Instant = Number.NEGATIVE_INFINITY;
  /** When the last few of ours were published, oldest first. */
  readonly #published: Instant[] = [];

  constructor(self: PeerId) {
    const key = publicKeyOf(self);
    const word = ((key[0] as number) << 24) | ((key[1] as number) << 16) | ((key[2] as number) << 8);
    this.publisher = ((word | (key[3] as number)) & ~(OWN_TREE | REBUILD)) >>> 0;
  }

  /** The route of what is published at `now`. */
  next(topic: Topic, now: Instant): Route {
    if (topic !== Topic.membership && this.#isFrequent(now)) return this.publisher + OWN_TREE;
    return now - this.#rebuiltAt >= REBUILD_INTERVAL_MS ? this.publisher + REBUILD : this.publisher;
  }

  #isFrequent(now: Instant): boolean {
    this.#published.push(now);
    if (this.#published.length > OWN_TREE_PUBLICATIONS) this.#published.shift();
    const oldest = this.#published[0] as Instant;
    return this.#published.length === OWN_TREE_PUBLICATIONS && now - oldest <= OWN_TREE_WINDOW_MS;
  }

  /** Whether a rebuilding broadcast that is first seen at `now` is adopted. */
  adopts(now: Instant): boolean {
    if (now - this.#rebuiltAt < REBUILD_SETTLES_MS) return false;
    this.#rebuiltAt = now;
    return true;
  }
}
