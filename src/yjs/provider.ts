import { Awareness } from "y-protocols/awareness";
import { type Doc, mergeUpdates } from "yjs";
import {
  type Agent,
  type Entry,
  type MemberChangeEvent,
  type PeerId,
  StarlingError,
  type TopicMessage,
} from "../index.ts";
import { MAX_POST_BYTES } from "../proto/topics/limits.ts";
import { isTopic } from "../proto/topics/post.ts";
import { GuardedDocument } from "./guarded-document.ts";
import { LIVE_INTERVAL_MS, SAVE_INTERVAL_MS } from "./limits.ts";
import { Pace } from "./pace.ts";
import { Part } from "./part.ts";
import { Presence } from "./presence.ts";

/** What {@link YjsProvider} may be told. */
export interface YjsProviderOptions {
  /** Where documents are kept: a bucket that is on every member. Default `documents`. */
  readonly bucket?: string;
  /** Who is there. Default: a new one, which ends with the provider. */
  readonly awareness?: Awareness;
}

/** What a post is: its first byte. */
const Kind = { edit: 1, presence: 2, whoIsThere: 3 } as const;

/** Documents that an agent provides: a member has one part of each. */
const provided = new WeakMap<Agent, Set<string>>();

/**
 * Keeps a Yjs document in step with those of the same name at all other members, and in the store.
 *
 * Edits travel twice: merged for a tenth of a second as a post to the topic `yjs/NAME`, at most once and to who is there; and merged for
 * half a second into this member's part of the document, a value under `NAME/PEER` in the bucket, which reaches everybody in the
 * end. The parts of all members together are the document; each member writes its own only, so last-writer-wins loses
 * nothing. A part that another member has overwritten or deleted counts for nothing, and its owner, or who has the document, restores
 * what it held. An update that is none, or that Yjs cannot apply, is counted and has no effect.
 *
 * The token needs `kv:read` and `kv:write` for the bucket; without `topic:publish` and `topic:subscribe` for the topic edits are told by
 * the store alone, and presence not at all.
 */
export class YjsProvider {
  readonly name: string;
  readonly doc: Doc;
  readonly awareness: Awareness;
  /** Resolves when what this agent's store has of the document is in it; rejects with what the bucket says. */
  readonly synced: Promise<void>;
  readonly #agent: Agent;
  readonly #bucket: string;
  readonly #topic: string;
  readonly #ownsAwareness: boolean;
  readonly #guarded: GuardedDocument;
  readonly #part: Part;
  readonly #presence: Presence;
  readonly #ended = new AbortController();
  readonly #live = new Pace(LIVE_INTERVAL_MS, () => this.#tell());
  readonly #save = new Pace(SAVE_INTERVAL_MS, () => void this.flush().catch(() => undefined));
  #untold: Uint8Array[] = [];
  #saving: Promise<void> = Promise.resolve();
  #refused = 0;

  /** Throws `usage` for a name that is none, a bucket that is not on every member, or a document that this agent provides already. */
  constructor(agent: Agent, name: string, doc: Doc, options: YjsProviderOptions = {}) {
    const { bucket = "documents", awareness } = options;
    this.#topic = `yjs/${name}`;
    if (!isTopic(this.#topic))
      throw new StarlingError("usage", "a document's name has 1 to 60 of A-Z a-z 0-9 . _ ~ / -");
    if (agent.bucket(bucket).policy().replicas !== "all")
      throw new StarlingError("usage", `documents are kept in a bucket that is on every member; ${bucket} is not`);
    const names = provided.get(agent) ?? new Set();
    provided.set(agent, names);
    if (names.has(`${bucket}/${name}`)) throw new StarlingError("usage", `this agent provides ${name} already`);
    names.add(`${bucket}/${name}`);
    this.name = name;
    this.doc = doc;
    this.awareness = awareness ?? new Awareness(doc);
    this.#ownsAwareness = awareness === undefined;
    this.#agent = agent;
    this.#bucket = bucket;
    this.#guarded = new GuardedDocument(doc);
    this.#part = new Part(doc);
    this.#presence = new Presence(this.awareness, (update) => this.#publish(Kind.presence, update));
    doc.on("update", this.#edited);
    agent.addEventListener("memberdown", this.#gone);
    agent.addEventListener("memberleft", this.#gone);
    void this.#listen();
    this.synced = this.#load();
    this.synced.catch(() => undefined);
  }

  /** Updates and presence of others that were refused. */
  get refused(): number {
    return this.#refused;
  }

  /** Stores what was edited here; resolves and rejects as `put` does. It is done by itself, twice a second at most. */
  flush(): Promise<void> {
    const saving = this.#saving.then(async () => {
      await this.synced;
      if (!this.#part.isDue) return;
      await this.#agent.bucket(this.#bucket).put(this.#key(this.#agent.id), this.#part.take());
    });
    this.#saving = saving.catch(() => undefined);
    return saving;
  }

  /** Stores what is left, tells others that we go, and ends. Idempotent; the document stays. */
  async destroy(): Promise<void> {
    if (this.#ended.signal.aborted) return;
    this.doc.off("update", this.#edited);
    this.#live.stop();
    this.#save.stop();
    this.#tell();
    this.#presence.destroy();
    if (this.#ownsAwareness) this.awareness.destroy();
    await this.flush().catch(() => undefined);
    this.#ended.abort();
    this.#agent.removeEventListener("memberdown", this.#gone);
    this.#agent.removeEventListener("memberleft", this.#gone);
    this.#guarded.destroy();
    provided.get(this.#agent)?.delete(`${this.#bucket}/${this.name}`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy();
  }

  #key(member: PeerId): string {
    return `${this.name}/${member}`;
  }

  readonly #gone = ({ member }: MemberChangeEvent): void => this.#presence.gone(member.id);

  readonly #edited = (update: Uint8Array, origin: unknown): void => {
    if (origin === this) return;
    this.#guarded.edited(update);
    this.#part.edited(update);
    this.#untold.push(update);
    this.#live.want();
    this.#save.want();
  };

  #tell(): void {
    if (this.#untold.length > 0) this.#publish(Kind.edit, mergeUpdates(this.#untold.splice(0)));
  }

  /** What does not go this way, because it is too much or too often, goes by the store. */
  #publish(kind: number, bytes: Uint8Array): boolean {
    if (bytes.length >= MAX_POST_BYTES) return kind === Kind.edit;
    const payload = new Uint8Array(1 + bytes.length);
    payload[0] = kind;
    payload.set(bytes, 1);
    try {
      this.#agent.publish(this.#topic, payload);
      return true;
    } catch (error) {
      return !(error instanceof StarlingError && error.code === "limit-reached");
    }
  }

  async #load(): Promise<void> {
    const bucket = this.#agent.bucket(this.#bucket);
    const prefix = `${this.name}/`;
    const changes = bucket.watch({ prefix, signal: this.#ended.signal });
    // Watching begins here, before anything is read: nothing falls in between.
    const first = changes.next();
    first.catch(() => undefined);
    for (const entry of await bucket.list({ prefix, limit: Number.POSITIVE_INFINITY })) this.#stored(entry, true);
    const beyond = this.#guarded.beyond();
    if (beyond !== undefined) {
      this.#part.edited(beyond);
      this.#save.want();
    }
    void this.#follow(first, changes);
  }

  async #follow(
    first: Promise<IteratorResult<Entry, void>>,
    changes: AsyncGenerator<Entry, void, undefined>,
  ): Promise<void> {
    try {
      for (let next = await first; !next.done; next = await changes.next()) this.#stored(next.value);
    } catch {
      // The agent has ended, or may not read any more: its own methods say so.
    }
  }

  /** A member's part, as the store has it. Our own is news only at the beginning. */
  #stored({ key, author, value }: Entry, isBeginning = false): void {
    if (key === this.#key(author)) {
      if (value === undefined) return;
      if (!this.#guarded.take(value, this)) this.#refused++;
      else if (author === this.#agent.id && isBeginning) this.#part.stored(value);
      return;
    }
    const isPart = key.startsWith(`${this.name}/`) && !key.slice(this.name.length + 1).includes("/");
    if (!isPart) return;
    this.#refused++;
    this.#part.beWhole();
    this.#save.want();
  }

  async #listen(): Promise<void> {
    try {
      const posts = this.#agent.subscribe(this.#topic, { signal: this.#ended.signal });
      this.#publish(Kind.whoIsThere, new Uint8Array());
      this.#presence.tellSoon();
      for await (const post of posts) if (post.from !== this.#agent.id && !this.#heard(post)) this.#refused++;
    } catch {
      // Without the scope, or after the agent's end: the store alone, or nothing.
    }
  }

  #heard({ from, payload }: TopicMessage): boolean {
    const body = payload.subarray(1);
    switch (payload[0]) {
      case Kind.edit:
        return this.#guarded.take(body, this);
      case Kind.presence:
        return this.#presence.take(body, from);
      case Kind.whoIsThere:
        this.#presence.tellSoon();
        return true;
      default:
        return false;
    }
  }
}
