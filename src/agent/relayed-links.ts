import type { Logger } from "../options.ts";
import type { Instant } from "../proto/machine.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { AdmittedPeer } from "../proto/session/admission.ts";
import type { AdmittedSession } from "../proto/session/resumption.ts";
import { type AdmittingContext, type AdmittingOutput, admitting } from "./admitting.ts";
import { ROUTED } from "./link-channel.ts";
import type { LinkStreamHandler } from "./link-streams.ts";
import { PeerLink } from "./peer-link.ts";
import { RelayedConnection } from "./relayed-connection.ts";
import { type Circuit, Relays } from "./relays.ts";
import type { MeshStream } from "./stream.ts";

/** A link of this kind on which no stream has been open for this long is given up, ms: others carry it. */
const IDLE_MS = 60_000;
/** A channel that ends within this was of no use, ms: another first hop is better. */
const EARLY_MS = 10_000;
/** How many are tried for one wish, each by other first hops than the ones that failed. */
const TRIES = 3;
/** Links of this kind that a member holds at once, and channels on which admission is under way; beyond, none is taken. */
const MAX_RELAYED = 64;
const MAX_ADMITTING = 16;

export interface RelayedLinksOptions extends AdmittingContext {
  readonly log: Logger;
  /** The direct link to a member. */
  link(peer: PeerId): PeerLink | undefined;
  /** Members with whom such a link stands, those that are best on the way to `peer` first. */
  towards(peer: PeerId): readonly PeerId[];
  isMember(peer: PeerId): boolean;
  handler(protocol: string): LinkStreamHandler | undefined;
  fault(peer: PeerId, fault: string): void;
}

/**
 * Links that lead through other members, for pairs that have no path to each other. They carry streams and nothing else: the mesh
 * does not know of them, so it neither counts on them nor routes over them, and goes on trying for a direct link.
 */
export class RelayedLinks {
  readonly #options: RelayedLinksOptions;
  readonly #relays: Relays;
  readonly #links = new Map<PeerId, PeerLink>();
  /** Every one that has not ended, also those that a newer one has replaced. */
  readonly #open = new Map<PeerLink, { usedAt: Instant }>();
  readonly #dials = new Map<PeerId, Promise<PeerLink | undefined>>();
  readonly #sweep: NodeJS.Timeout;
  #admitting = 0;
  #closed = false;

  constructor(options: RelayedLinksOptions) {
    this.#options = options;
    this.#relays = new Relays({
      trust: options.trust,
      now: options.now,
      link: (peer) => options.link(peer),
      towards: (peer) => options.towards(peer),
      isMember: (peer) => options.isMember(peer),
      accepted: (circuit) => void this.#admit(circuit),
      fault: (peer, fault) => options.fault(peer, fault),
    });
    this.#sweep = setInterval(() => this.#giveUpIdle(), IDLE_MS / 2);
    this.#sweep.unref();
  }

  link(peer: PeerId): PeerLink | undefined {
    return this.#links.get(peer);
  }

  /** Bytes that this member has carried for others since the start. */
  get carriedBytes(): number {
    return this.#relays.carriedBytes;
  }

  links(): IterableIterator<PeerLink> {
    return this.#links.values();
  }

  /** A link to `peer` through others; undefined when there is no way. Never rejects. */
  reach(peer: PeerId): Promise<PeerLink | undefined> {
    const link = this.#links.get(peer);
    if (link !== undefined) return Promise.resolve(link);
    let dial = this.#dials.get(peer);
    if (dial === undefined) {
      dial = this.#dial(peer).finally(() => this.#dials.delete(peer));
      this.#dials.set(peer, dial);
    }
    return dial;
  }

  /** Serves a stream of the relay protocol. */
  serve(stream: MeshStream, from: PeerId): Promise<void> {
    return this.#relays.serve(stream, from);
  }

  /** Ends every link of this kind with `peer`, which is no member any more. */
  expel(peer: PeerId): void {
    for (const link of [...this.#open.keys()]) if (link.id === peer) link.close("expelled");
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#sweep);
    for (const link of [...this.#open.keys()]) link.abandon("closing");
  }

  async #dial(peer: PeerId): Promise<PeerLink | undefined> {
    for (let left = TRIES; left > 0 && !this.#closed; left--) {
      const circuit = await this.#relays.dial(peer);
      if (circuit === undefined) return this.#links.get(peer);
      const link = await this.#admit(circuit);
      if (link !== undefined) return link;
      this.#relays.avoid(circuit.via);
    }
    return this.#links.get(peer);
  }

  /** Has both ends of a channel prove themselves to each other; the link that comes of it, if any. */
  async #admit(circuit: Circuit): Promise<PeerLink | undefined> {
    const { trust, fault } = this.#options;
    const { peer, role, via, localFingerprint, remoteFingerprint } = circuit;
    const connection = new RelayedConnection(circuit, () => fault(via, "relay-tampered"));
    const isFull = this.#open.size >= MAX_RELAYED || this.#admitting >= MAX_ADMITTING;
    if (this.#closed || isFull || !trust.token) {
      connection.close();
      return undefined;
    }
    const ended = Promise.withResolvers<{ peer: AdmittedPeer; session: AdmittedSession } | undefined>();
    const perform = (output: AdmittingOutput): void => {
      switch (output.type) {
        case "send":
          connection.send(output.frame);
          break;
        case "admitted":
          // The peer may speak as a link before ours listens.
          connection.listen(undefined);
          // Who still lacks the newest cluster key gets it over a direct link, before anything else.
          ended.resolve(output.peer.epoch === trust.keychain.clusterEpoch ? output : undefined);
          break;
        case "refused":
          if (output.reason !== "closed") fault(peer, `admission-${output.reason}`);
          ended.resolve(undefined);
          break;
      }
    };
    const channel = { role, expected: peer, localFingerprint, remoteFingerprint };
    const runner = admitting(this.#options, channel, perform);
    this.#admitting++;
    runner.input({ type: "open" });
    connection.listen((event) => {
      if (event.type === "frame") runner.input({ type: "frame", bytes: event.bytes });
      else if (event.type === "closed") runner.input({ type: "closed" });
    });
    const admitted = await ended.promise;
    this.#admitting--;
    runner.close();
    if (admitted !== undefined && !this.#closed) return this.#linked(admitted, circuit, connection);
    connection.close();
    return undefined;
  }

  #linked(
    { peer, session }: { readonly peer: AdmittedPeer; readonly session: AdmittedSession },
    { role, via }: Circuit,
    connection: RelayedConnection,
  ): PeerLink {
    const { now, log, handler, fault } = this.#options;
    const channel = {
      peer,
      session,
      role,
      connection,
      take: (notify: Parameters<RelayedConnection["listen"]>[0]) => connection.listen(notify),
    };
    const link = new PeerLink(channel, {
      stack: ROUTED,
      link: {},
      now,
      listener: {
        message: (from) => fault(from, "relayed-lane"),
        handler: (protocol) => handler(protocol),
        handlerFailed: (from, protocol, error) =>
          log.error("a stream handler failed", { from, protocol, error: String(error) }),
        fault: (from, name) => fault(from, name),
        // Its session is not gone on with: a direct link is sought all the while, and streams are opened anew there.
        detached: (lost, reason) => lost.abandon(reason),
        lost: (lost, reason, deliberate) => this.#lost(lost, via, reason, deliberate),
      },
    });
    this.#open.set(link, { usedAt: now() });
    this.#links.set(peer.id, link);
    log.info("relayed link up", { peer: peer.id, via, role });
    link.start();
    return link;
  }

  #lost(link: PeerLink, via: PeerId, reason: string, deliberate: boolean): void {
    const { now, log } = this.#options;
    this.#open.delete(link);
    if (this.#links.get(link.id) === link) this.#links.delete(link.id);
    if (!deliberate && now() - link.since < EARLY_MS) this.#relays.avoid(via);
    log.info("relayed link down", { peer: link.id, reason });
  }

  #giveUpIdle(): void {
    const now = this.#options.now();
    for (const [link, use] of this.#open) {
      if (link.busy) use.usedAt = now;
      else if (now - use.usedAt >= IDLE_MS) link.close("unwanted");
    }
  }
}
