import { RecentMap } from "../proto/bounded.ts";
import type { Instant } from "../proto/machine.ts";
import type { PeerId } from "../proto/peer-id.ts";

/** Who carries signals: the members between the two, or a signaling server. */
export type SignalPath = "mesh" | "server";

/** Peers whose last signals are remembered: all that may be paired with at once, and a few newcomers. */
const MAX_PEERS = 1_024;
/** How long the mesh is not tried again for a peer that it could not reach, ms: the signals of one round follow each other within this. */
const MESH_PAUSE_MS = 5_000;
/** A letter that went by a server counts towards the next link for this long, ms: a dial and its retries. */
const SERVED_FOR_MS = 30_000;

/** The ways out. */
export interface Ways {
  /** Hands a letter to the signaling servers. */
  post(to: PeerId, letter: Uint8Array): void;
  /** Hands a letter to the mesh, which answers `request` later; false: there is no mesh yet. */
  carry?(to: PeerId, letter: Uint8Array, request: number): boolean;
  /** Whether a server listens, and `to` or we have come so lately that the mesh hardly knows a way. Absent: never. */
  isNew?(to: PeerId): boolean;
}

/** What is known about the way to one peer, since it was last linked. */
interface Correspondence {
  /** When a letter to or from it last went by a server. */
  servedAt: Instant;
  /** Its last letter came by a server. */
  answersByServer: boolean;
  /** No server has it. */
  unserved: boolean;
  meshFailedAt: Instant;
}

/**
 * Chooses who carries a letter: the mesh first, a server when the mesh finds no way or has no receipt in time. Three
 * exceptions spare a peer the wait, and the mesh a search in vain: whoever writes by a server is answered by it, for it may
 * have no link yet; while the mesh has just failed to reach a peer, its letters go to a server at once; and so do those
 * from and to newcomers, whose few links are not where the rings put them. A link ends all three, and a peer that no server
 * has is for the mesh.
 */
export class Courier {
  readonly #ways: Ways;
  readonly #now: () => Instant;
  readonly #peers = new RecentMap<PeerId, Correspondence>(MAX_PEERS);
  /** With the mesh, by request: as many as routing waits for. */
  readonly #carried = new Map<number, { readonly to: PeerId; readonly letter: Uint8Array }>();
  readonly #linked = new Map<PeerId, SignalPath>();
  #requests = 0;

  constructor(ways: Ways, now: () => Instant) {
    this.#ways = ways;
    this.#now = now;
  }

  /** What carried the signals of the standing link to `peer`: `server` if a server carried any of them. */
  signaledBy(peer: PeerId): SignalPath {
    return this.#linked.get(peer) ?? "server";
  }

  send(to: PeerId, letter: Uint8Array): void {
    if (this.#prefersServer(to) || !this.#carry(to, letter)) this.#post(to, letter);
  }

  /** A letter of `peer` was opened. */
  received(peer: PeerId, via: SignalPath): void {
    const way = this.#way(peer);
    way.answersByServer = via === "server";
    way.unserved &&= via !== "server";
    if (via === "server") way.servedAt = this.#now();
    else way.meshFailedAt = Number.NEGATIVE_INFINITY;
  }

  /** The mesh has delivered the letter of `request`, or could not. */
  carried(request: number, delivered: boolean): void {
    const pending = this.#carried.get(request);
    this.#carried.delete(request);
    if (pending === undefined || delivered) return;
    this.#way(pending.to).meshFailedAt = this.#now();
    this.#post(pending.to, pending.letter);
  }

  /** No server could hand over `letter`. True when the mesh tries instead; the next one goes by the mesh in any case. */
  unreachable(peer: PeerId, letter: Uint8Array): boolean {
    const isMeshPaused = this.#isMeshPaused(peer);
    this.#peers.set(peer, { ...UNKNOWN, unserved: true });
    return !isMeshPaused && this.#carry(peer, letter);
  }

  /** A link stands: what was still on its way for it needs no other way. */
  linked(peer: PeerId): void {
    const servedAt = this.#peers.get(peer)?.servedAt ?? Number.NEGATIVE_INFINITY;
    this.#linked.set(peer, this.#now() - servedAt < SERVED_FOR_MS ? "server" : "mesh");
    this.#peers.delete(peer);
    for (const [request, { to }] of this.#carried) if (to === peer) this.#carried.delete(request);
  }

  /** The link is over. */
  lost(peer: PeerId): void {
    this.#linked.delete(peer);
  }

  #prefersServer(to: PeerId): boolean {
    const { answersByServer, unserved } = this.#peers.get(to) ?? UNKNOWN;
    return answersByServer || this.#isMeshPaused(to) || (!unserved && (this.#ways.isNew?.(to) ?? false));
  }

  #isMeshPaused(to: PeerId): boolean {
    const { meshFailedAt } = this.#peers.get(to) ?? UNKNOWN;
    return this.#now() - meshFailedAt < MESH_PAUSE_MS;
  }

  #carry(to: PeerId, letter: Uint8Array): boolean {
    const request = ++this.#requests;
    this.#carried.set(request, { to, letter });
    const isTaken = this.#ways.carry?.(to, letter, request) ?? false;
    if (!isTaken) this.#carried.delete(request);
    return isTaken;
  }

  #post(to: PeerId, letter: Uint8Array): void {
    this.#way(to).servedAt = this.#now();
    this.#ways.post(to, letter);
  }

  #way(peer: PeerId): Correspondence {
    let way = this.#peers.get(peer);
    if (way === undefined) {
      way = { ...UNKNOWN };
      this.#peers.set(peer, way);
    }
    return way;
  }
}

/** Of a peer that no letter has gone to or come from. */
const UNKNOWN: Readonly<Correspondence> = {
  servedAt: Number.NEGATIVE_INFINITY,
  answersByServer: false,
  unserved: false,
  meshFailedAt: Number.NEGATIVE_INFINITY,
};
