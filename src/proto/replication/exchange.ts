import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Outlet } from "./effects.ts";
import type { Fetches } from "./fetches.ts";
import { childPath, type KeyTree, MAX_DEPTH } from "./key-tree.ts";
import {
  ANSWER_LIST_MAX,
  LIST_MAX,
  MAX_COMPARED,
  MAX_COMPARES_OUTSTANDING,
  MAX_COMPARES_PER_EXCHANGE,
  MAX_OFFERED,
  MAX_OFFERED_PER_MESSAGE,
  MAX_RANGES_QUEUED,
  MAX_SCANNED,
  MAX_WANTED,
} from "./limits.ts";
import {
  type ComparedRange,
  encodeCompare,
  encodeOffer,
  type Group,
  type Range,
  type RangeAnswer,
} from "./messages.ts";
import type { Requests } from "./requests.ts";
import { type Scope, SLOT_DEPTH } from "./scope.ts";
import type { Store } from "./store.ts";
import { FINGERPRINT_BYTES, fingerprint } from "./sum.ts";
import { compareLists, packIds, unpackIds, type VersionId } from "./version-id.ts";
import type { Wants } from "./wants.ts";

/**
 * One exchange, from the side that asks: finds what differs between this replica and one peer, in both directions.
 *
 * It is range-based set reconciliation (after Meyer, 2023) with fixed ranges: the sixteenths of the key hash. A range
 * with many entries here is sent as the fingerprints of its 16 children, one with few as a list of ids. The peer
 * answers with the children that differ, or with ids. What it has and we lack is wanted from it; what we have and it
 * lacks is offered. The peer keeps no state about it, so an exchange that is cut short costs nothing: the next one
 * finds equal what has been moved. Everything is bounded, and what a bound leaves out is found by the next exchange.
 */

/** What an exchange works with. */
export interface ExchangeTools {
  readonly outlet: Outlet;
  readonly store: Store;
  readonly requests: Requests;
  readonly wants: Wants;
  readonly fetches: Fetches;
  readonly scope: Scope;
}

/** One exchange of this replica's with one peer. */
export class Exchange {
  readonly peer: PeerId;
  readonly #tools: ExchangeTools;
  readonly #salt: Uint8Array;
  /** Ranges to compare, deepest last. */
  readonly #ranges: Range[] = [];
  readonly #offers = new Map<string, VersionId[]>();
  #offered = 0;
  #outstanding = 0;
  #compares = 0;
  #more = false;

  constructor(peer: PeerId, salt: Uint8Array, tools: ExchangeTools) {
    this.peer = peer;
    this.#salt = salt;
    this.#tools = tools;
  }

  /** Comparisons made. */
  get compares(): number {
    return this.#compares;
  }

  /** Whether a bound has left something out. */
  get more(): boolean {
    return this.#more;
  }

  /** Whether nothing is left to compare or to wait for. */
  get isOver(): boolean {
    return !this.isComparing && this.#tools.wants.load(this.peer) === 0;
  }

  /** Whether comparing goes on: what is wanted may become more. */
  get isComparing(): boolean {
    return this.#outstanding > 0 || this.#ranges.length > 0;
  }

  /** Takes the peer's buckets with their fingerprints. */
  begin(theirs: ReadonlyMap<string, Uint8Array>): void {
    const { store, scope } = this.#tools;
    for (const [name, print] of theirs) {
      const sum = scope.sum(name, store.bucket(name)?.tree, this.peer);
      if (!isPrint(print, 0, fingerprint(this.#salt, sum, FINGERPRINT_BYTES))) this.#pushShared(name);
    }
    for (const { name } of store.buckets()) if (!theirs.has(name)) this.#pushShared(name);
  }

  /** All that both sides are to have of a bucket. */
  #pushShared(bucket: string): void {
    const slots = this.#tools.scope.shared(bucket, this.peer);
    if (slots === undefined) this.#push(bucket, 0, 0);
    else for (const slot of slots) this.#push(bucket, SLOT_DEPTH, (slot << 24) >>> 0);
  }

  #push(bucket: string, depth: number, path: number): void {
    if (this.#ranges.length < MAX_RANGES_QUEUED) this.#ranges.push({ bucket, depth, path });
    else this.#more = true;
  }

  /** Sends the next comparisons, as far as the bounds allow. */
  pump(now: Instant): void {
    const { outlet, requests, wants } = this.#tools;
    while (this.#ranges.length > 0 && this.#outstanding < MAX_COMPARES_OUTSTANDING && wants.room >= MAX_WANTED / 2) {
      if (this.#compares === MAX_COMPARES_PER_EXCHANGE) {
        this.#ranges.length = 0;
        this.#more = true;
        return;
      }
      const ranges = this.#take();
      this.#compares++;
      this.#outstanding++;
      const seq = requests.issue(this.peer, { type: "compare", exchange: this, ranges }, now);
      outlet.send(this.peer, encodeCompare(seq, this.#salt, ranges));
    }
  }

  #take(): readonly ComparedRange[] {
    const compared: ComparedRange[] = [];
    let scanned = 0;
    while (compared.length < MAX_COMPARED && scanned < MAX_SCANNED) {
      const range = this.#ranges.pop();
      if (range === undefined) break;
      const tree = this.#tools.store.bucket(range.bucket)?.tree;
      const count = tree?.count(range.depth, range.path) ?? 0;
      scanned += Math.min(count, ANSWER_LIST_MAX) + LIST_MAX;
      compared.push(describe(range, tree, count, this.#salt));
    }
    return compared;
  }

  /** Takes the answers to a comparison. False when they cannot be answers to it. */
  answered(ranges: readonly ComparedRange[], answers: readonly RangeAnswer[], now: Instant): boolean {
    this.#outstanding--;
    if (answers.length !== ranges.length) return false;
    for (let index = 0; index < ranges.length; index++) {
      const range = ranges[index] as ComparedRange;
      const answer = answers[index] as RangeAnswer;
      if (answer === null) this.#push(range.bucket, range.depth, range.path);
      else if (typeof answer === "number") {
        if (range.depth === MAX_DEPTH) return false;
        this.#descend(range, answer);
      } else this.#settle(range, answer, now);
    }
    this.#flushOffers();
    return true;
  }

  #descend(range: ComparedRange, mask: number): void {
    const { bucket, depth, path, form } = range;
    const tree = this.#tools.store.bucket(bucket)?.tree;
    // The peer does not know which children our short list falls into.
    const children = form === "ids" ? mask | (tree?.occupied(depth, path) ?? 0) : mask;
    for (let child = 15; child >= 0; child--) {
      if ((children >>> child) & 1) this.#push(bucket, depth + 1, childPath(path, depth, child));
    }
  }

  /** Takes the ids that the peer has in a range: all of them, or those that we lack of a range whose ids we sent. */
  #settle(range: ComparedRange, answer: Uint8Array, now: Instant): void {
    const { store } = this.#tools;
    const { bucket, depth, path, form, body } = range;
    const tree = store.bucket(bucket)?.tree;
    if (tree !== undefined && depth < MAX_DEPTH && tree.count(depth, path) > ANSWER_LIST_MAX) {
      this.#descend(range, 0xffff);
      return;
    }
    const theirs = new Set(unpackIds(answer));
    const mine = tree?.ids(depth, path) ?? [];
    if (form === "prints") {
      const { missing, surplus } = compareLists(mine, theirs, depth < MAX_DEPTH);
      this.#want(bucket, missing, now);
      this.#offer(bucket, surplus);
      return;
    }
    // The peer has seen our list, so it knows what is older; all that is left to us is what the list had no room for.
    for (const id of mine) theirs.delete(id);
    this.#want(bucket, theirs, now);
    if (mine.length > LIST_MAX) this.#offer(bucket, compareLists(mine, new Set(unpackIds(body)), false).surplus);
  }

  #want(bucket: string, ids: Iterable<VersionId>, now: Instant): void {
    const { wants, fetches, store } = this.#tools;
    if (store.isFull(bucket)) return;
    for (const id of ids) {
      if (!fetches.noteSource(id, this.peer) && !wants.add(this.peer, bucket, id, now)) this.#more = true;
    }
  }

  #offer(bucket: string, ids: readonly VersionId[]): void {
    if (ids.length === 0) return;
    if (this.#offered + ids.length > MAX_OFFERED) {
      this.#more = true;
      return;
    }
    this.#offered += ids.length;
    const offers = this.#offers.get(bucket);
    if (offers === undefined) this.#offers.set(bucket, [...ids]);
    else for (const id of ids) offers.push(id);
  }

  #flushOffers(): void {
    let groups: Group[] = [];
    let room = MAX_OFFERED_PER_MESSAGE;
    for (const [bucket, ids] of this.#offers) {
      for (let start = 0; start < ids.length; ) {
        const part = ids.slice(start, start + room);
        start += part.length;
        room -= part.length;
        groups.push({ bucket, ids: part });
        if (room > 0) continue;
        this.#tools.outlet.send(this.peer, encodeOffer(groups));
        groups = [];
        room = MAX_OFFERED_PER_MESSAGE;
      }
    }
    if (groups.length > 0) this.#tools.outlet.send(this.peer, encodeOffer(groups));
    this.#offers.clear();
  }
}

function describe(range: Range, tree: KeyTree | undefined, count: number, salt: Uint8Array): ComparedRange {
  const { bucket, depth, path } = range;
  if (tree === undefined || count <= LIST_MAX || depth === MAX_DEPTH) {
    const ids = tree?.ids(depth, path) ?? [];
    return { bucket, depth, path, form: "ids", body: packIds(ids.slice(0, LIST_MAX)) };
  }
  const body = new Uint8Array(16 * FINGERPRINT_BYTES);
  tree.childSums(depth, path).forEach((sum, child) => {
    body.set(fingerprint(salt, sum, FINGERPRINT_BYTES), child * FINGERPRINT_BYTES);
  });
  return { bucket, depth, path, form: "prints", body };
}

/** Whether `print` stands at `offset` of `prints`. */
export function isPrint(prints: Uint8Array, offset: number, print: Uint8Array): boolean {
  for (let byte = 0; byte < FINGERPRINT_BYTES; byte++) if (prints[offset + byte] !== print[byte]) return false;
  return true;
}
