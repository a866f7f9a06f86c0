import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { fraction, pick } from "../random.ts";
import type { Context } from "./context.ts";
import { RETRY_LEAST_MS, RETRY_MS } from "./limits.ts";

/**
 * Members that are down are tried again, so that a cluster grows together after a partition or a total outage.
 *
 * The effort is shared: all members together try each down member every ten seconds or so, whatever the size of the
 * cluster. A member that is alone tries one every two seconds.
 */
export class Retries {
  readonly #context: Context;
  #nextAt: Instant;

  constructor(context: Context, now: Instant) {
    this.#context = context;
    this.#nextAt = now + RETRY_LEAST_MS;
  }

  deadline(): Instant {
    return this.#nextAt;
  }

  timeout(now: Instant): void {
    if (now < this.#nextAt) return;
    const { table, links, random, out } = this.#context;
    const { alive, suspect, down } = table.counts;
    // Our share of the effort, as a time between tries, and a chance per tick where that time is long.
    const shareMs = down === 0 ? RETRY_MS : (RETRY_MS * Math.max(1, alive + suspect)) / down;
    const tickMs = Math.min(RETRY_MS, Math.max(RETRY_LEAST_MS, shareMs));
    this.#nextAt = now + tickMs * (0.5 + fraction(random));
    if (down === 0 || fraction(random) * shareMs > tickMs) return;
    const gone: PeerId[] = [];
    for (const { record, state } of table.all()) if (state === "down" && !links.has(record.id)) gone.push(record.id);
    const peer = pick(random, gone);
    if (peer !== undefined) out.push({ type: "retry", peer });
  }
}
