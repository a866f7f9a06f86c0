import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import type { Endpoint, Family } from "./proto/address.ts";
import type { ClientPath } from "./proto/events.ts";

/** UDP sockets: those that clients send to, and those that relay. Nothing is decided here. */

/**
 * A socket's receive buffer, bytes: 50 ms of a million packets a second are lost without it when the process is busy. Linux
 * cuts it to `net.core.rmem_max` in silence.
 */
const LISTENER_BUFFER_BYTES = 4 * 1_048_576;
const RELAY_BUFFER_BYTES = 1_048_576;

/** Bytes that may wait in a socket because the system takes no more; further packets are dropped, as a router would. */
const MAX_QUEUED_BYTES = 1_048_576;
/** How many packets may pass between two looks at that, less one: a look costs a tenth of a packet. */
const LOOK_MASK = 15;

/** What UDP sockets count. */
export interface UdpCounters {
  /** Packets that the system refused to send. */
  sendErrors: number;
  /** Packets dropped because it takes no more. */
  sendDrops: number;
}

/** A bound socket that sends without delay and never throws. */
export class UdpSocket {
  readonly endpoint: Endpoint;
  readonly #socket: Socket;
  readonly #counters: UdpCounters;
  #sent = 0;
  #isCongested = false;
  #isClosed = false;

  constructor(socket: Socket, counters: UdpCounters) {
    const { address, port } = socket.address();
    this.endpoint = { address, port };
    this.#socket = socket;
    this.#counters = counters;
    socket.on("error", () => {
      counters.sendErrors++;
    });
  }

  /** Hands each datagram to `take`. */
  listen(take: (bytes: Buffer, from: RemoteInfo) => void): void {
    this.#socket.on("message", take);
  }

  /** Sends `bytes`, which must not change afterwards. */
  send(bytes: Uint8Array, address: string, port: number): void {
    if (this.#isClosed) return;
    if ((++this.#sent & LOOK_MASK) === 0 || this.#isCongested) {
      this.#isCongested = this.#socket.getSendQueueSize() > MAX_QUEUED_BYTES;
      if (this.#isCongested) {
        this.#counters.sendDrops++;
        return;
      }
    }
    this.#socket.send(bytes, port, address);
  }

  /** Sends `length` bytes from `offset`. */
  sendPart(bytes: Uint8Array, offset: number, length: number, address: string, port: number): void {
    if (this.#isClosed) return;
    if ((++this.#sent & LOOK_MASK) === 0 || this.#isCongested) {
      this.#isCongested = this.#socket.getSendQueueSize() > MAX_QUEUED_BYTES;
      if (this.#isCongested) {
        this.#counters.sendDrops++;
        return;
      }
    }
    this.#socket.send(bytes, offset, length, port, address);
  }

  /** Closes it; idempotent. */
  close(closed?: () => void): void {
    if (this.#isClosed) {
      closed?.();
      return;
    }
    this.#isClosed = true;
    this.#socket.close(closed);
  }
}

/** A socket that clients send to. */
export class UdpPath implements ClientPath {
  readonly transport = "udp";
  readonly socket: UdpSocket;
  discovery?: readonly [Endpoint, Endpoint, Endpoint, Endpoint];
  /** The sockets of `discovery`; this one first. */
  #siblings: readonly UdpPath[] = [this];

  constructor(socket: UdpSocket) {
    this.socket = socket;
  }

  /** Makes this one of the four sockets of behaviour discovery; in the order of `discovery`. */
  join(siblings: readonly [UdpPath, UdpPath, UdpPath, UdpPath]): void {
    this.#siblings = siblings;
    const [own, port, address, both] = siblings;
    this.discovery = [own.socket.endpoint, port.socket.endpoint, address.socket.endpoint, both.socket.endpoint];
  }

  send(bytes: Uint8Array, address: string, port: number, via: number): void {
    const socket = via === 0 ? this.socket : this.#siblings[via]?.socket;
    socket?.send(bytes, address, port);
  }
}

/** Binds a socket. Calls back once, with the socket or the error; with many sockets a promise each would cost. */
export function bindUdp(
  at: {
    readonly address: string;
    readonly port: number;
    readonly family: Family;
    readonly purpose: "listen" | "relay";
  },
  counters: UdpCounters,
  done: (result: UdpSocket | Error) => void,
): void {
  const socket = createSocket({
    type: at.family === 4 ? "udp4" : "udp6",
    ipv6Only: at.family === 6,
    recvBufferSize: at.purpose === "listen" ? LISTENER_BUFFER_BYTES : RELAY_BUFFER_BYTES,
    ...(at.purpose === "listen" && { sendBufferSize: LISTENER_BUFFER_BYTES }),
    // Addresses only, never names: the resolver's way round the event loop is spared for each packet.
    lookup: at.family === 4 ? sameAddress4 : sameAddress6,
  });
  const fail = (error: Error): void => {
    socket.close();
    done(error);
  };
  socket.once("error", fail);
  socket.bind({ address: at.address, port: at.port, exclusive: true }, () => {
    socket.off("error", fail);
    done(new UdpSocket(socket, counters));
  });
}

type Answer = (error: null, address: string, family: number) => void;

function sameAddress4(address: string, _options: unknown, answer: Answer): void {
  answer(null, address, 4);
}

function sameAddress6(address: string, _options: unknown, answer: Answer): void {
  answer(null, address, 6);
}

/** {@link bindUdp} for a few sockets. */
export function boundUdp(
  at: { readonly address: string; readonly port: number; readonly family: Family },
  counters: UdpCounters,
): Promise<UdpSocket> {
  return new Promise((resolve, reject) => {
    bindUdp({ ...at, purpose: "listen" }, counters, (result) =>
      result instanceof Error ? reject(result) : resolve(result),
    );
  });
}
