import type { Instant } from "../../src/proto/machine.ts";
import type { Account } from "./accounts.ts";
import { type Endpoint, type Family, familyOf } from "./address.ts";
import type { AllocationFacts, ClientPath } from "./events.ts";
import type { TurnLimits } from "./limits.ts";

/**
 * One allocation (RFC 8656, section 5): a client's 5-tuple, one relayed address or one of each family, and the peers that may
 * use them. Permissions and channels end by the clock alone: every use compares the time, and what has ended is swept
 * out when room is needed, so that no timer runs for them.
 */
export class Allocation<Path extends ClientPath, Relay> {
  readonly path: Path;
  readonly client: Endpoint;
  readonly account: Account;
  /** The transaction that made it: a request that repeats it gets the same answer. */
  readonly transaction: Uint8Array;
  readonly startedAt: Instant;
  /** Live relayed addresses, one of a family. */
  readonly relayed: Relayed<Path, Relay>[] = [];
  /** The token of the port that was reserved with it. */
  readonly token: Uint8Array | undefined;
  /** Whether a second family was asked for and could not be had. */
  readonly lacksIpv6: boolean;
  readonly #peers = new Map<string, Peer>();
  #latestPeer: Peer | undefined;
  readonly #channels = new Map<number, Channel>();
  bytesToPeers = 0;
  bytesToClient = 0;

  constructor(birth: AllocationBirth<Path>) {
    this.path = birth.path;
    this.client = birth.client;
    this.account = birth.account;
    this.transaction = birth.transaction;
    this.startedAt = birth.startedAt;
    this.token = birth.token;
    this.lacksIpv6 = birth.lacksIpv6;
  }

  /** The relayed address of a family. */
  ofFamily(family: Family): Relayed<Path, Relay> | undefined {
    for (const relayed of this.relayed) if (relayed.family === family) return relayed;
    return undefined;
  }

  /** The peer host at an address, whether its permission still holds or not. */
  peer(address: string): Peer | undefined {
    const latest = this.#latestPeer;
    // Most clients talk to one host: to compare costs a third of hashing a string that the system has just made.
    if (latest?.address === address) return latest;
    const peer = this.#peers.get(address);
    if (peer !== undefined) this.#latestPeer = peer;
    return peer;
  }

  /** The channel of a number; undefined when there is none or its time is over. */
  channel(number: number, now: Instant): Channel | undefined {
    const channel = this.#channels.get(number);
    return channel !== undefined && channel.expiresAt > now ? channel : undefined;
  }

  /** Whether permissions for all of these addresses, known and new, fit. */
  hasRoomFor(addresses: readonly string[], limits: TurnLimits, now: Instant): boolean {
    const fresh = new Set(addresses.filter((address) => !this.#peers.has(address))).size;
    if (this.#peers.size + fresh <= limits.permissions) return true;
    this.#sweep(now);
    const lacking = new Set(addresses.filter((address) => !this.#peers.has(address))).size;
    return this.#peers.size + lacking <= limits.permissions;
  }

  /** Installs or renews the permission for an address; there is room. */
  permit(address: string, reach: Reach, until: Instant): Peer {
    const known = this.#peers.get(address);
    if (known !== undefined) {
      known.permittedUntil = until;
      return known;
    }
    const peer: Peer = { address, family: familyOf(address), reach, permittedUntil: until, channels: [] };
    this.#peers.set(address, peer);
    return peer;
  }

  /** Whether `number` and the peer are free for each other, or bound to each other already. */
  canBind(number: number, peer: Endpoint, now: Instant): boolean {
    const bound = this.channel(number, now);
    if (bound !== undefined) return bound.peer.address === peer.address && bound.port === peer.port;
    const host = this.#peers.get(peer.address);
    return host === undefined || channelTo(host, peer.port, now) === undefined;
  }

  /** Whether another channel fits. */
  hasRoomForChannel(number: number, limits: TurnLimits, now: Instant): boolean {
    if (this.#channels.has(number) || this.#channels.size < limits.channels) return true;
    this.#sweep(now);
    return this.#channels.size < limits.channels;
  }

  /** Binds or renews a channel; it can be bound, there is room, and `peer` has a permission. */
  bind(number: number, peer: Peer, port: number, until: Instant): void {
    const known = this.#channels.get(number);
    if (known !== undefined) {
      if (known.peer === peer && known.port === port) {
        known.expiresAt = until;
        return;
      }
      this.#unbind(known);
    }
    // An expired channel to the same port may linger under another number.
    for (const stale of peer.channels.filter((channel) => channel.port === port)) this.#unbind(stale);
    const channel: Channel = { number, peer, port, expiresAt: until };
    this.#channels.set(number, channel);
    peer.channels.push(channel);
  }

  facts(): AllocationFacts {
    return {
      user: this.account.user,
      transport: this.path.transport,
      client: this.client,
      relayed: this.relayed.map((relayed) => relayed.endpoint),
    };
  }

  #unbind(channel: Channel): void {
    this.#channels.delete(channel.number);
    const index = channel.peer.channels.indexOf(channel);
    if (index >= 0) channel.peer.channels.splice(index, 1);
  }

  #sweep(now: Instant): void {
    for (const channel of this.#channels.values()) if (channel.expiresAt <= now) this.#unbind(channel);
    for (const [address, peer] of this.#peers) {
      if (peer.permittedUntil <= now && peer.channels.length === 0) this.#peers.delete(address);
    }
    this.#latestPeer = undefined;
  }
}

/** What an allocation is made of. */
export interface AllocationBirth<Path> {
  readonly path: Path;
  readonly client: Endpoint;
  readonly account: Account;
  readonly transaction: Uint8Array;
  readonly startedAt: Instant;
  readonly token: Uint8Array | undefined;
  readonly lacksIpv6: boolean;
}

/** A relayed address and its socket. */
export interface Relayed<Path extends ClientPath, Relay> {
  readonly allocation: Allocation<Path, Relay>;
  readonly relay: Relay;
  readonly family: Family;
  readonly endpoint: Endpoint;
  expiresAt: Instant;
}

/**
 * How packets reach a host: through the network; inside this server, because the host is a relay address of its own, and only at ports
 * that are relayed addresses; or the one where such a port is and the other where the policy allows the host as well.
 */
export type Reach = "network" | "inside" | "both";

/** A host that a client has, or had, a permission for. */
export interface Peer {
  readonly address: string;
  readonly family: Family;
  readonly reach: Reach;
  permittedUntil: Instant;
  /** Channels to ports of this host, mostly one; not those alone that still hold. */
  readonly channels: Channel[];
}

/** A number that stands for a peer's address and port. */
export interface Channel {
  readonly number: number;
  readonly peer: Peer;
  readonly port: number;
  expiresAt: Instant;
}

/** The live channel to a port of a host. */
export function channelTo(peer: Peer, port: number, now: Instant): Channel | undefined {
  const channels = peer.channels;
  for (let index = 0; index < channels.length; index++) {
    const channel = channels[index] as Channel;
    if (channel.port === port) return channel.expiresAt > now ? channel : undefined;
  }
  return undefined;
}
