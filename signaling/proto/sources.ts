import { assert } from "../../src/proto/assert.ts";
import { RecentMap } from "../../src/proto/bounded.ts";
import type { Instant } from "../../src/proto/machine.ts";
import { TokenBucket } from "../../src/proto/token-bucket.ts";
import type { Counter } from "./counters.ts";
import type { RoomsLimits } from "./limits.ts";

/**
 * Who may connect: bounds on the number of connections, on those that have not logged in, and on their rate, in all and for each
 * remote address. A connection is counted from `admit` to `release`. Addresses are opaque text: the driver makes them
 * canonical, and groups those that one host can choose from at will (an IPv6 /64).
 */
export class Sources {
  readonly #limits: RoomsLimits;
  /** Connections by address; an entry lives as long as it has one. */
  readonly #open = new Map<string, { open: number; pending: number }>();
  readonly #attempts: RecentMap<string, TokenBucket>;
  #total = 0;
  #pending = 0;

  constructor(limits: RoomsLimits) {
    this.#limits = limits;
    this.#attempts = new RecentMap(limits.addresses);
  }

  get open(): number {
    return this.#total;
  }

  /** Counts a connection in; when a bound stands against it, names the counter of the refusal and changes no number. */
  admit(address: string, now: Instant): Counter | undefined {
    const limits = this.#limits;
    // An attempt above the rate costs nothing, so that somebody who hammers does not lock his neighbours out for good.
    const bucket = this.#bucket(address, now);
    if (bucket.level(limits.attemptsPerAddress, now) < 1) return "connectionsRefusedRate";
    bucket.spend(1, limits.attemptsPerAddress, now);
    if (this.#total >= limits.connections || this.#pending >= limits.pending) return "connectionsRefusedFull";
    const source = this.#open.get(address) ?? { open: 0, pending: 0 };
    if (source.open >= limits.connectionsPerAddress || source.pending >= limits.pendingPerAddress)
      return "connectionsRefusedAddress";
    source.open++;
    source.pending++;
    this.#open.set(address, source);
    this.#total++;
    this.#pending++;
    return undefined;
  }

  /** An admitted connection has logged in. */
  settle(address: string): void {
    const source = this.#open.get(address);
    assert(source !== undefined && source.pending > 0, "only an admitted connection logs in");
    source.pending--;
    this.#pending--;
  }

  /** A login from `address` was refused. */
  blame(address: string, now: Instant): void {
    this.#bucket(address, now).spend(this.#limits.refusedLoginCost, this.#limits.attemptsPerAddress, now);
  }

  /** An admitted connection is gone. */
  release(address: string, settled: boolean): void {
    const source = this.#open.get(address);
    assert(source !== undefined && source.open > 0, "only an admitted connection is released");
    if (!settled) this.settle(address);
    source.open--;
    this.#total--;
    if (source.open === 0) this.#open.delete(address);
  }

  #bucket(address: string, now: Instant): TokenBucket {
    const bucket = this.#attempts.get(address) ?? new TokenBucket(this.#limits.attemptsPerAddress, now);
    this.#attempts.set(address, bucket);
    return bucket;
  }
}
