import type { RTCSctpTransport } from "werift";
import { reasonOf } from "./rtc-outlet.ts";

/**
 * The gate before werift's SCTP (RFC 9260), and the way out of it for frames.
 *
 * The peer is whoever holds the certificate of the SDP, and not yet admitted. werift 0.25.2 trusts it: a chunk or parameter
 * of length zero loops for ever, a selective acknowledgement of 65,535 packets per four bytes keeps the processor busy for
 * seconds, a malformed packet or an unknown payload type is an unhandled rejection, which ends the process, and the receive
 * window is announced but not enforced. So every packet is looked at before werift parses it, every promise is caught, and
 * what werift keeps for the peer is bounded. A connection that breaks a rule ends.
 *
 * Frames are taken straight from the association: one call per message, no copy, no event objects. Exactly one stream
 * exists, reliable and ordered, so werift's trouble with several streams at once cannot arise.
 */

/** Packets that one acknowledgement may report beyond a gap: more than the 1 MiB window holds in chunks of 128 bytes. */
const MAX_GAP_PACKETS = 8_192;

/** Chunks received out of order or incomplete; werift's object for each takes about 2 KiB. */
const MAX_PENDING_CHUNKS = 8_192;

const COMMON_HEADER_BYTES = 12;
const DATA = 0;
const SACK = 3;
const RECONFIG = 130;

/** Where the parameters begin, for the chunk types that have some (RFC 9260, section 3.3; RFC 6525, section 3.1). */
const PARAMETERS_AT: ReadonlyMap<number, number> = new Map([
  [1, 20], // INIT
  [2, 20], // INIT ACK
  [4, 4], // HEARTBEAT
  [5, 4], // HEARTBEAT ACK
  [6, 4], // ABORT
  [9, 4], // ERROR
  [RECONFIG, 4],
]);

/** Chunk types that werift handles. FORWARD TSN is not among them here: nothing on the one stream is ever abandoned. */
const KNOWN: ReadonlySet<number> = new Set([DATA, 1, 2, SACK, 4, 5, 6, 7, 8, 9, 10, 11, 14, RECONFIG]);

/** Payload protocol identifiers (RFC 8831, section 8). */
const DCEP = 50;
const BINARY = 53;
const BINARY_EMPTY = 57;
const DCEP_OPEN = 3;
const DCEP_ACK = 2;

/** Judges the packets of one association, in both roles. */
export class SctpGate {
  /** The one stream of the one channel: the first that is seen. */
  #stream: number | undefined;

  /** What is wrong with `packet`; undefined when werift may parse it. Never throws. */
  fault(packet: Buffer): string | undefined {
    let at = COMMON_HEADER_BYTES;
    if (packet.length < at + 4) return "SCTP packet too short";
    let gapPackets = 0;
    while (at + 4 <= packet.length) {
      const type = packet[at] as number;
      const length = packet.readUInt16BE(at + 2);
      if (length < 4 || at + length > packet.length) return "SCTP chunk with an impossible length";
      if (!KNOWN.has(type)) return `SCTP chunk type ${type} is not in use`;
      if (type === DATA) {
        if (length <= 16) return "SCTP data without data";
        this.#stream ??= packet.readUInt16BE(at + 8);
        if (this.#stream !== packet.readUInt16BE(at + 8)) return "a second data channel";
      } else if (type === SACK) {
        gapPackets += reportedBeyondGaps(packet, at, length);
        if (!(gapPackets <= MAX_GAP_PACKETS)) return "SCTP acknowledgement of packets never sent";
      }
      const parametersAt = PARAMETERS_AT.get(type);
      if (parametersAt !== undefined && !areParameters(packet, at + parametersAt, at + length)) {
        return "SCTP parameter with an impossible length";
      }
      at += (length + 3) & ~3;
    }
    return undefined;
  }

  /** Whether werift keeps more for the peer than it may, until it can be delivered. */
  pendingFault(sctp: RTCSctpTransport["sctp"]): string | undefined {
    if (sctp["sackMisOrdered"].size > MAX_PENDING_CHUNKS) return "SCTP: too much out of order";
    const inbound = this.#stream === undefined ? undefined : sctp["inboundStreams"][this.#stream];
    if ((inbound?.reassembly.length ?? 0) > MAX_PENDING_CHUNKS) return "SCTP: a message without end";
    return undefined;
  }
}

/** How many packets the gap blocks of an acknowledgement span; NaN when the blocks do not fit into the chunk. */
function reportedBeyondGaps(packet: Buffer, at: number, length: number): number {
  if (length < 16) return Number.NaN;
  const gaps = packet.readUInt16BE(at + 12);
  const duplicates = packet.readUInt16BE(at + 14);
  if (length < 16 + 4 * (gaps + duplicates)) return Number.NaN;
  let packets = 0;
  for (let gap = 0; gap < gaps; gap++) {
    const block = at + 16 + 4 * gap;
    packets += Math.max(0, packet.readUInt16BE(block + 2) - packet.readUInt16BE(block) + 1);
  }
  return packets;
}

function areParameters(packet: Buffer, start: number, end: number): boolean {
  let at = start;
  while (at + 4 <= end) {
    const length = packet.readUInt16BE(at + 2);
    if (length < 4 || at + length > end) return false;
    at += (length + 3) & ~3;
  }
  return at >= start;
}

/** What comes out of {@link guardSctp}. */
export interface SctpListener {
  frame(bytes: Uint8Array): void;
  /** The connection must end. */
  fault(reason: string): void;
}

/**
 * Puts the gate in front of `transport`, before its first packet. `initiator`: whether the channel is ours to open.
 * Frames of more than `maxFrameBytes` are a fault.
 */
export function guardSctp(
  transport: RTCSctpTransport,
  options: { readonly initiator: boolean; readonly maxFrameBytes: number },
  listener: SctpListener,
): void {
  const { sctp, dtlsTransport } = transport;
  const gate = new SctpGate();
  const failed = (error: unknown) => listener.fault(`SCTP: ${reasonOf(error)}`);

  dtlsTransport.dataReceiver = (packet) => {
    const fault = gate.fault(packet) ?? gate.pendingFault(sctp);
    // werift drops this promise, and with it what it rejects with.
    if (fault === undefined) sctp["handleData"](packet).catch(failed);
    else listener.fault(fault);
  };

  sctp.onReceive.allUnsubscribe();
  sctp.onReceive.subscribe((stream, payload, data) => {
    if (payload === BINARY) {
      if (data.length <= options.maxFrameBytes) listener.frame(data);
      else listener.fault(`a frame of ${data.length} bytes`);
    } else if (payload === DCEP) {
      if (data[0] === (options.initiator ? DCEP_ACK : DCEP_OPEN)) {
        transport["datachannelReceive"](stream, payload, data).catch(failed);
      } else listener.fault("a data channel message out of place");
    } else if (payload !== BINARY_EMPTY) listener.fault(`a message of payload type ${payload}`);
  });
}
