import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { WebSocket, type WebSocketServer } from "ws";
import { Runner } from "../src/host/runner.ts";
import type { Logger } from "../src/options.ts";
import type { Instant } from "../src/proto/machine.ts";
import { shortId } from "../src/proto/peer-id.ts";
import type { Random } from "../src/proto/random.ts";
import { signalingLimits } from "../src/proto/signaling/limits.ts";
import { ownNames, sourceOf } from "./addresses.ts";
import type { Authority } from "./authority.ts";
import { headersOf, type Listener, listenHttp, MAX_HEADER_BYTES, originOf } from "./listener.ts";
import { answerPage } from "./pages.ts";
import type { Counters } from "./proto/counters.ts";
import type { ConnectionId, Grants, Proclamation, RoomsInput, RoomsOutput } from "./proto/events.ts";
import type { RoomsLimits } from "./proto/limits.ts";
import { LogThrottle } from "./proto/log-throttle.ts";
import { Rooms } from "./proto/rooms.ts";
import { answerTo } from "./questions.ts";
import type { TlsFiles } from "./tls.ts";
import { helloIn, isOversize, resumptionIn, webSockets } from "./web-sockets.ts";

/** Drives {@link Rooms} over `ws` on `node:http`: sockets, one timer, the authority's answers, a log line now and then. */

export interface SignalingServerOptions {
  /** `host`: an address of this machine, or `::` or `0.0.0.0` for all. `port`: 0 for any free one. */
  readonly listen: { readonly host: string; readonly port: number };
  /** The certificate, for `wss://`; absent: `ws://`. */
  readonly tls?: TlsFiles;
  /**
   * The names by which agents' URLs call this server, `host` or `host:port`, without the port where it is the scheme's default. A
   * login is signed for one of them. Default: all addresses that it listens on, `localhost` where that is one of them,
   * and the host's name. A server behind a proxy, a port mapping or a DNS name must be told.
   */
  readonly names?: readonly string[];
  readonly authority: Authority;
  /** STUN and TURN servers for members. Default: none. */
  readonly grants?: Grants;
  /** The JSON of the cluster's key set, asked at each request for it. Default: there is none to be had. */
  readonly keySet?: () => string;
  /** For nonces: must be the system's CSPRNG. */
  readonly random: Random;
  readonly now: () => Instant;
  readonly logger?: Logger;
  readonly limits?: Partial<RoomsLimits>;
  /**
   * The address that a connection is counted under, from its request: for a server behind a proxy that it trusts, which
   * would otherwise count as one single source. Default: the address of the TCP connection. Undefined refuses it.
   */
  readonly addressOf?: (request: IncomingMessage) => string | undefined;
}

export interface SignalingServer extends AsyncDisposable {
  /** Where it listens. */
  readonly host: string;
  readonly port: number;
  readonly names: readonly string[];
  /** Connections that are open, in any stage. */
  readonly connections: number;
  /** When the certificate in use ends, Unix ms; undefined without one. */
  readonly certificateEndsAt: number | undefined;
  /** How often each thing has happened; a copy. */
  counters(): Counters;
  /** Names the desks that the authority has by now to whoever connects from here on. */
  renewDesks(): void;
  /** Tells the members of a cluster what its own issuer has decreed. */
  proclaim(proclamation: Proclamation): void;
  /** Sends everybody away and ends, within two seconds. Idempotent. */
  close(): Promise<void>;
  /** Ends at once, without a word to anybody. Idempotent. */
  kill(): Promise<void>;
}

/** All that a client may send before it has logged in, the request's head included, bytes. */
const MAX_BYTES_BEFORE_LOGIN = MAX_HEADER_BYTES + 2 * signalingLimits.loginMessageBytes;

/** Sockets above the bound on connections, each of which is closed in the turn in which it comes. */
const CLOSING_SOCKETS = 64;

/** How long the server waits for its clients to go when it closes, ms. */
const DRAIN_MS = 2_000;

/**
 * Starts a signaling server and resolves when it listens. Its pages are in `pages.ts`.
 *
 * @throws the error of `listen` (a code such as `EADDRINUSE`).
 */
export async function startSignalingServer(options: SignalingServerOptions): Promise<SignalingServer> {
  const startedAt = options.now();
  const listener = await listenHttp(options.listen, options.tls, options.logger ?? SILENT);
  return new RunningServer(listener, options, startedAt);
}

const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** One TCP connection, from its first byte. */
interface Link {
  readonly id: ConnectionId;
  /** Over TLS what is inside, once there is a request. */
  socket: Duplex;
  /** Once it speaks WebSocket. */
  web: WebSocket | undefined;
  /** Watches for bytes before the login. */
  watch: ((chunk?: Buffer) => void) | undefined;
  isMember: boolean;
}

class RunningServer implements SignalingServer {
  readonly host: string;
  readonly port: number;
  readonly names: readonly string[];
  readonly #http: Server;
  readonly #web: WebSocketServer;
  readonly #options: SignalingServerOptions;
  readonly #rooms: Rooms;
  readonly #runner: Runner<RoomsInput, RoomsOutput>;
  readonly #links = new Map<ConnectionId, Link>();
  readonly #origins = new Map<Duplex | string, Link>();
  readonly #listener: Listener;
  readonly #throttle = new LogThrottle();
  #lastId = 0;
  #closing: Promise<void> | undefined;

  constructor(listener: Listener, options: SignalingServerOptions, startedAt: Instant) {
    const http = listener.server;
    this.#listener = listener;
    const address = http.address() as AddressInfo;
    this.host = address.address;
    this.port = address.port;
    this.names = options.names ?? ownNames(address);
    this.#http = http;
    this.#options = options;
    this.#rooms = new Rooms({
      names: this.names,
      random: options.random,
      startedAt,
      desks: options.authority.desks,
      ...(options.grants && { grants: options.grants }),
      ...(options.limits && { limits: options.limits }),
    });
    this.#runner = new Runner<RoomsInput, RoomsOutput>(
      this.#rooms,
      options.now,
      () => ({ type: "timeout" }),
      (output) => this.#perform(output),
    );
    this.#web = webSockets();
    // The rooms refuse first, and count it; sockets that are on their way out are what is more.
    http.maxConnections = this.#rooms.limits.connections + CLOSING_SOCKETS;
    http.on("error", (error) => this.#warn("the listener failed", { error: error.message }));
    http.on("clientError", (_error, socket) => socket.destroy());
    http.on("request", (request, response) => this.#answer(request, response));
    http.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
    if (options.addressOf === undefined)
      http.on("connection", (socket) => this.#open(socket, originOf(socket, listener), sourceOf(socket.remoteAddress)));
    options.logger?.info("the signaling server listens", { host: this.host, port: this.port, names: this.names });
  }

  get connections(): number {
    return this.#rooms.connections;
  }

  get certificateEndsAt(): number | undefined {
    return this.#listener.certificateEndsAt();
  }

  counters(): Counters {
    return { ...this.#rooms.counters };
  }

  renewDesks(): void {
    this.#runner.input({ type: "desks", desks: this.#options.authority.desks });
  }

  proclaim(proclamation: Proclamation): void {
    this.#runner.input({ type: "proclaimed", proclamation });
  }

  close(): Promise<void> {
    this.#closing ??= this.#drain();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async kill(): Promise<void> {
    this.#closing ??= this.#end();
    this.#runner.close();
    this.#destroy();
    await this.#closing;
  }

  async #drain(): Promise<void> {
    const ended = this.#end();
    this.#runner.input({ type: "drain" });
    const force = setTimeout(() => this.#destroy(), DRAIN_MS);
    await ended;
    clearTimeout(force);
    this.#runner.close();
  }

  /** Listens no more, and resolves when the last socket is gone. */
  async #end(): Promise<void> {
    this.#listener.stop();
    await new Promise<void>((resolve) => this.#http.close(() => resolve()));
    this.#options.logger?.info("the signaling server has closed");
  }

  #destroy(): void {
    for (const { socket } of this.#links.values()) socket.destroy();
    this.#http.closeAllConnections();
  }

  // Connections

  #open(socket: Duplex, origin: Duplex | string, address: string): void {
    const id = ++this.#lastId;
    const link: Link = { id, socket, web: undefined, watch: undefined, isMember: false };
    this.#links.set(id, link);
    this.#origins.set(origin, link);
    socket.once("close", () => {
      this.#links.delete(id);
      if (this.#origins.get(origin) === link) this.#origins.delete(origin);
      this.#runner.input({ type: "disconnected", connection: id });
    });
    this.#runner.input({ type: "connected", connection: id, address });
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const pages = { connections: () => this.connections, keySet: this.#options.keySet };
    answerPage(request, response, pages, headersOf(this.#listener));
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { addressOf } = this.#options;
    if (addressOf !== undefined) {
      const address = addressOf(request);
      if (address === undefined) {
        socket.destroy();
        return;
      }
      this.#open(socket, originOf(socket, this.#listener), sourceOf(address));
    }
    const link = this.#origins.get(originOf(socket, this.#listener));
    if (link === undefined || socket.destroyed) return;
    link.socket = socket;
    const hello = helloIn(request);
    const resumption = hello && resumptionIn(request);
    // The answer to the request and that to the hello leave together.
    socket.cork();
    this.#web.handleUpgrade(request, socket, head, (web) => {
      this.#listen(link, web);
      if (hello !== undefined) {
        const came = { type: "message", connection: link.id, bytes: hello } as const;
        this.#runner.input(resumption === undefined ? came : { ...came, resumption });
      }
      if (!link.isMember) this.#watch(link);
    });
    socket.uncork();
  }

  #listen(link: Link, web: WebSocket): void {
    const connection = link.id;
    link.web = web;
    web.on("message", (data, isBinary) => {
      if (isBinary && data instanceof Uint8Array) {
        // A view that is no Buffer, whose `slice` differs.
        const bytes = new Uint8Array(data.buffer, data.byteOffset, data.length);
        this.#runner.input({ type: "message", connection, bytes });
      } else this.#runner.input({ type: "broken", connection, fault: "protocol" });
    });
    web.on("ping", (bytes) => this.#runner.input({ type: "pinged", connection, bytes }));
    web.on("pong", () => this.#runner.input({ type: "ponged", connection }));
    web.on("error", (error) => {
      this.#runner.input({ type: "broken", connection, fault: isOversize(error) ? "oversize" : "protocol" });
    });
  }

  /** Counts what comes before the login. */
  #watch(link: Link): void {
    let received = MAX_HEADER_BYTES;
    link.watch = (chunk?: Buffer): void => {
      received += chunk?.length ?? 0;
      if (received <= MAX_BYTES_BEFORE_LOGIN) return;
      this.#runner.input({ type: "broken", connection: link.id, fault: "oversize" });
    };
    link.socket.on("data", link.watch);
  }

  // Effects

  #perform(output: RoomsOutput): void {
    switch (output.type) {
      case "send":
        this.#send(output.connection, output.bytes);
        return;
      case "ping":
        this.#links.get(output.connection)?.web?.ping();
        return;
      case "pong":
        this.#pong(output.connection, output.bytes);
        return;
      case "close":
        this.#close(output.connection, output.code, output.abrupt);
        return;
      case "resume": {
        const { connection, request } = output;
        this.#runner.input({ type: "resumed", connection, verdict: this.#options.authority.resume(request) });
        return;
      }
      case "authenticate":
      case "seal-ticket":
      case "renew":
      case "exchange":
      case "decree":
      case "check-desk":
        void answerTo(output, this.#options.authority, this.#authorityFailed).then((input) =>
          this.#runner.input(input),
        );
        return;
      case "joined": {
        const link = this.#links.get(output.connection);
        if (link === undefined) return;
        link.isMember = true;
        if (link.watch !== undefined) link.socket.off("data", link.watch);
        link.watch = undefined;
        return;
      }
      case "left":
        return;
      case "fault": {
        const { fault, address, peer, code } = output;
        this.#warn(`signaling: ${fault}`, { address, ...(peer && { peer: shortId(peer) }), ...(code && { code }) });
        return;
      }
    }
  }

  #send(connection: ConnectionId, bytes: Uint8Array): void {
    const web = this.#links.get(connection)?.web;
    if (web?.readyState !== WebSocket.OPEN) return;
    web.send(bytes);
    if (web.bufferedAmount > this.#rooms.limits.queuedBytes) this.#runner.input({ type: "congested", connection });
  }

  #pong(connection: ConnectionId, bytes: Uint8Array): void {
    const web = this.#links.get(connection)?.web;
    if (web?.readyState !== WebSocket.OPEN) return;
    web.pong(bytes);
    if (web.bufferedAmount > this.#rooms.limits.queuedBytes) this.#runner.input({ type: "congested", connection });
  }

  #close(connection: ConnectionId, code: number, abrupt: boolean): void {
    const link = this.#links.get(connection);
    if (link === undefined) return;
    if (abrupt || link.web === undefined) link.socket.destroy();
    else link.web.close(code);
  }

  readonly #authorityFailed = (error: unknown): void => {
    // The message may quote what was being checked; the name of the failure does not.
    this.#warn("the authority failed", { error: error instanceof Error ? error.name : typeof error });
  };

  #warn(message: string, fields: Readonly<Record<string, unknown>>): void {
    const suppressed = this.#throttle.admit(this.#options.now());
    if (suppressed !== undefined)
      this.#options.logger?.warn(message, { ...fields, ...(suppressed > 0 && { suppressed }) });
  }
}
