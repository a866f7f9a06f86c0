import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { canonicalAddress, type Endpoint } from "./proto/address.ts";
import type { ClientPath } from "./proto/events.ts";
import { StreamFramer } from "./proto/stream-framer.ts";

/** TCP and TLS connections of clients. Nothing is decided here but who may connect at all. */

/** Connections in all, and from one address. */
export interface StreamLimits {
  readonly connections: number;
  readonly connectionsPerAddress: number;
  /** How long a connection may be open without an allocation, ms. */
  readonly idleMs: number;
}

export const defaultStreamLimits: StreamLimits = {
  connections: 10_000,
  connectionsPerAddress: 1_024,
  idleMs: 60_000,
};

/** Bytes that may wait for a client that does not read; further packets are dropped, as UDP would. */
const MAX_QUEUED_BYTES = 1_048_576;
/** The largest ChannelData there is; a client without an allocation gets less. */
const MAX_PACKET_BYTES = 65_556;
const MAX_EARLY_PACKET_BYTES = 4_096;
const HANDSHAKE_MS = 10_000;

/** What connections count. */
export interface StreamCounters {
  connections: number;
  connectionsRefused: number;
  /** TLS handshakes that failed. */
  handshakesFailed: number;
  /** Connections ended because their bytes are no STUN. */
  streamsMalformed: number;
  /** Connections ended because they had no allocation for too long. */
  streamsIdle: number;
  /** Packets dropped because the client does not read. */
  streamDrops: number;
}

/** All of them, at the start. */
export function zeroStreamCounters(): StreamCounters {
  return {
    connections: 0,
    connectionsRefused: 0,
    handshakesFailed: 0,
    streamsMalformed: 0,
    streamsIdle: 0,
    streamDrops: 0,
  };
}

/** One connection of a client. */
export class StreamPath implements ClientPath {
  readonly transport: "tcp" | "tls";
  readonly client: Endpoint;
  /** Since when it has no allocation, as far as the last look told; ms of the server's clock. */
  idleSince: number;
  readonly #socket: Socket;
  readonly #counters: StreamCounters;
  readonly #framer = new StreamFramer();
  #isCorked = false;

  constructor(socket: Socket, transport: "tcp" | "tls", counters: StreamCounters, now: number) {
    this.transport = transport;
    this.client = { address: canonicalAddress(socket.remoteAddress ?? "") ?? "", port: socket.remotePort ?? 0 };
    this.idleSince = now;
    this.#socket = socket;
    this.#counters = counters;
    // Without it Node joins what waits into one TLS record; clients such as coturn's take a record for a message.
    if (transport === "tls") Object.defineProperty(socket, "_writev", { value: null });
  }

  /** Over TCP, packets that arrive in one turn of the event loop leave together. */
  send(bytes: Uint8Array): void {
    const socket = this.#socket;
    if (socket.writableLength > MAX_QUEUED_BYTES) {
      this.#counters.streamDrops++;
      return;
    }
    if (!this.#isCorked && this.transport === "tcp") {
      this.#isCorked = true;
      socket.cork();
      setImmediate(this.#uncork);
    }
    socket.write(bytes);
  }

  /** Takes packets out of what arrived; ends the connection when it is no STUN. */
  receive(chunk: Buffer, hasAllocation: boolean, take: (packet: Uint8Array) => void): void {
    if (this.#framer.push(chunk, hasAllocation ? MAX_PACKET_BYTES : MAX_EARLY_PACKET_BYTES, take)) return;
    this.#counters.streamsMalformed++;
    this.close();
  }

  close(): void {
    this.#socket.destroy();
  }

  readonly #uncork = (): void => {
    this.#isCorked = false;
    this.#socket.uncork();
  };
}

/** What becomes of connections. */
export interface StreamHost {
  now(): number;
  opened(path: StreamPath): void;
  received(path: StreamPath, chunk: Buffer): void;
  closed(path: StreamPath): void;
}

/** Counts connections of all listeners, so that bounds hold over all of them. */
export class Gate {
  readonly counters: StreamCounters;
  readonly #limits: StreamLimits;
  readonly #byAddress = new Map<string, number>();
  #open = 0;

  constructor(limits: StreamLimits, counters: StreamCounters) {
    this.#limits = limits;
    this.counters = counters;
  }

  /** Counts a connection in, until it closes; false when it is one too many. */
  admit(socket: Socket): boolean {
    const address = socket.remoteAddress ?? "";
    const count = this.#byAddress.get(address) ?? 0;
    if (address === "" || this.#open >= this.#limits.connections || count >= this.#limits.connectionsPerAddress) {
      this.counters.connectionsRefused++;
      return false;
    }
    this.counters.connections++;
    this.#open++;
    this.#byAddress.set(address, count + 1);
    socket.once("close", () => {
      this.#open--;
      const left = (this.#byAddress.get(address) ?? 1) - 1;
      if (left === 0) this.#byAddress.delete(address);
      else this.#byAddress.set(address, left);
    });
    return true;
  }
}

/** A certificate and its key, PEM. */
export interface TlsIdentity {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
}

/** Listens for TCP, or TLS 1.2 and later where there is an identity. Rejects with the system's error. */
export async function listenStreams(
  at: Endpoint,
  tls: TlsIdentity | undefined,
  gate: Gate,
  host: StreamHost,
): Promise<Server> {
  const serve = (socket: Socket): void => serveConnection(socket, tls === undefined ? "tcp" : "tls", gate, host);
  const server = tls === undefined ? createServer({ noDelay: true }) : tlsServer(tls, gate.counters);
  server.on("connection", (socket: Socket) => {
    socket.on("error", ignore);
    if (!gate.admit(socket)) socket.destroy();
    else if (tls === undefined) serve(socket);
  });
  if (tls !== undefined) server.on("secureConnection", serve);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: at.address, port: at.port, ipv6Only: at.address.includes(":"), exclusive: true }, () => {
      server.off("error", reject);
      resolve();
    });
  });
  server.on("error", ignore);
  return server;
}

function tlsServer({ cert, key }: TlsIdentity, counters: StreamCounters): Server {
  const server = createTlsServer({ cert, key, minVersion: "TLSv1.2", handshakeTimeout: HANDSHAKE_MS, noDelay: true });
  server.on("tlsClientError", (_error, socket) => {
    counters.handshakesFailed++;
    socket.destroy();
  });
  return server;
}

function serveConnection(socket: Socket, transport: "tcp" | "tls", gate: Gate, host: StreamHost): void {
  socket.on("error", ignore);
  const path = new StreamPath(socket, transport, gate.counters, host.now());
  if (path.client.address === "" || socket.destroyed) {
    socket.destroy();
    return;
  }
  host.opened(path);
  socket.on("data", (chunk: Buffer) => host.received(path, chunk));
  socket.once("close", () => host.closed(path));
}

// What goes wrong with a connection ends it, and its end is what counts.
function ignore(): void {}
