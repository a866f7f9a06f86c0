import { below, type Random, randomBytes, SeededRandom } from "../../../src/proto/random.ts";
import { Attribute } from "../../../stun/proto/attributes.ts";
import { Method } from "../../../stun/proto/message.ts";
import { StreamFramer } from "../../../stun/proto/stream-framer.ts";
import { ALICE, Lab, LabClient, type LabPath, PEER, PEER_6, type Sent } from "./lab.ts";
import { channelData, channelTo, peers, request, sendIndication, signed, udpTransport } from "./requests.ts";

/**
 * Mutated datagrams against a server with live allocations: it must not throw, not answer what is malformed, not grow.
 *
 * What is malformed is decided here a second time, by code that shares nothing with the server's parser.
 */
export interface FuzzReport {
  readonly packets: number;
  /** Packets that are well-formed requests all the same. */
  readonly wellFormed: number;
  readonly answers: number;
  /** Answers to what is no request, or that are longer than an unverified address may get; each with the packet in hex. */
  readonly offences: readonly string[];
  readonly allocations: number;
}

/** Sends `count` mutated packets of a transport. Equal seeds give equal reports. */
export function fuzz(transport: LabPath["transport"], count: number, seed: number): FuzzReport {
  const random = new SeededRandom(seed);
  const lab = new Lab({ limits: { allocationsPerUser: 50, amplification: { perSecond: 1e9, burst: 1e9 } } });
  const path: LabPath = transport === "udp" ? lab.udp : { name: transport, transport };
  const client = new LabClient(lab, 1_000, ALICE, path);
  const seeds = corpus(client);
  const stream = new Stream();
  let wellFormed = 0;
  let answers = 0;
  const offences: string[] = [];
  const deliver = (packet: Uint8Array): void => {
    // Mostly from the client that has an allocation, sometimes from one of a few others.
    const from = { ...client.at, port: below(random, 4) > 0 ? client.at.port : 2_000 + below(random, 8) };
    lab.packet(packet, from, path);
    const isRequest = isWellFormedRequest(packet);
    if (isRequest) wellFormed++;
    for (const sent of lab.drain()) {
      if (sent.to !== "client" || isRelayed(sent)) continue;
      answers++;
      if (!isRequest) offences.push(`answered: ${hexOf(packet)}`);
      else if (sent.bytes.length > MOST_OF_AN_ANSWER) offences.push(`${sent.bytes.length} bytes for: ${hexOf(packet)}`);
    }
  };
  for (let index = 0; index < count; index++) {
    const packet = mutate(seeds[below(random, seeds.length)] as Uint8Array, random);
    if (transport === "udp") deliver(packet);
    else stream.carry(packet, random, deliver);
    if ((index & 0xfff) === 0xfff) {
      lab.outputs.length = 0;
      lab.advance(1_000);
      if (below(random, 8) === 0) lab.peerPacket(1, randomBytes(random, below(random, 64)), PEER);
      client.send(seeds[0] as Uint8Array);
      lab.drain();
    }
  }
  return { packets: count, wellFormed, answers, offences: offences.slice(0, 10), allocations: lab.server.allocations };
}

/** The longest answer there is to any of these requests: an allocation of two families with a reservation, or a challenge. */
const MOST_OF_AN_ANSWER = 200;

/** Good packets of every kind, which are then spoiled. */
function corpus(client: LabClient): Uint8Array[] {
  const signature = client.signature();
  const make = (method: number, fill: Parameters<typeof signed>[2]) => signed(method, signature, fill);
  client.allocate((writer) => writer.bytes(Attribute.additionalAddressFamily, Uint8Array.of(2, 0, 0, 0)));
  client.ask(Method.channelBind, channelTo(0x4000, PEER));
  return [
    make(Method.refresh, (writer) => writer.u32(Attribute.lifetime, 600)),
    request(Method.binding),
    request(Method.binding, (writer) => writer.fingerprint()),
    request(Method.allocate, udpTransport),
    make(Method.allocate, udpTransport),
    make(Method.allocate, (writer) =>
      writer
        .bytes(Attribute.requestedTransport, Uint8Array.of(17, 0, 0, 0))
        .bytes(Attribute.evenPort, Uint8Array.of(0x80)),
    ),
    make(Method.createPermission, peers(PEER, PEER_6)),
    make(Method.channelBind, channelTo(0x4001, PEER_6)),
    sendIndication(PEER, new Uint8Array(40)),
    channelData(0x4000, new Uint8Array(40)),
    request(Method.allocate, (writer) => writer.zeros(Attribute.passwordAlgorithms, 8).zeros(Attribute.userhash, 32)),
  ];
}

function mutate(original: Uint8Array, random: Random): Uint8Array {
  let bytes: Uint8Array = original.slice();
  for (let times = below(random, 4); times >= 0; times--) {
    const at = below(random, Math.max(1, bytes.length));
    switch (below(random, 9)) {
      case 0:
        bytes[at] = below(random, 256);
        break;
      case 1:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << below(random, 8));
        break;
      case 2:
        bytes = bytes.slice(0, at);
        break;
      case 3:
        bytes = Uint8Array.of(...bytes, ...randomBytes(random, below(random, 32)));
        break;
      case 4:
        // A length: of the message or of whatever stands there.
        bytes[(at & ~3) | 2] = random.u32() & 1 ? 0xff : 0;
        bytes[(at & ~3) | 3] = below(random, 256);
        break;
      case 5:
        // A piece taken out or doubled.
        bytes = Uint8Array.of(...bytes.slice(0, at), ...bytes.slice(below(random, bytes.length + 1)));
        break;
      case 6:
        bytes[0] = below(random, 256);
        break;
      case 7:
        bytes = randomBytes(random, below(random, 96));
        break;
      default:
        // Repaired, so that more gets past the first check.
        bytes = bytes.slice(0, bytes.length & ~3);
        if (bytes.length >= 20) {
          bytes[2] = (bytes.length - 20) >> 8;
          bytes[3] = (bytes.length - 20) & 255;
          bytes.set([0x21, 0x12, 0xa4, 0x42], 4);
          bytes[0] = (bytes[0] as number) & 1;
        }
    }
  }
  return bytes;
}

/** Connections one after another: each ends where it is refused, or after a few packets. */
class Stream {
  #framer = new StreamFramer();

  /** Sends a packet in two pieces. */
  carry(packet: Uint8Array, random: Random, take: (bytes: Uint8Array) => void): void {
    if (below(random, 4) === 0) this.#framer = new StreamFramer();
    const cut = below(random, packet.length + 1);
    for (const piece of [packet.slice(0, cut), packet.slice(cut)]) {
      if (!this.#framer.push(piece, 4_096, take)) this.#framer = new StreamFramer();
    }
  }
}

function isRelayed({ bytes }: Sent): boolean {
  const first = bytes[0] ?? 0;
  return first >= 0x40 || (first === 0 && bytes[1] === 0x17);
}

/** RFC 8489, sections 5 and 14, read again: the form of a request with everything that a receiver can check without a key. */
function isWellFormedRequest(bytes: Uint8Array): boolean {
  if (bytes.length < 20) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const type = view.getUint16(0);
  const isRequest = (type & 0b1100_0001_0001_0000) === 0;
  if (!isRequest || view.getUint32(4) !== 0x2112a442 || view.getUint16(2) !== bytes.length - 20) return false;
  if (bytes.length % 4 !== 0) return false;
  for (let at = 20; at !== bytes.length; ) {
    if (at + 4 > bytes.length) return false;
    const length = view.getUint16(at + 2);
    const end = at + 4 + Math.ceil(length / 4) * 4;
    if (end > bytes.length) return false;
    if (view.getUint16(at) === 0x8028 && (length !== 4 || end !== bytes.length)) return false;
    at = end;
  }
  return true;
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
