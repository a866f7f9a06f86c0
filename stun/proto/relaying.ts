import type { Instant } from "../../src/proto/machine.ts";
import type { Random } from "../../src/proto/random.ts";
import type { Accounts } from "./accounts.ts";
import { addressBytes } from "./address.ts";
import { type Allocation, channelTo, type Peer, type Relayed } from "./allocation.ts";
import type { Allocations } from "./allocations.ts";
import { Attribute, addressLength, readXorAddress } from "./attributes.ts";
import { CHANNEL_HEADER_BYTES, writeChannelData } from "./channel-data.ts";
import type { Counters } from "./counters.ts";
import type { ClientPath, PacketSink } from "./events.ts";
import { wireLimits } from "./limits.ts";
import { HEADER_BYTES, MessageClass, Method, padded, type StunMessage, u16 } from "./message.ts";
import { MessageWriter } from "./message-writer.ts";

/**
 * The data path: what a client sends to peers and what peers send to it (RFC 8656, sections 11 and 12). One method call for each packet,
 * look-ups only, no object but the packet itself.
 *
 * A packet to a relayed address of this very server does not go through the network: it is handed to that allocation at once. So two
 * clients of one server reach each other also behind a NAT that does not turn packets round, and the server's own addresses can stay
 * closed to everything else.
 */
export class Relaying<Path extends ClientPath, Relay> {
  readonly #allocations: Allocations<Path, Relay>;
  readonly #accounts: Accounts;
  readonly #sink: PacketSink<Path, Relay>;
  readonly #counters: Counters;
  readonly #random: Random;

  /** @param random for the transaction ids of Data indications. */
  constructor(
    allocations: Allocations<Path, Relay>,
    accounts: Accounts,
    sink: PacketSink<Path, Relay>,
    counters: Counters,
    random: Random,
  ) {
    this.#allocations = allocations;
    this.#accounts = accounts;
    this.#sink = sink;
    this.#counters = counters;
    this.#random = random;
  }

  /** ChannelData from a client; `bytes` begins with the channel number. */
  channelData(path: Path, bytes: Uint8Array, address: string, port: number, now: Instant): void {
    const allocation = this.#allocations.find(path, address, port);
    const length = bytes.length < CHANNEL_HEADER_BYTES ? -1 : u16(bytes, 2);
    const surplus = bytes.length - CHANNEL_HEADER_BYTES - length;
    // Over UDP padding is not demanded, but allowed.
    if (length < 0 || surplus < 0 || surplus > 3) {
      this.#counters.malformed++;
      return;
    }
    const channel = allocation?.channel(u16(bytes, 0), now);
    if (allocation === undefined || channel === undefined) {
      this.#counters.packetsWithoutPermission++;
      return;
    }
    this.#toPeer(allocation, channel.peer, channel.port, bytes, CHANNEL_HEADER_BYTES, length, now);
  }

  /** A Send indication from a client. */
  sendIndication(path: Path, message: StunMessage, address: string, port: number, now: Instant): void {
    const at = message.find(Attribute.xorPeerAddress);
    const data = message.find(Attribute.data);
    const endpoint = at === 0 ? undefined : readXorAddress(message.bytes, at, message.length(at));
    if (endpoint === undefined || endpoint.port === 0 || data === 0 || message.unknown(KNOWN_TO_SEND).length > 0) {
      this.#counters.malformed++;
      return;
    }
    const allocation = this.#allocations.find(path, address, port);
    const peer = allocation?.peer(endpoint.address);
    if (allocation === undefined || peer === undefined || peer.permittedUntil <= now) {
      this.#counters.packetsWithoutPermission++;
      return;
    }
    const length = message.length(data);
    // The system cuts a packet that is too large for the wire, and cannot be told not to: so such a packet is not sent.
    if (message.find(Attribute.dontFragment) > 0 && length + ipOverhead(peer) > wireLimits.unfragmentedBytes) {
      this.#counters.packetsTooLarge++;
      return;
    }
    this.#toPeer(allocation, peer, endpoint.port, message.bytes, data, length, now);
  }

  /** A datagram that arrived at a relayed address. */
  fromPeer(relayed: Relayed<Path, Relay>, payload: Uint8Array, address: string, port: number, now: Instant): void {
    const { allocation } = relayed;
    const peer = allocation.peer(address);
    if (peer === undefined || peer.permittedUntil <= now) {
      this.#counters.packetsWithoutPermission++;
      return;
    }
    const length = payload.length;
    if (!this.#accounts.spend(allocation.account, length, now)) {
      this.#counters.packetsOverBandwidth++;
      return;
    }
    this.#counters.packetsToClients++;
    this.#counters.bytesToClients += length;
    allocation.bytesToClient += length;
    const { path, client } = allocation;
    const channel = channelTo(peer, port, now);
    let packet: Uint8Array;
    if (channel !== undefined) {
      const size = CHANNEL_HEADER_BYTES + length;
      packet = this.#sink.packet(path.transport === "udp" ? size : padded(size));
      writeChannelData(packet, channel.number, payload);
    } else packet = this.#dataIndication(payload, peer, port);
    this.#sink.toClient(path, packet, client.address, client.port, 0);
  }

  #toPeer(
    allocation: Allocation<Path, Relay>,
    peer: Peer,
    port: number,
    bytes: Uint8Array,
    offset: number,
    length: number,
    now: Instant,
  ): void {
    const relayed = allocation.ofFamily(peer.family);
    if (relayed === undefined) {
      this.#counters.packetsWithoutPermission++;
      return;
    }
    if (!this.#accounts.spend(allocation.account, length, now)) {
      this.#counters.packetsOverBandwidth++;
      return;
    }
    if (peer.reach !== "network") {
      const target = this.#allocations.at(peer.address, port);
      if (target === undefined && peer.reach === "inside") {
        this.#counters.packetsWithoutPermission++;
        return;
      }
      if (target !== undefined) {
        this.#count(allocation, length);
        const { endpoint } = relayed;
        this.fromPeer(target, bytes.subarray(offset, offset + length), endpoint.address, endpoint.port, now);
        return;
      }
    }
    this.#count(allocation, length);
    this.#sink.toPeer(relayed.relay, bytes, offset, length, peer.address, port);
  }

  #count(allocation: Allocation<Path, Relay>, length: number): void {
    this.#counters.packetsToPeers++;
    this.#counters.bytesToPeers += length;
    allocation.bytesToPeers += length;
  }

  #dataIndication(payload: Uint8Array, peer: Peer, port: number): Uint8Array {
    for (let at = 8; at < HEADER_BYTES; at += 4) {
      const word = this.#random.u32();
      indicationHeader[at] = word >>> 24;
      indicationHeader[at + 1] = (word >>> 16) & 0xff;
      indicationHeader[at + 2] = (word >>> 8) & 0xff;
      indicationHeader[at + 3] = word & 0xff;
    }
    const size = HEADER_BYTES + 4 + addressLength(peer.family) + 4 + padded(payload.length);
    const packet = this.#sink.packet(size);
    const address = addressBytes(peer.address) ?? NO_ADDRESS;
    new MessageWriter(packet, MessageClass.indication, Method.data, indicationHeader)
      .xorAddress(Attribute.xorPeerAddress, address, port)
      .bytes(Attribute.data, payload)
      .finish();
    return packet;
  }
}

const indicationHeader = new Uint8Array(HEADER_BYTES);
const NO_ADDRESS = new Uint8Array(4);

const KNOWN_TO_SEND: ReadonlySet<number> = new Set([Attribute.xorPeerAddress, Attribute.data, Attribute.dontFragment]);

/** IP and UDP headers. */
function ipOverhead(peer: Peer): number {
  return peer.family === 4 ? 28 : 48;
}
