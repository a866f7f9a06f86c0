import type { Administration } from "./agent/administration.ts";
import { portions } from "./agent/backup.ts";
import { Bucket, type Entry, view } from "./agent/bucket.ts";
import { AgentCore } from "./agent/core.ts";
import { type AgentCounters, countersOf } from "./agent/counters.ts";
import type { MemberInfo } from "./agent/events.ts";
import { type Preparation, prepare } from "./agent/prepare.ts";
import type { Rotations } from "./agent/rotations.ts";
import { describeStatus, memberInfos } from "./agent/status-view.ts";
import type { MeshStream } from "./agent/stream.ts";
import { TopicAgent, type TopicHost } from "./agent/topics.ts";
import type { AuditLog } from "./audit.ts";
import { writeBackup } from "./drivers/store/backup-file.ts";
import type { StarlingError } from "./errors.ts";
import type { NetcheckReport } from "./netcheck.ts";
import { type AgentOptions, checkOptions } from "./options.ts";
import type { PeerId } from "./proto/peer-id.ts";
import type { StreamPriority } from "./proto/streams/events.ts";
import type { AgentStatus, MemberPath } from "./status.ts";
import type { WhyReport } from "./why.ts";

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
  readonly #core: AgentCore;

  /** For {@link createAgent}. */
  static async start(prepared: Preparation, signal: AbortSignal | undefined): Promise<Agent> {
    const agent = new Agent(prepared);
    try {
      await agent.#core.admitted(signal);
      return agent;
    } catch (error) {
      await agent.close();
      throw error;
    }
  }

  private constructor(prepared: Preparation) {
    super();
    this.#core = new AgentCore(prepared, this, (post) => this.posted(post));
  }

  get id(): PeerId {
    return this.#core.id;
  }

  /** Where it is written down what was done, and what was tried and denied; an application adds what its users do. */
  get audit(): Pick<AuditLog, "record"> {
    return this.#core.prepared.audit;
  }

  /** Revocations and changes of the members' secrets, for whoever holds an issuing key or the root's. */
  get administration(): Administration {
    return this.#core.government.administration;
  }

  /** Other keys for those that speak for the cluster, and for what this agent alone holds. */
  get rotations(): Rotations {
    return this.#core.government.rotations;
  }

  /** What the token in use allows; changes with a renewal by another role at most. */
  get scopes(): readonly string[] {
    return this.#core.scopes;
  }

  get name(): string {
    return this.#core.prepared.name;
  }

  /** Resolves when the agent has ended: with nothing after `leave` or `close`, else with what ended it. */
  get closed(): Promise<StarlingError | undefined> {
    return this.#core.closed;
  }

  /** What happened and what waits, as numbers: for benchmarks and metrics. */
  counters(): AgentCounters {
    return countersOf(this.#core);
  }

  /** A snapshot; its shape is stable (`starling status --json`). */
  status(): AgentStatus {
    const { prepared, mesh, servers, connections, relayed, state, tenure, government } = this.#core;
    const { trust, name, storage, now } = prepared;
    return describeStatus({
      trust,
      name,
      storage,
      mesh,
      servers,
      connections,
      relayed,
      state,
      now: now(),
      warnings: { "token-expiring": tenure.warning, "issuing-key-expiring": government.notice.warning },
      keyEnd: government.keyEnd(),
      audit: government.copying.status(),
    });
  }

  /** Everybody known, this agent included. */
  members(): MemberInfo[] {
    return memberInfos(this.#core.mesh);
  }

  /**
   * What was written here to a bucket while this agent was away for longer than deletions are remembered, and is in no bucket: the key
   * may have been deleted since. It stays until the key is written again at this agent. Its versions are empty.
   */
  setAside(bucket: string): Entry[] {
    const aside = this.#core.mesh.replication.setAside().filter((entry) => entry.bucket === bucket);
    return aside.map(({ entry }) => view(entry));
  }

  /** A replicated bucket by its name: 1 to 64 of `a-z 0-9 . _ -`. */
  bucket(name: string): Bucket {
    return new Bucket(name, this.#core.buckets);
  }

  /**
   * Takes streams of `protocol` (1 to 64 bytes) from now on, of members whose token allows `stream:PROTOCOL`; undefined refuses
   * them again.
   */
  handle(protocol: string, handler: StreamHandler | undefined): void {
    this.#core.services.handle(protocol, handler);
  }

  /**
   * Takes a signed list of issuing keys, from wherever it comes. True if the root signed it and it is newer than the one in
   * force: it is then in force at once, and kept. Older and forged lists change nothing. Never rejects.
   */
  acceptIssuers(encoded: Uint8Array): Promise<boolean> {
    return this.#core.government.governance.offerIssuers(encoded);
  }

  /**
   * Opens a stream to a member, dialing it where there is no link yet. Messages may be sent at once. Rejects with
   * `permission-denied` when this agent's token lacks `stream:PROTOCOL`.
   */
  open(
    peer: PeerId,
    protocol: string,
    options: { readonly priority?: StreamPriority; readonly signal?: AbortSignal } = {},
  ): Promise<MeshStream> {
    return this.#core.open(peer, protocol, options);
  }

  /** The round trip to a member over its link, and the path that the link takes. */
  async ping(
    peer: PeerId,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<{ rttMs: number; path: MemberPath }> {
    const link = await this.#core.linkTo(peer, options.signal);
    return { rttMs: await link.ping(options.signal), path: link.status().path };
  }

  /**
   * What this machine's network is like: UDP, both address families, its NAT, and each configured server, which alone are asked. Takes a
   * second, or five where something is silent.
   */
  netcheck(): Promise<NetcheckReport> {
    return this.#core.network.netcheck();
  }

  /**
   * Writes everything that this agent holds at this instant, with its proofs, to a compressed file that is sealed under `passphrase`.
   * Resolves with the number of rows when the file is complete and on the disk. `starling restore` reads it.
   */
  backup(file: string, passphrase: string): Promise<number> {
    const { prepared, mesh } = this.#core;
    return writeBackup(file, prepared.trust.cluster.clusterId, passphrase, portions(mesh.replication.snapshot()));
  }

  /**
   * Why the path to a member is what it is: what its side and ours know of their networks and of their last dial, what it comes to and what
   * would make it direct. Rejects with `not-found`; a member that does not answer is part of the report.
   */
  why(peer: PeerId, options: { readonly signal?: AbortSignal } = {}): Promise<WhyReport> {
    return this.#core.network.why(peer, options.signal);
  }

  /**
   * Renews this agent's token at once, as it otherwise does by itself at half of its life, and with it the key that the next renewal
   * needs; when the new one ends. Rejects with `issuer-refused` when nobody renews it.
   */
  async rotateToken(): Promise<{ readonly id: string; readonly expiresAt: Date }> {
    const { facts } = await this.#core.tenure.rotate();
    return { id: facts.id ?? "", expiresAt: new Date(facts.expiresAt) };
  }

  /** Announces that this member leaves, hands over what is queued, then closes. Others show it as `left`. */
  leave(): Promise<void> {
    return this.#core.leave();
  }

  /** Ends at once, without a word: to others it looks like a crash. Idempotent. */
  override close(): Promise<void> {
    return this.#core.end(undefined);
  }

  protected override topicHost(): TopicHost {
    const { scopes, prepared, closed, state } = this.#core;
    const publish = (topic: string, payload: Uint8Array): void => this.#core.publish(topic, payload);
    return { scopes, now: prepared.now(), ended: closed, isClosed: state === "closed", publish };
  }
}
