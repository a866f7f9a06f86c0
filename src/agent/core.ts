import { StarlingError } from "../errors.ts";
import { Timers } from "../host/timers.ts";
import type { MemberEvent } from "../proto/membership/effects.ts";
import type { Mesh } from "../proto/mesh.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { StreamPriority } from "../proto/streams/events.ts";
import type { Post } from "../proto/topics/post.ts";
import type { SelfStatus } from "../status.ts";
import { Buckets, bucketHost } from "./buckets.ts";
import { keepCompany } from "./company.ts";
import { Connections } from "./connections.ts";
import { member as memberCredential } from "./credential.ts";
import { dialOutcome } from "./dial-outcome.ts";
import { type AgentEventTarget, LinkChangeEvent, MemberChangeEvent, ReseededEvent } from "./events.ts";
import { FaultLog } from "./fault-log.ts";
import { joinFailure } from "./first-join.ts";
import { type Government, govern } from "./government.ts";
import { ISSUER_PROTOCOL, issuersAmong, renewAt, renewHere, withIssuerLabel } from "./issuing.ts";
import { MeshHost } from "./mesh-host.ts";
import { meshOptionsOf } from "./mesh-options.ts";
import { Network } from "./network.ts";
import { OpenLinks } from "./open-links.ts";
import { expelOutlaws, outlawed } from "./outlawed.ts";
import type { PeerLink } from "./peer-link.ts";
import { checkMayOpen, guardReads } from "./permissions.ts";
import type { Preparation } from "./prepare.ts";
import { reach } from "./reach.ts";
import { RelayedLinks } from "./relayed-links.ts";
import { mayNotRelay, mayRelay } from "./relaying.ts";
import { RELAY_PROTOCOL } from "./relays.ts";
import { keepRemembering, remember } from "./remember.ts";
import { Servers } from "./servers.ts";
import { Services } from "./services.ts";
import { isOut, memberInfo, memberInfos } from "./status-view.ts";
import type { MeshStream } from "./stream.ts";
import { takeLeave } from "./take-leave.ts";
import { Tenure } from "./tenure.ts";
import { watchSurroundings } from "./watch-surroundings.ts";
import { Ways } from "./ways.ts";

/** How long the WebRTC stack gets to let go of what it holds, ms. Nothing of ours waits for the rest. */
const STACK_MS = 2_000;

/**
 * What an agent is made of: its links, servers, mesh, buckets and services, and how what one of them says reaches the others. It
 * decides nothing that a part could decide, and has no reader but `agent.ts`, which is what applications see of it.
 */
export class AgentCore {
  readonly prepared: Preparation;
  readonly connections: Connections;
  readonly relayed: RelayedLinks;
  readonly network: Network;
  readonly servers: Servers;
  readonly buckets: Buckets;
  readonly services: Services;
  readonly tenure: Tenure;
  readonly faults: FaultLog;
  readonly #face: AgentEventTarget;
  readonly #posted: (post: Post) => void;
  readonly government: Government;
  readonly #open = new OpenLinks();
  readonly #timers = new Timers();
  #company: ReturnType<typeof keepCompany> | undefined;
  readonly #admitted = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<StarlingError | undefined>();
  #host: MeshHost | undefined;
  #ways: Ways | undefined;
  #state: SelfStatus["state"] = "joining";

  /** @param face where events are dispatched. @param posted something was published, by us too. */
  constructor(prepared: Preparation, face: AgentEventTarget, posted: (post: Post) => void) {
    this.#posted = posted;
    this.#face = face;
    this.prepared = prepared;
    const { trust, now, issuing } = prepared;
    this.faults = new FaultLog(prepared);
    this.services = new Services(
      // Before its record has come a peer has the token that admitted its link.
      (peer) =>
        (this.#host?.mesh.membership.member(peer)?.facts ?? this.connections.link(peer)?.peer.token)?.scopes ?? [],
      (peer) => this.faults.report(peer, "stream-forbidden"),
    );
    this.tenure = new Tenure({
      ...prepared,
      face,
      later: this.#timers.later,
      held: (text) => this.#held(text),
      renewers: {
        here: (shown) => renewHere(issuing, shown, this.id, now()),
        servers: (shown) => this.servers.renew(shown),
        members: (shown) => this.#renewAtMembers(shown),
      },
    });
    this.network = new Network(prepared, this);
    const { paths } = this.network;
    this.government = govern(prepared, this.services, {
      members: () => memberInfos(this.mesh),
      open: (peer, protocol, options) => this.open(peer, protocol, options),
      later: this.#timers.later,
      face,
      spread: (decree, secrets) => this.#host?.spread(decree, secrets) ?? false,
      inForce: (decree) => {
        if (decree.kind === "issuers") this.tenure.outdated();
        expelOutlaws(trust.decrees, this.#host?.mesh.membership, this.connections);
        this.servers.compareDecrees();
      },
      outlawed: () => this.#fail(outlawed(prepared.state.path)),
    });
    const { governance } = this.government;
    this.connections = new Connections({
      ...prepared,
      paths,
      listener: {
        linkUp: (link) => {
          this.#host?.input({ type: "link-up", peer: link.id, rttMs: link.rttMs ?? 0 });
          prepared.audit.record({ action: "link.admit", actor: link.id, outcome: "ok" });
        },
        linkDown: (peer, reason, deliberate) => {
          this.#host?.input({ type: "link-down", peer, deliberate });
          if (this.#open.close(peer)) this.#face.dispatchEvent(new LinkChangeEvent("linkdown", peer, reason));
        },
        message: (peer, lane, bytes) => this.#host?.input({ type: "message", peer, lane, bytes }),
        dialFailed: (peer, failure) => {
          const outcome = dialOutcome(peer, failure);
          if (outcome) this.#host?.input(outcome);
        },
        handler: (protocol) => this.#open.guard(this.services.handlerOf(protocol)),
        fault: (peer, fault) => this.faults.report(peer, fault),
        post: (to, letter) => this.servers.signal(to, letter),
        carry: (to, letter, request) => this.#host?.signal(to, letter, request) ?? false,
        isNew: (peer) => this.servers.ready && this.#host?.mesh.membership.isSettled(peer, now()) !== true,
        boxKeyOf: (peer) => this.#host?.mesh.membership.member(peer)?.record.exchangeKey,
        isOut: (peer) => isOut(this.#host?.mesh, peer),
        redial: (peer) => this.#host?.input({ type: "try", peer }),
      },
    });
    this.relayed = new RelayedLinks({
      ...prepared,
      link: (peer) => this.connections.link(peer),
      towards: (peer) => this.#ways?.towards(peer) ?? [],
      isMember: (peer) => this.#host?.mesh.membership.member(peer)?.lapsed === false,
      handler: (protocol) => this.services.handlerOf(protocol),
      fault: (peer, fault) => this.faults.report(peer, fault),
    });
    this.services.provide(RELAY_PROTOCOL, (stream, from) => this.relayed.serve(stream, from));
    this.servers = new Servers({
      ...prepared,
      urls: prepared.signaling,
      tls: prepared.signalingTls,
      listener: {
        token: (text) => void this.#issued(text),
        unrenewed: (why) => void this.tenure.unrenewed(why),
        ready: () => this.connections.retry(),
        asked: async (request) => issuing?.desk.answer(request),
        progress: (line) => (this.#host ? undefined : prepared.progress(line)),
        decreed: (decrees) => governance.offer(decrees),
        issuers: (encoded) => void governance.offerIssuers(encoded),
        granted: (url, iceServers, skewMs) => paths.granted(url, iceServers, skewMs),
        introduced: (records) => this.#introduced(records),
        signal: (bytes) => this.connections.letter(bytes),
        undelivered: (peer, letter) => this.connections.undelivered(peer, letter),
        fenced: (detail) => this.#fail(new StarlingError("identity-in-use", detail)),
        refused: (code, detail, everywhere) => this.#refused(code, detail, everywhere),
      },
    });
    const replicated = bucketHost(
      () => this.mesh.replication,
      (request) => this.#host?.input(request),
    );
    this.buckets = new Buckets(guardReads(replicated, () => trust.token?.facts.scopes ?? []));
    this.network.provide(this.services);
    issuing?.begin({
      ...this,
      newestOf: (peer) => this.#host?.mesh.membership.member(peer)?.facts.lineage,
      relabel: (kid) =>
        this.#host?.input({ type: "update", profile: { labels: withIssuerLabel(prepared.labels, kid) } }),
    });
    if (trust.token) this.#join();
  }

  get id(): PeerId {
    return this.prepared.trust.id;
  }

  get state(): SelfStatus["state"] {
    return this.#state;
  }

  /** Settles when the agent has ended, with what ended it. */
  get closed(): Promise<StarlingError | undefined> {
    return this.#closed.promise;
  }

  get mesh(): Mesh {
    if (!this.#host) throw new StarlingError("internal", "an agent that exists has joined");
    return this.#host.mesh;
  }

  /** What the token in use grants. */
  get scopes(): readonly string[] {
    return this.prepared.trust.token?.facts.scopes ?? [];
  }

  /** Resolves when the agent takes part; rejects with why it does not. */
  async admitted(signal: AbortSignal | undefined): Promise<void> {
    const abort = (): void => this.#admitted.reject(new StarlingError("aborted", "the start was cancelled"));
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    const { prepared } = this;
    if (prepared.credential.kind === "join") {
      prepared.progress(`asking for a member token at ${prepared.signaling.join(", ") || "no signaling server"}`);
      const giveUp = () => this.#admitted.reject(joinFailure(this.servers.status(), this.servers.lacksIssuer, this.id));
      this.#timers.later(prepared.joinTimeoutMs, giveUp);
    }
    try {
      await this.#admitted.promise;
      if (signal?.aborted) throw new StarlingError("aborted", "the start was cancelled");
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  /** The link to a member, dialed where there is none. */
  linkTo(peer: PeerId, signal: AbortSignal | undefined): Promise<PeerLink> {
    return reach(peer, signal, {
      self: this.id,
      events: this.#face,
      closed: this.closed,
      isClosed: () => this.#state === "closed",
      link: () => this.connections.link(peer) ?? this.relayed.link(peer),
      isMember: () => this.mesh.membership.member(peer) !== undefined,
      isUnconnectable: () => this.mesh.overlay.unconnectable.has(peer),
      dial: () => this.#host?.input({ type: "try", peer }),
      relay: () => this.relayed.reach(peer),
    });
  }

  /** A stream to a member, if our token allows it. */
  async open(
    peer: PeerId,
    protocol: string,
    options: { readonly priority?: StreamPriority; readonly signal?: AbortSignal },
  ): Promise<MeshStream> {
    checkMayOpen(this.scopes, protocol);
    const link = await this.linkTo(peer, options.signal);
    return link.open(protocol, options.priority ?? "normal");
  }

  publish(topic: string, payload: Uint8Array): void {
    this.#host?.input({ type: "publish", topic, payload });
  }

  /** Says goodbye to everybody, hands over what is queued, then ends. */
  async leave(): Promise<void> {
    if (this.#state === "closed" || this.#state === "leaving") return void (await this.closed);
    this.#state = "leaving";
    await takeLeave({ ...this, host: this.#host });
    await this.end(undefined);
  }

  /** Ends at once. `failure`: what ended it. Idempotent. */
  async end(failure: StarlingError | undefined): Promise<void> {
    if (this.#state === "closed") return void (await this.closed);
    this.#state = "closed";
    this.#timers.stop();
    this.#company?.close();
    this.buckets.close();
    const { state, log } = this.prepared;
    if (this.#host) await remember(this.#host.mesh, this.id, state, log);
    this.#host?.close();
    this.relayed.close();
    this.connections.close();
    this.network.paths.close();
    await this.servers.close();
    await Promise.race([this.prepared.stacks.close(), new Promise((resolve) => setTimeout(resolve, STACK_MS).unref())]);
    await this.government.governance.settled();
    await this.prepared.storage.close();
    await this.prepared.issuing?.issuer.close();
    await this.prepared.relaying?.[Symbol.asyncDispose]();
    await this.prepared.audit.close();
    await state.close();
    this.#closed.resolve(failure);
  }

  /** A member token is held: from here on the agent takes part. */
  #join(): void {
    const { trust, log, state } = this.prepared;
    if (!trust.token || this.#host) return;
    if (this.prepared.relaying && !mayRelay(this.scopes)) {
      return void this.#admitted.reject(mayNotRelay());
    }
    const host = new MeshHost({
      ...this.prepared,
      mesh: meshOptionsOf(this.prepared, trust.token, this.connections),
      connections: this.connections,
      buckets: () => this.buckets,
      listener: {
        member: (event) => this.#member(event),
        present: (record) => this.servers.present(record),
        posted: (post) => this.#posted(post),
        isolated: () => this.#company?.input({ type: "isolated" }),
        superseded: () => this.#fail(new StarlingError("identity-in-use", "another agent has this node key")),
        storeFailed: (error) => this.#fail(error),
        opened: (peer) => this.#opened(peer),
        decreed: (decree, signed) => this.government.governance.decreed(decree, signed),
        rekeyed: (epoch) => this.government.governance.rekeyed(epoch),
        fault: (peer, fault) => this.faults.report(peer, fault),
        followed: (event) => this.#face.dispatchEvent(new ReseededEvent(event)),
      },
    });
    this.#host = host;
    this.#ways = new Ways(trust.id, host.mesh.membership, () => this.connections.links());
    const { remembered: records } = this.prepared;
    this.#company = keepCompany(host.mesh.links, this.servers, this.prepared.now, () =>
      host.input({ type: "introduced", standing: "remembered", records }),
    );
    this.network.relays.begin(this.#timers);
    keepRemembering(this.#timers, host.mesh, this.id, state, log);
    watchSurroundings(this.#timers, this.prepared, this.servers, this.connections);
    this.tenure.begin();
    this.government.begin();
    this.#admitted.resolve();
  }

  /** A link may be used. */
  #opened(peer: PeerId): void {
    this.#state = this.#state === "joining" ? "joined" : this.#state;
    this.#company?.input({ type: "link-up" });
    this.#open.open(peer);
    this.#face.dispatchEvent(new LinkChangeEvent("linkup", peer));
  }

  /** A token was issued to us. */
  async #issued(text: string): Promise<void> {
    const fault = await this.tenure.hold(text);
    if (fault !== undefined && !this.#host)
      this.#admitted.reject(new StarlingError("token-invalid", `the issued token does not hold: ${fault}`));
  }

  /** Another token is in use. */
  #held(text: string): void {
    const { token } = this.prepared.trust;
    if (this.#state === "closed" || !token) return;
    this.servers.credential(memberCredential(text));
    if (this.#host) {
      this.#host.input({ type: "token", token: { token: text, facts: token.facts } });
      this.tenure.schedule();
    } else this.#join();
  }

  async #renewAtMembers(shown: string): Promise<{ readonly token: string } | { readonly why: string }> {
    if (!this.#host) return { why: "this agent has no link" };
    const isLinked = (peer: PeerId): boolean => this.connections.link(peer) !== undefined;
    const issuers = issuersAmong(memberInfos(this.mesh), this.prepared.trust.issuers, isLinked);
    return renewAt(issuers, shown, (peer, signal) => this.open(peer, ISSUER_PROTOCOL, { signal }));
  }

  #introduced(records: readonly Uint8Array[]): void {
    this.#host?.input({ type: "introduced", standing: "present", records });
    if (records.length === 0 && this.#state === "joining" && this.#host) this.#state = "joined";
  }

  #member(event: MemberEvent): void {
    if (event.cause === "revoked" || event.cause === "expired") this.relayed.expel(event.peer);
    const member = memberInfo(this.mesh, event.peer);
    if (!member) return;
    this.connections.memberChanged(event.peer);
    if (event.event !== "updated")
      this.prepared.log.info(`member ${event.event}`, { peer: event.peer, name: member.name, cause: event.cause });
    const type = event.event === "updated" ? "memberupdate" : (`member${event.event}` as const);
    this.#face.dispatchEvent(new MemberChangeEvent(type, member, event.previous));
  }

  #refused(code: string, detail: string, everywhere: boolean): void {
    this.prepared.log.error("signaling refused", { code, detail });
    // Without a token there is nothing that it could do; with one, the mesh goes on without this server.
    if (!this.#host && everywhere)
      this.#admitted.reject(new StarlingError("signaling-refused", `the signaling server refuses: ${detail}`));
  }

  #fail(error: StarlingError): void {
    this.prepared.log.error(error.message, { code: error.code });
    if (!this.#host) this.#admitted.reject(error);
    void this.end(error);
  }
}
