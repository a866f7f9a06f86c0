import type { RtcConnection, RtcEvent, RtcOptions } from "../../src/proto/negotiation/rtc.ts";
import type { RtcStack } from "../../src/rtc.ts";

/** Two ends of a connection in one process, signaling by function call. */

/** No public server, and found on machines that have nothing but a loopback interface. */
export const LOOPBACK = { iceServers: [], extraAddresses: ["127.0.0.1"] } satisfies Partial<RtcOptions>;

/** The first time-out of SCTP is 3 s in werift: a run with one unlucky loss still passes. */
const PATIENCE_MS = 10_000;

/** One end: what it said, and a way to wait for what it has yet to say. */
export class End {
  readonly connection: RtcConnection;
  /** Everything but frames, in order. */
  readonly events: RtcEvent[] = [];
  readonly frames: Uint8Array[] = [];
  /** Called with each event after it was recorded. */
  onEvent: ((event: RtcEvent) => void) | undefined;
  readonly #waiting = new Set<() => void>();

  constructor(stack: RtcStack, options: RtcOptions) {
    this.connection = stack.connect(options, (event) => {
      if (event.type === "frame") this.frames.push(event.bytes);
      else this.events.push(event);
      this.onEvent?.(event);
      for (const check of this.#waiting) check();
    });
  }

  /** Types of the events so far, each with how often it came. */
  count(type: RtcEvent["type"]): number {
    return this.events.filter((event) => event.type === type).length;
  }

  /** Why it closed; undefined while it has not. */
  get reason(): string | undefined {
    return this.events.find((event) => event.type === "closed")?.reason;
  }

  /** The description that it sent. */
  get sdp(): string {
    return this.events.find((event) => event.type === "description")?.sdp ?? "";
  }

  /** Resolves when `condition` holds after some event, or holds already. */
  until(what: string, condition: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (outcome: () => void) => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        outcome();
      };
      const check = () => {
        try {
          if (condition()) settle(resolve);
        } catch (error) {
          settle(() => reject(error));
        }
      };
      const timer = setTimeout(() => {
        const seen = this.events.map((event) => (event.type === "closed" ? `closed (${event.reason})` : event.type));
        settle(() => reject(new Error(`${what}: not within ${PATIENCE_MS} ms; seen: ${seen.join(", ")}`)));
      }, PATIENCE_MS);
      this.#waiting.add(check);
      check();
    });
  }

  opened(): Promise<void> {
    return this.until("open", () => {
      if (this.reason !== undefined) throw new Error(`closed instead of open: ${this.reason}`);
      return this.count("open") > 0;
    });
  }

  closed(): Promise<void> {
    return this.until("closed", () => this.reason !== undefined);
  }

  received(count: number): Promise<void> {
    return this.until(`${count} frames`, () => this.frames.length >= count);
  }
}

export interface PairOptions {
  /** Changes a signal on its way, or swallows it. */
  readonly tamper?: (event: RtcEvent, from: "initiator" | "answerer") => RtcEvent | undefined;
  readonly options?: Partial<RtcOptions>;
  /** For the initiator alone, above `options`. */
  readonly initiatorOptions?: Partial<RtcOptions>;
}

export interface Pair {
  readonly initiator: End;
  readonly answerer: End;
}

/** Connects two ends and lets them signal to each other. `initiator.connection.offer()` starts it. */
export function pairOf(
  initiatorStack: RtcStack,
  answererStack: RtcStack,
  { tamper, options, initiatorOptions }: PairOptions = {},
): Pair {
  const initiator = new End(initiatorStack, { ...LOOPBACK, ...options, ...initiatorOptions, initiator: true });
  const answerer = new End(answererStack, { ...LOOPBACK, ...options, initiator: false });
  const carry = (from: "initiator" | "answerer", to: RtcConnection) => (event: RtcEvent) => {
    const signal = tamper === undefined ? event : tamper(event, from);
    if (signal?.type === "description") {
      if (signal.kind === "offer") to.answer(signal.sdp);
      else to.accept(signal.sdp);
    } else if (signal?.type === "candidate") to.candidate(signal.candidate, signal.mid);
  };
  initiator.onEvent = carry("initiator", answerer.connection);
  answerer.onEvent = carry("answerer", initiator.connection);
  return { initiator, answerer };
}

/** A pair that is open, and whose ends have exchanged one frame each, as admission does. */
export async function openPair(initiatorStack: RtcStack, answererStack: RtcStack, how?: PairOptions): Promise<Pair> {
  const pair = pairOf(initiatorStack, answererStack, how);
  pair.initiator.connection.offer();
  await Promise.all([pair.initiator.opened(), pair.answerer.opened()]);
  pair.initiator.connection.send(Uint8Array.of(1));
  await pair.answerer.received(1);
  pair.answerer.connection.send(Uint8Array.of(2));
  await pair.initiator.received(1);
  pair.initiator.frames.length = 0;
  pair.answerer.frames.length = 0;
  return pair;
}

/** Closes both ends and waits until both have said so. */
export async function closePair({ initiator, answerer }: Pair): Promise<void> {
  initiator.connection.close();
  answerer.connection.close();
  await Promise.all([initiator.closed(), answerer.closed()]);
}
