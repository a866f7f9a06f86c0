import type { Timers } from "../host/timers.ts";
import { chooseRelays, decodeRelayGrant, type RelayCandidate, type RelayMember } from "../proto/negotiation/relays.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { IceGrant } from "../proto/signaling/messages.ts";
import { TURN_PROTOCOL } from "./relaying.ts";
import type { MeshStream } from "./stream.ts";

/** How long a relay that was asked gets, ms: a dial and the way back. */
const ANSWER_MS = 10_000;
/** When members that relay are looked for, ms: when the first records are there, and then at the pace of people who start one. */
const FIRST_LOOK_MS = 1_000;
const LOOK_MS = 15_000;

/** What the finder needs of its agent. */
export interface RelayFinderHost {
  readonly self: PeerId;
  members(): Iterable<RelayCandidate>;
  open(peer: PeerId, protocol: string, signal: AbortSignal): Promise<MeshStream>;
  granted(peer: PeerId, grant: IceGrant): void;
  /** A relay does not answer: for the log. */
  unanswered(peer: PeerId, error: string): void;
  /** The member relays for us no more. */
  withdrawn(peer: PeerId): void;
}

/** Gets credentials from the members that relay for this one. */
export class RelayFinder {
  readonly #host: RelayFinderHost;
  readonly #used = new Set<PeerId>();
  readonly #asking = new Set<PeerId>();

  constructor(host: RelayFinderHost) {
    this.#host = host;
  }

  /** Looks soon, and then again and again as long as `timers` run. */
  begin(timers: Pick<Timers, "later">, pauseMs = FIRST_LOOK_MS): void {
    timers.later(pauseMs, () => {
      this.look();
      this.begin(timers, LOOK_MS);
    });
  }

  /** Looks which relays there are: asks those that are to be used from here on, drops the others. */
  look(): void {
    const chosen = chooseRelays(this.#host.self, this.#host.members());
    for (const peer of this.#used) {
      if (chosen.some(({ id }) => id === peer)) continue;
      this.#used.delete(peer);
      this.#host.withdrawn(peer);
    }
    for (const relay of chosen) if (!this.#used.has(relay.id)) this.#begin(relay);
  }

  /** Asks a relay in use for another credential. */
  refresh(peer: PeerId): void {
    const relay = chooseRelays(this.#host.self, this.#host.members()).find(({ id }) => id === peer);
    if (relay !== undefined) this.#begin(relay);
  }

  #begin(relay: RelayMember): void {
    if (this.#asking.has(relay.id)) return;
    this.#asking.add(relay.id);
    void this.#ask(relay).finally(() => this.#asking.delete(relay.id));
  }

  /** Never rejects; a relay that does not answer is asked again at the next look. */
  async #ask({ id: peer, address }: RelayMember): Promise<void> {
    const patience = AbortSignal.timeout(ANSWER_MS);
    let stream: MeshStream | undefined;
    const giveUp = (): void => stream?.reset();
    try {
      stream = await this.#host.open(peer, TURN_PROTOCOL, patience);
      patience.addEventListener("abort", giveUp, { once: true });
      for await (const message of stream) {
        const grant = decodeRelayGrant(message, address);
        if (grant === undefined) break;
        this.#used.add(peer);
        this.#host.granted(peer, grant);
        break;
      }
    } catch (error) {
      this.#host.unanswered(peer, String(error));
    } finally {
      patience.removeEventListener("abort", giveUp);
      stream?.end();
    }
  }
}
