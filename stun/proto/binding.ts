import type { Instant } from "../../src/proto/machine.ts";
import { addressBytes } from "./address.ts";
import type { Answers, Requester } from "./answers.ts";
import { Attribute, addressLength, bytesOfEndpoint } from "./attributes.ts";
import type { Counters } from "./counters.ts";
import type { ClientPath, PacketSink } from "./events.ts";
import { wireLimits } from "./limits.ts";
import { HEADER_BYTES, MessageClass, Method, type StunMessage, u16 } from "./message.ts";
import { MessageWriter } from "./message-writer.ts";

/**
 * Binding (RFC 8489): tells a client the address that its request came from. Where the server has two addresses and two
 * ports it also answers from another one when asked, which shows a client how its NAT maps and filters (RFC 5780).
 *
 * Nobody has to authenticate for it, so an answer holds nothing that is not asked for.
 */
export class Binding<Path extends ClientPath, Relay> {
  readonly #sink: PacketSink<Path, Relay>;
  readonly #answers: Answers<Path, Relay>;
  readonly #counters: Counters;

  constructor(sink: PacketSink<Path, Relay>, answers: Answers<Path, Relay>, counters: Counters) {
    this.#sink = sink;
    this.#answers = answers;
    this.#counters = counters;
  }

  /** Answers a Binding request. */
  answer(message: StunMessage, path: Path, address: string, port: number, now: Instant): void {
    const source = addressBytes(address);
    if (source === undefined) return;
    // The common case, written out: one packet of known length, no other object.
    if (path.discovery === undefined && (message.bytes.length === HEADER_BYTES || isPlain(message))) {
      this.#counters.bindings++;
      const length = HEADER_BYTES + 4 + addressLength(source.length === 4 ? 4 : 6) + (message.hasFingerprint ? 8 : 0);
      const packet = this.#sink.packet(length);
      const writer = new MessageWriter(packet, MessageClass.success, Method.binding, message.bytes);
      writer.xorAddress(Attribute.xorMappedAddress, source, port);
      if (message.hasFingerprint) writer.fingerprint();
      writer.finish();
      this.#sink.toClient(path, packet, address, port, 0);
      return;
    }
    const requester: Requester<Path> = {
      path,
      address,
      port,
      header: message.bytes,
      method: Method.binding,
      requestBytes: message.bytes.length,
      hasFingerprint: message.hasFingerprint,
      isVerified: path.transport !== "udp",
      integrity: undefined,
    };
    const unknown = message.unknown(path.discovery === undefined ? KNOWN : KNOWN_TO_DISCOVERY);
    if (unknown.length > 0) this.#answers.unknown(requester, unknown, now);
    else this.#discover(message, requester, source, now);
  }

  #discover(message: StunMessage, requester: Requester<Path>, source: Uint8Array, now: Instant): void {
    const { discovery } = requester.path;
    if (discovery === undefined) return;
    const change = fixed(message, Attribute.changeRequest, 4);
    const responsePort = fixed(message, Attribute.responsePort, 4);
    const padding = message.find(Attribute.padding);
    if (change < 0 || responsePort < 0 || (responsePort > 0 && padding > 0)) {
      this.#answers.error(requester, 400, now);
      return;
    }
    const flags = change === 0 ? 0 : (message.bytes[change + 3] as number);
    const via = ((flags & CHANGE_PORT) > 0 ? 1 : 0) + ((flags & CHANGE_ADDRESS) > 0 ? 2 : 0);
    const origin = discovery[via];
    const other = discovery[3];
    const port = responsePort === 0 ? requester.port : u16(message.bytes, responsePort);
    if (origin === undefined || port === 0) return;
    const writer = this.#answers
      .success(requester)
      .xorAddress(Attribute.xorMappedAddress, source, requester.port)
      .address(Attribute.responseOrigin, bytesOfEndpoint(origin), origin.port)
      .address(Attribute.otherAddress, bytesOfEndpoint(other), other.port);
    if (padding > 0) writer.zeros(Attribute.padding, Math.min(message.length(padding), wireLimits.paddingBytes));
    if (this.#answers.send(requester, writer, now, { port, via })) this.#counters.bindings++;
  }
}

const CHANGE_ADDRESS = 0x04;
const CHANGE_PORT = 0x02;

const KNOWN: ReadonlySet<number> = new Set([
  Attribute.username,
  Attribute.userhash,
  Attribute.realm,
  Attribute.nonce,
  Attribute.passwordAlgorithm,
]);

const KNOWN_TO_DISCOVERY: ReadonlySet<number> = new Set([
  ...KNOWN,
  Attribute.changeRequest,
  Attribute.responsePort,
  Attribute.padding,
]);

function isPlain(message: StunMessage): boolean {
  return message.unknown(KNOWN).length === 0;
}

/** Where the value of an attribute of fixed length begins; 0 when there is none, -1 when its length is wrong. */
function fixed(message: StunMessage, type: number, length: number): number {
  const at = message.find(type);
  return at === 0 || message.length(at) === length ? at : -1;
}
