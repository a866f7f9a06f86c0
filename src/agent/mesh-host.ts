import type { StarlingError } from "../errors.ts";
import { Runner } from "../host/runner.ts";
import type { Logger } from "../options.ts";
import { unreachable } from "../proto/assert.ts";
import type { Decree, SignedDecree } from "../proto/decrees/decree.ts";
import type { Instant } from "../proto/machine.ts";
import type { MemberEvent } from "../proto/membership/effects.ts";
import { Mesh, type MeshInput, type MeshOptions, type MeshOutput } from "../proto/mesh.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { RowChange } from "../proto/replication/rows.ts";
import type { Post } from "../proto/topics/post.ts";
import type { Buckets } from "./buckets.ts";
import type { Connections } from "./connections.ts";
import { type Storage, storeFailure } from "./storage.ts";
import type { Trust } from "./trust.ts";
import { Turns } from "./turns.ts";

/** What the mesh tells the agent. */
export interface MeshListener {
  member(event: MemberEvent): void;
  /** Our record has changed. */
  present(record: Uint8Array): void;
  /** Something was published, by us too. */
  posted(post: Post): void;
  /** No link answers: it is probably this machine that lost the network. */
  isolated(): void;
  /** A later start under our key exists. */
  superseded(): void;
  /** The disk has failed: what is in memory and what is on the disk are no longer the same. */
  storeFailed(error: StarlingError): void;
  /** A link may be used: both its ends hold the same decrees and secrets. */
  opened(peer: PeerId): void;
  /** A decree has come into force. */
  decreed(decree: Decree, signed: SignedDecree): void;
  /** Other secrets are in use. */
  rekeyed(epoch: number): void;
  fault(peer: PeerId | undefined, fault: string): void;
  /** This agent was away longer than deletions are remembered, and has taken over what others have. */
  followed(event: Followed): void;
}

export type Followed = Extract<MeshOutput, { type: "followed" }>;

/** Runs the {@link Mesh} of an agent: its sends go to links, its checks to {@link Trust}, its events to the agent. */
export class MeshHost {
  readonly mesh: Mesh;
  readonly #runner: Runner<MeshInput, MeshOutput>;
  readonly #trust: Trust;
  readonly #connections: Connections;
  readonly #buckets: () => Buckets;
  readonly #storage: Storage;
  readonly #listener: MeshListener;
  readonly #log: Logger;
  /** A commit of the store releases up to a megabyte of broadcasts, and commits settle in groups. */
  readonly #durable = new Turns<number>((sequence) => this.#runner.input({ type: "stored", sequence }));

  constructor(options: {
    readonly mesh: MeshOptions;
    readonly trust: Trust;
    readonly connections: Connections;
    readonly buckets: () => Buckets;
    readonly storage: Storage;
    readonly now: () => Instant;
    readonly log: Logger;
    readonly listener: MeshListener;
  }) {
    this.#trust = options.trust;
    this.#connections = options.connections;
    this.#buckets = options.buckets;
    this.#storage = options.storage;
    this.#listener = options.listener;
    this.#log = options.log;
    const restoration = options.storage.takeRestoration();
    this.mesh = new Mesh({ ...options.mesh, ...(restoration && { restoration }) }, options.now());
    this.#runner = new Runner(
      this.mesh,
      options.now,
      () => ({ type: "timeout" }),
      (output) => this.#perform(output),
    );
  }

  input(input: MeshInput): void {
    this.#runner.input(input);
  }

  /** Has the mesh carry a sealed signal; the end of `request` is told to the connections. */
  signal(to: PeerId, letter: Uint8Array, request: number): true {
    this.#runner.input({ type: "signal", to, letter, request });
    return true;
  }

  /** Has the mesh apply a decree and spread it. */
  spread(decree: SignedDecree, secrets: Uint8Array | undefined): true {
    this.#runner.input({ type: "decree", decree, ...(secrets && { secrets }) });
    return true;
  }

  close(): void {
    this.#runner.close();
  }

  #perform(output: MeshOutput): void {
    switch (output.type) {
      case "send":
        this.#connections.link(output.peer)?.send(output.lane, output.bytes);
        break;
      case "verify":
        void this.#verify(output);
        break;
      case "store":
        void this.#store(output.sequence, output.rows);
        break;
      case "sign":
        this.#runner.input({
          type: "signed",
          signature: this.#trust.sign(output.label, output.body),
          resume: output.resume,
        });
        break;
      case "dial":
        this.#connections.dial(output.peer);
        break;
      case "ask":
        this.#connections.ask(output.peer);
        break;
      case "drop":
        this.#connections.drop(output.peer, output.reason === "gone" ? "expelled" : "unwanted");
        break;
      case "present":
        this.#listener.present(output.record);
        break;
      case "event":
        this.#listener.member(output);
        break;
      default:
        this.#performRest(output);
    }
  }

  #performRest(output: RestOutput): void {
    switch (output.type) {
      case "acknowledged":
      case "unacknowledged":
      case "refused":
      case "conflict":
      case "changed":
      case "read":
      case "unreadable":
      case "drained":
        this.#buckets().event(output);
        break;
      case "followed":
        this.#log.warn(FOLLOWED, {
          awaySince: new Date(output.awaySince).toISOString(),
          peer: output.peer,
          removed: output.removed,
          setAside: output.setAside,
        });
        this.#listener.followed(output);
        break;
      case "resumed":
        this.#log.warn(RESUMED, { awaySince: new Date(output.awaySince).toISOString() });
        break;
      case "deferred":
        this.#log.warn("a write from the future was set aside: a clock is wrong", {
          author: output.author,
          aheadMs: output.aheadMs,
        });
        break;
      case "signal":
        this.#connections.letter(output.letter, "mesh");
        break;
      case "delivered":
      case "unreachable":
        this.#connections.carried(output.request, output.type === "delivered");
        break;
      case "post":
        this.#listener.posted(output.post);
        break;
      case "link-silent":
        this.#connections.link(output.peer)?.unanswered();
        break;
      case "isolated":
        this.#listener.isolated();
        break;
      case "superseded":
        this.#listener.superseded();
        break;
      case "opened":
        this.#listener.opened(output.peer);
        break;
      case "decreed":
        this.#listener.decreed(output.decree, output.signed);
        break;
      case "rekeyed":
        this.#listener.rekeyed(output.epoch);
        break;
      case "fault":
        this.#listener.fault(output.peer, output.fault);
        break;
      default:
        unreachable(output);
    }
  }

  async #store(sequence: number, rows: readonly RowChange[]): Promise<void> {
    try {
      await this.#storage.commit(rows);
    } catch (error) {
      this.#listener.storeFailed(storeFailure(error));
      return;
    }
    this.#durable.add(sequence);
  }

  async #verify(request: Extract<MeshOutput, { type: "verify" }>): Promise<void> {
    const verdict = await this.#trust.verify(request);
    const { resume, from } = request;
    // An honest member may have passed it on before it heard of the revocation, or while the list still named the issuer of its author's token.
    const isOutdated =
      !verdict.ok && (verdict.reason === "revoked" || (verdict.reason === "wrong-issuer" && request.at !== undefined));
    if (!verdict.ok) this.#runner.input({ type: "rejected", from, resume, blameless: isOutdated });
    else this.#runner.input({ type: "verified", resume, ...(verdict.token && { token: verdict.token }) });
  }
}

const FOLLOWED =
  "away longer than deletions are remembered: took over what others have; what was written here and is set aside is printed by kv export --set-aside";
const RESUMED = "everybody was away longer than deletions are remembered: going on with what is here";

type RestOutput = Exclude<
  MeshOutput,
  { type: "send" | "verify" | "sign" | "store" | "dial" | "ask" | "drop" | "present" | "event" }
>;
