import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Ending } from "../reconcile/reconciler.ts";
import type { Comparing } from "./comparing.ts";
import type { Outlet } from "./effects.ts";
import type { Fetches } from "./fetches.ts";
import { MAX_WANTED } from "./limits.ts";
import type { Requests } from "./requests.ts";
import type { Scope } from "./scope.ts";
import type { Store } from "./store.ts";
import { emptySum, FINGERPRINT_BYTES, fingerprint } from "./sum.ts";
import type { Wants } from "./wants.ts";

/**
 * One exchange, from the side that asks: the buckets that differ between this replica and one peer are compared, and
 * what one side has and the other lacks goes over, in both directions.
 *
 * The peer keeps little about it, and only for as long as its messages come: an exchange that is cut short costs nothing,
 * since the next one finds equal what has been moved. Everything is bounded, and what a bound leaves out is found by the
 * next exchange.
 */

/** What an exchange works with. */
export interface ExchangeTools {
  readonly outlet: Outlet;
  readonly store: Store;
  readonly requests: Requests;
  readonly wants: Wants;
  readonly fetches: Fetches;
  readonly scope: Scope;
  readonly comparing: Comparing;
}

/** One exchange of this replica's with one peer. */
export class Exchange {
  readonly peer: PeerId;
  readonly #tools: ExchangeTools;
  readonly #salt: Uint8Array;
  /** Buckets that differ and are yet to be compared. */
  #waiting: string[] = [];
  readonly #compared = new Set<string>();
  /** Buckets for which the peer had no room: they wait until another has been compared. */
  #refused: string[] = [];
  /** The peer's messages. */
  messages = 0;
  /** Whether a bound has left something out. */
  more = false;

  constructor(peer: PeerId, salt: Uint8Array, tools: ExchangeTools) {
    this.peer = peer;
    this.#salt = salt;
    this.#tools = tools;
  }

  /** Whether nothing is left to compare or to wait for. */
  get isOver(): boolean {
    return !this.isComparing && this.#tools.wants.load(this.peer) === 0;
  }

  /** Whether comparing goes on: what is wanted may become more. */
  get isComparing(): boolean {
    return this.#compared.size > 0 || this.#waiting.length > 0;
  }

  /** Takes the peer's buckets with their fingerprints. */
  begin(theirs: ReadonlyMap<string, Uint8Array>): void {
    const { store, scope } = this.#tools;
    for (const [name, print] of theirs) {
      const sum = scope.sum(name, store.bucket(name)?.versions, this.peer);
      if (!isPrint(print, fingerprint(this.#salt, sum, FINGERPRINT_BYTES))) this.#waiting.push(name);
    }
    const nothing = fingerprint(this.#salt, emptySum(), FINGERPRINT_BYTES);
    for (const { name, versions } of store.buckets()) {
      if (theirs.has(name)) continue;
      const sum = scope.sum(name, versions, this.peer);
      if (!isPrint(nothing, fingerprint(this.#salt, sum, FINGERPRINT_BYTES))) this.#waiting.push(name);
    }
  }

  /** Starts the next comparisons, as far as the bounds allow. */
  pump(now: Instant): void {
    const { comparing, wants } = this.#tools;
    const isHeld = wants.room < MAX_WANTED / 2;
    comparing.hold(isHeld, now);
    while (!isHeld) {
      const name = this.#waiting[0];
      if (name === undefined || !comparing.hasRoomFor(name)) return;
      this.#waiting.shift();
      this.#compared.add(name);
      comparing.start(this.peer, name, now);
    }
  }

  /** A comparison is over. False when the peer is busy with others: it has no room for any. */
  finished(bucket: string, ending: Ending): boolean {
    this.#compared.delete(bucket);
    if (ending === "busy") {
      this.#refused.push(bucket);
      return this.isComparing;
    }
    if (ending === "partial" || ending === "failed") this.more = true;
    this.#waiting.push(...this.#refused);
    this.#refused = [];
    return true;
  }
}

function isPrint(print: Uint8Array, other: Uint8Array): boolean {
  return print.every((byte, index) => byte === other[index]);
}
