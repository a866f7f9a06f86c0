import { StarlingError } from "../src/errors.ts";
import type { Random } from "../src/proto/random.ts";
import { canonicalAddress, type Family, familyOf } from "./proto/address.ts";
import type { OpenedRelay, PortWish } from "./proto/events.ts";
import { Ports } from "./proto/ports.ts";
import { bindUdp, type UdpCounters, UdpSocket } from "./udp.ts";

/** The relay sockets of one address: opens them on ports of the range, and knows how many there are. */
export interface RelayAddress {
  readonly family: Family;
  /** Where the sockets are bound. */
  readonly address: string;
  /** What clients and peers are told; differs from `address` behind a one-to-one NAT. */
  readonly external: string;
}

/** How many ports that somebody else holds are tried past before an allocation fails. */
const ATTEMPTS = 32;

export class Relays {
  readonly #addresses: readonly RelayAddress[];
  readonly #ports = new Map<RelayAddress, Ports>();
  readonly #counters: UdpCounters;
  readonly #open = new Map<UdpSocket, Ports>();

  /** @param range ports, both ends included. */
  constructor(
    addresses: readonly RelayAddress[],
    range: { readonly first: number; readonly last: number },
    random: Random,
    counters: UdpCounters,
  ) {
    this.#addresses = addresses;
    this.#counters = counters;
    for (const address of addresses) this.#ports.set(address, new Ports(range.first, range.last, random));
  }

  /** Relay sockets that are open. */
  get size(): number {
    return this.#open.size;
  }

  /** Opens one socket of a family, or a pair of neighbours, and calls back with what could be had: all or nothing. */
  open(family: Family, wish: PortWish, done: (sockets: readonly OpenedRelay<UdpSocket>[]) => void): void {
    const at = this.#addresses.find((address) => address.family === family);
    if (at === undefined) done([]);
    else this.#attempt(at, wish, ATTEMPTS, done);
  }

  /** Closes a socket and frees its port. */
  close(socket: UdpSocket): void {
    this.#open.get(socket)?.give(socket.endpoint.port);
    this.#open.delete(socket);
    socket.close();
  }

  #attempt(
    at: RelayAddress,
    wish: PortWish,
    left: number,
    done: (sockets: readonly OpenedRelay<UdpSocket>[]) => void,
  ): void {
    const ports = this.#ports.get(at);
    const port = left > 0 ? ports?.take(wish) : undefined;
    if (port === undefined || ports === undefined) {
      done([]);
      return;
    }
    this.#bind(at, port, ports, (first) => {
      if (first instanceof Error) {
        if (wish === "even-and-next") ports.give(port + 1);
        if (isTaken(first)) this.#attempt(at, wish, left - 1, done);
        else done([]);
      } else if (wish !== "even-and-next") done([opened(first, at)]);
      else {
        this.#bind(at, port + 1, ports, (second) => {
          if (second instanceof UdpSocket) {
            done([opened(first, at), opened(second, at)]);
            return;
          }
          this.close(first);
          if (isTaken(second)) this.#attempt(at, wish, left - 1, done);
          else done([]);
        });
      }
    });
  }

  /** A port that could not be bound is free again for a later try: whoever holds it may let go. */
  #bind(at: RelayAddress, port: number, ports: Ports, done: (result: UdpSocket | Error) => void): void {
    const { address, family } = at;
    bindUdp({ address, port, family, purpose: "relay" }, this.#counters, (result) => {
      if (result instanceof Error) ports.give(port);
      else this.#open.set(result, ports);
      done(result);
    });
  }
}

function opened(socket: UdpSocket, at: RelayAddress): OpenedRelay<UdpSocket> {
  return { relay: socket, family: at.family, endpoint: { address: at.external, port: socket.endpoint.port } };
}

function isTaken(error: Error): boolean {
  return "code" in error && (error.code === "EADDRINUSE" || error.code === "EACCES");
}

/**
 * Addresses to bind, each with the one that others see. Throws `usage` for what is no address, and for two of one family.
 *
 * @param bound at most one of each family.
 * @param seen where a NAT stands between: at most one of each family; default: as bound.
 */
export function relayAddressesOf(bound: readonly string[], seen: readonly string[] = []): RelayAddress[] {
  const canonical = (texts: readonly string[], what: string): string[] =>
    texts.map((text) => {
      const address = canonicalAddress(text);
      if (address === undefined) throw new StarlingError("usage", `${JSON.stringify(text)} is no IP address`);
      if (texts.some((other) => other !== text && familyOf(other) === familyOf(address)))
        throw new StarlingError("usage", `give one ${what} of each family at most`);
      return address;
    });
  const external = canonical(seen, "external address");
  return canonical(bound, "relay address").map((address) => {
    const family = familyOf(address);
    return { family, address, external: external.find((other) => familyOf(other) === family) ?? address };
  });
}
