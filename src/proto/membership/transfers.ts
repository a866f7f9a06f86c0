import { Deadlines } from "../deadlines.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Context } from "./context.ts";
import { EXCHANGE_MESSAGE_BYTES, TRANSFER_INTERVAL_MS } from "./limits.ts";
import { type Carried, encodeRecords } from "./messages.ts";
import { MemberTable } from "./table.ts";

/**
 * Records on their way to peers, a message at a time: a list of 10,000 is 10 MB, which would stand before everything else
 * on the lane, and cost its receiver seconds of signature checks at once. What is kept is whose record is to go, so that
 * the one that is sent is the newest.
 */
export class Transfers {
  readonly #context: Context;
  readonly #queues = new Map<PeerId, Set<PeerId>>();
  readonly #deadlines = new Deadlines<PeerId>();

  constructor(context: Context) {
    this.#context = context;
  }

  deadline(): Instant | undefined {
    return this.#deadlines.next();
  }

  /** Sends the records of those of `ids` that we know to `peer`; the first message at once, if only to say that there are none. */
  add(peer: PeerId, ids: Iterable<PeerId>, now: Instant): void {
    let queue = this.#queues.get(peer);
    const idle = queue === undefined;
    queue ??= new Set();
    for (const id of ids) if (this.#context.table.stateOf(id) !== undefined) queue.add(id);
    this.#queues.set(peer, queue);
    if (idle) this.#sendOne(peer, queue, now);
  }

  linkDown(peer: PeerId): void {
    this.#queues.delete(peer);
    this.#deadlines.clear(peer);
  }

  timeout(now: Instant): void {
    for (let peer = this.#deadlines.take(now); peer !== undefined; peer = this.#deadlines.take(now)) {
      const queue = this.#queues.get(peer);
      if (queue !== undefined) this.#sendOne(peer, queue, now);
    }
  }

  #sendOne(peer: PeerId, queue: Set<PeerId>, now: Instant): void {
    const records: Carried[] = [];
    let bytes = 0;
    for (const id of queue) {
      const member = this.#context.table.get(id);
      // A token at its very end may be past it by the receiver's clock, and we would be blamed; our own has just admitted the link.
      const holds = member !== undefined && (member.facts.expiresAt > now || id === this.#context.self);
      if (holds && MemberTable.isShared(member)) {
        bytes += member.record.body.length + RECORD_OVERHEAD_BYTES;
        if (bytes > EXCHANGE_MESSAGE_BYTES && records.length > 0) break;
        const { down, ageSeconds } = MemberTable.entryOf(member, now);
        records.push({ record: member.record, down, ageSeconds: Math.floor(ageSeconds) });
      }
      queue.delete(id);
      if (records.length >= MAX_RECORDS) break;
    }
    this.#context.out.send(peer, encodeRecords(records, queue.size > 0));
    if (queue.size === 0) this.linkDown(peer);
    else this.#deadlines.set(peer, now + TRANSFER_INTERVAL_MS);
  }
}

/** Signature, flags and tags of one record. */
const RECORD_OVERHEAD_BYTES = 80;

/** Records in one message, within what its reader accepts. */
const MAX_RECORDS = 256;
