import type { Instant } from "../../src/proto/machine.ts";
import { Amplification } from "./amplification.ts";
import { Attribute, type StunErrorCode } from "./attributes.ts";
import type { Authenticator } from "./authentication.ts";
import type { Counters } from "./counters.ts";
import type { ClientPath, PacketSink } from "./events.ts";
import type { Integrity } from "./integrity.ts";
import { type TurnLimits, wireLimits } from "./limits.ts";
import { MessageClass } from "./message.ts";
import { MessageWriter } from "./message-writer.ts";

/** What an answer needs to know of its request. */
export interface Requester<Path> {
  readonly path: Path;
  readonly address: string;
  readonly port: number;
  /** The request's header at least. */
  readonly header: Uint8Array;
  readonly method: number;
  readonly requestBytes: number;
  readonly hasFingerprint: boolean;
  /** The address has proved to be the sender's: by a nonce that went there, or by the handshake of a stream. */
  readonly isVerified: boolean;
  /** Signs the answer, once the request has been found authentic. */
  readonly integrity: Integrity | undefined;
}

/** Where an answer goes when that is not simply back. */
export interface Detour {
  readonly port: number;
  /** Index into the path's `discovery`. */
  readonly via: number;
}

/**
 * Builds and sends answers: integrity and fingerprint in kind, no more to an unverified address than it may get. To such an
 * address no word is said that the protocol does not demand: no SOFTWARE, no reason phrase.
 */
export class Answers<Path extends ClientPath, Relay> {
  readonly #sink: PacketSink<Path, Relay>;
  readonly #authenticator: Authenticator;
  readonly #amplification: Amplification;
  readonly #counters: Counters;
  readonly #draft = new Uint8Array(wireLimits.answerBytes + wireLimits.paddingBytes);

  constructor(sink: PacketSink<Path, Relay>, authenticator: Authenticator, limits: TurnLimits, counters: Counters) {
    this.#sink = sink;
    this.#authenticator = authenticator;
    this.#amplification = new Amplification(limits);
    this.#counters = counters;
  }

  /** Begins a success answer; to be handed to {@link send} before another is begun. */
  success(to: Requester<Path>): MessageWriter {
    return new MessageWriter(this.#draft, MessageClass.success, to.method, to.header);
  }

  /** Signs and sends what was written. False when it was withheld. */
  send(to: Requester<Path>, writer: MessageWriter, now: Instant, detour?: Detour): boolean {
    if (to.integrity !== undefined) writer.integrity(to.integrity);
    if (to.hasFingerprint) writer.fingerprint();
    const length = writer.finish();
    if (!to.isVerified && !this.#amplification.permits(to.address, to.requestBytes, length, now)) {
      this.#counters.answersWithheld++;
      return false;
    }
    const packet = this.#sink.packet(length);
    packet.set(this.#draft.subarray(0, length));
    this.#sink.toClient(to.path, packet, to.address, detour?.port ?? to.port, detour?.via ?? 0);
    return true;
  }

  /** Sends an error answer. */
  error(to: Requester<Path>, code: StunErrorCode, now: Instant): void {
    this.#counters.errors++;
    this.send(to, this.#failure(to, code), now);
  }

  /** Sends 401 or 438 with what the client needs for another try. */
  challenge(to: Requester<Path>, code: StunErrorCode, now: Instant): void {
    const writer = this.#failure(to, code);
    this.#authenticator.challenge(writer, to.address, now);
    this.send(to, writer, now);
  }

  /** Sends 420 with the attributes that were not understood. */
  unknown(to: Requester<Path>, types: readonly number[], now: Instant): void {
    this.#counters.errors++;
    const codes = new Uint8Array(types.length * 2);
    types.forEach((type, index) => {
      codes[index * 2] = type >> 8;
      codes[index * 2 + 1] = type & 0xff;
    });
    this.send(to, this.#failure(to, 420).bytes(Attribute.unknownAttributes, codes), now);
  }

  #failure(to: Requester<Path>, code: StunErrorCode): MessageWriter {
    return new MessageWriter(this.#draft, MessageClass.error, to.method, to.header).error(code, to.isVerified);
  }
}
