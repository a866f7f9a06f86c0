import { RecentMap } from "../bounded.ts";
import { type Instant, type Machine, NOTHING } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { below, type Random } from "../random.ts";

/**
 * When a link that stands is to be made anew, although nothing is wrong with it: because it may have become possible to do without the
 * relay, or because the relay's credential is about to end.
 *
 * A relayed link is tried directly after 10 s, then after twice as long each time, and from then on every 50 s, so that it is direct
 * within a minute after whatever stood between has gone. Pauses are shortened at random, so that the links of one agent do not all
 * try at once. One side tries: the lower PeerId, which is the one that dials. A credential is the affair of the side that uses it,
 * and is looked at when four fifths of its life are over, by when a fresh one should have come.
 *
 * A path may move for some seconds after its link has come up, either way: it is looked at once more when it has settled.
 *
 * It decides when, and not how: whoever carries it out makes the new connection beside the old one, and keeps the better.
 */

/** Links watched: far above what an agent holds. The one that changed longest ago is forgotten, and stays as it is. */
const MAX_LINKS = 4_096;
const FIRST_TRY_MS = 10_000;
/** With the shortest time for a dial below a minute. */
const LONGEST_TRY_MS = 50_000;
/** When ICE has chosen for good, ms: libjuice waits for better pairs for up to 4 s. */
const SETTLED_MS = 5_000;
/** By how much of itself a pause may be shorter, in percent. */
const JITTER_PERCENT = 20;
/** When a credential's link is renewed, in percent of its life: after its refresh at 70. */
const RENEW_PERCENT = 80;

export interface KeptPath {
  readonly peer: PeerId;
  readonly isRelayed: boolean;
  /** When the credential ends by which we are relayed; absent when we are not, or it does not end. */
  readonly credentialEndsAt?: Instant;
}

export type PathKeeperInput =
  /** A link stands, or another connection carries it. */
  | ({ readonly type: "linked" } & KeptPath)
  /** The answer to `look`. */
  | ({ readonly type: "settled" } & KeptPath)
  | { readonly type: "lost"; readonly peer: PeerId }
  /** This machine's addresses have changed, or a relayed peer's may have: try at once. */
  | { readonly type: "moved" }
  | { readonly type: "timeout" };

/** Make the link to `peer` anew. `direct`: only a path without a relay is worth it. */
export interface Renewal {
  readonly type: "renew";
  readonly peer: PeerId;
  readonly reason: "direct" | "credential";
}

export type PathKeeperOutput =
  | Renewal
  /** Tell what the path to `peer` is: `settled`. */
  | { readonly type: "look"; readonly peer: PeerId };

interface Kept {
  /** When it is looked at once more. */
  lookAt: Instant;
  tryAt: Instant;
  pauseMs: number;
  renewAt: Instant;
}

const NEVER: Instant = Number.POSITIVE_INFINITY;

export class PathKeeper implements Machine<PathKeeperInput, PathKeeperOutput> {
  readonly #self: PeerId;
  readonly #random: Random;
  readonly #links = new RecentMap<PeerId, Kept>(MAX_LINKS);

  constructor(self: PeerId, random: Random) {
    this.#self = self;
    this.#random = random;
  }

  deadline(): Instant | undefined {
    let next: number = NEVER;
    for (const [, { lookAt, tryAt, renewAt }] of this.#links.entries()) next = Math.min(next, lookAt, tryAt, renewAt);
    return next === NEVER ? undefined : next;
  }

  handle(input: PathKeeperInput, now: Instant): readonly PathKeeperOutput[] {
    switch (input.type) {
      case "linked":
        this.#keep(input, now);
        return NOTHING;
      case "settled":
        this.#settle(input, now);
        return NOTHING;
      case "lost":
        this.#links.delete(input.peer);
        return NOTHING;
      case "moved":
        for (const [, kept] of this.#links.entries()) {
          if (kept.tryAt === NEVER) continue;
          kept.tryAt = now;
          kept.pauseMs = FIRST_TRY_MS;
        }
        return this.#timeout(now);
      case "timeout":
        return this.#timeout(now);
    }
  }

  #keep({ peer, isRelayed, credentialEndsAt }: KeptPath, now: Instant): void {
    const before = this.#links.get(peer);
    const tries = isRelayed && this.#self < peer;
    // A relayed link that took the place of another one goes on where that one was.
    const pauseMs = tries && before !== undefined && before.tryAt < NEVER ? before.pauseMs : FIRST_TRY_MS;
    const tryAt = tries ? now + this.#jittered(pauseMs) : NEVER;
    this.#links.set(peer, { lookAt: now + SETTLED_MS, tryAt, pauseMs, renewAt: renewalAt(credentialEndsAt, now) });
  }

  #settle({ peer, isRelayed, credentialEndsAt }: KeptPath, now: Instant): void {
    const kept = this.#links.get(peer);
    if (kept === undefined) return;
    if (!isRelayed) {
      this.#links.delete(peer);
      return;
    }
    kept.renewAt = Math.min(kept.renewAt, renewalAt(credentialEndsAt, now));
    if (this.#self < peer && kept.tryAt === NEVER) kept.tryAt = now + this.#jittered(FIRST_TRY_MS - SETTLED_MS);
  }

  #timeout(now: Instant): readonly PathKeeperOutput[] {
    const outputs: PathKeeperOutput[] = [];
    for (const [peer, kept] of this.#links.entries()) {
      if (kept.lookAt <= now) {
        kept.lookAt = NEVER;
        outputs.push({ type: "look", peer });
      } else if (kept.renewAt <= now) {
        kept.renewAt = now + FIRST_TRY_MS;
        outputs.push({ type: "renew", peer, reason: "credential" });
      } else if (kept.tryAt <= now) {
        kept.pauseMs = Math.min(kept.pauseMs * 2, LONGEST_TRY_MS);
        kept.tryAt = now + this.#jittered(kept.pauseMs);
        outputs.push({ type: "renew", peer, reason: "direct" });
      }
    }
    return outputs;
  }

  #jittered(pauseMs: number): number {
    return pauseMs - below(this.#random, Math.floor((pauseMs * JITTER_PERCENT) / 100) + 1);
  }
}

function renewalAt(credentialEndsAt: Instant | undefined, now: Instant): Instant {
  return credentialEndsAt === undefined ? NEVER : now + ((credentialEndsAt - now) * RENEW_PERCENT) / 100;
}
