import { Deadlines } from "../deadlines.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Outlet } from "./effects.ts";
import { digestOf, type Entry } from "./entry.ts";
import {
  HANDOFF_RETRY_MS,
  HOLD_WINDOW,
  MAX_HANDOFFS,
  MAX_HELD_BYTES,
  MAX_HELD_PER_REQUEST,
  MAX_UNSURVEYED,
} from "./limits.ts";
import { encodeHold, type HeldItem } from "./messages.ts";
import type { Peers } from "./peers.ts";
import { type Placement, SLOTS } from "./placement.ts";
import type { Requests } from "./requests.ts";
import type { Store } from "./store.ts";
import type { Survey, Surveys } from "./surveys.ts";
import { idOf } from "./version-id.ts";

/**
 * Brings copies to where they belong, and takes them away from where they do not.
 *
 * A member may hold entries of a slot whose replica it is not: written here, read here, or kept from before the members changed.
 * It finds out what each replica of the slot lacks (`surveys.ts`), and asks it key by key whether it holds that, or something later; the replica
 * fetches what it does not, and is asked again. What all replicas say that they hold durably is removed here. When a member becomes
 * the replica of a slot, the first of those that stay brings it all of the slot the same way, so that no two wait for each other
 * as in an exchange. Everything is asked again until it is answered, and found anew by the next look; nothing is removed on a guess.
 */

/** One slot's entries on their way to one replica. */
export interface HandoffTask {
  readonly name: string;
  readonly bucket: string;
  readonly slot: number;
  readonly peer: PeerId;
  /** Not yet held there. */
  left: Entry[];
  /** Whether what the peer holds has been left out. */
  isSurveyed: boolean;
  outstanding: number;
}

export interface HandoffTools {
  readonly self: PeerId;
  readonly outlet: Outlet;
  readonly store: Store;
  readonly requests: Requests;
  readonly peers: Peers;
  readonly placement: Placement;
  readonly surveys: Pick<Surveys, "hasRoomFor" | "begin">;
  /** Removes an entry that is held by all its replicas and is not ours. */
  readonly evict: (entry: Entry) => void;
}

/** What is being handed over. */
export class Handoff {
  readonly #tools: HandoffTools;
  readonly #tasks = new Map<string, HandoffTask>();
  readonly #retries = new Deadlines<string>();
  /** Slots by bucket whose guests are being handed over: what all tasks have in common when they end. */
  readonly #guests = new Map<string, { readonly entries: readonly Entry[]; readonly waiting: Set<PeerId> }>();
  /** By peer, the tasks that a survey is about. */
  readonly #surveyed = new Map<PeerId, readonly HandoffTask[]>();
  /** The replicas as of the last look, by number of copies and slot. */
  readonly #known = new Map<number, readonly (readonly PeerId[])[]>();
  #lookAt: Instant | undefined;

  constructor(tools: HandoffTools) {
    this.#tools = tools;
  }

  /** Whether nothing is here that belongs elsewhere. */
  get isDone(): boolean {
    return this.#tasks.size === 0 && this.#guests.size === 0 && this.#lookAt === undefined;
  }

  /** Something has changed: members, policies, links, or entries came that are not ours. A look follows at `at`. */
  look(at: Instant): void {
    if (this.#lookAt === undefined || at < this.#lookAt) this.#lookAt = at;
  }

  deadline(): Instant | undefined {
    const retry = this.#retries.next();
    if (this.#lookAt === undefined || retry === undefined) return this.#lookAt ?? retry;
    return Math.min(this.#lookAt, retry);
  }

  advance(now: Instant): void {
    if (this.#lookAt !== undefined && this.#lookAt <= now) {
      this.#lookAt = undefined;
      this.#look();
    }
    for (let name = this.#retries.take(now); name !== undefined; name = this.#retries.take(now)) this.#pump(name, now);
  }

  #look(): void {
    const { store, placement, self } = this.#tools;
    const copiesInUse = new Set<number>();
    for (const { name, versions } of store.buckets()) {
      const { replicas: copies } = store.policy(name);
      if (copies === "all") continue;
      copiesInUse.add(copies);
      const before = this.#known.get(copies);
      let slots: Entry[][] | undefined;
      const entriesOf = (slot: number): Entry[] => {
        slots ??= versions.bySlot();
        return slots[slot] as Entry[];
      };
      for (let slot = 0; slot < SLOTS; slot++) {
        if (versions.sizeOf(slot) === 0) continue;
        const replicas = placement.replicas(slot, copies);
        if (!replicas.includes(self)) {
          this.#handOver(name, slot, replicas, () => entriesOf(slot));
          continue;
        }
        const old = before?.[slot] ?? replicas;
        // The first of those that stay brings it to those that are new.
        if (old.find((peer) => replicas.includes(peer)) !== self) continue;
        for (const peer of replicas) if (!old.includes(peer)) this.#begin(name, slot, peer, entriesOf(slot));
      }
    }
    for (const copies of copiesInUse) {
      this.#known.set(
        copies,
        Array.from({ length: SLOTS }, (_, slot) => placement.replicas(slot, copies)),
      );
    }
  }

  /** Entries of a slot that is not ours go to all its replicas. */
  #handOver(bucket: string, slot: number, replicas: readonly PeerId[], held: () => readonly Entry[]): void {
    const name = `${bucket} ${slot}`;
    if (replicas.length === 0 || this.#guests.has(name) || this.#tasks.size > MAX_HANDOFFS) return;
    // What was begun before covers less: it ends first.
    if (replicas.some((peer) => this.#tasks.has(`${name} ${peer}`))) return;
    const entries = held();
    this.#guests.set(name, { entries, waiting: new Set(replicas) });
    for (const peer of replicas) this.#begin(bucket, slot, peer, entries);
  }

  #begin(bucket: string, slot: number, peer: PeerId, entries: readonly Entry[]): void {
    const name = `${bucket} ${slot} ${peer}`;
    if (entries.length === 0 || this.#tasks.has(name) || this.#tasks.size > MAX_HANDOFFS) return;
    this.#tasks.set(name, { name, bucket, slot, peer, left: [...entries], isSurveyed: false, outstanding: 0 });
    this.#retries.set(name, 0);
  }

  #pump(name: string, now: Instant): void {
    const task = this.#tasks.get(name);
    if (task === undefined) return;
    const { store, peers, outlet, requests } = this.#tools;
    if (!this.#isReplica(task)) {
      this.#cancel(name, task, now);
      return;
    }
    if (!peers.mayAsk(task.peer, now)) {
      outlet.emit({ type: "reach", peer: task.peer });
      this.#retries.set(name, now + HANDOFF_RETRY_MS);
      return;
    }
    if (!task.isSurveyed) {
      this.#survey(task, now);
      return;
    }
    task.left = task.left.filter((entry) => store.find(entry.bucket, entry.key) === entry);
    if (task.left.length === 0 && task.outstanding === 0) this.#end(name, task, now);
    for (let start = 0; start < task.left.length && task.outstanding < HOLD_WINDOW; ) {
      const items: HeldItem[] = [];
      const entries: Entry[] = [];
      let bytes = 0;
      while (start < task.left.length && entries.length < MAX_HELD_PER_REQUEST && bytes < MAX_HELD_BYTES) {
        const entry = task.left[start++] as Entry;
        entries.push(entry);
        items.push({
          key: entry.key,
          clock: entry.clock,
          author: entry.batch.author,
          digest: digestOf(entry).subarray(0, 8),
        });
        bytes += entry.keyBytes + 60;
      }
      task.outstanding++;
      const seq = requests.issue(task.peer, { type: "hold", task, entries }, now);
      outlet.send(task.peer, encodeHold(seq, task.bucket, items));
    }
  }

  /** Whether what is brought to the peer is still to be there. */
  #isReplica({ bucket, slot, peer }: HandoffTask): boolean {
    const { store, placement } = this.#tools;
    const { replicas: copies } = store.policy(bucket);
    return copies !== "all" && placement.replicas(slot, copies).includes(peer);
  }

  /** Finds out what the peer lacks of all that waits to be brought to it of the bucket. */
  #survey({ name, peer, bucket }: HandoffTask, now: Instant): void {
    const { surveys } = this.#tools;
    if (!surveys.hasRoomFor(peer)) {
      this.#retries.set(name, now + HANDOFF_RETRY_MS);
      return;
    }
    const tasks = [...this.#tasks.values()].filter(
      (task) => task.peer === peer && task.bucket === bucket && !task.isSurveyed && this.#isReplica(task),
    );
    const count = tasks.reduce((sum, { left }) => sum + left.length, 0);
    const isWorthIt = count > MAX_UNSURVEYED;
    const slots = new Uint8Array(SLOTS);
    for (const task of tasks) {
      slots[task.slot] = 1;
      task.isSurveyed = !isWorthIt;
      if (isWorthIt) this.#retries.clear(task.name);
      else this.#retries.set(task.name, now);
    }
    if (!isWorthIt) return;
    this.#surveyed.set(peer, tasks);
    // Beyond as many differences as there are keys it costs less to ask for each.
    surveys.begin(peer, bucket, slots, count, now);
  }

  /** A survey of what `peer` lacks is over. */
  surveyed(peer: PeerId, survey: Survey, now: Instant): void {
    const tasks = new Set(this.#surveyed.get(peer));
    this.#surveyed.delete(peer);
    for (const task of tasks) {
      if (this.#tasks.get(task.name) !== task) continue;
      this.#retries.set(task.name, survey.type === "failed" ? now + HANDOFF_RETRY_MS : now);
      task.isSurveyed = survey.type !== "failed";
      if (survey.type !== "lacking") continue;
      const versions = this.#tools.store.bucket(task.bucket)?.versions;
      // Of two keys with one id only the first was compared.
      task.left = task.left.filter((entry) => survey.ids.has(idOf(entry)) || versions?.find(idOf(entry)) !== entry);
    }
    // There is room for another one.
    for (const task of this.#tasks.values())
      if (!task.isSurveyed && !tasks.has(task) && !this.#surveyed.has(task.peer)) this.#retries.set(task.name, now);
  }

  /** An answer: whether each of `entries` is held there. */
  answered(task: HandoffTask, entries: readonly Entry[], held: readonly boolean[], now: Instant): void {
    const there = new Set(entries.filter((_, index) => held[index]));
    task.left = task.left.filter((entry) => !there.has(entry));
    this.failed(task, there.size > 0 && there.size === entries.length ? now : now + HANDOFF_RETRY_MS);
  }

  /** A request has gone unanswered or was refused: asked again at `at`. */
  failed(task: HandoffTask, at: Instant): void {
    task.outstanding--;
    // Another one may have begun under its name.
    if (task.outstanding === 0 && this.#tasks.get(task.name) === task) this.#retries.set(task.name, at);
  }

  #end(name: string, task: HandoffTask, now: Instant): void {
    this.#tasks.delete(name);
    this.#retries.clear(name);
    const slot = `${task.bucket} ${task.slot}`;
    const guest = this.#guests.get(slot);
    if (guest === undefined) this.look(now + HANDOFF_RETRY_MS);
    if (guest === undefined || !guest.waiting.delete(task.peer) || guest.waiting.size > 0) return;
    this.#guests.delete(slot);
    const { store, evict, placement, self } = this.#tools;
    const { replicas: copies } = store.policy(task.bucket);
    const isOurs = copies === "all" || placement.replicas(task.slot, copies).includes(self);
    for (const entry of isOurs ? [] : guest.entries) if (store.find(entry.bucket, entry.key) === entry) evict(entry);
    // What has come meanwhile is found by another look.
    this.look(now + HANDOFF_RETRY_MS);
  }

  /** The peer is no replica any more: the slot is looked at anew. */
  #cancel(name: string, task: HandoffTask, now: Instant): void {
    this.#tasks.delete(name);
    this.#retries.clear(name);
    this.#guests.delete(`${task.bucket} ${task.slot}`);
    this.look(now + HANDOFF_RETRY_MS);
  }
}
