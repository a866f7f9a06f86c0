import { utf8 } from "../bytes.ts";
import { sha256 } from "../hash.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Random } from "../random.ts";
import type { Outlet, ReplicationFault, ReplicationInput } from "./effects.ts";
import { type Entry, encodeKey, pathOf } from "./entry.ts";
import { Handoff } from "./handoff.ts";
import { ARRIVAL_MS, EXCHANGE_INTERVAL_MS, HANDOFF_RETRY_MS, MAX_DECIDERS, SETTLE_MS, START_MS } from "./limits.ts";
import { VIEW_BYTES } from "./messages.ts";
import type { Peers } from "./peers.ts";
import { Placement, type Storer } from "./placement.ts";
import { POLICY_BUCKET } from "./policy.ts";
import { Reads } from "./reads.ts";
import type { Asked, Requests } from "./requests.ts";
import { Scope } from "./scope.ts";
import type { Store } from "./store.ts";
import { Surveys } from "./surveys.ts";

/** Where guests that could not be handed over are looked for again. */
const LOOK_EVERY_MS = EXCHANGE_INTERVAL_MS;

export interface CopiesTools {
  readonly outlet: Outlet;
  readonly store: Store;
  readonly requests: Requests;
  readonly peers: Peers;
  /** The members that store, as the members' list has them. */
  readonly storers: () => Iterable<Storer>;
  readonly evict: (entry: Entry) => void;
  /** Whether this replica was away and holds what nobody is to take. */
  readonly isAway: () => boolean;
  readonly random: Random;
  /** Runs what waits for everything stored so far to be durable. */
  readonly durable: (run: (now: Instant) => void, now: Instant) => void;
  /** The peer lies, or never ends. */
  readonly faulty: (peer: PeerId, fault: ReplicationFault, now: Instant) => void;
}

/**
 * Buckets that are not everywhere: who holds what ({@link Placement}, {@link Scope}), how it gets there ({@link Handoff}, {@link Surveys}) and how
 * it is read from elsewhere ({@link Reads}). While every bucket is everywhere, all of this rests. A member that comes back hears of the others one by
 * one, and moves nothing in its first seconds: it would take itself for the replica of everything.
 */
export class Copies {
  readonly scope: Scope;
  readonly handoff: Handoff;
  readonly surveys: Surveys;
  readonly reads: Reads;
  readonly #tools: CopiesTools;
  readonly #placement = new Placement();
  #lookAt: Instant | undefined;
  /** When this member moves copies for the first time. */
  #startsAt: Instant | undefined;
  #changedAt: Instant = 0;
  #isDraining = false;

  constructor(tools: CopiesTools) {
    const { outlet, store, requests, peers, evict } = tools;
    this.#tools = tools;
    this.scope = new Scope(outlet.self, store, this.#placement);
    this.surveys = new Surveys({
      ...tools,
      surveyed: (peer, survey, now) => this.handoff.surveyed(peer, survey, now),
    });
    this.handoff = new Handoff({
      self: outlet.self,
      outlet,
      store,
      requests,
      peers,
      evict,
      placement: this.#placement,
      surveys: this.surveys,
    });
    this.reads = new Reads(outlet, store, requests);
  }

  /** Whether any bucket is not everywhere. */
  get isPlacing(): boolean {
    return this.#tools.store.isPlacing;
  }

  /** Whether this replica was away, so that what it holds is no answer. */
  get isAway(): boolean {
    return this.#tools.isAway();
  }

  /** The members, or what is known of them, may have changed. */
  members(now: Instant): void {
    this.#startsAt ??= this.isPlacing ? now + START_MS : now;
    if (!this.isPlacing) return;
    const change = this.#placement.update(this.#tools.storers(), now);
    if (change !== "none") {
      this.#changedAt = now;
      this.handoff.look(now + (change === "loss" ? SETTLE_MS : ARRIVAL_MS));
    }
    this.#lookAt ??= now + LOOK_EVERY_MS;
  }

  /**
   * From when on what this member holds may be compared. One that has just come back and knows some of the others only takes for its own, and for
   * theirs, much that belongs to those of whom it has not heard: compared with anybody all of that would differ.
   * @param members how many it knows, this one included.
   */
  comparesFrom(members: number): Instant {
    if (!this.isPlacing || this.#startsAt === undefined) return 0;
    const knowsLinked = members > this.#tools.peers.size;
    return knowsLinked ? Math.min(this.#startsAt, this.#changedAt + SETTLE_MS) : this.#startsAt;
  }

  /** A version is stored: a policy changes what belongs where, and a guest is to be handed over. */
  stored(entry: Entry, now: Instant): void {
    if (entry.bucket === POLICY_BUCKET) {
      this.members(now);
      if (this.isPlacing) this.handoff.look(now);
    } else if (this.isPlacing && !this.scope.isMine(entry.bucket, entry.path)) this.handoff.look(now);
  }

  /** Takes a read; of what can be no key there is nothing. */
  take({ request, bucket, key, isQuorum }: Extract<ReplicationInput, { readonly type: "read" }>, now: Instant): void {
    const keyBytes = encodeKey(key);
    if (keyBytes === undefined) this.#tools.outlet.emit({ type: "read", request, entry: undefined });
    else this.read(request, bucket, pathOf(keyBytes), key, isQuorum, now);
  }

  /** Reads a key from others: from a majority of its replicas, if this one was not away, or from the first that answers. */
  read(request: number, bucket: string, path: number, key: string, isQuorum: boolean, now: Instant): void {
    const { outlet } = this.#tools;
    if (isQuorum && this.isAway) {
      outlet.emit({ type: "unreadable", request, reason: "unreachable" });
      return;
    }
    const replicas = this.deciders(bucket, path) ?? [...this.#tools.peers.ids(), outlet.self];
    const isMine = replicas.includes(outlet.self);
    const quorum = Math.floor(replicas.length / 2) + 1;
    const needed = isQuorum ? quorum - (isMine ? 1 : 0) : isMine ? 0 : 1;
    for (const peer of replicas)
      if (peer !== outlet.self && !outlet.isLinked(peer)) outlet.emit({ type: "reach", peer });
    this.reads.begin(
      request,
      bucket,
      key,
      needed,
      replicas.filter((peer) => outlet.isLinked(peer)),
      now,
    );
  }

  /** The replicas of a key whose majority decides, in order; undefined: they are too many to be all linked. */
  deciders(bucket: string, path: number): readonly PeerId[] | undefined {
    const placed = this.scope.replicas(bucket, path);
    const ids = placed === undefined ? Array.from(this.#tools.storers(), ({ id }) => id) : [...placed];
    return ids.length > MAX_DECIDERS ? undefined : ids.sort();
  }

  /** Names them: equal where two members mean the same. */
  viewOf(bucket: string, path: number): Uint8Array {
    return sha256(utf8((this.deciders(bucket, path) ?? []).join(" "))).slice(0, VIEW_BYTES);
  }

  /** A request has gone unanswered, or its peer is gone. */
  unanswered(asked: Asked, now: Instant): void {
    if (asked.type === "hold") this.handoff.failed(asked.task, now + HANDOFF_RETRY_MS);
    else if (asked.type === "read") this.reads.failed(asked.request, now);
  }

  /** Told `drained` when everything that this member holds is where it belongs. */
  drain(now: Instant): void {
    this.#isDraining = true;
    if (this.isPlacing) this.handoff.look(now);
  }

  deadline(): Instant | undefined {
    let next = this.reads.deadline();
    const handoff = this.isAway ? undefined : this.handoff.deadline();
    for (const at of [
      this.#placement.deadline(),
      handoff === undefined ? undefined : Math.max(handoff, this.#startsAt ?? 0),
      this.isPlacing ? this.#lookAt : undefined,
    ]) {
      if (at !== undefined && (next === undefined || at < next)) next = at;
    }
    return next;
  }

  advance(now: Instant): void {
    if ((this.#placement.deadline() ?? Number.POSITIVE_INFINITY) <= now) this.members(now);
    if (this.#lookAt !== undefined && this.#lookAt <= now) {
      this.#lookAt = now + LOOK_EVERY_MS;
      if (this.isPlacing) this.handoff.look(now);
    }
    if (!this.isAway && now >= (this.#startsAt ?? 0)) this.handoff.advance(now);
    this.reads.advance(now);
    if (!this.#isDraining || (this.isPlacing && !this.handoff.isDone)) return;
    this.#isDraining = false;
    this.#tools.outlet.emit({ type: "drained" });
  }

  /** Who is to hold any of these keys; undefined: everybody. */
  audience(keys: readonly Pick<Entry, "bucket" | "path">[]): readonly PeerId[] | undefined {
    if (!this.isPlacing) return undefined;
    const audience = new Set<PeerId>();
    for (const { bucket, path } of keys) {
      const replicas = this.scope.replicas(bucket, path);
      if (replicas === undefined) return undefined;
      for (const peer of replicas) audience.add(peer);
    }
    return [...audience];
  }
}
