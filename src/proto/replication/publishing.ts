import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { type Batch, versionOf } from "./batch.ts";
import type { Draft, DraftWrite, Outlet } from "./effects.ts";
import { type Entry, entryOf } from "./entry.ts";
import type { Journal } from "./journal.ts";
import { encodeBatchMessage } from "./messages.ts";
import type { Awaiting, Receipts } from "./receipts.ts";
import type { Applied, Store } from "./store.ts";
import type { Writes } from "./writes.ts";

/** What publishing works with. */
export interface PublishingTools {
  readonly outlet: Outlet;
  readonly store: Store;
  readonly writes: Writes;
  readonly journal: Journal;
  readonly receipts: Receipts;
  /** Stores an own entry and tells watchers. */
  readonly apply: (entry: Entry, token: string, now: Instant) => Applied;
  /** Who is to hold any of the entries; undefined: everybody. */
  readonly audience: (entries: readonly Entry[]) => readonly PeerId[] | undefined;
}

/**
 * From a signed draft to a batch that others know of: stored, made durable, told to those who are to hold it, waited for.
 *
 * Nothing of ours is told to anybody before it is durable: no clock that has left this member is ever given again.
 */
export class Publishing {
  readonly #tools: PublishingTools;

  constructor(tools: PublishingTools) {
    this.#tools = tools;
  }

  /** A draft of ours has been signed. */
  signed(draft: Draft, signature: Uint8Array, now: Instant): void {
    const { outlet, store, writes, journal, apply } = this.#tools;
    writes.signed(draft);
    const batch: Batch = { ...draft.header, signature };
    if (batch.isAtomic && !store.fitsTogether(draft.writes.map(({ head }) => head))) {
      for (const request of requestsOf(draft)) outlet.emit({ type: "refused", request, reason: "quota" });
      return;
    }
    const entries: Entry[] = [];
    const waiting = new Map<number, Awaiting>();
    for (let index = 0; index < draft.writes.length; index++) {
      const { head, path, value, request, replicas, timeoutMs } = draft.writes[index] as DraftWrite;
      const entry = entryOf(head, value, batch, index, path);
      const { type } = apply(entry, draft.token, now);
      if (type === "quota" || type === "void") {
        outlet.emit({ type: "refused", request, reason: type === "quota" ? "quota" : "forbidden" });
        continue;
      }
      entries.push(entry);
      // The writes of a transaction are one request: the last stands for it.
      waiting.set(request, { request, replicas, version: versionOf(entry), until: now + timeoutMs });
    }
    if (entries.length === 0) return;
    const waits = [...waiting.values()];
    journal.after((at) => this.#tell(batch, entries, waits, draft.audience !== undefined, at), now);
  }

  #tell(batch: Batch, entries: readonly Entry[], waiting: readonly Awaiting[], isPlaced: boolean, now: Instant): void {
    const { outlet, receipts } = this.#tools;
    const message = encodeBatchMessage(batch, entries);
    if (!isPlaced) {
      outlet.emit({ type: "broadcast", payload: message });
      receipts.open(batch, entries, waiting, () => undefined, now);
      return;
    }
    const audience = (): readonly PeerId[] | undefined => this.#tools.audience(entries);
    for (const peer of audience() ?? []) {
      if (peer === outlet.self) continue;
      if (outlet.isLinked(peer)) outlet.send(peer, message);
      else outlet.emit({ type: "reach", peer });
    }
    receipts.open(batch, entries, waiting, audience, now);
  }
}

function requestsOf({ writes }: Draft): ReadonlySet<number> {
  return new Set(writes.map(({ request }) => request));
}
