import { assert } from "../assert.ts";
import type { Instant } from "../machine.ts";
import { fraction, type Random } from "../random.ts";
import type { AgreedShare, HeldCredential, RunShare } from "./client-events.ts";
import { clientLimits } from "./limits.ts";
import type { ClientMessage } from "./messages.ts";
import { encodeResumption, type ResumptionParty, resumptionBody, resumptionProof, ticketSecret } from "./resumption.ts";

/**
 * A client's ticket of one server: when to ask for another, and what to show when it comes back (`resumption.ts`).
 *
 * It asks some seconds after a login, so that those who come all at once after an outage do not ask at once; when the agent holds another token;
 * and at the ticket's half-life. A ticket that was refused is forgotten.
 */
export class TicketHolder {
  readonly #party: ResumptionParty;
  readonly #share: RunShare | undefined;
  readonly #random: Random;
  #held: { readonly ticket: Uint8Array; readonly secret: Uint8Array; readonly endsAt: Instant } | undefined;
  /** The server's clock less ours, never too much: what it has read since travelled. */
  #aheadMs: number | undefined;
  #isOffered = false;
  #isShown = false;
  #askAt: Instant = Number.POSITIVE_INFINITY;

  /** @param share of this run; without one no ticket is asked for. */
  constructor(party: ResumptionParty, share: RunShare | undefined, random: Random) {
    this.#party = party;
    this.#share = share;
    this.#random = random;
  }

  /** When a ticket is to be asked for, while there is a session; infinite where there is none to be had. */
  get deadline(): Instant {
    return this.#isOffered ? this.#askAt : Number.POSITIVE_INFINITY;
  }

  /**
   * What the server has said of its clock, on whichever connection. Each time it says too little, by what its word was under way; the most of
   * what it said counts, and fades, since clocks drift.
   */
  clock(serverTime: Instant, now: Instant): void {
    const aheadMs = serverTime - now;
    this.#aheadMs = Math.max(aheadMs, (this.#aheadMs ?? aheadMs) - FADING_MS);
  }

  /** Whether the request of the latest connection carries a ticket. */
  get isShown(): boolean {
    return this.#isShown;
  }

  /** What goes into the request of a connection; undefined without a ticket that can hold. */
  show(now: Instant): Uint8Array | undefined {
    this.#isShown = false;
    if (this.#held === undefined || this.#aheadMs === undefined || now >= this.#held.endsAt) return undefined;
    const { ticket, secret } = this.#held;
    this.#isShown = true;
    const at = Math.max(0, Math.floor(now + this.#aheadMs));
    return encodeResumption({ ticket, at, proof: resumptionProof(secret, resumptionBody(this.#party, ticket, at)) });
  }

  /** The server has taken the request; `isOffered`: it has tickets. */
  reached(isOffered: boolean): void {
    this.#isOffered = isOffered && this.#share !== undefined;
  }

  /** The server challenges us, whatever was shown. */
  refused(serverTime: Instant, now: Instant): void {
    this.#held = undefined;
    this.#isShown = false;
    this.clock(serverTime, now);
  }

  /** A session begins, or there is another token: `isNew`. */
  want(isNew: boolean, now: Instant): void {
    if (this.#share !== undefined && (isNew || this.#held === undefined))
      this.#askAt = now + clientLimits.ticketSpreadMs * fraction(this.#random);
  }

  /** The question that is due, for a ticket in the place of a member token; none for a join token, which is shown to no server. */
  ask(held: HeldCredential, now: Instant): Extract<ClientMessage, { type: "seek" }> | undefined {
    assert(this.#share !== undefined, "who has no share asks for no ticket");
    this.#askAt = now + clientLimits.ticketRetryMs;
    if (held.kind === "join") return undefined;
    return { type: "seek", share: this.#share.publicKey, token: held.token };
  }

  /** A ticket has come, and what it is bound to is agreed. */
  take({ share, ticket, lifeMs, agreed }: AgreedShare, now: Instant): void {
    assert(this.#share !== undefined, "who has no share agrees on nothing");
    this.#held = { ticket, secret: ticketSecret(agreed, this.#share.publicKey, share), endsAt: now + lifeMs };
    this.#askAt = now + (lifeMs / 2) * (1 + fraction(this.#random) / 2);
  }
}

/** How much of what a server has said of its clock is forgotten with each time it says more, ms: at a keepalive in 6 s ten times what clocks drift. */
const FADING_MS = 1;
