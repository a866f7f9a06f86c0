import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Batch } from "./batch.ts";
import type { Outlet } from "./effects.ts";
import type { Entry } from "./entry.ts";
import type { Clock } from "./hlc.ts";
import { MAX_PUSHED_BYTES, MAX_PUSHES, MAX_REPLICAS, PUSH_AFTER_MS } from "./limits.ts";
import { encodeBatchMessage } from "./messages.ts";
import { Wheel } from "./wheel.ts";

/**
 * Which members have said that they hold a batch, and which writes wait for that.
 *
 * The author's clock never repeats, so the first clock of a batch names it, and an acknowledgement is that number
 * from an authenticated peer. Members with a link to the author acknowledge; others only as far as the batch's header
 * asks. A batch that still lacks replicas after two seconds is pushed over links directly, and again every two seconds, each time to those
 * who have waited longest: its broadcast may have been lost, or the acknowledgement. So that what is late because links are full does
 * not fill them, little is pushed at a time. When a write's time is up it is reported with what has been reached; it keeps spreading, and
 * is no longer waited for.
 */

/** A write that waits for replicas. */
export interface Awaiting {
  readonly request: number;
  readonly replicas: number;
  readonly version: string;
  readonly until: Instant;
}

interface Receipt {
  readonly batch: Batch;
  readonly entries: readonly Entry[];
  /** Who is to hold it, as of when it is asked; undefined: everybody. */
  readonly audience: () => readonly PeerId[] | undefined;
  readonly holders: Set<PeerId>;
  readonly bytes: number;
  waiting: readonly Awaiting[];
  pushAt: Instant;
  /** The link with which the next push begins. */
  next: number;
  wakeAt: Instant;
}

/** Writes that wait for replicas. */
export class Receipts {
  readonly #outlet: Outlet;
  readonly #byFirst = new Map<Clock, Receipt>();
  readonly #wheel = new Wheel<Receipt>(50);
  #size = 0;
  #bytes = 0;
  /** Bytes that may still be pushed before more may be, at `#refillAt`. */
  #allowance = 0;
  #refillAt: Instant = 0;

  constructor(outlet: Outlet) {
    this.#outlet = outlet;
  }

  /** Writes that wait. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of values in batches that writes wait for. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Waits for the replicas of a batch that is stored here, which counts if it is to be held here. */
  open(
    batch: Batch,
    entries: readonly Entry[],
    waiting: readonly Awaiting[],
    audience: () => readonly PeerId[] | undefined,
    now: Instant,
  ): void {
    let bytes = 0;
    for (const entry of entries) bytes += entry.size;
    const pushAt = now + PUSH_AFTER_MS;
    const holders = new Set<PeerId>(audience()?.includes(this.#outlet.self) === false ? [] : [this.#outlet.self]);
    const receipt: Receipt = { batch, entries, audience, holders, bytes, waiting, pushAt, next: 0, wakeAt: now };
    this.#size += waiting.length;
    this.#answer(receipt);
    if (receipt.waiting.length === 0) return;
    this.#byFirst.set(batch.first, receipt);
    this.#bytes += bytes;
    this.#schedule(receipt);
  }

  /** `peer` holds the batch; ignored when nobody waits for it. */
  acknowledge(peer: PeerId, first: Clock): void {
    const receipt = this.#byFirst.get(first);
    if (receipt === undefined || peer === this.#outlet.self || receipt.holders.size > MAX_REPLICAS) return;
    receipt.holders.add(peer);
    this.#answer(receipt);
    if (receipt.waiting.length > 0) return;
    this.#close(receipt);
    this.#wheel.remove(receipt.wakeAt, receipt);
  }

  /** Answers the writes that have enough replicas. */
  #answer(receipt: Receipt): void {
    const replicas = receipt.holders.size;
    if (!receipt.waiting.some((write) => write.replicas <= replicas)) return;
    for (const { request, version, replicas: asked } of receipt.waiting) {
      if (asked > replicas) continue;
      this.#size--;
      this.#outlet.emit({ type: "acknowledged", request, replicas, version });
    }
    receipt.waiting = receipt.waiting.filter((write) => write.replicas > replicas);
  }

  #close(receipt: Receipt): void {
    this.#byFirst.delete(receipt.batch.first);
    this.#bytes -= receipt.bytes;
  }

  #schedule(receipt: Receipt): void {
    let wakeAt = receipt.pushAt;
    for (const write of receipt.waiting) wakeAt = Math.min(wakeAt, write.until);
    receipt.wakeAt = wakeAt;
    this.#wheel.add(wakeAt, receipt);
  }

  deadline(): Instant | undefined {
    return this.#wheel.next();
  }

  /** Pushes what is late over `links`, to peers that may be asked something, and reports what has run out of time. */
  timeout(links: readonly PeerId[], now: Instant): void {
    for (let receipt = this.#wheel.take(now); receipt !== undefined; receipt = this.#wheel.take(now)) {
      if (receipt.pushAt <= now) this.#push(receipt, links, now);
      const replicas = receipt.holders.size;
      for (const { request, version, until } of receipt.waiting) {
        if (until > now) continue;
        this.#size--;
        this.#outlet.emit({ type: "unacknowledged", request, reason: "timeout", replicas, version });
      }
      receipt.waiting = receipt.waiting.filter((write) => write.until > now);
      if (receipt.waiting.length === 0) this.#close(receipt);
      else this.#schedule(receipt);
    }
  }

  #push(receipt: Receipt, links: readonly PeerId[], now: Instant): void {
    if (this.#refillAt <= now) {
      this.#allowance = MAX_PUSHED_BYTES;
      this.#refillAt = now + PUSH_AFTER_MS;
    }
    receipt.pushAt = this.#refillAt;
    if (this.#allowance <= 0) return;
    receipt.pushAt = now + PUSH_AFTER_MS;
    const audience = receipt.audience();
    let message: Uint8Array | undefined;
    let left = MAX_PUSHES;
    for (let looked = 0; looked < links.length && left > 0; looked++) {
      const peer = links[receipt.next++ % links.length] as PeerId;
      if (receipt.holders.has(peer) || audience?.includes(peer) === false) continue;
      message ??= encodeBatchMessage(receipt.batch, receipt.entries);
      this.#outlet.send(peer, message);
      this.#allowance -= message.length;
      left--;
    }
    for (const peer of audience ?? []) {
      if (peer === this.#outlet.self || receipt.holders.has(peer) || this.#outlet.isLinked(peer)) continue;
      this.#outlet.emit({ type: "reach", peer });
    }
  }
}
