import type { Instant } from "../../src/proto/machine.ts";
import { type Rate, TokenBucket } from "../../src/proto/token-bucket.ts";
import type { TurnLimits } from "./limits.ts";

/** What one user has: the number of allocations, and the bandwidth that they share. */
export interface Account {
  readonly user: string;
  /** Allocations, those that wait for their sockets included. */
  allocations: number;
  readonly bandwidth: TokenBucket | undefined;
}

/** Why an allocation is refused: the user's bound or the server's. */
export type QuotaFault = "user" | "server";

/**
 * The quotas of allocations and bandwidth. An account exists while its user has an allocation, so there are never more of them
 * than allocations.
 */
export class Accounts {
  readonly #limits: TurnLimits;
  readonly #accounts = new Map<string, Account>();
  readonly #total: TokenBucket | undefined;
  #allocations = 0;

  constructor(limits: TurnLimits, now: Instant) {
    this.#limits = limits;
    this.#total = limits.totalBandwidth && new TokenBucket(limits.totalBandwidth, now);
  }

  /** Allocations of all users. */
  get allocations(): number {
    return this.#allocations;
  }

  /** Counts one more allocation of `user`, or says which bound stands against it. */
  open(user: string, now: Instant): Account | QuotaFault {
    if (this.#allocations >= this.#limits.allocations) return "server";
    const account = this.#accounts.get(user) ?? this.#fresh(user, now);
    if (account.allocations >= this.#limits.allocationsPerUser) return "user";
    this.#accounts.set(user, account);
    account.allocations++;
    this.#allocations++;
    return account;
  }

  /** Counts one allocation less. */
  close(account: Account): void {
    this.#allocations--;
    if (--account.allocations === 0) this.#accounts.delete(account.user);
  }

  /** Spends `bytes` of the user's and the server's bandwidth; false, and nothing spent, when either is used up. */
  spend(account: Account, bytes: number, now: Instant): boolean {
    const { userBandwidth, totalBandwidth } = this.#limits;
    if (userBandwidth === undefined && totalBandwidth === undefined) return true;
    if (!affords(account.bandwidth, userBandwidth, bytes, now) || !affords(this.#total, totalBandwidth, bytes, now))
      return false;
    if (userBandwidth !== undefined) account.bandwidth?.spend(bytes, userBandwidth, now);
    if (totalBandwidth !== undefined) this.#total?.spend(bytes, totalBandwidth, now);
    return true;
  }

  #fresh(user: string, now: Instant): Account {
    const rate = this.#limits.userBandwidth;
    return { user, allocations: 0, bandwidth: rate && new TokenBucket(rate, now) };
  }
}

function affords(bucket: TokenBucket | undefined, rate: Rate | undefined, bytes: number, now: Instant): boolean {
  return bucket === undefined || rate === undefined || bucket.level(rate, now) >= bytes;
}
