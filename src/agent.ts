import { Bucket, Buckets, bucketHost } from "./agent/bucket.ts";
import { Connections } from "./agent/connections.ts";
import { member as memberCredential } from "./agent/credential.ts";
import { LinkChangeEvent, MemberChangeEvent, type MemberInfo } from "./agent/events.ts";
import { FaultLog } from "./agent/fault-log.ts";
import { joinFailure } from "./agent/first-join.ts";
import { ISSUER_PROTOCOL, issuersAmong, renewAt, renewHere } from "./agent/issuing.ts";
import { MeshHost } from "./agent/mesh-host.ts";
import type { PeerLink } from "./agent/peer-link.ts";
import { checkMayOpen, guardReads } from "./agent/permissions.ts";
import { type Preparation, prepare } from "./agent/prepare.ts";
import { reach } from "./agent/reach.ts";
import { Servers } from "./agent/servers.ts";
import { Services } from "./agent/services.ts";
import { describeStatus, memberInfo, memberInfos } from "./agent/status-view.ts";
import type { MeshStream } from "./agent/stream.ts";
import { Tenure } from "./agent/tenure.ts";
import { TopicAgent, type TopicHost } from "./agent/topics.ts";
import { remember, Upkeep } from "./agent/upkeep.ts";
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
/** Takes a stream that a member has opened. When it throws, or what it returns rejects, the stream is reset. */
export type StreamHandler = (stream: MeshStream, from: PeerId) => void | Promise<void>;

/**
 * Starts an agent; one that exists is running. Resolves when it holds a member token and takes part, which for a first start
 * by a join invite needs a signaling server and an issuer. Rejects with a {@link StarlingError}: `no-cluster`, `invite-invalid`,
 * `token-expired`, `signaling-refused`, `signaling-unreachable`, `issuer-unreachable`, `state-locked`, `rtc-unavailable`,
 * `aborted` and others say what to do.
 */
export async function createAgent(options: AgentOptions = {}): Promise<Agent> {
  checkOptions(options);
  const prepared = await prepare(options);
  return Agent.start(prepared, options.signal);
}

/** One member of a cluster: knows the others, is linked with some, shares buckets with all. */
export class Agent extends TopicAgent {
  readonly #prepared: Preparation;
  readonly #connections: Connections;
  readonly #servers: Servers;
  readonly #buckets: Buckets;
  readonly #services: Services;
  readonly #tenure: Tenure;
  readonly #faults: FaultLog;
  readonly #upkeep = new Upkeep();
  readonly #admitted = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<StarlingError | undefined>();
  #host: MeshHost | undefined;
  #state: "joining" | "joined" | "leaving" | "closed" = "joining";

  /** For {@link createAgent}. */
  static async start(prepared: Preparation, signal: AbortSignal | undefined): Promise<Agent> {
    const agent = new Agent(prepared);
    const abort = (): void => agent.#admitted.reject(new StarlingError("aborted", "the start was cancelled"));
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    if (prepared.credential.kind === "join") {
      prepared.progress(`asking for a member token at ${prepared.signaling.join(", ") || "no signaling server"}`);
      const giveUp = () =>
        agent.#admitted.reject(joinFailure(agent.#servers.status(), agent.#servers.lacksIssuer, agent.id));
      agent.#upkeep.later(prepared.joinTimeoutMs, giveUp);
    }
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
    const { trust, stack, random, now, log, credential, issuing } = prepared;
    this.#faults = new FaultLog(log, now);
    this.#services = new Services(
      (peer) => this.#host?.mesh.membership.member(peer)?.facts.scopes ?? [],
      (peer) => this.#faults.report(peer, "stream-forbidden"),
    );
    this.#tenure = new Tenure({
      ...prepared,
      later: (ms, run) => this.#upkeep.later(ms, run),
      held: (text) => this.#held(text),
      renewers: {
        here: (token) => renewHere(issuing, token, this.id, now()),
        servers: (token) => this.#servers.renew(token),
        members: (token) => this.#renewAtMembers(token),
      },
    });
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
          this.#upkeep.linked();
          this.dispatchEvent(new LinkChangeEvent("linkup", link.id));
        },
        linkDown: (peer, reason, deliberate) => {
          this.#host?.input({ type: "link-down", peer, deliberate });
          this.dispatchEvent(new LinkChangeEvent("linkdown", peer, reason));
        },
        message: (peer, lane, bytes) => this.#host?.input({ type: "message", peer, lane, bytes }),
        dialFailed: (peer, failure) => this.#dialFailed(peer, failure),
        handler: (protocol) => this.#services.handlerOf(protocol),
        fault: (peer, fault) => this.#faults.report(peer, fault),
        post: (to, letter) => this.#servers.signal(to, letter),
        carry: (to, letter, request) => this.#host?.signal(to, letter, request) ?? false,
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
        token: (text) => void this.#issued(text),
        unrenewed: () => void this.#tenure.unrenewed(),
        asked: async (request) => issuing?.desk.answer(request),
        progress: (line) => (this.#host ? undefined : prepared.progress(line)),
        issuers: (encoded) => void this.acceptIssuers(encoded),
        introduced: (records) => this.#introduced(records),
        signal: (bytes) => this.#connections.letter(bytes),
        unreachable: (peer) => this.#connections.unreachable(peer),
        fenced: (detail) => this.#fail(new StarlingError("identity-in-use", detail)),
        refused: (code, detail, everywhere) => this.#refused(code, detail, everywhere),
      },
    });
    const replicated = bucketHost(
      () => this.#mesh.replication,
      (request) => this.#host?.input(request),
    );
    this.#buckets = new Buckets(guardReads(replicated, () => trust.token?.facts.scopes ?? []));
    if (issuing) {
      this.#services.provide(ISSUER_PROTOCOL, (stream, from) => issuing.serve(stream, from));
      this.#servers.desk(issuing.desk.encoded);
    }
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
    const running = { mesh: this.#mesh, servers: this.#servers, connections: this.#connections };
    return describeStatus({ trust, name, ...running, state: this.#state, now: now() });
  }

  /** Everybody known, this agent included. */
  members(): MemberInfo[] {
    return memberInfos(this.#mesh);
  }

  /** A replicated bucket by its name: 1 to 64 of `a-z 0-9 . _ -`. */
  bucket(name: string): Bucket {
    return new Bucket(name, this.#buckets);
  }

  /**
   * Takes streams of `protocol` (1 to 64 bytes) from now on, of members whose token allows `stream:PROTOCOL`; undefined refuses
   * them again.
   */
  handle(protocol: string, handler: StreamHandler | undefined): void {
    this.#services.handle(protocol, handler);
  }

  /**
   * Takes a signed list of issuing keys, from wherever it comes. True if the root signed it and it is newer than the one in
   * force: it is then in force at once, and kept. Older and forged lists change nothing. Never rejects.
   */
  acceptIssuers(encoded: Uint8Array): Promise<boolean> {
    return this.#tenure.offerIssuers(encoded);
  }

  /**
   * Opens a stream to a member, dialing it where there is no link yet. Messages may be sent at once. Rejects with
   * `permission-denied` when this agent's token lacks `stream:PROTOCOL`.
   */
  async open(
    peer: PeerId,
    protocol: string,
    options: { readonly priority?: StreamPriority; readonly signal?: AbortSignal } = {},
  ): Promise<MeshStream> {
    checkMayOpen(this.#prepared.trust.token?.facts.scopes ?? [], protocol);
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
  override close(): Promise<void> {
    return this.#end(undefined);
  }

  protected override topicHost(): TopicHost {
    const { trust, now } = this.#prepared;
    const publish = (topic: string, payload: Uint8Array) => this.#host?.input({ type: "publish", topic, payload });
    const isClosed = this.#state === "closed";
    return { scopes: trust.token?.facts.scopes ?? [], now: now(), ended: this.closed, isClosed, publish };
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
        posted: (post) => this.posted(post),
        isolated: () => this.#servers.nudge(),
        superseded: () =>
          this.#fail(new StarlingError("identity-in-use", "another agent has started with this node key")),
        fault: (peer, fault) => this.#faults.report(peer, fault),
      },
    });
    this.#host = host;
    host.input({ type: "introduced", standing: "remembered", records: this.#prepared.remembered });
    this.#upkeep.seek(host.mesh, this.#servers);
    this.#upkeep.remember(host.mesh, this.id, state, log);
    this.#tenure.schedule();
    this.#admitted.resolve();
  }

  /** A token was issued to us. */
  async #issued(text: string): Promise<void> {
    const fault = await this.#tenure.hold(text);
    if (fault !== undefined && !this.#host)
      this.#admitted.reject(new StarlingError("token-invalid", `the issued token does not hold: ${fault}`));
  }

  /** Another token is in use. */
  #held(text: string): void {
    const { token } = this.#prepared.trust;
    if (this.#state === "closed" || !token) return;
    this.#servers.credential(memberCredential(text));
    if (this.#host) {
      this.#host.input({ type: "token", token: { token: text, facts: token.facts } });
      this.#tenure.schedule();
    } else this.#join();
  }

  async #renewAtMembers(token: string): Promise<{ readonly token: string } | { readonly why: string }> {
    if (!this.#host) return { why: "this agent has no link" };
    const isLinked = (peer: PeerId): boolean => this.#connections.link(peer) !== undefined;
    const issuers = issuersAmong(this.members(), this.#prepared.trust.issuers, isLinked);
    return renewAt(issuers, token, (peer, signal) => this.open(peer, ISSUER_PROTOCOL, { signal }));
  }

  #introduced(records: readonly Uint8Array[]): void {
    this.#host?.input({ type: "introduced", standing: "present", records });
    if (records.length === 0 && this.#state === "joining" && this.#host) this.#state = "joined";
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

  #fail(error: StarlingError): void {
    this.#prepared.log.error(error.message, { code: error.code });
    if (!this.#host) this.#admitted.reject(error);
    void this.#end(error);
  }

  async #end(failure: StarlingError | undefined): Promise<void> {
    if (this.#state === "closed") return void (await this.closed);
    this.#state = "closed";
    this.#upkeep.stop();
    this.#buckets.close();
    const { state, log } = this.#prepared;
    if (this.#host) await remember(this.#host.mesh, this.id, state, log);
    this.#host?.close();
    this.#connections.close();
    await this.#servers.close();
    await Promise.race([this.#prepared.stack.close(), new Promise((resolve) => setTimeout(resolve, STACK_MS).unref())]);
    await this.#tenure.settled();
    await this.#prepared.issuing?.issuer.close();
    await state.close();
    this.#closed.resolve(failure);
  }
}
