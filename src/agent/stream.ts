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
  readonly #closed = Promise.withResolvers<void>();

  /** Streams come from `agent.open` and `agent.handle`; an application makes none itself. */
  constructor(peer: PeerId, protocol: string, id: number, carrier: StreamCarrier) {
    this.peer = peer;
    this.protocol = protocol;
    this.#id = id;
    this.#carrier = carrier;
  }

  /**
   * Queues one message, text as UTF-8, of at most 16 MiB. Resolves at once while there is room and otherwise when there is room again;
   * rejects when the stream has ended.
   */
  send(message: Uint8Array | string): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (!this.#carrier.writable(this.#id)) return this.#waitThenSend(message);
    this.#carrier.send(this.#id, typeof message === "string" ? utf8(message) : message);
    return SENT;
  }

  /** As {@link send} without a promise: false, and nothing is sent, when there is no room or the stream has ended. */
  offer(message: Uint8Array): boolean {
    if (this.#failure || !this.#carrier.writable(this.#id)) return false;
    this.#carrier.send(this.#id, message);
    return true;
  }

  /** Resolves when {@link offer} would succeed; rejects when the stream has ended. */
  writable(): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#carrier.writable(this.#id)) return SENT;
    this.#writable ??= Promise.withResolvers<void>();
    return this.#writable.promise;
  }

  /** Ends our direction after what is queued; the peer's messages still come. */
  end(): void {
    if (!this.#failure) this.#carrier.end(this.#id);
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

  /** The link's word: there is room again. */
  drained(): void {
    this.#writable?.resolve();
    this.#writable = undefined;
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
    this.#closed.resolve();
    this.#wake();
  }

  async #waitThenSend(message: Uint8Array | string): Promise<void> {
    await this.writable();
    return this.send(message);
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

const SENT = Promise.resolve();
