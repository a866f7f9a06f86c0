import { RecentMap } from "../bounded.ts";
import type { Instant } from "../machine.ts";
import { MAX_PENDING_PINGS } from "./limits.ts";

interface Ping {
  /** Who asked: the driver's own number, or undefined for a heartbeat. */
  readonly id: number | undefined;
  readonly sentAt: Instant;
}

/** The pings of this side that have not come back. Numbers on the wire are its own, so that none is used twice. */
export class Pings {
  readonly #pending = new RecentMap<number, Ping>(MAX_PENDING_PINGS);
  #next = 0;
  /** All below that are not pending were answered or forgotten, and some of them forgotten. */
  #forgottenBelow = 0;

  /** Records a ping; returns its number on the wire. */
  sent(id: number | undefined, now: Instant): number {
    const wire = this.#next++;
    const forgotten = this.#pending.set(wire, { id, sentAt: now });
    if (forgotten !== undefined) this.#forgottenBelow = forgotten + 1;
    return wire;
  }

  /** The numbers of those that were asked for, the heartbeats left out. */
  asked(): number[] {
    const ids: number[] = [];
    for (const [, { id }] of this.#pending.entries()) if (id !== undefined) ids.push(id);
    return ids;
  }

  /** What the pong with this number on the wire answers; `forgotten` when nobody waits for it any more, undefined when nothing of ours. */
  answered(
    wire: number,
    now: Instant,
  ): { readonly id: number | undefined; readonly rttMs: number } | "forgotten" | undefined {
    const ping = this.#pending.get(wire);
    if (ping === undefined) return wire < this.#forgottenBelow ? "forgotten" : undefined;
    this.#pending.delete(wire);
    return { id: ping.id, rttMs: now - ping.sentAt };
  }
}
