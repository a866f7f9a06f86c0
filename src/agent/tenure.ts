import type { StateDirectory } from "../drivers/state-directory.ts";
import { StarlingError } from "../errors.ts";
import type { Logger } from "../options.ts";
import type { Instant } from "../proto/machine.ts";
import { below, type Random } from "../proto/random.ts";
import type { TokenFault } from "../proto/trust/claims.ts";
import { TokenExpiringEvent } from "./events.ts";
import type { RefreshKeys } from "./refresh-keys.ts";
import type { HeldToken, Trust } from "./trust.ts";

/** A renewal that fails is tried again after this at the earliest, ms. */
const RENEW_RETRY_MS = 5_000;
/** The part of a token's life that is left when people are told that nobody renews it: half of the time for renewals has gone by. */
const OVERDUE_PART = 4;
/** How long a renewal that somebody waits for may take, ms: a server and a few members that are asked in turn. */
const ROTATE_MS = 30_000;

/**
 * Another issuing key has come: members ask for a token by it within this time, ms, each when it likes, so that issuers are not asked by
 * all at once and the list is everywhere before. What was by the former key again is tried again, ever more slowly.
 */
const FIRST_SUCCESSION_MS = 2_000;
const SUCCESSION_SPREAD_MS = 8_000;
const SUCCESSION_TRIES = 4;

/** Who renews a token, as it is shown to issuers. A renewal that comes is given to {@link Tenure.hold}. */
export interface Renewers {
  /** A renewal by the issuer in this process; undefined when it is none, or does not renew it. */
  here(shown: string): Promise<string | undefined>;
  /** Asks signaling servers; false when none is there to ask. Their no comes as {@link Tenure.unrenewed}. */
  servers(shown: string): boolean;
  /** A renewal by a member that holds an issuing key, or why there is none. Never rejects. */
  members(shown: string): Promise<{ readonly token: string } | { readonly why: string }>;
}

/**
 * An agent's tenure as a member: the token that it holds, and its renewal in good time. What is held is on the disk, so that the
 * next start continues with it.
 */
export class Tenure {
  readonly #trust: Trust;
  readonly #refresh: RefreshKeys;
  readonly #state: StateDirectory;
  readonly #log: Logger;
  readonly #now: () => Instant;
  readonly #later: (ms: number, run: () => void) => void;
  readonly #random: Random;
  readonly #renewers: Renewers;
  readonly #held: (text: string) => void;
  readonly #face: Pick<EventTarget, "dispatchEvent">;
  /** The token whose end will be announced. */
  #warned: HeldToken | undefined;
  /** Why the last attempt came to nothing. */
  #why: string | undefined;
  /** Somebody waits for a renewal, and what it has come to. */
  #rotation: PromiseWithResolvers<HeldToken> | undefined;

  /** @param options `held`: a token is in use. `face`: where `tokenexpiring` is dispatched. `later`: a timer that ends with the agent. */
  constructor(options: {
    readonly trust: Trust;
    readonly refresh: RefreshKeys;
    readonly state: StateDirectory;
    readonly log: Logger;
    readonly now: () => Instant;
    readonly later: (ms: number, run: () => void) => void;
    readonly random: Random;
    readonly renewers: Renewers;
    readonly held: (text: string) => void;
    readonly face: Pick<EventTarget, "dispatchEvent">;
  }) {
    this.#trust = options.trust;
    this.#refresh = options.refresh;
    this.#state = options.state;
    this.#log = options.log;
    this.#now = options.now;
    this.#later = options.later;
    this.#random = options.random;
    this.#renewers = options.renewers;
    this.#held = options.held;
    this.#face = options.face;
  }

  /** Takes a token that was issued to us into use and keeps it; why not, if it does not hold. */
  async hold(text: string): Promise<TokenFault | "foreign-refresh-key" | undefined> {
    const before = this.#trust.token;
    // One that names the refresh key of somebody else would be the last one that we renew.
    const fault = this.#refresh.owns(text) ? await this.#trust.holdToken(text) : "foreign-refresh-key";
    if (fault !== undefined) {
      this.#log.error("the token that was issued does not hold", { fault, now: new Date(this.#now()).toISOString() });
      this.#failed(`the token that was issued does not hold: ${fault}`);
      return fault;
    }
    await this.#state
      .writeToken(text)
      .catch((error: unknown) => this.#log.error("the token cannot be kept", { error: String(error) }));
    if (before !== undefined) this.#log.info("token renewed", { until: this.#trust.token?.facts.expiresAt });
    this.#why = undefined;
    if (this.#trust.token !== undefined) this.#rotation?.resolve(this.#trust.token);
    this.#held(text);
    return undefined;
  }

  /** A token is held for the first time of this run. */
  begin(): void {
    this.schedule();
    this.outdated();
  }

  /** What is to be said of a token of whose life a quarter is left and that nobody has renewed, for people; undefined otherwise. */
  get warning(): string | undefined {
    const { token } = this.#trust;
    const leftMs = token === undefined ? 0 : token.facts.expiresAt - this.#now();
    if (token === undefined || leftMs > lifeOf(token) / OVERDUE_PART) return undefined;
    const end = new Date(token.facts.expiresAt).toISOString();
    const why = this.#why === undefined ? "" : ` (${this.#why})`;
    const what = leftMs > 0 ? `ends at ${end}` : `ended at ${end}`;
    return `this agent's token ${what} and nobody has renewed it${why}; start an issuer: starling signal, or a member with --issuing-key`;
  }

  #warn(token: HeldToken): void {
    const { expiresAt } = token.facts;
    this.#later(Math.max(0, expiresAt - lifeOf(token) / OVERDUE_PART - this.#now()), () => {
      if (this.#trust.token !== token) return;
      const { warning } = this;
      // A timer reaches 25 days, and a token may live for a year.
      if (warning === undefined) return this.#warn(token);
      this.#log.warn(warning);
      this.#face.dispatchEvent(new TokenExpiringEvent(new Date(expiresAt), warning));
    });
  }

  /** Renews the token in use at half of its life, and again and again if nobody does it. */
  schedule(): void {
    const { token } = this.#trust;
    if (!token) return;
    if (this.#warned !== token) this.#warn(token);
    this.#warned = token;
    const left = token.facts.expiresAt - this.#now();
    this.#later(Math.max(RENEW_RETRY_MS, left / 2), () => {
      if (this.#trust.token !== token) return;
      void this.renew();
      this.schedule();
    });
  }

  /** Sees to a token by the newest issuing key, if that in use is by one that will end before it. */
  outdated(tries = SUCCESSION_TRIES, pauseMs = FIRST_SUCCESSION_MS): void {
    if (tries === 0 || !this.#trust.isOutdated) return;
    this.#later(pauseMs + below(this.#random, SUCCESSION_SPREAD_MS), () => {
      if (!this.#trust.isOutdated) return;
      void this.renew();
      this.outdated(tries - 1, pauseMs * 4);
    });
  }

  /** Asks for a renewal: here, of a server, of members, in this order. Never rejects. */
  async renew(): Promise<void> {
    const shown = await this.#shown();
    if (shown === undefined) return;
    const own = await this.#renewers.here(shown).catch((error: unknown) => {
      this.#log.warn("token not renewed by our own issuer", { error: String(error) });
      return undefined;
    });
    if (own !== undefined) await this.hold(own);
    else if (!this.#renewers.servers(shown)) await this.#renewAtMembers(shown);
  }

  /**
   * Renews the token at once, and with it its refresh key; what is in use then. Rejects with `issuer-refused`, which says why, when nobody
   * renews it.
   */
  async rotate(): Promise<HeldToken> {
    this.#rotation ??= Promise.withResolvers<HeldToken>();
    const rotation = this.#rotation;
    this.#later(ROTATE_MS, () => rotation.reject(notRenewed("no issuer has answered; start one, or try again")));
    void this.renew();
    try {
      return await rotation.promise;
    } finally {
      if (this.#rotation === rotation) this.#rotation = undefined;
    }
  }

  /** No server renews the token. */
  async unrenewed(why: string): Promise<void> {
    const shown = await this.#shown();
    if (shown !== undefined) await this.#renewAtMembers(shown, `${why}; `);
  }

  #failed(why: string): void {
    this.#why = why;
    this.#rotation?.reject(notRenewed(why));
  }

  /** The token in use as it is shown; undefined without one, and while the key of the next cannot be kept. */
  async #shown(): Promise<string | undefined> {
    const text = this.#trust.token?.text;
    if (text === undefined) return undefined;
    return this.#refresh.show(text).catch((error: unknown) => {
      this.#log.error("the token cannot be renewed: its next refresh key cannot be kept", { error: String(error) });
      this.#failed("its next refresh key cannot be kept on the disk");
      return undefined;
    });
  }

  async #renewAtMembers(shown: string, before = ""): Promise<void> {
    const answer = await this.#renewers.members(shown);
    if ("token" in answer) await this.hold(answer.token);
    else {
      this.#log.warn("token not renewed by a member", { why: answer.why });
      this.#failed(before + answer.why);
    }
  }
}

function notRenewed(why: string): StarlingError {
  return new StarlingError("issuer-refused", `the token is not renewed: ${why}`);
}

/** How long the token was made for, ms. */
function lifeOf({ facts: { expiresAt, issuedAt } }: HeldToken): number {
  return expiresAt - issuedAt;
}
