import { setTimeout as pause } from "node:timers/promises";
import type { Logger } from "../options.ts";
import { assert } from "../proto/assert.ts";
import type { Instant } from "../proto/machine.ts";
import type { DialFailure } from "../proto/negotiation/outcome.ts";
import type { DialPlan } from "../proto/negotiation/plan.ts";
import type { RtcConnection, RtcEvent } from "../proto/negotiation/rtc.ts";
import { decline, type Signal } from "../proto/negotiation/signal.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { Random } from "../proto/random.ts";
import type { GoodbyeReason } from "../proto/streams/events.ts";
import type { Lane } from "../proto/streams/lanes.ts";
import { Courier, type SignalPath } from "./courier.ts";
import { Letters } from "./letters.ts";
import { type AdmittedChannel, Pairing, type PairingContext } from "./pairing.ts";
import type { Paths } from "./paths.ts";
import { type LinkStreamHandler, PeerLink } from "./peer-link.ts";
import { linkOptionsFor } from "./stacks.ts";
import type { Trust } from "./trust.ts";

/** Efforts to pair under way beyond which strangers are told to come back: a burst of newcomers, yet bounded work. */
const MAX_ENGAGED = 64;

/** How long the last word to a peer that is expelled may take, ms. */
const LAST_WORD_MS = 200;

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
}

/** All pairings and links of one agent: at most one link to each peer, the newest. */
export class Connections {
  readonly #links = new Map<PeerId, PeerLink>();
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
    this.#pairingContext = {
      self: trust.id,
      trust,
      random,
      now,
      ladder: (peer) => this.#paths.ladder(peer),
      connect: (plan, initiator, notify) => this.#connect(plan, initiator, notify),
      ended: (peer, result, rounds) => this.#paths.ended(peer, result, rounds),
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

  /** Its record has come: later letters are sealed for the key in it. */
  recordKnown(peer: PeerId): void {
    this.#letters.forget(peer);
  }

  /** Says goodbye on every link once what is queued has left, within `limitMs`. */
  async leave(limitMs: number): Promise<void> {
    const links = [...this.#links.values()];
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
    for (const link of [...this.#links.values()]) link.abandon("closing");
    for (const connection of this.#open) connection.close();
    this.#pairings.clear();
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
    if (pairing && !pairing.engaged && !this.#links.has(peer)) this.#pairings.delete(peer);
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
    const peer = channel.peer.id;
    const before = this.#links.get(peer);
    const stack = this.#stackOf.get(channel.connection);
    assert(stack !== undefined, "links come of connections made here");
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
        lost: (lost, reason, deliberate) => this.#lost(lost, reason, deliberate),
      },
    });
    this.#links.set(peer, link);
    this.#courier.linked(peer);
    if (before) {
      this.#listener.linkDown(peer, "replaced", true);
      before.close("replaced");
    }
    this.#log.info("link up", { peer, rtc: link.stack, role: channel.role, signaledBy: this.signaledBy(peer) });
    this.#listener.linkUp(link);
    link.start(channel);
  }

  #lost(link: PeerLink, reason: string, deliberate: boolean): void {
    if (this.#links.get(link.id) !== link) return;
    this.#links.delete(link.id);
    this.#courier.lost(link.id);
    this.#log.info("link down", { peer: link.id, reason });
    this.#listener.linkDown(link.id, reason, deliberate);
    this.#forgetIdle(link.id);
  }

  #failed(peer: PeerId, failure: DialFailure, wanted: boolean): void {
    this.#log.debug("dial failed", { peer, stage: failure.stage, reason: failure.reason, wanted });
    if (wanted && !this.#links.has(peer)) this.#listener.dialFailed(peer, failure);
    queueMicrotask(() => this.#forgetIdle(peer));
  }
}
