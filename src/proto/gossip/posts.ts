import type { Instant } from "../machine.ts";
import { HELD_FOR_MS, MAX_HELD_BYTES, MAX_SEEN, SEEN_FOR_MS } from "./limits.ts";
import type { MessageId, Route, Topic } from "./messages.ts";
import { NO_SLOT, SlotSet } from "./trees.ts";

/**
 * What became of a broadcast here. `pending`: delivered, its consumer has not answered. `held`: accepted, sent on, kept for
 * grafts. `rejected`: its consumer refused it; whoever sends it is at fault. `spent`: only its id is remembered.
 */
export type PostState = "pending" | "held" | "rejected" | "spent";

/** One broadcast that has arrived or was published here. */
export class Post {
  readonly id: MessageId;
  readonly topic: Topic;
  readonly route: Route;
  /** Links that it crossed to get here; 0 for our own. */
  readonly hops: number;
  /** The slot of the neighbour that brought it; {@link NO_SLOT} for our own, and once that link is gone. */
  parent: number;
  readonly at: Instant;
  /** Whether a duplicate makes its link lazy: not while another broadcast is rebuilding the tree. */
  prunes = true;
  /** Neighbours that have it or know that we have it. */
  readonly known = new SlotSet();
  /** Neighbours that we sent the payload to: once is enough on a reliable link, whatever they graft. */
  readonly sent = new SlotSet();
  state: PostState = "pending";
  payload: Uint8Array;

  constructor(
    id: MessageId,
    topic: Topic,
    payload: Uint8Array,
    origin: { readonly route: Route; readonly hops: number; readonly parent: number },
    at: Instant,
  ) {
    this.id = id;
    this.topic = topic;
    this.payload = payload;
    this.route = origin.route;
    this.hops = origin.hops;
    this.parent = origin.parent;
    this.at = at;
  }
}

const NO_PAYLOAD = new Uint8Array(0);

/**
 * The ids seen and, for the recent ones, their payloads. Ids are bounded by count and age, payloads by bytes and a shorter
 * age; the oldest goes first in both.
 *
 * An id that is forgotten while a copy still travels is delivered again. {@link SEEN_FOR_MS} is far beyond what links
 * allow, so only a malicious neighbour can arrange that; a consumer that must not act twice checks novelty itself.
 */
export class Posts {
  readonly #byId = new Map<MessageId, Post>();
  /** Oldest first: forgotten ones before {@link #first}, spent ones before {@link #firstHeld}. */
  #order: Post[] = [];
  #first = 0;
  #firstHeld = 0;
  #heldBytes = 0;

  /** Ids remembered. */
  get size(): number {
    return this.#byId.size;
  }

  /** Payload bytes kept. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  find(id: MessageId): Post | undefined {
    return this.#byId.get(id);
  }

  /** Adds a post that {@link find} does not know. */
  add(post: Post): void {
    if (this.#byId.size >= MAX_SEEN) this.#forgetOldest();
    this.#byId.set(post.id, post);
    this.#order.push(post);
    this.#heldBytes += post.payload.length;
    while (this.#heldBytes > MAX_HELD_BYTES && this.#firstHeld < this.#order.length - 1) this.#spendOldest();
  }

  /** Drops what is too old at `now`. */
  expire(now: Instant): void {
    for (let post = this.#order[this.#firstHeld]; post !== undefined; post = this.#order[this.#firstHeld]) {
      if (now - post.at < HELD_FOR_MS) break;
      this.#spendOldest();
    }
    for (let post = this.#order[this.#first]; post !== undefined; post = this.#order[this.#first]) {
      if (now - post.at < SEEN_FOR_MS) break;
      this.#forgetOldest();
    }
  }

  /** The consumer does not want `post` spread: its payload goes at once. */
  drop(post: Post, state: "rejected" | "spent"): void {
    post.state = state;
    this.#dropPayload(post);
  }

  /** What is held and no older than `since`: of each topic the newest `most`, newest first, so that a storm about one hides no other. */
  recent(since: Instant, most: number): Post[] {
    const found: Post[] = [];
    const counts = new Map<Topic, number>();
    for (let index = this.#order.length - 1; index >= this.#firstHeld; index--) {
      const post = this.#order[index] as Post;
      if (post.at < since) break;
      const count = counts.get(post.topic) ?? 0;
      if (post.state !== "held" || count >= most) continue;
      counts.set(post.topic, count + 1);
      found.push(post);
    }
    return found;
  }

  /** Forgets what is known of the neighbour in `slot`, which another takes over. */
  reset(slot: number): void {
    for (let index = this.#firstHeld; index < this.#order.length; index++) {
      const post = this.#order[index] as Post;
      post.known.delete(slot);
      post.sent.delete(slot);
      if (post.parent === slot) post.parent = NO_SLOT;
    }
  }

  #spendOldest(): void {
    const post = this.#order[this.#firstHeld++] as Post;
    if (post.state !== "rejected") post.state = "spent";
    this.#dropPayload(post);
  }

  #forgetOldest(): void {
    if (this.#firstHeld === this.#first) this.#spendOldest();
    this.#byId.delete((this.#order[this.#first++] as Post).id);
    // Half of the array is forgotten posts: copying the rest costs a constant per post.
    if (this.#first < 64 || this.#first * 2 < this.#order.length) return;
    this.#order = this.#order.slice(this.#first);
    this.#firstHeld -= this.#first;
    this.#first = 0;
  }

  #dropPayload(post: Post): void {
    this.#heldBytes -= post.payload.length;
    post.payload = NO_PAYLOAD;
  }
}
