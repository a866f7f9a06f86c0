import { earlier } from "../deadlines.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Random } from "../random.ts";
import type { ReconcileFault } from "../reconcile/effects.ts";
import type { IdList } from "../reconcile/id-list.ts";
import { type Ending, type ReconcileInput, type ReconcileOutput, Reconciler } from "../reconcile/reconciler.ts";
import type { Outlet, ReplicationFault } from "./effects.ts";
import type { Fetches } from "./fetches.ts";
import { MAX_COMPARED_BUCKETS, MAX_COMPARED_IDS, MAX_WANTED } from "./limits.ts";
import { encodeReconcile } from "./messages.ts";
import type { Peers } from "./peers.ts";
import type { Scope } from "./scope.ts";
import type { Relation } from "./service.ts";
import type { Store } from "./store.ts";
import { idsIn, placeOf, tickOf, type VersionId } from "./version-id.ts";
import { Versions } from "./versions.ts";
import type { Wants } from "./wants.ts";

/** What comparing works with. */
export interface ComparingTools {
  readonly outlet: Outlet;
  readonly store: Store;
  readonly scope: Scope;
  readonly wants: Wants;
  readonly fetches: Fetches;
  readonly peers: Peers;
  readonly random: Random;
  /** A comparison that we have started is over. */
  readonly finished: (peer: PeerId, bucket: string, ending: Ending, now: Instant) => void;
  /** There is no room for all that `peer` has and we lack. */
  readonly crowded: (peer: PeerId) => void;
  readonly relation: (peer: PeerId) => Relation;
  /** The peer, whom we follow, does not have these. */
  readonly part: (bucket: string, ids: readonly VersionId[], now: Instant) => void;
  /** The peer lies, or never ends. */
  readonly faulty: (peer: PeerId, fault: ReplicationFault, now: Instant) => void;
}

/** Of one comparison: what a later version of the same place is here of, and the latest tick by place of what is here alone. */
interface Doubts {
  readonly missing: VersionId[];
  readonly surplus: Map<number, number>;
}

/**
 * The comparisons of buckets that are under way, on either side: one reconciler each (`../reconcile/reconciler.ts`).
 *
 * What a comparison finds missing here is wanted from the peer, unless it belongs elsewhere or a later version of the key is
 * here. The latter is told by the key's place, which two keys may share: if the peer turns out to have the later one too,
 * it is another key's. Only the side that asks knows when everything has been told, so only it goes after such versions.
 * Both sides are told of both directions, so nothing has to be offered. Several small buckets are compared at once, a
 * large one alone; work is done a slice at a time, for one bucket after the other.
 */
export class Comparing {
  readonly #tools: ComparingTools;
  /** By bucket, the one whose slice of work is next first. */
  readonly #running = new Map<string, Reconciler>();
  readonly #empty: Versions;
  /** By bucket, what our comparison has found that is to be judged by age when it is over. */
  readonly #doubts = new Map<string, Doubts>();
  #seq = 0;
  #isHeld = false;

  constructor(tools: ComparingTools) {
    this.#tools = tools;
    this.#empty = new Versions(tools.random);
  }

  /** Whether one more bucket may be compared now. */
  hasRoomFor(bucket: string): boolean {
    if (this.#running.size === 0 || this.#running.has(bucket)) return true;
    let ids = this.#sizeOf(bucket);
    for (const name of this.#running.keys()) ids += this.#sizeOf(name);
    return this.#running.size < MAX_COMPARED_BUCKETS && ids <= MAX_COMPARED_IDS;
  }

  #sizeOf(bucket: string): number {
    return this.#tools.store.bucket(bucket)?.size ?? 0;
  }

  /** Starts to compare a bucket with `peer`; `finished` follows. */
  start(peer: PeerId, bucket: string, now: Instant): void {
    this.#apply(bucket, peer, { type: "start", peer }, now);
    this.#seq++;
  }

  /** Takes a message about a bucket. `isRefused`: what the peer asks for is answered `busy`. */
  message(peer: PeerId, bucket: string, bytes: Uint8Array, isRefused: boolean, now: Instant): void {
    this.#apply(bucket, peer, { type: "message", peer, bytes, isRefused: isRefused || !this.hasRoomFor(bucket) }, now);
  }

  /** Nothing is compared with `peer` any more. */
  drop(peer: PeerId, now: Instant): void {
    for (const bucket of [...this.#running.keys()]) this.#apply(bucket, peer, { type: "link-down", peer }, now);
  }

  /** While held, our own comparisons ask for nothing further: there is no room for what they would find. */
  hold(isHeld: boolean, now: Instant): void {
    if (isHeld === this.#isHeld) return;
    this.#isHeld = isHeld;
    for (const bucket of [...this.#running.keys()]) this.#apply(bucket, undefined, { type: "hold", isHeld }, now);
  }

  deadline(): Instant | undefined {
    let next: Instant | undefined;
    for (const reconciler of this.#running.values()) next = earlier(next, reconciler.deadline());
    return next;
  }

  /** Does one slice of work, and ends what has taken too long. */
  timeout(now: Instant): void {
    for (const [bucket, reconciler] of this.#running) {
      if ((reconciler.deadline() ?? Number.POSITIVE_INFINITY) > now) continue;
      if (reconciler.worksForPeer && reconciler.answers !== undefined) {
        this.#tools.peers.conduct(reconciler.answers)?.worked(now);
      }
      this.#running.delete(bucket);
      this.#running.set(bucket, reconciler);
      this.#apply(bucket, undefined, { type: "timeout" }, now);
      return;
    }
  }

  #apply(bucket: string, peer: PeerId | undefined, input: ReconcileInput, now: Instant): void {
    const reconciler = this.#running.get(bucket) ?? this.#open(bucket, peer);
    // An exchange may end in the same step in which it tells what differs.
    const isOurs = reconciler.isAsking;
    const outputs = reconciler.handle(input, now);
    if (!reconciler.isAsking && reconciler.answers === undefined) this.#running.delete(bucket);
    else if (!this.#running.has(bucket)) {
      this.#running.set(bucket, reconciler);
      if (this.#isHeld) reconciler.handle({ type: "hold", isHeld: true }, now);
    }
    for (const output of outputs) this.#perform(bucket, output, isOurs, now);
  }

  #open(bucket: string, peer: PeerId | undefined): Reconciler {
    const { store, scope, random } = this.#tools;
    const versions = store.bucket(bucket)?.versions ?? this.#empty;
    const ids = versions.ids(peer === undefined ? undefined : scope.shared(bucket, peer));
    return new Reconciler(ids, random, { after: this.#seq });
  }

  #perform(bucket: string, output: ReconcileOutput, isOurs: boolean, now: Instant): void {
    const { outlet, peers, finished, faulty } = this.#tools;
    switch (output.type) {
      case "send": {
        const bytes = encodeReconcile(bucket, output.bytes);
        peers.conduct(output.peer)?.answered(bytes.length, now);
        outlet.send(output.peer, bytes);
        return;
      }
      case "difference":
        this.#differ(output.peer, bucket, output.missing, isOurs ? output.surplus : undefined, now);
        return;
      case "finished":
        this.#resolve(output.peer, bucket, now);
        finished(output.peer, bucket, output.ending, now);
        return;
      case "fault":
        faulty(output.peer, FAULTS[output.fault], now);
    }
  }

  /** `surplus` undefined: the comparison is the peer's. */
  #differ(peer: PeerId, bucket: string, missing: IdList, surplus: IdList | undefined, now: Instant): void {
    const { store, scope, relation, part } = this.#tools;
    const how = relation(peer);
    // Of who follows us nothing is taken.
    if (how === "they-follow") return;
    if (how === "we-follow" && surplus !== undefined) part(bucket, idsIn(surplus), now);
    const versions = store.bucket(bucket)?.versions;
    const isPlaced = scope.replicas(bucket, 0) !== undefined;
    const doubts = this.#doubts.get(bucket) ?? { missing: [], surplus: new Map<number, number>() };
    const wanted: VersionId[] = [];
    for (const id of idsIn(missing)) {
      if (isPlaced && !scope.isMine(bucket, placeOf(id))) continue;
      if (!versions?.hasLater(id)) wanted.push(id);
      else if (doubts.missing.length < MAX_WANTED) doubts.missing.push(id);
    }
    this.#want(peer, bucket, wanted, now);
    if (surplus === undefined) return;
    for (const id of idsIn(surplus)) {
      const tick = Math.max(doubts.surplus.get(placeOf(id)) ?? 0, tickOf(id));
      if (doubts.surplus.size < MAX_WANTED) doubts.surplus.set(placeOf(id), tick);
    }
    this.#doubts.set(bucket, doubts);
  }

  /** Wants those doubtful versions of which nothing later turned out to be here alone. */
  #resolve(peer: PeerId, bucket: string, now: Instant): void {
    const doubts = this.#doubts.get(bucket);
    this.#doubts.delete(bucket);
    if (doubts === undefined || doubts.surplus.size === MAX_WANTED) return;
    const { missing, surplus } = doubts;
    const wanted = missing.filter((id) => (surplus.get(placeOf(id)) ?? 0) <= tickOf(id));
    this.#want(peer, bucket, wanted, now);
  }

  #want(peer: PeerId, bucket: string, ids: readonly VersionId[], now: Instant): void {
    const { wants, fetches, store, crowded } = this.#tools;
    if (store.isFull(bucket)) return;
    for (const id of ids) if (!fetches.noteSource(id, peer) && !wants.add(peer, bucket, id, now)) crowded(peer);
  }
}

/** What a peer's fault in a comparison is a fault of. */
export const FAULTS: Readonly<Record<ReconcileFault, ReplicationFault>> = {
  malformed: "malformed",
  unsolicited: "unsolicited",
  undecodable: "no-progress",
  inconsistent: "no-progress",
  misplaced: "no-progress",
  endless: "no-progress",
};
