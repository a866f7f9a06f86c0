import type { Endpoint, Family } from "./address.ts";
import type { Credentials } from "./credentials.ts";

/**
 * What the server's core is told, what it answers, and how packets leave it.
 *
 * Packets are too many for the shape of other machines: an input object, an output array and a few closures for each would cost
 * as much as the relaying. So a packet is a method call (`TurnServer.packet`, `TurnServer.peerPacket`), and a packet that leaves is a
 * call of the {@link PacketSink} during it. Everything else (sockets to open and close, allocations that begin and end) is an
 * output as everywhere; for a relayed packet the answer is the shared empty list.
 *
 * `Path` is what carries a client's packets: a UDP socket with many clients, or one connection. `Relay` is a relay socket. The core
 * compares both by identity and hands them back; it never looks inside a relay.
 */
export interface ClientPath {
  readonly transport: "udp" | "tcp" | "tls";
  /**
   * For behaviour discovery (RFC 5780), UDP with two addresses and two ports: this socket's own address, that with the other port,
   * that with the other address, that with both other.
   */
  readonly discovery?: readonly [Endpoint, Endpoint, Endpoint, Endpoint];
}

/** How packets leave the core. All calls happen during a call of the core, and must not call it. */
export interface PacketSink<Path, Relay> {
  /**
   * A buffer of exactly `length` bytes with any content. The core writes it once and hands it to one of the other calls, or forgets it.
   */
  packet(length: number): Uint8Array;
  /** Sends `bytes` to a client; `via` is an index into the path's `discovery`, 0 for the path itself. */
  toClient(path: Path, bytes: Uint8Array, address: string, port: number, via: number): void;
  /** Sends `length` bytes from `offset` of `bytes` to a peer. */
  toPeer(relay: Relay, bytes: Uint8Array, offset: number, length: number, address: string, port: number): void;
}

export type TurnInput<Path, Relay> =
  /** A datagram, or one message of a stream without what pads it. */
  | {
      readonly type: "packet";
      readonly path: Path;
      readonly bytes: Uint8Array;
      readonly address: string;
      readonly port: number;
    }
  /** A datagram at a relay socket. */
  | {
      readonly type: "peer-packet";
      readonly relay: Relay;
      readonly bytes: Uint8Array;
      readonly address: string;
      readonly port: number;
    }
  /** The answer to `open-relays`: what could be opened, in the order asked for; none is a failure. */
  | {
      readonly type: "relays-opened";
      readonly request: number;
      readonly relays: readonly OpenedRelay<Relay>[];
      /** The socket on the next higher port, where one was asked for. */
      readonly reserved?: OpenedRelay<Relay>;
    }
  /** Others may use the relay from here on. Allocations stay; what they ask for next is judged by these. */
  | { readonly type: "credentials"; readonly credentials: Credentials }
  /** A connection has ended, and with it its allocation. */
  | { readonly type: "disconnected"; readonly path: Path }
  | { readonly type: "timeout" };

/** A relay socket with the address at which peers reach it. */
export interface OpenedRelay<Relay> {
  readonly relay: Relay;
  readonly family: Family;
  readonly endpoint: Endpoint;
}

/** Which port a relay socket shall have: any; an even one; an even one, and the next higher one opened as well. */
export type PortWish = "any" | "even" | "even-and-next";

export type TurnOutput<Relay> =
  /** Open a relay socket for each family and answer with `relays-opened`, now or later. */
  | {
      readonly type: "open-relays";
      readonly request: number;
      readonly families: readonly Family[];
      readonly wish: PortWish;
    }
  | { readonly type: "close-relay"; readonly relay: Relay }
  | { readonly type: "allocation-started"; readonly allocation: AllocationFacts }
  | {
      readonly type: "allocation-ended";
      readonly allocation: AllocationFacts;
      readonly reason: EndReason;
      readonly lifeMs: number;
      readonly bytesToPeers: number;
      readonly bytesToClient: number;
    };

/** Why an allocation ended: its client said so, stopped refreshing it, or its connection ended; or the server closes. */
export type EndReason = "released" | "expired" | "disconnected" | "closed";

/** An allocation for logs and metrics. */
export interface AllocationFacts {
  readonly user: string;
  readonly transport: ClientPath["transport"];
  readonly client: Endpoint;
  readonly relayed: readonly Endpoint[];
}
