import { Bucket, Buckets, bucketHost } from "./agent/bucket.ts";
import { Connections } from "./agent/connections.ts";
import { member as memberCredential } from "./agent/credential.ts";
import { AgentEventTarget, LinkChangeEvent, MemberChangeEvent, type MemberInfo } from "./agent/events.ts";
import { FaultLog } from "./agent/fault-log.ts";
import { MeshHost } from "./agent/mesh-host.ts";
import type { PeerLink } from "./agent/peer-link.ts";
import { type Preparation, prepare } from "./agent/prepare.ts";
import { reach } from "./agent/reach.ts";
import { Servers } from "./agent/servers.ts";
import { describeStatus, memberInfo, recordsOf } from "./agent/status-view.ts";
import type { MeshStream } from "./agent/stream.ts";
import { StarlingError } from "./errors.ts";
import { type AgentOptions, checkOptions } from "./options.ts";
import type { MemberEvent } from "./proto/membership/effects.ts";
import type { Mesh } from "./proto/mesh.ts";
import type { DialFailure } from "./proto/negotiation/outcome.ts";
import type { PeerId } from "./proto/peer-id.ts";
import type { StreamPriority } from "./proto/streams/events.ts";
import type { AgentStatus, MemberPath } from "./status.ts";

/** How long `leave` waits for what is queued, ms. */
const DRAIN_MS = 2_000;
/** How long the WebRTC stack gets to let go of what it holds, ms. Nothing of ours waits for the rest. */
const STACK_MS = 2_000;
/** How long an announcement of leaving gets to spread before the links close, ms. */
const FAREWELL_MS = 150;
/** While no link stands, members are asked for at this pace and then ever more slowly; with links, to merge what was split. */
const SEEK_MS = 250;
const LONGEST_SEEK_MS = 15_000;
const MERGE_MS = 60_000;
/** Records of members are kept for the next start at this pace, ms: a crash loses a minute of news. */
const REMEMBER_MS = 60_000;
/** A renewal that fails is tried again after this, ms. */
const RENEW_RETRY_MS = 60_000;
/** Takes a stream that a member has opened. When it throws, or what it returns rejects, the stream is reset. */
export type StreamHandler = (stream: MeshStream, from: PeerId) => void | Promise<void>;

/**
 * Starts an agent; one that exists is running. Resolves when it holds a member token and takes part, which for a first start
 * by a join invite needs a signaling server. Rejects with a {@link StarlingError}: `no-cluster`, `invite-invalid`,
 * `token-expired`, `signaling-refused`, `state-locked`, `rtc-unavailable`, `aborted` and others say what to do.
 */
export async function createAgent(options: AgentOptions = {}): Promise<Agent> {
  checkOptions(options);
  const prepared = await prepare(options);
  return Agent.start(prepared, options.signal);
}

/** One member of a cluster: knows the others, is linked with some, shares buckets with all. */
export class Agent extends AgentEventTarget {
  readonly #prepared: Preparation;
  readonly #connections: Connections;
  readonly #servers: Servers;
  readonly #buckets: Buckets;
  readonly #handlers = new Map<string, StreamHandler>();
  readonly #faults: FaultLog;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #admitted = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<StarlingError | undefined>();
  #host: MeshHost | undefined;
  #state: "joining" | "joined" | "leaving" | "closed" = "joining";
  #seekMs = SEEK_MS;

  /** For {@link createAgent}. */
  static async start(prepared: Preparation, signal: AbortSignal | undefined): Promise<Agent> {
    const agent = new Agent(prepared);
    const abort = (): void => agent.#admitted.reject(new StarlingError("aborted", "the start was cancelled"));
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    try {
      await agent.#admitted.promise;
      if (signal?.aborted) throw new StarlingError("aborted", "the start was cancelled");
      return agent;
    } catch (error) {
      await agent.close();
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  private constructor(prepared: Preparation) {
    super();
    this.#prepared = prepared;
    const { trust, stack, random, now, log, credential } = prepared;
    this.#faults = new FaultLog(log, now);
    this.#connections = new Connections({
      trust,
      stack,
      random,
      now,
      log,
      iceServers: prepared.iceServers,
      extraAddresses: prepared.extraAddresses,
      listener: {
        linkUp: (link) => {
          this.#host?.input({ type: "link-up", peer: link.id, rttMs: link.rttMs ?? 0 });
          this.#state = this.#state === "joining" ? "joined" : this.#state;
          this.#seekMs = SEEK_MS;
          this.dispatchEvent(new LinkChangeEvent("linkup", link.id));
        },
        linkDown: (peer, reason, deliberate) => {
          this.#host?.input({ type: "link-down", peer, deliberate });
          this.dispatchEvent(new LinkChangeEvent("linkdown", peer, reason));
        },
        message: (peer, lane, bytes) => this.#host?.input({ type: "message", peer, lane, bytes }),
        dialFailed: (peer, failure) => this.#dialFailed(peer, failure),
        handler: (protocol) => this.#handlers.get(protocol),
        fault: (peer, fault) => this.#faults.report(peer, fault),
        post: (to, letter) => this.#servers.signal(to, letter),
        boxKeyOf: (peer) => this.#host?.mesh.membership.member(peer)?.record.exchangeKey,
      },
    });
    this.#servers = new Servers({
      urls: prepared.signaling,
      trust,
      credential,
      random,
      now,
      log,
      listener: {
        token: (text) => this.#hold(text),
        issuers: (encoded) => trust.offerIssuers(encoded),
        introduced: (records) => this.#introduced(records),
        signal: (bytes) => this.#connections.letter(bytes),
        unreachable: (peer) => this.#connections.unreachable(peer),
        fenced: (detail) => this.#fail(new StarlingError("identity-in-use", detail)),
        refused: (code, detail, everywhere) => this.#refused(code, detail, everywhere),
        skewed: (url, skewMs) => this.#skewed(url, skewMs),
      },
    });
    this.#buckets = new Buckets(
      bucketHost(
        () => this.#mesh.replication,
        (request) => this.#host?.input(request),
      ),
    );
    if (trust.token) this.#join();
  }

  get id(): PeerId {
    return this.#prepared.trust.id;
  }

  get name(): string {
    return this.#prepared.name;
  }

  /** Resolves when the agent has ended: with nothing after `leave` or `close`, else with what ended it. */
  get closed(): Promise<StarlingError | undefined> {
    return this.#closed.promise;
  }

  /** Frames handed to links since the start, and faults of others by name: for benchmarks and metrics. */
  counters(): { readonly framesSent: number; readonly faults: Readonly<Record<string, number>> } {
    let framesSent = 0;
    for (const link of this.#connections.links()) framesSent += link.txFrames;
    return { framesSent, faults: this.#faults.counts() };
  }

  /** A snapshot; its shape is stable (`starling status --json`). */
  status(): AgentStatus {
    const { trust, name, now } = this.#prepared;
    const links = this.#connections.links();
    const sources = { trust, name, mesh: this.#mesh, servers: this.#servers, links, state: this.#state, now: now() };
    return describeStatus(sources);
  }

  /** Everybody known, this agent included. */
  members(): MemberInfo[] {
    const members: MemberInfo[] = [];
    for (const { record } of this.#mesh.membership.members()) {
      const member = memberInfo(this.#mesh, record.id);
      if (member) members.push(member);
    }
    return members;
  }

  /** A replicated bucket by its name: 1 to 64 of `a-z 0-9 . _ -`. */
  bucket(name: string): Bucket {
    return new Bucket(name, this.#buckets);
  }

  /** Takes streams of `protocol` (1 to 64 bytes) from now on; undefined refuses them again. */
  handle(protocol: string, handler: StreamHandler | undefined): void {
    if (handler) this.#handlers.set(protocol, handler);
    else this.#handlers.delete(protocol);
  }

  /** Opens a stream to a member, dialing it where there is no link yet. Messages may be sent at once. */
  async open(
    peer: PeerId,
    protocol: string,
    options: { readonly priority?: StreamPriority; readonly signal?: AbortSignal } = {},
  ): Promise<MeshStream> {
    const link = await this.#linkTo(peer, options.signal);
    return link.open(protocol, options.priority ?? "normal");
  }

  /** The round trip to a member over its link, and the path that the link takes. */
  async ping(
    peer: PeerId,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<{ rttMs: number; path: MemberPath }> {
    const link = await this.#linkTo(peer, options.signal);
    return { rttMs: await link.ping(options.signal), path: link.status().path };
  }

  /** Announces that this member leaves, hands over what is queued, then closes. Others show it as `left`. */
  async leave(): Promise<void> {
    if (this.#state === "closed" || this.#state === "leaving") return void (await this.closed);
    this.#state = "leaving";
    this.#host?.input({ type: "leave" });
    await new Promise((resolve) => setTimeout(resolve, FAREWELL_MS));
    await this.#connections.leave(DRAIN_MS);
    await this.#servers.leave();
    await new Promise((resolve) => setTimeout(resolve, FAREWELL_MS));
    await this.#end(undefined);
  }

  /** Ends at once, without a word: to others it looks like a crash. Idempotent. */
  close(): Promise<void> {
    return this.#end(undefined);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #mesh(): Mesh {
    if (!this.#host) throw new StarlingError("internal", "an agent that exists has joined");
    return this.#host.mesh;
  }

  /** A member token is held: from here on the agent takes part. */
  #join(): void {
    const { trust, random, now, log, name, labels, state } = this.#prepared;
    const { token } = trust;
    if (!token || this.#host) return;
    const host = new MeshHost({
      mesh: {
        self: trust.id,
        boot: state.bootCount,
        profile: { name, labels, protocols: { least: 1, most: 1 }, exchangeKey: trust.box.publicKey, capacity: 100 },
        token: { token: token.text, facts: token.facts },
        random,
      },
      trust,
      connections: this.#connections,
      buckets: () => this.#buckets,
      now,
      log,
      listener: {
        member: (event) => this.#member(event),
        present: (record) => this.#servers.present(record),
        isolated: () => this.#servers.nudge(),
        superseded: () =>
          this.#fail(new StarlingError("identity-in-use", "another agent has started with this node key")),
        fault: (peer, fault) => this.#faults.report(peer, fault),
      },
    });
    this.#host = host;
    host.input({ type: "introduced", standing: "remembered", records: this.#prepared.remembered });
    this.#later(this.#seekMs, () => this.#seek());
    this.#later(REMEMBER_MS, () => void this.#remember());
    this.#scheduleRenewal();
    this.#admitted.resolve();
  }

  async #hold(text: string): Promise<void> {
    const { trust, state, log, now } = this.#prepared;
    const fault = await trust.holdToken(text);
    if (fault !== undefined) {
      log.error("the token that was issued does not hold", { fault, now: new Date(now()).toISOString() });
      if (!this.#host)
        this.#admitted.reject(new StarlingError("token-invalid", `the issued token does not hold: ${fault}`));
      return;
    }
    await state
      .writeToken(text)
      .catch((error: unknown) => log.error("the token cannot be kept", { error: String(error) }));
    if (this.#state === "closed" || !trust.token) return;
    this.#servers.credential(memberCredential(text));
    if (this.#host) {
      this.#host.input({ type: "token", token: { token: text, facts: trust.token.facts } });
      this.#scheduleRenewal();
    } else this.#join();
  }

  /** At half of its life, and again and again if nobody renews it. */
  #scheduleRenewal(): void {
    const { trust, now } = this.#prepared;
    const { token } = trust;
    if (!token) return;
    const left = token.facts.expiresAt - now();
    const wait = Math.max(RENEW_RETRY_MS, left / 2);
    this.#later(wait, () => {
      if (trust.token !== token) return;
      this.#servers.renew(token.text);
      this.#scheduleRenewal();
    });
  }

  #introduced(records: readonly Uint8Array[]): void {
    this.#host?.input({ type: "introduced", standing: "present", records });
    if (records.length === 0 && this.#state === "joining" && this.#host) this.#state = "joined";
  }

  /** Alone, it asks the servers for others; linked, now and then, because a split is merged by one crossing link. */
  #seek(): void {
    this.#servers.introduce();
    const linked = this.#mesh.links.size > 0;
    this.#seekMs = linked ? SEEK_MS : Math.min(this.#seekMs * 2, LONGEST_SEEK_MS);
    this.#later(linked ? MERGE_MS : this.#seekMs, () => this.#seek());
  }

  async #remember(): Promise<void> {
    const { state, log } = this.#prepared;
    await state
      .writeMembers(recordsOf(this.#mesh, this.id))
      .catch((error: unknown) => log.warn("members are not remembered", { error: String(error) }));
    if (this.#state !== "closed") this.#later(REMEMBER_MS, () => void this.#remember());
  }

  #member(event: MemberEvent): void {
    const member = memberInfo(this.#mesh, event.peer);
    if (!member) return;
    this.#connections.recordKnown(event.peer);
    if (event.event !== "updated")
      this.#prepared.log.info(`member ${event.event}`, { peer: event.peer, name: member.name, cause: event.cause });
    const type = event.event === "updated" ? "memberupdate" : (`member${event.event}` as const);
    this.dispatchEvent(new MemberChangeEvent(type, member, event.previous));
  }

  #dialFailed(peer: PeerId, failure: DialFailure): void {
    if (failure.reason === "aborted" || failure.reason === "closing") return;
    const refused =
      failure.reason === "peer-busy" || failure.reason === "peer-refused" || failure.stage === "admission";
    if (refused) this.#host?.input({ type: "dial-refused", peer });
    else this.#host?.input({ type: "dial-failed", peer, reason: failure.stage === "signaling" ? "absent" : "no-path" });
  }

  #refused(code: string, detail: string, everywhere: boolean): void {
    this.#prepared.log.error("signaling refused", { code, detail });
    // Without a token there is nothing that it could do; with one, the mesh goes on without this server.
    if (!this.#host && everywhere)
      this.#admitted.reject(new StarlingError("signaling-refused", `the signaling server refuses: ${detail}`));
  }

  #skewed(url: string, skewMs: number): void {
    const seconds = Math.round(Math.abs(skewMs) / 1_000);
    const direction = skewMs > 0 ? "behind" : "ahead of";
    this.#prepared.log.warn(`this machine's clock is ${seconds} s ${direction} the server's; set it right`, { url });
  }

  #linkTo(peer: PeerId, signal: AbortSignal | undefined): Promise<PeerLink> {
    return reach(peer, signal, {
      self: this.id,
      events: this,
      closed: this.closed,
      isClosed: () => this.#state === "closed",
      link: () => this.#connections.link(peer),
      isMember: () => this.#mesh.membership.member(peer) !== undefined,
      dial: () => this.#host?.input({ type: "try", peer }),
    });
  }

  #later(ms: number, run: () => void): void {
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        run();
      },
      Math.min(ms, 2_147_483_647),
    );
    this.#timers.add(timer);
  }

  #fail(error: StarlingError): void {
    this.#prepared.log.error(error.message, { code: error.code });
    if (!this.#host) this.#admitted.reject(error);
    void this.#end(error);
  }

  async #end(failure: StarlingError | undefined): Promise<void> {
    if (this.#state === "closed") return void (await this.closed);
    this.#state = "closed";
    for (const timer of this.#timers) clearTimeout(timer);
    this.#buckets.close();
    if (this.#host) await this.#remember();
    this.#host?.close();
    this.#connections.close();
    await this.#servers.close();
    await Promise.race([this.#prepared.stack.close(), new Promise((resolve) => setTimeout(resolve, STACK_MS).unref())]);
    await this.#prepared.state.close();
    this.#closed.resolve(failure);
  }
}
