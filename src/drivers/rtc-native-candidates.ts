import { networkInterfaces } from "node:os";
import { addressText, summarise } from "./rtc-remote.ts";

/**
 * Our own candidates on their way from libjuice to the peer.
 *
 * libjuice offers no loopback address, yet its socket is bound to all of them: the extra addresses are offered with the port
 * of its first host candidate.
 *
 * An initiator's host candidates wait until ICE has connected without them, or {@link HOLD_MS} after the answer. With a check of
 * the peer already there, the library connects while it still applies the answer, and on a fast path it gets the peer's certificate
 * before it has stored what to compare it with: one of 300 connections failed on loopback. Our own checks leave when the answer
 * is applied, so nothing is lost by it.
 *
 * And they connect us first, which is as it should be since we offer to be the server of DTLS: the library drops a first flight
 * that comes before ICE has connected at its end, and the other end repeats it a second later. A third of all connections
 * between hosts and NATs took that second with the roles the other way round.
 */

/** Longer than checks on a path that is open to the initiator take, and too short to be felt where the answerer has to open it. */
const HOLD_MS = 100;

/** Below libjuice's own host candidates, so that those are tried first (RFC 8445, section 5.1.2.1, local preference 0). */
const EXTRA_PRIORITY = 126 * 2 ** 24 + 255;

/** Whether this machine has nothing but loopback: libjuice then offers nothing, unless it is bound to such an address. */
export function isLoopbackOnly(): boolean {
  return Object.values(networkInterfaces()).every((addresses) => addresses?.every(({ internal }) => internal) ?? true);
}

/** Leaves the answerer no choice but to be the client of DTLS: RFC 8842, section 5.2. */
export function offerPassiveRole(offer: string): string {
  return offer.replace(/^a=setup:actpass(?=\r?$)/gm, "a=setup:passive");
}

export class CandidateOutbox {
  readonly #extraAddresses: readonly string[];
  readonly #send: (candidate: string, mid: string) => void;
  #held: [candidate: string, mid: string][] | undefined;
  #extrasOffered = false;
  #timer: NodeJS.Timeout | undefined;

  /** @param holdHosts whether host candidates wait for {@link release}. */
  constructor(extraAddresses: readonly string[], holdHosts: boolean, send: (candidate: string, mid: string) => void) {
    this.#extraAddresses = extraAddresses;
    this.#send = send;
    this.#held = holdHosts ? [] : undefined;
  }

  /** Takes a candidate from the library. */
  take(candidate: string, mid: string): void {
    const found = summarise(candidate);
    if (found?.kind !== "host") {
      this.#send(candidate, mid);
      return;
    }
    this.#host(candidate, mid);
    if (this.#extrasOffered) return;
    this.#extrasOffered = true;
    const port = Number(found.address.slice(found.address.lastIndexOf(":") + 1));
    for (const [index, extra] of this.#extraAddresses.entries()) {
      if (addressText(extra, port) === found.address) continue;
      this.#host(`candidate:extra${index} 1 UDP ${EXTRA_PRIORITY} ${extra} ${port} typ host`, mid);
    }
  }

  /** The answer has been applied. */
  answered(): void {
    if (this.#held !== undefined) this.#timer = setTimeout(() => this.release(), HOLD_MS);
  }

  /** The connection has ended. */
  close(): void {
    clearTimeout(this.#timer);
    this.#held = [];
  }

  /** ICE has connected. */
  release(): void {
    clearTimeout(this.#timer);
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const [candidate, mid] of held) this.#send(candidate, mid);
  }

  #host(candidate: string, mid: string): void {
    if (this.#held !== undefined) this.#held.push([candidate, mid]);
    else this.#send(candidate, mid);
  }
}
