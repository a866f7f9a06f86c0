import { assert } from "../../src/proto/assert.ts";
import type { PeerId } from "../../src/proto/peer-id.ts";
import { below, type Random } from "../../src/proto/random.ts";

/** How long a member that died without a word is still introduced, ms: the server's own keep-alive. */
const PRESENCE_OUTLIVES_MS = 30_000;

/** How many members a newcomer is told of. */
const INTRODUCTIONS = 8;

interface Presence {
  readonly peer: PeerId;
  /** Undefined until the member has presented itself. */
  record: Uint8Array | undefined;
  goneAt: number;
  /** Where it stands in the list of those that are present. */
  place: number;
}

/** The signaling server as the mesh sees it: who is there, and introductions of a few of them. It can be down. */
export class Bootstrap {
  up = true;
  /** Logins, presentations and introductions. */
  requests = 0;
  readonly #random: Random;
  readonly #byPeer = new Map<PeerId, Presence>();
  /** In no order, so that some are drawn and one is taken out at the same cost however many there are. */
  readonly #present: Presence[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  /** A member logs in. */
  login(peer: PeerId): void {
    this.requests++;
    const old = this.#byPeer.get(peer);
    if (old !== undefined) this.#takeOut(old);
    const presence = { peer, record: undefined, goneAt: Number.POSITIVE_INFINITY, place: this.#present.length };
    this.#byPeer.set(peer, presence);
    this.#present.push(presence);
  }

  /** A member that is logged in says what others are to know of it. */
  present(peer: PeerId, record: Uint8Array): void {
    this.requests++;
    const presence = this.#byPeer.get(peer);
    if (presence !== undefined) presence.record = record;
  }

  /** The member's process ended at `now`; the service finds out later. */
  lost(peer: PeerId, now: number): void {
    const presence = this.#byPeer.get(peer);
    if (presence !== undefined) presence.goneAt = now;
  }

  /** The service was restarted: it remembers nobody. */
  forget(): void {
    this.#byPeer.clear();
    this.#present.length = 0;
  }

  /** The records of a few members for `asker`, at random. */
  introductions(asker: PeerId, now: number): readonly Uint8Array[] {
    this.requests++;
    const present = this.#present;
    const records: Uint8Array[] = [];
    // Those drawn are moved to the front, so that nobody is drawn twice.
    for (let drawn = 0; drawn < present.length && records.length < INTRODUCTIONS; drawn++) {
      const presence = present[drawn + below(this.#random, present.length - drawn)] as Presence;
      if (now - presence.goneAt > PRESENCE_OUTLIVES_MS) {
        this.#takeOut(presence);
        drawn--;
        continue;
      }
      this.#swap(presence.place, drawn);
      if (presence.peer !== asker && presence.record !== undefined) records.push(presence.record);
    }
    return records;
  }

  #swap(a: number, b: number): void {
    const [one, other] = [this.#present[a], this.#present[b]];
    assert(one !== undefined && other !== undefined, "both places are taken");
    this.#present[a] = other;
    this.#present[b] = one;
    other.place = a;
    one.place = b;
  }

  #takeOut(presence: Presence): void {
    this.#swap(presence.place, this.#present.length - 1);
    this.#present.pop();
    this.#byPeer.delete(presence.peer);
  }
}
