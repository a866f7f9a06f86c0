import { RecentMap } from "../bounded.ts";
import { type Instant, type Machine, NOTHING } from "../machine.ts";
import type { OfferedServer } from "./server-pool.ts";

/**
 * STUN and TURN servers that others grant us for a time: signaling servers, and members that relay. Each grant is asked for again
 * when 70 % of its life are over, and then again and again until it comes; what has ended is no longer used. Servers that the operator
 * named hold without end and stand before all others.
 */

/** Who has granted something: a signaling server's URL or a member's id. */
export type GrantSource = string;

/** Sources at a time: the signaling servers of an agent and as many members that relay. The one heard of longest ago is forgotten. */
export const MAX_GRANT_SOURCES = 16;

/** When a grant is asked for again, in percent of its life. */
const REFRESH_PERCENT = 70;
/** How long an answer is waited for before it is asked for once more, ms: above a round trip through the mesh and a disk. */
const RETRY_MS = 15_000;

export type GrantsInput =
  /** In place of what the source granted before; times by our own clock. */
  | { readonly type: "granted"; readonly source: GrantSource; readonly servers: readonly OfferedServer[] }
  /** The source grants nothing any more. */
  | { readonly type: "withdrawn"; readonly source: GrantSource }
  | { readonly type: "timeout" };

export type GrantsOutput =
  /** Use these from here on. */
  | { readonly type: "offer"; readonly servers: readonly OfferedServer[] }
  /** Ask the source for another grant. */
  | { readonly type: "ask"; readonly source: GrantSource };

interface Grant {
  readonly servers: readonly OfferedServer[];
  /** When it is asked for again; infinite without credentials. */
  askAt: Instant;
  readonly endsAt: Instant;
}

export class IceGrants implements Machine<GrantsInput, GrantsOutput> {
  readonly #named: readonly OfferedServer[];
  readonly #grants = new RecentMap<GrantSource, Grant>(MAX_GRANT_SOURCES);

  /** @param named what the operator named. */
  constructor(named: readonly OfferedServer[]) {
    this.#named = named;
  }

  deadline(): Instant | undefined {
    let next = Number.POSITIVE_INFINITY;
    for (const [, { askAt, endsAt }] of this.#grants.entries()) next = Math.min(next, askAt, endsAt);
    return next === Number.POSITIVE_INFINITY ? undefined : next;
  }

  handle(input: GrantsInput, now: Instant): readonly GrantsOutput[] {
    switch (input.type) {
      case "granted":
        return this.#granted(input.source, input.servers, now);
      case "withdrawn":
        return this.#grants.delete(input.source) ? [this.#offer()] : NOTHING;
      case "timeout":
        return this.#timeout(now);
    }
  }

  #granted(source: GrantSource, servers: readonly OfferedServer[], now: Instant): readonly GrantsOutput[] {
    const held = servers.filter(({ expiresAt }) => expiresAt === undefined || expiresAt > now);
    const endsAt = held.reduce((first, { expiresAt = first }) => Math.min(first, expiresAt), Number.POSITIVE_INFINITY);
    const askAt = endsAt === Number.POSITIVE_INFINITY ? endsAt : now + ((endsAt - now) * REFRESH_PERCENT) / 100;
    this.#grants.set(source, { servers: held, askAt, endsAt });
    return [this.#offer()];
  }

  #timeout(now: Instant): readonly GrantsOutput[] {
    const outputs: GrantsOutput[] = [];
    let hasEnded = false;
    for (const [source, grant] of [...this.#grants.entries()]) {
      if (grant.endsAt <= now) {
        this.#grants.delete(source);
        hasEnded = true;
      }
      if (grant.askAt > now) continue;
      grant.askAt = now + RETRY_MS;
      outputs.push({ type: "ask", source });
    }
    return hasEnded ? [...outputs, this.#offer()] : outputs;
  }

  #offer(): GrantsOutput {
    const granted = [...this.#grants.entries()].flatMap(([, { servers }]) => servers);
    return { type: "offer", servers: [...this.#named, ...granted] };
  }
}
