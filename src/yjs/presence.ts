import { Awareness, applyAwarenessUpdate, encodeAwarenessUpdate, removeAwarenessStates } from "y-protocols/awareness";
import { Doc } from "yjs";
import type { PeerId } from "../index.ts";
import { MAX_CLIENTS_OF_A_MEMBER, PRESENCE_INTERVAL_MS } from "./limits.ts";
import { Pace } from "./pace.ts";

interface Change {
  readonly added: readonly number[];
  readonly updated: readonly number[];
  readonly removed: readonly number[];
}

/**
 * Who is there and where they point: awareness as `y-protocols` has it, each member telling its own.
 *
 * A client belongs to the member that told of it first, for as long as it is there: nobody speaks for another's. A member that
 * goes down takes its clients with it; else they go when nothing was heard of them for 30 s.
 */
export class Presence {
  readonly awareness: Awareness;
  readonly #publish: (update: Uint8Array) => boolean;
  readonly #owners = new Map<number, PeerId>();
  readonly #pace: Pace;
  readonly #changed = (change: Change, origin: unknown): void => this.#note(change, origin);

  /** @param publish false when it cannot be told now: it is tried again. */
  constructor(awareness: Awareness, publish: (update: Uint8Array) => boolean) {
    this.awareness = awareness;
    this.#publish = publish;
    this.#pace = new Pace(PRESENCE_INTERVAL_MS, () => this.#tell());
    awareness.on("update", this.#changed);
  }

  #note({ added, updated, removed }: Change, origin: unknown): void {
    for (const client of removed) this.#owners.delete(client);
    if (origin !== this && [...added, ...updated, ...removed].includes(this.awareness.clientID)) this.#pace.want();
  }

  /** Tells others where we are, soon. */
  tellSoon(): void {
    if (this.awareness.getLocalState() !== null) this.#pace.want();
  }

  #tell(): void {
    if (!this.#publish(encodeAwarenessUpdate(this.awareness, [this.awareness.clientID]))) this.#pace.want();
  }

  /** Takes what a member tells of its clients; false when it is nothing that it may tell. */
  take(update: Uint8Array, from: PeerId): boolean {
    const clients = clientsIn(update);
    if (clients === undefined || clients.length > MAX_CLIENTS_OF_A_MEMBER) return false;
    const others = [...this.#owners].filter(([client, owner]) => owner === from && !clients.includes(client));
    if (others.length + clients.length > MAX_CLIENTS_OF_A_MEMBER) return false;
    for (const client of clients) {
      if (client === this.awareness.clientID || (this.#owners.get(client) ?? from) !== from) return false;
    }
    for (const client of clients) this.#owners.set(client, from);
    applyAwarenessUpdate(this.awareness, update, this);
    for (const client of clients) if (!this.awareness.states.has(client)) this.#owners.delete(client);
    return true;
  }

  /** A member is gone. */
  gone(member: PeerId): void {
    const clients = [...this.#owners].filter(([, owner]) => owner === member).map(([client]) => client);
    removeAwarenessStates(this.awareness, clients, this);
    for (const client of clients) this.#owners.delete(client);
  }

  /** Tells others that we go, and forgets them. */
  destroy(): void {
    this.awareness.off("update", this.#changed);
    this.#pace.stop();
    removeAwarenessStates(this.awareness, [...this.#owners.keys()], this);
    if (this.awareness.getLocalState() === null) return;
    this.awareness.setLocalState(null);
    this.#publish(encodeAwarenessUpdate(this.awareness, [this.awareness.clientID]));
  }
}

/** The clients that an update tells of; undefined when it is none. */
function clientsIn(update: Uint8Array): number[] | undefined {
  const doc = new Doc();
  const scratch = new Awareness(doc);
  scratch.setLocalState(null);
  const own = scratch.clientID;
  try {
    applyAwarenessUpdate(scratch, update, undefined);
    return [...scratch.meta.keys()].filter((client) => client !== own);
  } catch {
    return undefined;
  } finally {
    scratch.destroy();
    doc.destroy();
  }
}
