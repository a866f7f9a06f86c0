import { assert } from "../assert.ts";
import { RecentMap } from "../bounded.ts";
import type { Verdict } from "../gossip/broadcast.ts";
import type { MessageId } from "../gossip/messages.ts";
import { type Instant, type Machine, NOTHING } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { type Random, randomBytes } from "../random.ts";
import type { Sign, Signature, Verified, Verify } from "../signed.ts";
import { TokenBucket } from "../token-bucket.ts";
import { mayDo } from "../trust/rights.ts";
import { CLOCK_LEEWAY_MS } from "../trust/times.ts";
import { AUTHOR_RATE, MAX_AUTHORS, MAX_POST_BYTES, POST_LIFE_MS } from "./limits.ts";
import { decodePostMessage, encodePost, encodePostMessage, isTopic, NONCE_BYTES, type Post } from "./post.ts";

/**
 * Topics: what one member publishes reaches all, over the broadcast, at most once and in no order.
 *
 * The author signs what it publishes. Everybody checks a post before handing it on: the signature, that the author is a
 * member whose token allows `topic:publish:NAME`, its age, and the author's rate; so a post that one may not make ends at the first honest
 * member. All members carry all posts, whether they subscribe or not. Nothing is kept: who is cut off misses what is
 * published meanwhile (a bucket is the place for what must not be missed).
 *
 * A post counts for a minute, and broadcast knows for five what it has delivered, so a replay is either known or too old.
 */
export class Topics implements Machine<TopicsInput, TopicsOutput> {
  readonly #self: PeerId;
  readonly #random: Random;
  readonly #scopesOf: (peer: PeerId) => readonly string[] | undefined;
  readonly #authors = new RecentMap<PeerId, TokenBucket>(MAX_AUTHORS);

  /** @param scopesOf what the token of a member grants; undefined: it is none. */
  constructor(self: PeerId, scopesOf: (peer: PeerId) => readonly string[] | undefined, random: Random) {
    this.#self = self;
    this.#scopesOf = scopesOf;
    this.#random = random.fork("topics");
  }

  deadline(): undefined {
    return undefined;
  }

  handle(input: TopicsInput, now: Instant): readonly TopicsOutput[] {
    switch (input.type) {
      case "publish":
        return this.#publish(input.topic, input.payload, now);
      case "signed": {
        const { post, body } = input.resume;
        const payload = encodePostMessage(body, input.signature);
        return [
          { type: "broadcast", payload },
          { type: "post", post },
        ];
      }
      case "delivered":
        return this.#delivered(input.from, input.id, input.payload, now);
      case "verified":
        return this.#verified(input.resume.post, input.resume.delivery, now);
      default:
        return NOTHING;
    }
  }

  #publish(topic: string, payload: Uint8Array, now: Instant): readonly TopicsOutput[] {
    assert(isTopic(topic), "the name of a topic is checked before");
    assert(payload.length <= MAX_POST_BYTES, "a post is at most 16 KiB");
    const nonce = randomBytes(this.#random, NONCE_BYTES);
    const post: Post = { author: this.#self, topic, time: Math.floor(now), nonce, payload };
    const body = encodePost(post);
    return [{ type: "sign", label: "starling/post/1", body, resume: { post, body } }];
  }

  #delivered(from: PeerId, id: MessageId, payload: Uint8Array, now: Instant): readonly TopicsOutput[] {
    const message = decodePostMessage(payload);
    if (message === undefined) return [{ type: "verdict", id, verdict: "reject" }];
    const { post, statement } = message;
    const age = now - post.time;
    if (age > POST_LIFE_MS + CLOCK_LEEWAY_MS || age < -CLOCK_LEEWAY_MS) return ignored(id, "topic-stale");
    return [{ type: "verify", from, statements: [statement], resume: { post, delivery: id } }];
  }

  #verified(post: Post, id: MessageId, now: Instant): readonly TopicsOutput[] {
    const { author, topic } = post;
    const scopes = this.#scopesOf(author);
    // Its record may be on its way: nobody is to blame.
    if (scopes === undefined) return ignored(id, "topic-stranger");
    if (!mayDo(scopes, "publish", topic)) return ignored(id, "topic-forbidden", author);
    const bucket = this.#authors.get(author) ?? new TokenBucket(AUTHOR_RATE, now);
    this.#authors.set(author, bucket);
    if (bucket.level(AUTHOR_RATE, now) < 1) return ignored(id, "topic-flood", author);
    bucket.spend(1, AUTHOR_RATE, now);
    return [
      { type: "verdict", id, verdict: "accept" },
      { type: "post", post },
    ];
  }
}

function ignored(id: MessageId, fault: TopicsFault, peer?: PeerId): readonly TopicsOutput[] {
  const blamed = peer === undefined ? ({ type: "fault", fault } as const) : ({ type: "fault", peer, fault } as const);
  return [{ type: "verdict", id, verdict: "ignore" }, blamed];
}

export type TopicsInput =
  /** Tell all members. `topic`: a name that {@link isTopic}; `payload`: at most 16 KiB. */
  | { readonly type: "publish"; readonly topic: string; readonly payload: Uint8Array }
  /** A broadcast payload; is answered by `verdict`, at once or after `verified`. */
  | { readonly type: "delivered"; readonly from: PeerId; readonly id: MessageId; readonly payload: Uint8Array }
  | Signature<TopicsSignResume>
  | Verified<TopicsVerifyResume>
  | { readonly type: "timeout" };

export type TopicsOutput =
  | Sign<TopicsSignResume>
  | Verify<TopicsVerifyResume>
  | { readonly type: "broadcast"; readonly payload: Uint8Array }
  | { readonly type: "verdict"; readonly id: MessageId; readonly verdict: Verdict }
  /** For subscribers; our own posts too. */
  | { readonly type: "post"; readonly post: Post }
  | { readonly type: "fault"; readonly peer?: PeerId; readonly fault: TopicsFault };

/** A post by somebody who is no member (yet), whose token does not allow it, over its author's rate, or of another time. */
export type TopicsFault = "topic-stranger" | "topic-forbidden" | "topic-flood" | "topic-stale";

export interface TopicsSignResume {
  readonly post: Post;
  readonly body: Uint8Array;
}

export interface TopicsVerifyResume {
  readonly post: Post;
  readonly delivery: MessageId;
}
