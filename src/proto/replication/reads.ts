import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Parcel } from "./batch.ts";
import type { Outlet } from "./effects.ts";
import type { Clock } from "./hlc.ts";
import { MAX_READS, READ_TIMEOUT_MS } from "./limits.ts";
import { encodeRead } from "./messages.ts";
import type { Requests } from "./requests.ts";
import { read, type Store } from "./store.ts";

/**
 * Reads of what other replicas hold: of a key whose replica this member is not, or of a majority of its replicas.
 *
 * What comes is checked and stored like every entry, so an answer counts when the store has that version or a later one; then it is handed
 * over like everything that does not belong here. The read gives what the store has when enough replicas have answered.
 */

interface Read {
  readonly request: number;
  readonly bucket: string;
  readonly key: string;
  /** Answers of others that are waited for. */
  needed: number;
  /** Not asked yet, the nearest first. */
  readonly others: PeerId[];
  /** Clocks of versions that are on their way into the store. */
  coming: Clock[];
  readonly until: Instant;
}

/** The reads under way. */
export class Reads {
  readonly #outlet: Outlet;
  readonly #store: Store;
  readonly #requests: Requests;
  readonly #byRequest = new Map<number, Read>();

  constructor(outlet: Outlet, store: Store, requests: Requests) {
    this.#outlet = outlet;
    this.#store = store;
    this.#requests = requests;
  }

  /** Asks `needed` of `peers`, which are linked, and others of them when these do not answer. */
  begin(request: number, bucket: string, key: string, needed: number, peers: readonly PeerId[], now: Instant): void {
    if (needed > peers.length || this.#byRequest.size >= MAX_READS) {
      this.#outlet.emit({ type: "unreadable", request, reason: needed > peers.length ? "unreachable" : "quota" });
      return;
    }
    const until = now + READ_TIMEOUT_MS;
    const reading: Read = { request, bucket, key, needed, others: [...peers], coming: [], until };
    this.#byRequest.set(request, reading);
    for (let left = needed; left > 0; left--) this.#ask(reading, now);
    this.#finish(reading);
  }

  #ask(reading: Read, now: Instant): void {
    const peer = reading.others.shift();
    if (peer === undefined) return;
    const { request, bucket, key } = reading;
    const seq = this.#requests.issue(peer, { type: "read", request }, now);
    this.#outlet.send(peer, encodeRead(seq, bucket, key));
  }

  /** An answer: the version, on its way into the store, or that there is none. False when it is about something else. */
  answered(request: number, parcels: readonly Parcel[]): boolean {
    const reading = this.#byRequest.get(request);
    if (reading === undefined) return true;
    reading.needed--;
    for (const { entries } of parcels) {
      for (const { head } of entries) {
        if (head.bucket !== reading.bucket) return false;
        if (head.key === reading.key) reading.coming.push(head.clock);
      }
    }
    this.#finish(reading);
    return true;
  }

  /** A replica has not answered: another one is asked, if there is one. */
  failed(request: number, now: Instant): void {
    const reading = this.#byRequest.get(request);
    if (reading !== undefined) this.#ask(reading, now);
  }

  #finish(reading: Read): void {
    const entry = this.#store.find(reading.bucket, reading.key);
    reading.coming = reading.coming.filter((clock) => entry === undefined || entry.clock < clock);
    if (reading.needed > 0 || reading.coming.length > 0) return;
    this.#byRequest.delete(reading.request);
    const found = entry === undefined || entry.deleted ? undefined : read(entry);
    this.#outlet.emit({ type: "read", request: reading.request, entry: found });
  }

  deadline(): Instant | undefined {
    for (const { until } of this.#byRequest.values()) return until;
    return undefined;
  }

  /** Ends what has what it needs, and gives up what has taken too long. */
  advance(now: Instant): void {
    for (const reading of this.#byRequest.values()) {
      this.#finish(reading);
      if (reading.until > now || !this.#byRequest.delete(reading.request)) continue;
      this.#outlet.emit({ type: "unreadable", request: reading.request, reason: "timeout" });
    }
  }
}
