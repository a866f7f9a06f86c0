import { equalBytes } from "../bytes.ts";
import { sha256 } from "../hash.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Batch, ParcelEntry } from "./batch.ts";
import type { Outlet } from "./effects.ts";
import { type Entry, entryOf } from "./entry.ts";
import {
  FRAGMENT_BYTES,
  FRAGMENT_WINDOW,
  MAX_ACTIVE_FETCHES,
  MAX_FETCHES,
  MAX_SOURCES,
  MAX_STALLED_FETCHES,
  MAX_WAITERS,
  SOURCELESS_FOR_MS,
} from "./limits.ts";
import { encodeFetch, encodeHave } from "./messages.ts";
import type { Requests } from "./requests.ts";
import { type VersionId, versionId } from "./version-id.ts";
import { Wheel } from "./wheel.ts";

/**
 * Values above 48 KiB: announced with their proof, verified, and only then pulled in fragments.
 *
 * Two are pulled at a time, each from one source with a window of fragments, hashed as they arrive. A source that
 * fails is replaced at the point reached. A peer that has announced a value may still be pulling it itself: it
 * answers that it lacks it, remembers who asked, and says so when it is complete, so a value travels through the mesh
 * hop by hop without polling. What is complete must have the hash that its author signed; else whoever supplied all
 * of it is at fault, and if several did, it is pulled anew from one.
 */

/** One value being pulled from one peer. */
export interface FetchRun {
  readonly fetch: Fetch;
  readonly peer: PeerId;
  outstanding: number;
}

interface Progress {
  readonly value: Uint8Array;
  readonly hash: ReturnType<typeof sha256.create>;
  /** Bytes received, in order. */
  received: number;
  /** Bytes asked for. */
  asked: number;
  /** Who supplied what has been received; more than one when a source was replaced. */
  readonly suppliers: Set<PeerId>;
}

interface Fetch {
  readonly id: VersionId;
  readonly batch: Batch;
  readonly entry: ParcelEntry;
  /** The token that proves the batch. */
  readonly token: string;
  readonly sources: PeerId[];
  readonly waiters: PeerId[];
  progress: Progress | undefined;
  run: FetchRun | undefined;
  /** When it is given up for want of a source. */
  until: Instant;
}

/** What the rest of the core does for fetches. */
export interface FetchOwner {
  /** Whether the version would still win. */
  isWanted(entry: ParcelEntry, batch: Batch, now: Instant): boolean;
  /** A value is complete and is what its version says. */
  fetched(entry: Entry, token: string, now: Instant): void;
  /** A value is not pulled to its end: something later is here. */
  superseded(batch: Batch, now: Instant): void;
  /** Whether `peer` may be asked: linked and not paused. */
  mayAsk(peer: PeerId): boolean;
}

/** The large values on their way here. */
export class Fetches {
  readonly #outlet: Outlet;
  readonly #requests: Requests;
  readonly #owner: FetchOwner;
  readonly #byId = new Map<VersionId, Fetch>();
  readonly #wheel = new Wheel<Fetch>(1_000);
  /** Stopped with a part received, oldest first. */
  readonly #stalled: Fetch[] = [];
  #active = 0;

  constructor(outlet: Outlet, requests: Requests, owner: FetchOwner) {
    this.#outlet = outlet;
    this.#requests = requests;
    this.#owner = owner;
  }

  /** Whether the version with this id is being pulled; `peer`, who says that it has it, becomes a source. */
  noteSource(id: VersionId, peer: PeerId): boolean {
    const fetch = this.#byId.get(id);
    if (fetch === undefined) return false;
    if (!fetch.sources.includes(peer) && fetch.sources.length < MAX_SOURCES) fetch.sources.push(peer);
    return true;
  }

  /** The verified batch of a version that is being pulled. */
  batchOf(id: VersionId): Batch | undefined {
    return this.#byId.get(id)?.batch;
  }

  /** Pulls a verified version from `source`; ignored when too many are waiting. */
  add(entry: ParcelEntry, batch: Batch, token: string, source: PeerId, now: Instant): void {
    const id = versionId(entry.path, entry.head.clock, batch, entry.index);
    if (this.noteSource(id, source) || this.#byId.size >= MAX_FETCHES) return;
    const until = now + SOURCELESS_FOR_MS;
    const sources = [source];
    const fetch: Fetch = {
      id,
      batch,
      entry,
      token,
      sources,
      waiters: [],
      progress: undefined,
      run: undefined,
      until,
    };
    this.#byId.set(id, fetch);
    this.#wheel.add(until, fetch);
  }

  /** Remembers who asked for a value that is not complete; ignored when it is not being pulled. */
  wait(id: VersionId, peer: PeerId): void {
    const fetch = this.#byId.get(id);
    if (fetch === undefined || fetch.waiters.includes(peer) || fetch.waiters.length >= MAX_WAITERS) return;
    fetch.waiters.push(peer);
  }

  /** Starts what can be started and asks for the next fragments. */
  pump(now: Instant): void {
    if (this.#byId.size === 0) return;
    for (const fetch of this.#byId.values()) {
      if (fetch.run === undefined && this.#active < MAX_ACTIVE_FETCHES) this.#start(fetch, now);
      if (fetch.run !== undefined) this.#ask(fetch, fetch.run, now);
    }
  }

  #start(fetch: Fetch, now: Instant): void {
    if (this.#isSuperseded(fetch, now)) return;
    const peer = fetch.sources.find((source) => this.#owner.mayAsk(source));
    if (peer === undefined) return;
    this.#unstall(fetch);
    fetch.run = { fetch, peer, outstanding: 0 };
    this.#active++;
    fetch.progress ??= {
      value: new Uint8Array(fetch.entry.head.size),
      hash: sha256.create(),
      received: 0,
      asked: 0,
      suppliers: new Set(),
    };
    fetch.progress.asked = fetch.progress.received;
  }

  #ask(fetch: Fetch, run: FetchRun, now: Instant): void {
    const { progress, entry, id } = fetch;
    if (progress === undefined || !this.#owner.mayAsk(run.peer)) return;
    while (run.outstanding < FRAGMENT_WINDOW && progress.asked < entry.head.size) {
      const { bucket, key } = entry.head;
      const offset = progress.asked;
      const seq = this.#requests.issue(run.peer, { type: "fetch", run, offset }, now);
      this.#outlet.send(run.peer, encodeFetch(seq, { bucket, key, id, offset }));
      run.outstanding++;
      progress.asked = Math.min(entry.head.size, offset + FRAGMENT_BYTES);
    }
  }

  /** A fragment has come. False when the peer is at fault: wrong length, wrong order, or not what was signed. */
  fragment(run: FetchRun, offset: number, bytes: Uint8Array, now: Instant): boolean {
    const { fetch } = run;
    const { progress } = fetch;
    if (fetch.run !== run || progress === undefined) return true;
    run.outstanding--;
    // The lane is ordered, so answers that are not in the order of their requests are the peer's doing.
    if (offset !== progress.received || bytes.length !== Math.min(FRAGMENT_BYTES, progress.value.length - offset)) {
      this.#stop(fetch, now, true);
      return false;
    }
    progress.value.set(bytes, offset);
    progress.hash.update(bytes);
    progress.received += bytes.length;
    progress.suppliers.add(run.peer);
    if (progress.received === progress.value.length) return this.#complete(fetch, progress, now);
    this.#isSuperseded(fetch, now);
    return true;
  }

  /** Ends a fetch whose version would not win any more, as if it had been stored and replaced. */
  #isSuperseded(fetch: Fetch, now: Instant): boolean {
    if (this.#owner.isWanted(fetch.entry, fetch.batch, now)) return false;
    this.#forget(fetch);
    this.#owner.superseded(fetch.batch, now);
    return true;
  }

  /** False when the one peer that supplied everything supplied something else. */
  #complete(fetch: Fetch, progress: Progress, now: Instant): boolean {
    const { head, index, path } = fetch.entry;
    if (!equalBytes(progress.hash.digest(), head.valueHash)) {
      const isProven = progress.suppliers.size === 1;
      fetch.progress = undefined;
      this.#stop(fetch, now, isProven);
      return !isProven;
    }
    this.#forget(fetch);
    this.#owner.fetched(entryOf(head, progress.value, fetch.batch, index, path), fetch.token, now);
    for (const waiter of fetch.waiters) {
      if (this.#outlet.isLinked(waiter)) this.#outlet.send(waiter, encodeHave(fetch.id));
    }
    return true;
  }

  /** The source does not have it (`lacking`), or has not answered: another one goes on. */
  failed(run: FetchRun, now: Instant): void {
    if (run.fetch.run === run) this.#stop(run.fetch, now, true);
  }

  /** The peer is paused: the run starts again later, from the same source if need be. */
  interrupt(run: FetchRun, now: Instant): void {
    if (run.fetch.run === run) this.#stop(run.fetch, now, false);
  }

  #stop(fetch: Fetch, now: Instant, isSourceLost: boolean): void {
    const { run } = fetch;
    if (run === undefined) return;
    fetch.run = undefined;
    this.#active--;
    if (isSourceLost) fetch.sources.splice(fetch.sources.indexOf(run.peer), 1);
    this.#wheel.remove(fetch.until, fetch);
    fetch.until = now + SOURCELESS_FOR_MS;
    this.#wheel.add(fetch.until, fetch);
    if (fetch.progress?.received === 0) fetch.progress = undefined;
    if (fetch.progress === undefined) return;
    this.#stalled.push(fetch);
    const oldest = this.#stalled.length > MAX_STALLED_FETCHES ? this.#stalled.shift() : undefined;
    if (oldest !== undefined) oldest.progress = undefined;
  }

  #unstall(fetch: Fetch): void {
    const at = this.#stalled.indexOf(fetch);
    if (at >= 0) this.#stalled.splice(at, 1);
  }

  #forget(fetch: Fetch): void {
    if (fetch.run !== undefined) this.#active--;
    fetch.run = undefined;
    this.#unstall(fetch);
    this.#byId.delete(fetch.id);
    this.#wheel.remove(fetch.until, fetch);
  }

  /** The link is gone: its runs go on elsewhere. */
  drop(peer: PeerId, now: Instant): void {
    for (const fetch of this.#byId.values()) {
      if (fetch.run?.peer === peer) this.#stop(fetch, now, true);
      else if (fetch.sources.includes(peer)) fetch.sources.splice(fetch.sources.indexOf(peer), 1);
    }
  }

  deadline(): Instant | undefined {
    return this.#wheel.next();
  }

  /** Gives up what has had no source for long. */
  timeout(now: Instant): void {
    for (let fetch = this.#wheel.take(now); fetch !== undefined; fetch = this.#wheel.take(now)) {
      if (fetch.run === undefined) {
        this.#forget(fetch);
        continue;
      }
      fetch.until = now + SOURCELESS_FOR_MS;
      this.#wheel.add(fetch.until, fetch);
    }
  }
}
