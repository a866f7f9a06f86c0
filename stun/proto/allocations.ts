import { hex } from "../../src/proto/bytes.ts";
import type { Instant } from "../../src/proto/machine.ts";
import { Wheel } from "../../src/proto/replication/wheel.ts";
import type { Endpoint, Family } from "./address.ts";
import type { Allocation, Relayed } from "./allocation.ts";
import type { ClientPath, OpenedRelay } from "./events.ts";

/** Ends of lives are kept to this resolution, ms: an allocation may live a second longer than it was told, never shorter. */
const SLOT_MS = 1_000;

/** A port that waits for the client that holds its token. */
export interface Reservation<Relay> {
  readonly token: string;
  readonly user: string;
  readonly opened: OpenedRelay<Relay>;
  readonly expiresAt: Instant;
}

/** What comes to an end by the clock. */
type Mortal<Path extends ClientPath, Relay> =
  | { readonly type: "relayed"; readonly relayed: Relayed<Path, Relay> }
  | { readonly type: "reservation"; readonly reservation: Reservation<Relay> };

/**
 * All allocations, found by their client's 5-tuple, by relay socket and by relayed address; the reservations; and the order in
 * which they end. Only what has authenticated is in here.
 */
export class Allocations<Path extends ClientPath, Relay> {
  readonly #byClient = new Map<Path, Map<string, Map<number, Allocation<Path, Relay>>>>();
  /** Whose packet came last. */
  #latest: Allocation<Path, Relay> | undefined;
  readonly #byRelay = new Map<Relay, Relayed<Path, Relay>>();
  readonly #byAddress = new Map<string, Map<number, Relayed<Path, Relay>>>();
  readonly #reservations = new Map<string, Reservation<Relay>>();
  readonly #lives = new Wheel<Mortal<Path, Relay>>(SLOT_MS);
  readonly #mortals = new Map<Relay, Mortal<Path, Relay>>();

  /** Reserved ports. */
  get reservations(): number {
    return this.#reservations.size;
  }

  /** When something may be due. */
  deadline(): Instant | undefined {
    return this.#lives.next();
  }

  find(path: Path, address: string, port: number): Allocation<Path, Relay> | undefined {
    const latest = this.#latest;
    // Packets come in bursts: to compare costs a third of hashing a string that the system has just made.
    if (latest?.client.port === port && latest.path === path && latest.client.address === address) return latest;
    const found = this.#byClient.get(path)?.get(address)?.get(port);
    if (found !== undefined) this.#latest = found;
    return found;
  }

  ofRelay(relay: Relay): Relayed<Path, Relay> | undefined {
    return this.#byRelay.get(relay);
  }

  /** The live relayed address at an endpoint. */
  at(address: string, port: number): Relayed<Path, Relay> | undefined {
    return this.#byAddress.get(address)?.get(port);
  }

  /** Adds an allocation that has no relayed address yet. */
  add(allocation: Allocation<Path, Relay>): void {
    const { path, client } = allocation;
    inner(inner(this.#byClient, path), client.address).set(client.port, allocation);
  }

  /** Gives an allocation a relayed address. */
  relay(
    allocation: Allocation<Path, Relay>,
    opened: { readonly relay: Relay; readonly family: Family; readonly endpoint: Endpoint },
    expiresAt: Instant,
  ): void {
    const relayed: Relayed<Path, Relay> = {
      allocation,
      relay: opened.relay,
      family: opened.family,
      endpoint: opened.endpoint,
      expiresAt,
    };
    allocation.relayed.push(relayed);
    this.#byRelay.set(relayed.relay, relayed);
    inner(this.#byAddress, relayed.endpoint.address).set(relayed.endpoint.port, relayed);
    this.#live(relayed.relay, { type: "relayed", relayed }, expiresAt);
  }

  /** Moves the end of a relayed address. */
  renew(relayed: Relayed<Path, Relay>, expiresAt: Instant): void {
    const mortal = this.#mortals.get(relayed.relay);
    if (mortal === undefined) return;
    this.#lives.remove(relayed.expiresAt, mortal);
    relayed.expiresAt = expiresAt;
    this.#lives.add(expiresAt, mortal);
  }

  /** Takes a relayed address from its allocation; true when that has none left and is gone too. */
  remove(relayed: Relayed<Path, Relay>): boolean {
    const { allocation, relay, endpoint, expiresAt } = relayed;
    this.#die(relay, expiresAt);
    this.#byRelay.delete(relay);
    drop(this.#byAddress, endpoint.address, endpoint.port);
    allocation.relayed.splice(allocation.relayed.indexOf(relayed), 1);
    if (allocation.relayed.length > 0) return false;
    this.forget(allocation);
    return true;
  }

  /** Removes an allocation that has no relayed address, yet or any more. */
  forget({ path, client }: Allocation<Path, Relay>): void {
    const addresses = this.#byClient.get(path);
    if (addresses === undefined) return;
    this.#latest = undefined;
    drop(addresses, client.address, client.port);
    if (addresses.size === 0) this.#byClient.delete(path);
  }

  /** Keeps a port for whoever shows its token. */
  reserve(reservation: Reservation<Relay>): void {
    this.#reservations.set(reservation.token, reservation);
    this.#live(reservation.opened.relay, { type: "reservation", reservation }, reservation.expiresAt);
  }

  /** Whether `token` holds a port for `user`. */
  isReserved(token: Uint8Array, user: string): boolean {
    return this.#reservations.get(hex(token))?.user === user;
  }

  /** Takes the port that `token` holds for `user`. */
  claim(token: Uint8Array, user: string): OpenedRelay<Relay> | undefined {
    const reservation = this.#reservations.get(hex(token));
    if (reservation?.user !== user) return undefined;
    this.#reservations.delete(reservation.token);
    this.#die(reservation.opened.relay, reservation.expiresAt);
    return reservation.opened;
  }

  /** Something whose end has come; a reservation is removed by this, a relayed address is not. */
  due(now: Instant): Mortal<Path, Relay> | undefined {
    const mortal = this.#lives.take(now);
    if (mortal === undefined) return undefined;
    if (mortal.type === "reservation") {
      this.#reservations.delete(mortal.reservation.token);
      this.#mortals.delete(mortal.reservation.opened.relay);
    }
    return mortal;
  }

  /** Gives up a reservation by its socket. */
  unreserve(relay: Relay): void {
    const mortal = this.#mortals.get(relay);
    if (mortal?.type !== "reservation") return;
    this.#reservations.delete(mortal.reservation.token);
    this.#die(relay, mortal.reservation.expiresAt);
  }

  /** Every allocation of a path. */
  ofPath(path: Path): Allocation<Path, Relay>[] {
    return [...(this.#byClient.get(path)?.values() ?? [])].flatMap((ports) => [...ports.values()]);
  }

  /** Every relay socket, those of reservations included. */
  relays(): Relay[] {
    return [...this.#mortals.keys()];
  }

  #live(relay: Relay, mortal: Mortal<Path, Relay>, at: Instant): void {
    this.#mortals.set(relay, mortal);
    this.#lives.add(at, mortal);
  }

  #die(relay: Relay, at: Instant): void {
    const mortal = this.#mortals.get(relay);
    if (mortal === undefined) return;
    this.#mortals.delete(relay);
    this.#lives.remove(at, mortal);
  }
}

function inner<Key, InnerKey, Value>(map: Map<Key, Map<InnerKey, Value>>, key: Key): Map<InnerKey, Value> {
  const known = map.get(key);
  if (known !== undefined) return known;
  const fresh = new Map<InnerKey, Value>();
  map.set(key, fresh);
  return fresh;
}

function drop<Key, InnerKey, Value>(map: Map<Key, Map<InnerKey, Value>>, key: Key, innerKey: InnerKey): void {
  const entries = map.get(key);
  if (entries === undefined) return;
  entries.delete(innerKey);
  if (entries.size === 0) map.delete(key);
}
