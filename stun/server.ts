import type { Server } from "node:net";
import { networkInterfaces } from "node:os";
import { systemClock, turnClock } from "../src/drivers/clock.ts";
import { systemRandom } from "../src/drivers/entropy.ts";
import { StarlingError } from "../src/errors.ts";
import { type Instant, NOTHING } from "../src/proto/machine.ts";
import type { Random } from "../src/proto/random.ts";
import { canonicalAddress, type Endpoint, familyOf } from "./proto/address.ts";
import type { Counters } from "./proto/counters.ts";
import type { Credentials } from "./proto/credentials.ts";
import type { OpenedRelay, PacketSink, PortWish, TurnOutput } from "./proto/events.ts";
import type { TurnLimits } from "./proto/limits.ts";
import { PeerPolicy, parseRange, type Range } from "./proto/peer-policy.ts";
import { TurnServer } from "./proto/turn-server.ts";
import { Relays, relayAddressesOf } from "./relays.ts";
import { Slab } from "./slab.ts";
import {
  defaultStreamLimits,
  Gate,
  listenStreams,
  type StreamCounters,
  type StreamHost,
  type StreamLimits,
  type StreamPath,
  type TlsIdentity,
  zeroStreamCounters,
} from "./streams.ts";
import { boundUdp, type UdpCounters, UdpPath, type UdpSocket } from "./udp.ts";

/** Drives {@link TurnServer} over UDP, TCP and TLS. */

export interface StunServerOptions {
  /** Addresses of this host for UDP and TCP; port 0 takes a free one. */
  readonly listen: readonly Endpoint[];
  /** Addresses of this host for TLS, where there is a `tls` identity. */
  readonly tlsListen?: readonly Endpoint[];
  readonly tls?: TlsIdentity;
  /**
   * A second address and port for behaviour discovery (RFC 5780), UDP only: with the first of `listen` it makes four sockets. Both
   * differ from those.
   */
  readonly alternate?: Endpoint;
  readonly realm: string;
  readonly credentials: Credentials;
  /** Where relay sockets are bound, at most one of each family; none: this server does not relay. */
  readonly relayAddresses: readonly string[];
  /** What peers see in place of a relay address, where a NAT stands between; at most one of each family. */
  readonly externalAddresses?: readonly string[];
  /** Ports of relay sockets. Default 49152 to 65535. */
  readonly ports?: { readonly first: number; readonly last: number };
  /** Peers that are refused by default and allowed here, `address/bits`. */
  readonly allowPeers?: readonly string[];
  /** Peers that are refused in any case. */
  readonly denyPeers?: readonly string[];
  readonly limits?: Partial<TurnLimits & StreamLimits>;
  /** Hears of allocations that begin and end. */
  readonly onEvent?: (event: StunEvent) => void;
  /** For nonces, tokens and ports; default: the system's CSPRNG. */
  readonly random?: Random;
  readonly now?: () => Instant;
}

/** What the metrics hook hears. */
export type StunEvent = Extract<TurnOutput<UdpSocket>, { type: "allocation-started" | "allocation-ended" }>;

export type StunCounters = Counters & UdpCounters & StreamCounters;

/** One socket that listens. */
export interface Listening extends Endpoint {
  readonly transport: "udp" | "tcp" | "tls";
}

export interface StunServer extends AsyncDisposable {
  readonly listening: readonly Listening[];
  /** Allocations now; relay sockets now; TCP and TLS connections now. */
  readonly allocations: number;
  readonly relaySockets: number;
  readonly connections: number;
  /** How often each thing has happened; a copy. */
  counters(): StunCounters;
  /** Others may use the relay from here on; allocations stay. */
  use(credentials: Credentials): void;
  /** Ends all allocations, connections and sockets. Idempotent. */
  close(): Promise<void>;
}

/** The dynamic ports of IANA, as RFC 8656 recommends. */
export const DEFAULT_PORTS = { first: 49_152, last: 65_535 } as const;

/** How often connections without an allocation are looked for, and the host's own addresses read again, ms. */
const LOOK_ROUND_MS = 5_000;

/** Ports tried where any will do. */
const FREE_PORT_TRIES = 16;

type Path = UdpPath | StreamPath;

/**
 * Starts a server and resolves when all of its sockets listen. Throws `usage` for options that cannot be, and the system's error where a
 * socket cannot be bound.
 */
export async function startStunServer(options: StunServerOptions): Promise<StunServer> {
  const server = new RunningServer(options);
  try {
    await server.listen();
  } catch (error) {
    await server.close();
    throw error;
  }
  return server;
}

class RunningServer implements StunServer, StreamHost {
  readonly #options: StunServerOptions;
  readonly #core: TurnServer<Path, UdpSocket>;
  readonly #policy: PeerPolicy;
  readonly #relays: Relays;
  readonly #gate: Gate;
  readonly #limits: StreamLimits;
  readonly #udp: UdpPath[] = [];
  readonly #servers: Server[] = [];
  readonly #streams = new Set<StreamPath>();
  readonly #listening: Listening[] = [];
  readonly #udpCounters: UdpCounters = { sendErrors: 0, sendDrops: 0 };
  readonly #now: () => Instant;
  readonly #turn: () => Instant;
  #timer: NodeJS.Timeout | undefined;
  #armedFor: Instant | undefined;
  #rounds: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: StunServerOptions) {
    const random = options.random ?? systemRandom();
    const relayAddresses = relayAddressesOf(options.relayAddresses, options.externalAddresses);
    this.#options = options;
    this.#now = options.now ?? systemClock();
    this.#turn = turnClock(this.#now);
    this.#policy = new PeerPolicy(rangesOf(options.allowPeers), rangesOf(options.denyPeers), []);
    this.#limits = { ...defaultStreamLimits, ...options.limits };
    this.#relays = new Relays(relayAddresses, options.ports ?? DEFAULT_PORTS, random, this.#udpCounters);
    this.#gate = new Gate(this.#limits, zeroStreamCounters());
    this.#core = new TurnServer<Path, UdpSocket>(
      {
        realm: options.realm,
        credentials: options.credentials,
        random,
        policy: this.#policy,
        families: relayAddresses.map(({ family }) => family),
        relayAddresses: relayAddresses.map(({ external }) => external),
        // Linux sends UDP packets that fit the path uncut, unless it is told otherwise.
        canForbidFragments: process.platform === "linux",
        ...(options.limits && { limits: options.limits }),
      },
      SINK,
      this.#now(),
    );
  }

  get listening(): readonly Listening[] {
    return this.#listening;
  }

  get allocations(): number {
    return this.#core.allocations;
  }

  get relaySockets(): number {
    return this.#relays.size;
  }

  get connections(): number {
    return this.#streams.size;
  }

  counters(): StunCounters {
    return { ...this.#core.counters, ...this.#udpCounters, ...this.#gate.counters };
  }

  now(): Instant {
    return this.#now();
  }

  async listen(): Promise<void> {
    const { listen, tlsListen = [], tls, alternate } = this.#options;
    for (const at of listen) await this.#listenUdpAndTcp(at);
    if (tlsListen.length > 0 && tls === undefined)
      throw new StarlingError("usage", "TLS needs a certificate and its key");
    for (const at of tlsListen) await this.#listenStreams(at, tls);
    if (alternate !== undefined) await this.#listenAlternate(alternate);
    this.#lookRound();
    this.#rounds = setInterval(() => this.#lookRound(), LOOK_ROUND_MS).unref();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  opened(path: StreamPath): void {
    this.#streams.add(path);
  }

  received(path: StreamPath, chunk: Buffer): void {
    const { address, port } = path.client;
    path.receive(chunk, this.#core.hasAllocation(path, address, port), (packet) => {
      this.#perform(this.#core.packet(path, packet, address, port, this.#now()));
    });
  }

  use(credentials: Credentials): void {
    this.#perform(this.#core.handle({ type: "credentials", credentials }, this.#now()));
  }

  closed(path: StreamPath): void {
    this.#streams.delete(path);
    this.#perform(this.#core.handle({ type: "disconnected", path }, this.#now()));
  }

  /** One port for both. The free port that UDP has taken may be in use for TCP: then the next one. */
  async #listenUdpAndTcp(at: Endpoint): Promise<void> {
    for (let left = at.port === 0 ? FREE_PORT_TRIES : 1; ; left--) {
      const { socket } = await this.#listenUdp(at);
      try {
        await this.#listenStreams({ address: at.address, port: socket.endpoint.port }, undefined);
        return;
      } catch (error) {
        if (left === 1 || (error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
        socket.close();
        this.#udp.pop();
        this.#listening.pop();
      }
    }
  }

  async #listenUdp({ address, port }: Endpoint): Promise<UdpPath> {
    const socket = await boundUdp({ address, port, family: familyOf(address) }, this.#udpCounters);
    const path = new UdpPath(socket);
    socket.listen((bytes, from) => {
      const outputs = this.#core.packet(path, bytes, from.address, from.port, this.#turn());
      if (outputs !== NOTHING) this.#perform(outputs);
    });
    this.#udp.push(path);
    this.#listening.push({ transport: "udp", ...socket.endpoint });
    return path;
  }

  async #listenStreams(at: Endpoint, tls: TlsIdentity | undefined): Promise<void> {
    const server = await listenStreams(at, tls, this.#gate, this);
    this.#servers.push(server);
    const bound = server.address();
    if (bound === null || typeof bound === "string") return;
    this.#listening.push({ transport: tls === undefined ? "tcp" : "tls", address: bound.address, port: bound.port });
  }

  /** The other three of four sockets: this address with the other port, the other address with either. */
  async #listenAlternate(alternate: Endpoint): Promise<void> {
    const first = this.#udp[0];
    const own = first?.socket.endpoint;
    if (first === undefined || own === undefined || own.address === alternate.address || own.port === alternate.port)
      throw new StarlingError(
        "usage",
        "behaviour discovery needs a second address and a second port, both other than the first",
      );
    const otherPort = await this.#listenUdp({ address: own.address, port: alternate.port });
    const { port } = otherPort.socket.endpoint;
    const otherAddress = await this.#listenUdp({ address: alternate.address, port: own.port });
    const both = await this.#listenUdp({ address: alternate.address, port });
    first.join([first, otherPort, otherAddress, both]);
    otherPort.join([otherPort, first, both, otherAddress]);
    otherAddress.join([otherAddress, both, first, otherPort]);
    both.join([both, otherAddress, otherPort, first]);
  }

  #perform(outputs: readonly TurnOutput<UdpSocket>[]): void {
    if (outputs === NOTHING) return;
    for (const output of outputs) {
      if (output.type === "open-relays") this.#open(output.request, output.families, output.wish);
      else if (output.type === "close-relay") this.#relays.close(output.relay);
      else this.#options.onEvent?.(output);
    }
    this.#arm();
  }

  #open(request: number, families: readonly (4 | 6)[], wish: PortWish): void {
    const results: (readonly OpenedRelay<UdpSocket>[])[] = [];
    let missing = families.length;
    families.forEach((family, index) => {
      this.#relays.open(family, wish, (sockets) => {
        results[index] = sockets;
        if (--missing === 0) this.#opened(request, results);
      });
    });
  }

  #opened(request: number, results: readonly (readonly OpenedRelay<UdpSocket>[])[]): void {
    const relays = results.flatMap(([first]) => (first === undefined ? [] : [first]));
    const reserved = results[0]?.[1];
    for (const { relay } of reserved === undefined ? relays : [...relays, reserved]) {
      relay.listen((bytes, from) => this.#core.peerPacket(relay, bytes, from.address, from.port, this.#turn()));
    }
    const input = { type: "relays-opened", request, relays, ...(reserved && { reserved }) } as const;
    const outputs = this.#core.handle(input, this.#now());
    if (this.#closing !== undefined) for (const { relay } of relays) this.#relays.close(relay);
    else this.#perform(outputs);
  }

  #arm(): void {
    const deadline = this.#closing === undefined ? this.#core.deadline() : undefined;
    if (deadline === this.#armedFor) return;
    clearTimeout(this.#timer);
    this.#armedFor = deadline;
    if (deadline === undefined) return;
    this.#timer = setTimeout(
      () => {
        this.#armedFor = undefined;
        this.#perform(this.#core.handle({ type: "timeout" }, this.#now()));
        this.#arm();
      },
      Math.max(0, Math.ceil(deadline - this.#now())),
    );
  }

  #lookRound(): void {
    const now = this.#now();
    for (const path of this.#streams) {
      if (this.#core.hasAllocation(path, path.client.address, path.client.port)) path.idleSince = now;
      else if (now - path.idleSince >= this.#limits.idleMs) {
        this.#gate.counters.streamsIdle++;
        path.close();
      }
    }
    this.#policy.owns(this.#ownAddresses());
  }

  /** Every address of this host, those that listen and those by which others know it. */
  #ownAddresses(): Set<string> {
    const { externalAddresses = [], relayAddresses } = this.#options;
    const texts = [
      ...Object.values(networkInterfaces()).flatMap((entries) => (entries ?? []).map(({ address }) => address)),
      ...this.#listening.map(({ address }) => address),
      ...externalAddresses,
      ...relayAddresses,
    ];
    return new Set(texts.flatMap((text) => canonicalAddress(text) ?? []));
  }

  async #close(): Promise<void> {
    clearInterval(this.#rounds);
    clearTimeout(this.#timer);
    for (const output of this.#core.close(this.#now())) {
      if (output.type === "close-relay") this.#relays.close(output.relay);
      else if (output.type !== "open-relays") this.#options.onEvent?.(output);
    }
    const closed = [
      ...this.#udp.map(({ socket }) => new Promise<void>((resolve) => socket.close(resolve))),
      ...this.#servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))),
    ];
    for (const path of this.#streams) path.close();
    this.#streams.clear();
    await Promise.all(closed);
  }
}

const slab = new Slab();

/** How packets leave: by the path's socket. */
const SINK: PacketSink<Path, UdpSocket> = {
  packet: (length) => slab.cut(length),
  toClient: (path, bytes, address, port, via) => path.send(bytes, address, port, via),
  toPeer: (relay, bytes, offset, length, address, port) => relay.sendPart(bytes, offset, length, address, port),
};

function rangesOf(texts: readonly string[] = []): Range[] {
  return texts.map((text) => {
    const range = parseRange(text);
    if (range === undefined)
      throw new StarlingError(
        "usage",
        `${JSON.stringify(text)} is no range; write for example 10.1.0.0/16 or fd00::/8`,
      );
    return range;
  });
}
