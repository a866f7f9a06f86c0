import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Outlet } from "./effects.ts";
import {
  LEASE_IDLE_MS,
  MAX_ANSWERS_PER_WANT,
  MAX_WANTED,
  MAX_WANTED_PER_REQUEST,
  VERIFY_TIMEOUT_MS,
} from "./limits.ts";
import { EntriesState, encodeWant, toGroups } from "./messages.ts";
import type { Requests } from "./requests.ts";
import type { VersionId } from "./version-id.ts";
import { Wheel } from "./wheel.ts";

/**
 * The entries that this replica knows it lacks, each asked of one peer only.
 *
 * Many links may list the same missing entry; it is wanted once, from the first peer that listed it, until it is
 * stored, found gone, or given up. What is given up (no answer, link down, failed verification) is simply forgotten:
 * the next exchange, with another link, finds it again. Entries stay in the table while they are being verified, so
 * that nobody asks for them a second time.
 */

interface Wanted {
  readonly id: VersionId;
  readonly bucket: string;
  readonly peer: PeerId;
}

interface Source {
  /** Not yet asked for. */
  queue: Wanted[];
  /** Asked for or being verified, and queued. */
  load: number;
  /** Whether a request is under way; what it has brought so far. */
  request: { delivered: number; answers: number } | undefined;
}

/** The table of entries that are missing here. */
export class Wants {
  readonly #outlet: Outlet;
  readonly #requests: Requests;
  readonly #byId = new Map<VersionId, Wanted>();
  readonly #sources = new Map<PeerId, Source>();
  /** Arrived and being verified. */
  readonly #arrived = new Map<VersionId, Instant>();
  readonly #wheel = new Wheel<VersionId>(1_000);
  /** When something last came, or was first wanted. */
  #progressAt: Instant = 0;

  constructor(outlet: Outlet, requests: Requests) {
    this.#outlet = outlet;
    this.#requests = requests;
  }

  /** Entries that are missing and on their way. */
  get size(): number {
    return this.#byId.size;
  }

  /**
   * Until when others are to wait for what is on its way: as long as it keeps coming. A peer that lists entries and
   * never sends them holds nobody up for longer.
   */
  flowsUntil(): Instant {
    return this.#byId.size === 0 ? 0 : this.#progressAt + LEASE_IDLE_MS;
  }

  /** How many more can be taken. */
  get room(): number {
    return MAX_WANTED - this.#byId.size;
  }

  /** From whom an entry is on its way. */
  sourceOf(id: VersionId): PeerId | undefined {
    return this.#byId.get(id)?.peer;
  }

  /** Entries that are on their way from `peer`. */
  load(peer: PeerId): number {
    return this.#sources.get(peer)?.load ?? 0;
  }

  /** Wants an entry that `peer` has listed; false when there is no room. No effect on one that is wanted already. */
  add(peer: PeerId, bucket: string, id: VersionId, now: Instant): boolean {
    if (this.#byId.has(id)) return true;
    if (this.room <= 0) return false;
    if (this.#byId.size === 0) this.#progressAt = now;
    const wanted = { id, bucket, peer };
    this.#byId.set(id, wanted);
    const source = this.#sources.get(peer) ?? { queue: [], load: 0, request: undefined };
    this.#sources.set(peer, source);
    source.queue.push(wanted);
    source.load++;
    return true;
  }

  /** The peers from which something is on its way. */
  sources(): IterableIterator<PeerId> {
    return this.#sources.keys();
  }

  /** How many entries are yet to be asked of `peer`. */
  queued(peer: PeerId): number {
    return this.#sources.get(peer)?.queue.length ?? 0;
  }

  /**
   * Asks `peer` for what is queued, unless a request is under way: the more at once, the more entries share a proof.
   */
  pump(peer: PeerId, now: Instant): void {
    const source = this.#sources.get(peer);
    if (source === undefined || source.request !== undefined) return;
    const asked = source.queue.splice(0, MAX_WANTED_PER_REQUEST);
    const groups = new Map<string, VersionId[]>();
    const ids: VersionId[] = [];
    for (const item of asked) {
      // What has come another way meanwhile is no longer in the table.
      if (this.#byId.get(item.id) !== item) continue;
      const group = groups.get(item.bucket);
      if (group === undefined) groups.set(item.bucket, [item.id]);
      else group.push(item.id);
      ids.push(item.id);
    }
    if (ids.length === 0) return;
    source.request = { delivered: 0, answers: 0 };
    const seq = this.#requests.issue(peer, { type: "want", ids }, now);
    this.#outlet.send(peer, encodeWant(seq, toGroups(groups)));
  }

  /**
   * An answer: `delivered` are being verified; `state` says what becomes of the other `ids` that were asked for.
   * False when there are more answers than there can be.
   */
  answered(
    peer: PeerId,
    ids: readonly VersionId[],
    state: EntriesState,
    delivered: ReadonlySet<VersionId>,
    now: Instant,
  ): boolean {
    const source = this.#sources.get(peer);
    if (source?.request === undefined) return true;
    const { request } = source;
    request.answers++;
    if (delivered.size > 0) this.#progressAt = now;
    for (const id of delivered) {
      if (this.#byId.get(id)?.peer !== peer || this.#arrived.has(id)) continue;
      request.delivered++;
      this.#arrived.set(id, now + VERIFY_TIMEOUT_MS);
      this.#wheel.add(now + VERIFY_TIMEOUT_MS, id);
    }
    if (state === EntriesState.follows) return request.answers < MAX_ANSWERS_PER_WANT;
    // A peer that delivers nothing and says to ask again would be asked for ever.
    const isAgain = state === EntriesState.again && request.delivered > 0;
    this.#close(peer, source, ids, isAgain);
    return true;
  }

  /** The peer is busy: the same is asked for again later. */
  refused(peer: PeerId, ids: readonly VersionId[]): void {
    const source = this.#sources.get(peer);
    if (source !== undefined) this.#close(peer, source, ids, true);
  }

  /** A request has gone unanswered: what it asked for is forgotten. */
  failed(peer: PeerId, ids: readonly VersionId[]): void {
    const source = this.#sources.get(peer);
    if (source !== undefined) this.#close(peer, source, ids, false);
  }

  #close(peer: PeerId, source: Source, ids: readonly VersionId[], isAgain: boolean): void {
    source.request = undefined;
    const again: Wanted[] = [];
    for (const id of ids) {
      const wanted = this.#byId.get(id);
      if (wanted?.peer !== peer || this.#arrived.has(id)) continue;
      if (isAgain) again.push(wanted);
      else this.settle(id);
    }
    if (again.length > 0) source.queue = again.concat(source.queue);
    this.#tidy(peer, source);
  }

  /** The entry is no longer wanted: stored, superseded, or given up. */
  settle(id: VersionId): void {
    const wanted = this.#byId.get(id);
    if (wanted === undefined) return;
    this.#byId.delete(id);
    const until = this.#arrived.get(id);
    if (until !== undefined) {
      this.#arrived.delete(id);
      this.#wheel.remove(until, id);
    }
    const source = this.#sources.get(wanted.peer);
    if (source === undefined) return;
    source.load--;
    this.#tidy(wanted.peer, source);
  }

  #tidy(peer: PeerId, source: Source): void {
    if (source.load === 0 && source.request === undefined) this.#sources.delete(peer);
  }

  /** The link is gone, or the peer has turned out to lie: nothing is wanted from it any more. */
  drop(peer: PeerId): void {
    this.#sources.delete(peer);
    for (const [id, wanted] of this.#byId) if (wanted.peer === peer) this.settle(id);
  }

  deadline(): Instant | undefined {
    return this.#wheel.next();
  }

  /** Gives up entries whose verification has not come back. */
  timeout(now: Instant): void {
    for (let id = this.#wheel.take(now); id !== undefined; id = this.#wheel.take(now)) this.settle(id);
  }
}
