import { StarlingError } from "../errors.ts";
import { BoundedQueue } from "../proto/bounded.ts";
import type { Instant } from "../proto/machine.ts";
import type { PeerId } from "../proto/peer-id.ts";
import { TokenBucket } from "../proto/token-bucket.ts";
import { MAX_POST_BYTES, POST_RATE } from "../proto/topics/limits.ts";
import { isTopic, type Post } from "../proto/topics/post.ts";
import { mayDo, scopeFor } from "../proto/trust/rights.ts";
import { AgentEventTarget } from "./events.ts";

/** Messages that wait for a subscriber that does not read: a minute of one busy author. Beyond, the oldest is lost. */
const MAX_WAITING = 1_024;
/** Subscriptions of one agent at a time: each takes its own copy of what it waits for. */
const MAX_SUBSCRIPTIONS = 256;

/** What a member has published. */
export interface TopicMessage {
  readonly topic: string;
  readonly from: PeerId;
  /** By its author's clock. */
  readonly publishedAt: Date;
  /** At most 16 KiB. */
  readonly payload: Uint8Array;
  /** The payload as UTF-8. */
  text(): string;
}

/** What topics need of their agent. */
export interface TopicHost {
  /** What our token grants at the moment. */
  readonly scopes: readonly string[];
  readonly now: Instant;
  /** Settles when the agent has ended. */
  readonly ended: Promise<unknown>;
  readonly isClosed: boolean;
  publish(topic: string, payload: Uint8Array): void;
}

/** The part of an agent that publishes and subscribes. */
export abstract class TopicAgent extends AgentEventTarget implements AsyncDisposable {
  readonly #subscriptions = new Set<Subscription>();
  #rate: TokenBucket | undefined;

  protected abstract topicHost(): TopicHost;

  abstract close(): Promise<void>;

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * Tells all members, this one included: at most once each, in no order, and not to those that are cut off. `topic`: 1 to 64
   * of `A-Z a-z 0-9 . _ ~ / -`; `payload`: at most 16 KiB, text as UTF-8. Throws `usage`, `limit-reached` (size, or more than
   * 16 a second after 64 at once), `permission-denied` without `topic:publish:TOPIC` in the token, `closed`.
   */
  publish(topic: string, payload: Uint8Array | string): void {
    const host = this.#open(topic, "publish");
    const bytes = typeof payload === "string" ? new TextEncoder().encode(payload) : payload.slice();
    if (bytes.length > MAX_POST_BYTES)
      throw new StarlingError(
        "limit-reached",
        `a topic carries ${MAX_POST_BYTES} bytes at a time; put more in a bucket`,
      );
    this.#rate ??= new TokenBucket(POST_RATE, host.now);
    if (this.#rate.level(POST_RATE, host.now) < 1)
      throw new StarlingError("limit-reached", `a member publishes ${POST_RATE.perSecond} messages a second at most`);
    this.#rate.spend(1, POST_RATE, host.now);
    host.publish(topic, bytes);
  }

  /**
   * What is published on `topic` from now on. Ends with its signal, with `return`, or with the agent. Up to 1,024 messages
   * wait for their reader; beyond, the oldest are lost. Throws `usage`, `limit-reached`, `permission-denied` without
   * `topic:subscribe:TOPIC` in the token, `closed`.
   */
  subscribe(topic: string, options: { readonly signal?: AbortSignal } = {}): AsyncIterableIterator<TopicMessage> {
    const host = this.#open(topic, "subscribe");
    if (this.#subscriptions.size >= MAX_SUBSCRIPTIONS)
      throw new StarlingError("limit-reached", `an agent has ${MAX_SUBSCRIPTIONS} subscriptions at most`);
    const subscription = new Subscription(topic, () => this.#subscriptions.delete(subscription));
    this.#subscriptions.add(subscription);
    const end = (): void => subscription.end();
    options.signal?.addEventListener("abort", end, { once: true });
    if (options.signal?.aborted) end();
    void host.ended.then(end);
    return subscription;
  }

  /** A post has come, or is our own. */
  protected posted({ author, topic, time, payload }: Post): void {
    for (const subscription of this.#subscriptions) {
      if (subscription.topic !== topic) continue;
      const own = payload.slice();
      const text = (): string => new TextDecoder().decode(own);
      subscription.deliver({ topic, from: author, publishedAt: new Date(time), payload: own, text });
    }
  }

  #open(topic: string, act: "publish" | "subscribe"): TopicHost {
    const host = this.topicHost();
    if (host.isClosed) throw new StarlingError("closed", "the agent has closed");
    if (!isTopic(topic)) {
      const message = `${JSON.stringify(topic)} is no topic: 1 to 64 of A-Z a-z 0-9 . _ ~ / -, a letter or digit first`;
      throw new StarlingError("usage", message);
    }
    if (!mayDo(host.scopes, act, topic)) {
      const message = `this agent's token does not allow ${scopeFor(act, topic)}; ask for an invite with that scope`;
      throw new StarlingError("permission-denied", message);
    }
    return host;
  }
}

/** One reader of one topic. */
class Subscription implements AsyncIterableIterator<TopicMessage> {
  readonly topic: string;
  readonly #waiting = new BoundedQueue<TopicMessage>(MAX_WAITING);
  readonly #readers: ((result: IteratorResult<TopicMessage>) => void)[] = [];
  readonly #over: () => void;
  #ended = false;

  constructor(topic: string, over: () => void) {
    this.topic = topic;
    this.#over = over;
  }

  deliver(message: TopicMessage): void {
    const reader = this.#readers.shift();
    if (reader) reader({ done: false, value: message });
    else if (!this.#waiting.push(message)) {
      this.#waiting.shift();
      this.#waiting.push(message);
    }
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#over();
    for (const reader of this.#readers.splice(0)) reader({ done: true, value: undefined });
  }

  next(): Promise<IteratorResult<TopicMessage>> {
    const message = this.#waiting.shift();
    if (message) return Promise.resolve({ done: false, value: message });
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#readers.push(resolve));
  }

  return(): Promise<IteratorResult<TopicMessage>> {
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
