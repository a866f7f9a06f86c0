import { setTimeout as pause } from "node:timers/promises";
import { Runner } from "../host/runner.ts";
import type { Logger } from "../options.ts";
import { assert } from "../proto/assert.ts";
import { equalBytes } from "../proto/bytes.ts";
import type { Instant } from "../proto/machine.ts";
import type { DialFailure } from "../proto/negotiation/outcome.ts";
import type { DialPlan } from "../proto/negotiation/plan.ts";
import type { RtcConnection, RtcEvent } from "../proto/negotiation/rtc.ts";
import { decline, type Signal } from "../proto/negotiation/signal.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { Random } from "../proto/random.ts";
import { type RenewalReason, Renewals, type RenewalsInput, type RenewalsOutput } from "../proto/session/renewals.ts";
import { type Change, isStranded } from "../proto/session/surroundings.ts";
import type { GoodbyeReason } from "../proto/streams/events.ts";
import type { Lane } from "../proto/streams/lanes.ts";
import { Courier, type SignalPath } from "./courier.ts";
import { Letters } from "./letters.ts";
import type { LinkStreamHandler } from "./link-streams.ts";
import { type AdmittedChannel, Pairing, type PairingContext } from "./pairing.ts";
import type { Paths } from "./paths.ts";
import { PeerLink } from "./peer-link.ts";
import { linkOptionsFor } from "./stacks.ts";
import type { Trust } from "./trust.ts";

/** Efforts to pair under way beyond which strangers are told to come back: a burst of newcomers, yet bounded work. */
const MAX_ENGAGED = 64;

/** How long the last word to a peer that is expelled may take, ms. */
const LAST_WORD_MS = 200;

/**
 * Sessions that wait for another connection at a time, at most 4 MiB each: more links than an agent has, all lost at once. Beyond
 * it the one with nothing to lose goes, else the one that waits longest.
 */
const MAX_DETACHED = 64;

/** What connections tell the agent. */
export interface ConnectionsListener {
  linkUp(link: PeerLink): void;
  linkDown(peer: PeerId, reason: string, deliberate: boolean): void;
  message(peer: PeerId, lane: Lane, bytes: Uint8Array): void;
  /** A dial that this side wanted ended without a link. */
  dialFailed(peer: PeerId, failure: DialFailure): void;
  handler(protocol: string): LinkStreamHandler | undefined;
  fault(peer: PeerId | undefined, fault: string): void;
  /** Hands a sealed letter to the signaling servers. */
  post(to: PeerId, letter: Uint8Array): void;
  /** Hands a sealed letter to the mesh; {@link Connections.carried} answers. False, or absent: there is no mesh. */
  carry?(to: PeerId, letter: Uint8Array, request: number): boolean;
  /** Whether a server listens, and `peer` or we have come only just: see {@link Courier}. Absent: never. */
  isNew?(peer: PeerId): boolean;
  /** The X25519 key in a member's record. */
  boxKeyOf(peer: PeerId): Uint8Array | undefined;
  /** Whether it has left, or its membership is void. */
  isOut(peer: PeerId): boolean;
  /** A session waits for a connection: dial the peer. */
  redial(peer: PeerId): void;
}

/** All pairings and links of one agent: at most one link to each peer, the newest. */
export class Connections {
  /** Those that have a connection. */
  readonly #links = new Map<PeerId, PeerLink>();
  /** These, and those that wait for another, the longest waiting first. */
  readonly #sessions = new Map<PeerId, PeerLink>();
  readonly #pairings = new Map<PeerId, Pairing>();
  /** Every connection that has not ended, also those that linger for a last frame and belong to nobody any more. */
  readonly #open = new Set<RtcConnection>();
  /** By name, for what a link may hand to its stack. */
  readonly #stackOf = new WeakMap<RtcConnection, string>();
  readonly #letters: Letters;
  readonly #courier: Courier;
  readonly #listener: ConnectionsListener;
  readonly #paths: Paths;
  readonly #now: () => Instant;
  readonly #log: Logger;
  readonly #pairingContext: PairingContext;
  readonly #renewals: Runner<RenewalsInput, RenewalsOutput>;
  #closed = false;

  constructor(options: {
    readonly trust: Trust;
    readonly paths: Paths;
    readonly random: Random;
    readonly now: () => Instant;
    readonly log: Logger;
    readonly listener: ConnectionsListener;
  }) {
    const { trust, random, now, listener } = options;
    this.#listener = listener;
    this.#paths = options.paths;
    this.#now = now;
    this.#log = options.log;
    this.#letters = new Letters(trust, now, (peer) => listener.boxKeyOf(peer));
    this.#courier = new Courier(listener, now);
    this.#renewals = new Runner(
      new Renewals(random),
      now,
      () => ({ type: "timeout" }),
      (output) => this.#performRenewal(output),
    );
    this.#pairingContext = {
      self: trust.id,
      trust,
      random,
      now,
      ladder: (peer) => this.#paths.ladder(peer, this.#links.has(peer)),
      connect: (plan, initiator, notify) => this.#connect(plan, initiator, notify),
      ended: (peer, result, rounds) => this.#paths.ended(peer, result, rounds),
      session: (peer) => this.#sessions.get(peer)?.held,
      sendSignal: (peer, signal) => this.#sendSignal(peer, signal),
      linked: (channel) => this.#linked(channel),
      failed: (peer, failure, wanted) => this.#failed(peer, failure, wanted),
      fault: (peer, fault) => listener.fault(peer, fault),
    };
  }

  link(peer: PeerId): PeerLink | undefined {
    return this.#links.get(peer);
  }

  links(): IterableIterator<PeerLink> {
    return this.#links.values();
  }

  dial(peer: PeerId): void {
    if (!this.#links.has(peer)) this.#pairing(peer)?.dial();
  }

  ask(peer: PeerId): void {
    if (!this.#links.has(peer)) this.#pairing(peer)?.ask();
  }

  /** Ends a link with a word, if there is one. */
  drop(peer: PeerId, reason: GoodbyeReason): void {
    const link = this.#links.get(peer);
    if (reason !== "expelled") link?.close(reason);
    // Why it is expelled is the last that it hears.
    else void Promise.race([link?.drain(), pause(LAST_WORD_MS)]).then(() => link?.close(reason));
  }

  /** Makes another connection beneath the link to `peer`, which carries on meanwhile; nothing where there is no link. */
  renew(peer: PeerId, reason: RenewalReason): void {
    if (!this.#links.has(peer)) return;
    this.#log.debug("renewing a link", { peer, reason });
    this.#renewals.input({ type: "renew", peer });
  }

  /** This machine's network has changed, or it slept. */
  shaken(change: Change): void {
    if (change.moved || change.woke) this.#paths.moved();
    for (const [peer, link] of this.#links) {
      if (isStranded(link.pair, change)) this.renew(peer, "moved");
      else if (change.woke && link.busy) this.renew(peer, "woke");
    }
    this.retry();
  }

  /** Signals may get through that did not: whoever waits for an answer tries again. */
  retry(): void {
    this.#renewals.input({ type: "changed" });
  }

  /** What carried the signals of the link to `peer`. */
  signaledBy(peer: PeerId): SignalPath {
    return this.#courier.signaledBy(peer);
  }

  /** The mesh has carried the letter of `request` to its recipient, or could not. */
  carried(request: number, delivered: boolean): void {
    this.#courier.carried(request, delivered);
  }

  /** A letter has come, from whom only its inside tells. */
  letter(bytes: Uint8Array, via: SignalPath = "server"): void {
    const opened = this.#letters.open(bytes);
    if (typeof opened === "string") {
      this.#listener.fault(undefined, `letter-${opened}`);
      return;
    }
    const { sender, signal } = opened;
    this.#courier.received(sender, via);
    const known = this.#pairings.get(sender);
    if (known) known.signal(signal);
    else if (signal.kind === "offer" || signal.kind === "ask") {
      if (this.#engaged() < MAX_ENGAGED) this.#pairing(sender)?.signal(signal);
      else this.#sendSignal(sender, decline(signal, "busy", this.#now()));
    }
    this.#forgetIdle(sender);
  }

  /** No server could hand over `letter` to `peer`. */
  undelivered(peer: PeerId, letter: Uint8Array): void {
    if (!this.#courier.unreachable(peer, letter)) this.#unreachable(peer);
  }

  #unreachable(peer: PeerId): void {
    this.#pairings.get(peer)?.abort("unreachable");
    this.#forgetIdle(peer);
  }

  /** Its record or its standing has changed: later letters are sealed for the key in it, and its session may be over. */
  memberChanged(peer: PeerId): void {
    this.#letters.forget(peer);
    const session = this.#sessions.get(peer);
    if (session?.isDetached) this.#endVoid(session);
  }

  /** Says goodbye on every link once what is queued has left, within `limitMs`. */
  async leave(limitMs: number): Promise<void> {
    const links = [...this.#links.values()];
    for (const session of [...this.#sessions.values()]) if (session.isDetached) session.close("leaving");
    const patience = Promise.withResolvers<void>();
    const timer = setTimeout(patience.resolve, limitMs);
    await Promise.race([Promise.all(links.map((link) => link.drain())), patience.promise]);
    clearTimeout(timer);
    for (const link of links) link.close("leaving");
    await Promise.race([Promise.all(links.map((link) => link.over)), patience]);
  }

  /** Ends everything at once. */
  close(): void {
    this.#closed = true;
    for (const pairing of this.#pairings.values()) pairing.close();
    this.#renewals.close();
    for (const session of [...this.#sessions.values()]) session.abandon("closing");
    for (const connection of this.#open) connection.close();
    this.#pairings.clear();
  }

  #performRenewal({ type, peer }: RenewalsOutput): void {
    if (type === "dial") this.#listener.redial(peer);
    else if (type === "renew") this.#pairing(peer)?.dial();
    else this.#pairings.get(peer)?.abort("unreachable");
  }

  #pairing(peer: PeerId): Pairing | undefined {
    if (this.#closed) return undefined;
    let pairing = this.#pairings.get(peer);
    if (!pairing) {
      pairing = new Pairing(peer, this.#pairingContext);
      this.#pairings.set(peer, pairing);
    }
    return pairing;
  }

  #engaged(): number {
    let engaged = 0;
    for (const pairing of this.#pairings.values()) if (pairing.engaged) engaged++;
    return engaged;
  }

  #forgetIdle(peer: PeerId): void {
    const pairing = this.#pairings.get(peer);
    if (pairing && !pairing.engaged && !this.#sessions.has(peer)) this.#pairings.delete(peer);
  }

  #connect(plan: DialPlan, initiator: boolean, notify: (event: RtcEvent) => void): RtcConnection {
    const { connection, stack } = this.#paths.connect(plan, initiator, (event) => {
      if (event.type === "closed") this.#open.delete(connection);
      notify(event);
    });
    this.#open.add(connection);
    this.#stackOf.set(connection, stack.name);
    return connection;
  }

  #sendSignal(peer: PeerId, signal: Signal): void {
    const letter = this.#letters.seal(peer, signal);
    if (letter) this.#courier.send(peer, letter);
    else queueMicrotask(() => this.#unreachable(peer));
  }

  #linked(channel: AdmittedChannel): void {
    const stack = this.#stackOf.get(channel.connection);
    assert(stack !== undefined, "links come of connections made here");
    if (channel.session.resumed) this.#resumed(channel, channel.session.resumed.cut, stack);
    else this.#began(channel, stack);
  }

  #began(channel: AdmittedChannel, stack: string): void {
    const peer = channel.peer.id;
    const before = this.#sessions.get(peer);
    const isReplaced = this.#links.has(peer);
    const link = new PeerLink(channel, {
      stack,
      link: linkOptionsFor(stack),
      now: this.#now,
      listener: {
        message: (from, lane, bytes) => this.#listener.message(from, lane, bytes),
        handler: (protocol) => this.#listener.handler(protocol),
        handlerFailed: (from, protocol, error) =>
          this.#log.error("a stream handler failed", { from, protocol, error: String(error) }),
        fault: (from, fault) => this.#listener.fault(from, fault),
        detached: (lost, reason) => this.#detached(lost, reason),
        lost: (lost, reason, deliberate) => this.#lost(lost, reason, deliberate),
      },
    });
    this.#sessions.set(peer, link);
    if (isReplaced) this.#listener.linkDown(peer, "replaced", true);
    before?.close("replaced");
    this.#up(link, channel.connection);
  }

  /** The session goes on; `cut`: its mesh, or the peer's, took the link for down. */
  #resumed(channel: AdmittedChannel, cut: boolean, stack: string): void {
    const peer = channel.peer.id;
    const link = this.#sessions.get(peer);
    const isSame = link?.goesOn === true && equalBytes(link.session, channel.session.id);
    if (!isSame || (link.isDetached && !cut)) {
      // It has ended, or lost its connection, since the two agreed: the peer will notice, and the next admission sorts it out.
      channel.connection.close();
      this.#renewals.input({ type: "failed", peer });
      return;
    }
    const { isDetached } = link;
    link.attach(channel, stack, linkOptionsFor(stack));
    if (this.#sessions.get(peer) !== link) return;
    if (cut && !isDetached) this.#listener.linkDown(peer, "replaced", true);
    if (cut) this.#up(link, channel.connection);
    else {
      this.#renewed(link, channel.connection);
      link.start();
    }
  }

  #up(link: PeerLink, connection: RtcConnection): void {
    this.#links.set(link.id, link);
    this.#renewed(link, connection);
    this.#listener.linkUp(link);
    link.start();
  }

  #renewed(link: PeerLink, connection: RtcConnection): void {
    this.#paths.linked(link.id, connection);
    this.#courier.linked(link.id);
    this.#renewals.input({ type: "attached", peer: link.id });
    const { path, localCandidate, remoteCandidate } = link.status();
    const facts = { path, local: localCandidate, remote: remoteCandidate, signaledBy: this.signaledBy(link.id) };
    this.#log.info("link up", { peer: link.id, rtc: link.stack, ...facts });
  }

  /** A link has no connection: to the mesh it is down, its streams wait. */
  #detached(link: PeerLink, reason: string): void {
    const { id } = link;
    this.#down(link, reason, false);
    if (this.#endVoid(link)) return;
    // Those that wait longest stand first.
    this.#sessions.delete(id);
    this.#sessions.set(id, link);
    this.#renewals.input({ type: "detached", peer: id, busy: link.busy });
    const waiting = [...this.#sessions.values()].filter(({ isDetached }) => isDetached);
    if (waiting.length > MAX_DETACHED)
      (waiting.find(({ busy }) => !busy) ?? waiting[0])?.abandon("too many links wait");
  }

  /** Ends a session that waits for a peer that is out, or that has started anew. */
  #endVoid(session: PeerLink): boolean {
    const boxKey = this.#listener.boxKeyOf(session.id);
    const isVoid =
      this.#listener.isOut(session.id) || (boxKey !== undefined && !equalBytes(boxKey, session.peer.boxKey));
    if (isVoid) session.abandon("the member is not what it was");
    return isVoid;
  }

  #lost(link: PeerLink, reason: string, deliberate: boolean): void {
    if (this.#sessions.get(link.id) !== link) return;
    this.#sessions.delete(link.id);
    this.#renewals.input({ type: "over", peer: link.id });
    this.#down(link, reason, deliberate);
    this.#forgetIdle(link.id);
  }

  #down(link: PeerLink, reason: string, deliberate: boolean): void {
    if (this.#links.get(link.id) !== link) return;
    this.#links.delete(link.id);
    this.#paths.lost(link.id);
    this.#courier.lost(link.id);
    this.#log.info("link down", { peer: link.id, reason });
    this.#listener.linkDown(link.id, reason, deliberate);
  }

  #failed(peer: PeerId, failure: DialFailure, wanted: boolean): void {
    this.#log.debug("dial failed", { peer, stage: failure.stage, reason: failure.reason, wanted });
    if (wanted && !this.#links.has(peer)) this.#listener.dialFailed(peer, failure);
    this.#renewals.input({ type: "failed", peer });
    queueMicrotask(() => this.#forgetIdle(peer));
  }
}
