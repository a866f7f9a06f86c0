import { RecentMap } from "../proto/bounded.ts";
import { concat } from "../proto/bytes.ts";
import type { Instant } from "../proto/machine.ts";
import { decodeSignalBody, encodeSignalBody, type Signal } from "../proto/negotiation/signal.ts";
import type { PeerId } from "../proto/peer-id.ts";
import { decodeLetter, EnvelopeGuard, encodeLetter, encodeSignalContent } from "../proto/session/envelope.ts";
import type { Trust } from "./trust.ts";

const BOX_KEY_BYTES = 32;
/** Peers whose key is known from a letter only: newcomers that have no record yet. */
const MAX_CORRESPONDENTS = 256;

/** A signal that was opened and found to be what it says. */
export interface OpenedLetter {
  readonly sender: PeerId;
  readonly signal: Signal;
}

/**
 * Seals signals and opens them. On the wire a letter is the sender's X25519 key of this start followed by a nacl box for the
 * recipient; inside are the signed content and its signature (`proto/session/envelope.ts`).
 *
 * A newcomer knows the members that it was introduced to, but they do not know it: the key in front of its first letter is
 * remembered, once the signature inside has held, so that it can be answered.
 */
export class Letters {
  readonly #trust: Trust;
  readonly #guard: EnvelopeGuard;
  readonly #now: () => Instant;
  readonly #boxKeyOf: (peer: PeerId) => Uint8Array | undefined;
  readonly #correspondents = new RecentMap<PeerId, Uint8Array>(MAX_CORRESPONDENTS);

  /** @param boxKeyOf the X25519 key in a member's record. */
  constructor(trust: Trust, now: () => Instant, boxKeyOf: (peer: PeerId) => Uint8Array | undefined) {
    this.#trust = trust;
    this.#now = now;
    this.#boxKeyOf = boxKeyOf;
    this.#guard = new EnvelopeGuard(trust.id, trust.cluster.clusterId);
  }

  /** A sealed signal for `recipient`; undefined when we have no usable key of its. */
  seal(recipient: PeerId, signal: Signal): Uint8Array | undefined {
    // What the peer said last is fresher than its record: it may have restarted since.
    const key = this.#correspondents.get(recipient) ?? this.#boxKeyOf(recipient);
    if (key === undefined) return undefined;
    const { crypto, box, id, cluster } = this.#trust;
    const body = encodeSignalContent({
      sender: id,
      recipient,
      clusterId: cluster.clusterId,
      dial: signal.dial,
      sequence: signal.sequence,
      time: signal.time,
      payload: encodeSignalBody(signal),
    });
    const letter = encodeLetter(body, this.#trust.sign("starling/signal/1", body));
    const sealed = crypto.seal(letter, key, box.secretKey);
    return sealed && concat(box.publicKey, sealed);
  }

  /** Opens a letter; a word for what is wrong with it otherwise. */
  open(bytes: Uint8Array): OpenedLetter | string {
    const { crypto, box } = this.#trust;
    if (bytes.length <= BOX_KEY_BYTES) return "malformed";
    const senderKey = bytes.slice(0, BOX_KEY_BYTES);
    const plain = crypto.open(bytes.subarray(BOX_KEY_BYTES), senderKey, box.secretKey);
    if (plain === undefined) return "not-for-us";
    const letter = decodeLetter(plain);
    if (letter === undefined) return "malformed";
    const { content, statement } = letter;
    const early = this.#guard.check(content, this.#now());
    if (early !== undefined) return early;
    if (!crypto.verify(statement)) return "bad-signature";
    const fault = this.#guard.accept(content, this.#now());
    if (fault !== undefined) return fault;
    const body = decodeSignalBody(content.payload);
    if (body === undefined) return "malformed";
    this.#correspondents.set(content.sender, senderKey);
    const { dial, sequence, time } = content;
    return { sender: content.sender, signal: { dial, sequence, time, ...body } };
  }

  /** The peer has a record with its key: what came by letter is not needed any more. */
  forget(peer: PeerId): void {
    this.#correspondents.delete(peer);
  }
}
