import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Entry } from "./entry.ts";
import type { FetchRun } from "./fetches.ts";
import type { HandoffTask } from "./handoff.ts";
import { REQUEST_TIMEOUT_MS } from "./limits.ts";
import type { VersionId } from "./version-id.ts";

/**
 * What this replica has asked and whom. Every request has a number that its answer repeats, so an answer that nobody
 * asked for is recognised, and an answer that is too late is told apart from it. Other state about requests lives
 * with whoever asked.
 */

/** What was asked. */
export type Asked =
  | { readonly type: "root"; readonly salt: Uint8Array }
  | { readonly type: "want"; readonly ids: readonly VersionId[] }
  | { readonly type: "tokens"; readonly names: readonly string[] }
  | { readonly type: "fetch"; readonly run: FetchRun; readonly offset: number }
  | { readonly type: "hold"; readonly task: HandoffTask; readonly entries: readonly Entry[] }
  | { readonly type: "read"; readonly request: number }
  | { readonly type: "reserve"; readonly request: number };

interface Request {
  readonly peer: PeerId;
  readonly asked: Asked;
  readonly until: Instant;
}

/** The open requests. */
export class Requests {
  #last = 0;
  /** In the order of their time-outs, because all have the same. */
  readonly #open = new Map<number, Request>();

  /** Records a request and returns its number. */
  issue(peer: PeerId, asked: Asked, now: Instant): number {
    this.#last = this.#last === 0xffffffff ? 1 : this.#last + 1;
    this.#open.set(this.#last, { peer, asked, until: now + REQUEST_TIMEOUT_MS });
    return this.#last;
  }

  /**
   * Closes the request that an answer names: `late` if it has been given up, `never` if there was none to this peer.
   */
  settle(peer: PeerId, seq: number): Asked | "late" | "never" {
    const request = this.#open.get(seq);
    if (request === undefined) return seq <= this.#last ? "late" : "never";
    if (request.peer !== peer) return "never";
    this.#open.delete(seq);
    return request.asked;
  }

  /** Keeps the request that an answer names open for further answers, with its time anew. */
  renew(peer: PeerId, seq: number, now: Instant): Asked | "late" | "never" {
    const asked = this.settle(peer, seq);
    if (typeof asked !== "string") this.#open.set(seq, { peer, asked, until: now + REQUEST_TIMEOUT_MS });
    return asked;
  }

  /** Gives up and returns a request that has gone unanswered; undefined when there is none. */
  expire(now: Instant): { readonly peer: PeerId; readonly asked: Asked } | undefined {
    for (const [seq, request] of this.#open) {
      if (request.until > now) return undefined;
      this.#open.delete(seq);
      return request;
    }
    return undefined;
  }

  /** Forgets all requests to a peer and returns what they asked. */
  drop(peer: PeerId): readonly Asked[] {
    const dropped: Asked[] = [];
    for (const [seq, request] of this.#open) {
      if (request.peer !== peer) continue;
      this.#open.delete(seq);
      dropped.push(request.asked);
    }
    return dropped;
  }

  deadline(): Instant | undefined {
    for (const request of this.#open.values()) return request.until;
    return undefined;
  }
}
