import { StarlingError } from "../errors.ts";
import { utf8 } from "../proto/bytes.ts";
import type { PeerId } from "../proto/peer-id.ts";

/** What a stream asks of the link that carries it. */
export interface StreamCarrier {
  send(stream: number, message: Uint8Array): void;
  writable(stream: number): boolean;
  consumed(stream: number, messages: number, bytes: number): void;
  end(stream: number): void;
  reset(stream: number, code: number): void;
}

/** Messages taken by the application before the peer is told that it may send as many again: one note instead of many. */
const CONSUMED_BATCH_BYTES = 65_536;

/**
 * A duplex stream of messages to one member: ordered, reliable, with message boundaries and back-pressure.
 *
 * ```ts
 * for await (const message of stream) await stream.send(reply(message));
 * ```
 *
 * Received messages are views of the frame they came in: copy what is to be kept for long. A message that is sent must not
 * be changed until it is on its way, which {@link MeshStream.send} does not tell: do not change it at all.
 */
export class MeshStream implements AsyncIterable<Uint8Array> {
  readonly peer: PeerId;
  readonly protocol: string;
  readonly #carrier: StreamCarrier;
  readonly #id: number;
  #inbox: Uint8Array[] = [];
  #read = 0;
  #consumedMessages = 0;
  #consumedBytes = 0;
  #ended = false;
  #failure: StarlingError | undefined;
  #wakeReader: (() => void) | undefined;
  #writable: PromiseWithResolvers<void> | undefined;
  /** Messages of {@link send} that wait for room, in order; each has a promise that somebody holds. */
  #waiting: Waiting[] = [];
  #endAsked = false;
  readonly #closed = Promise.withResolvers<void>();

  /** Streams come from `agent.open` and `agent.handle`; an application makes none itself. */
  constructor(peer: PeerId, protocol: string, id: number, carrier: StreamCarrier) {
    this.peer = peer;
    this.protocol = protocol;
    this.#id = id;
    this.#carrier = carrier;
  }

  /**
   * Queues one message, text as UTF-8, of at most 16 MiB; bytes are copied, and may be changed afterwards. Resolves at once while there is
   * room and otherwise when there is room again; rejects when the stream has ended.
   */
  send(message: Uint8Array | string): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#endAsked) return Promise.reject(new StarlingError("closed", "this side has ended the stream"));
    const bytes = typeof message === "string" ? utf8(message) : new Uint8Array(message);
    if (!this.#hasRoom) return this.#wait(bytes);
    this.#carrier.send(this.#id, bytes);
    return SENT;
  }

  /**
   * As {@link send} without a promise and without a copy: the bytes are given away. False, and nothing is sent, when there is no room or
   * the stream has ended.
   */
  offer(message: Uint8Array): boolean {
    if (this.#failure || this.#endAsked || !this.#hasRoom) return false;
    this.#carrier.send(this.#id, message);
    return true;
  }

  /** Resolves when {@link offer} would succeed; rejects when the stream has ended. */
  writable(): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#hasRoom) return SENT;
    this.#writable ??= Promise.withResolvers<void>();
    return this.#writable.promise;
  }

  /** Ends our direction after what is queued; the peer's messages still come. */
  end(): void {
    if (this.#failure || this.#endAsked) return;
    this.#endAsked = true;
    if (this.#waiting.length === 0) this.#carrier.end(this.#id);
  }

  /** Ends both directions at once. `code`: 16 to 2^32 - 1 for applications; default 0, no particular reason. */
  reset(code = 0): void {
    if (this.#failure) return;
    this.#carrier.reset(this.#id, code);
    this.fail(new StarlingError("closed", "the stream was reset by this side"));
  }

  /** Resolves when both directions have ended, however they did. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Whether it has ended, by itself or by a failure. */
  get failed(): boolean {
    return this.#failure !== undefined;
  }

  /** The peer's messages in order; ends when the peer ends its direction, throws when the stream or its link is lost. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const message = this.#inbox[this.#read];
      if (message !== undefined) {
        this.#take(message);
        yield message;
      } else if (this.#ended) return;
      else if (this.#failure) throw this.#failure;
      else {
        this.#flushConsumed();
        await new Promise<void>((resolve) => {
          this.#wakeReader = resolve;
        });
      }
    }
  }

  /** The link's word: a message has come. */
  deliver(message: Uint8Array): void {
    this.#inbox.push(message);
    this.#wake();
  }

  /** The link's word: no message follows. */
  ended(): void {
    this.#ended = true;
    this.#wake();
  }

  /** The link's word: there is room again. What waits is sent in a microtask, when the link takes inputs again. */
  drained(): void {
    queueMicrotask(() => this.#sendWaiting());
  }

  /** The link's word: both directions have ended. */
  finish(): void {
    this.#ended = true;
    this.fail(new StarlingError("closed", "the stream has ended"));
  }

  /** The link's word: the stream is lost. */
  fail(failure: StarlingError): void {
    if (this.#failure) return;
    this.#failure = failure;
    this.#writable?.promise.catch(() => undefined);
    this.#writable?.reject(failure);
    this.#writable = undefined;
    for (const { reject } of this.#waiting.splice(0)) reject(failure);
    this.#closed.resolve();
    this.#wake();
  }

  #sendWaiting(): void {
    let sent = 0;
    for (; sent < this.#waiting.length && this.#carrier.writable(this.#id); sent++) {
      const { bytes, resolve } = this.#waiting[sent] as Waiting;
      this.#carrier.send(this.#id, bytes);
      resolve();
    }
    if (sent > 0) this.#waiting = this.#waiting.slice(sent);
    if (this.#endAsked && this.#waiting.length === 0) this.#carrier.end(this.#id);
    if (!this.#hasRoom) return;
    this.#writable?.resolve();
    this.#writable = undefined;
  }

  /** What is sent now must not overtake what waits. */
  get #hasRoom(): boolean {
    return this.#waiting.length === 0 && this.#carrier.writable(this.#id);
  }

  #wait(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ bytes, resolve, reject });
    });
  }

  #take(message: Uint8Array): void {
    this.#read++;
    if (this.#read === this.#inbox.length) {
      this.#inbox = [];
      this.#read = 0;
    }
    this.#consumedMessages++;
    this.#consumedBytes += message.length;
    if (this.#consumedBytes >= CONSUMED_BATCH_BYTES) this.#flushConsumed();
  }

  #flushConsumed(): void {
    if (this.#consumedMessages === 0 || this.#failure) return;
    this.#carrier.consumed(this.#id, this.#consumedMessages, this.#consumedBytes);
    this.#consumedMessages = 0;
    this.#consumedBytes = 0;
  }

  #wake(): void {
    const wake = this.#wakeReader;
    this.#wakeReader = undefined;
    wake?.();
  }
}

interface Waiting {
  readonly bytes: Uint8Array;
  readonly resolve: () => void;
  readonly reject: (reason: StarlingError) => void;
}

const SENT = Promise.resolve();
