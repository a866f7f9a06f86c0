import { RecentMap } from "../proto/bounded.ts";
import type { Instant } from "../proto/machine.ts";
import type { PeerId } from "../proto/peer-id.ts";
import {
  CARRY_RATE,
  MAX_CARRIED,
  MAX_CARRIED_ORIGINS,
  MAX_CARRIED_PER_ORIGIN,
  RELAY_IDLE_MS,
} from "../proto/routing/limits.ts";
import { TokenBucket } from "../proto/token-bucket.ts";
import type { MeshStream } from "./stream.ts";

/** What a member carries for others: how many channels, and how much of each origin's in a second. */
export class Carriage {
  readonly #now: () => Instant;
  readonly #rates = new RecentMap<PeerId, TokenBucket>(MAX_CARRIED_ORIGINS);
  readonly #carried = new Map<PeerId, number>();
  #all = 0;
  #bytes = 0;

  constructor(now: () => Instant) {
    this.#now = now;
  }

  /** Channels that are carried. */
  get size(): number {
    return this.#all;
  }

  /** Bytes that were handed on since the start. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Takes a channel of `origin` on; undefined when it has enough, or everybody together has. */
  take(origin: PeerId): Account | undefined {
    const carried = this.#carried.get(origin) ?? 0;
    if (carried >= MAX_CARRIED_PER_ORIGIN || this.#all >= MAX_CARRIED) return undefined;
    const rate = this.#rates.get(origin) ?? new TokenBucket(CARRY_RATE, this.#now());
    this.#rates.set(origin, rate);
    this.#carried.set(origin, carried + 1);
    this.#all++;
    return {
      waitMs: (bytes) => {
        this.#bytes += bytes;
        return Math.max(0, (-1_000 * rate.spend(bytes, CARRY_RATE, this.#now())) / CARRY_RATE.perSecond);
      },
      close: () => {
        const left = (this.#carried.get(origin) ?? 1) - 1;
        if (left > 0) this.#carried.set(origin, left);
        else this.#carried.delete(origin);
        this.#all--;
      },
    };
  }
}

/** One channel that is carried on an origin's account. */
export interface Account {
  /** Spends `bytes` and tells how long to wait before they are handed on, ms. */
  waitMs(bytes: number): number;
  close(): void;
}

/** One side of a relayed channel as a member on the way holds it. */
export interface CarriedSide {
  readonly stream: MeshStream;
  readonly messages: AsyncIterator<Uint8Array, void>;
}

/**
 * Hands on what comes from either side to the other until one of them ends or nothing moves any more, then ends both. A side that
 * does not take more holds the other back: nothing is queued here but one message.
 */
export async function carry(a: CarriedSide, b: CarriedSide, account: Account): Promise<void> {
  const end = (): void => {
    a.stream.reset();
    b.stream.reset();
  };
  const idle = setTimeout(end, RELAY_IDLE_MS);
  idle.unref();
  try {
    await Promise.all([pump(a, b, account, idle), pump(b, a, account, idle)]);
  } finally {
    clearTimeout(idle);
    end();
  }
}

async function pump(from: CarriedSide, to: CarriedSide, account: Account, idle: NodeJS.Timeout): Promise<void> {
  for (;;) {
    const next = await from.messages.next();
    if (next.done) return to.stream.end();
    idle.refresh();
    const waitMs = account.waitMs(next.value.length);
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    await to.stream.send(next.value);
  }
}
