import { assert } from "../../src/proto/assert.ts";
import type { PeerId } from "../../src/proto/peer-id.ts";
import { Room, type Session } from "./room.ts";

/**
 * Who is logged in, cluster by cluster. A room exists as long as somebody is in it, so that there are never more rooms than
 * connections. The records kept for introductions share one budget.
 */
export class Presence {
  readonly #rooms = new Map<string, Room>();
  readonly #recordBudget: number;
  #recordBytes = 0;

  /** @param recordBudget bytes of all records together. */
  constructor(recordBudget: number) {
    this.#recordBudget = recordBudget;
  }

  room(cluster: string): Room | undefined {
    return this.#rooms.get(cluster);
  }

  session(cluster: string, peer: PeerId): Session | undefined {
    return this.#rooms.get(cluster)?.session(peer);
  }

  /** The members of `cluster`, in the order of their login. */
  members(cluster: string): readonly Readonly<Session>[] {
    return [...(this.#rooms.get(cluster)?.sessions() ?? [])];
  }

  /** Brings a session into its cluster's room and returns that. No session of the same key may be there. */
  join(cluster: string, session: Session): Room {
    let room = this.#rooms.get(cluster);
    if (room === undefined) {
      room = new Room(cluster);
      this.#rooms.set(cluster, room);
    }
    room.join(session);
    return room;
  }

  leave(room: Room, session: Session): void {
    room.leave(session);
    this.#recordBytes -= session.record.length;
    assert(this.#recordBytes >= 0, "every record is given back once");
    if (room.size === 0) this.#rooms.delete(room.cluster);
  }

  /** Keeps a copy of `record` for introductions; false, and nothing changed, when the budget does not allow it. */
  present(room: Room, session: Session, record: Uint8Array): boolean {
    const after = this.#recordBytes - session.record.length + record.length;
    if (after > this.#recordBudget) return false;
    this.#recordBytes = after;
    room.present(session, new Uint8Array(record));
    return true;
  }
}
