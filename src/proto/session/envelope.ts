import { MAX_SDP_LENGTH } from "../limits.ts";
import type { Instant } from "../machine.ts";
import { type PeerId, publicKeyOf } from "../peer-id.ts";
import type { Statement } from "../signed.ts";
import { decode, encode } from "../wire/codec.ts";
import { bytes, bytesOf, integer, peer, text, tuple } from "../wire/shape.ts";

/**
 * What stands inside a sealed signal: who says what to whom, for which dial, when, and the sender's signature over all
 * of it.
 *
 * Whoever carries a signal (signaling server, members on a route) sees a nacl box for the recipient. The driver makes and
 * opens the box; its content, the *letter*, is a msgpack pair of signed bytes and signature under the label
 * `starling/signal/1`. The signed bytes name sender, recipient, cluster, dial, sequence and time, so a letter that is
 * carried to somebody else, into another cluster, into another dial or into another time is refused by its own words.
 * The order of checks: parse, {@link EnvelopeGuard.check} (cheap, no memory), the signature (driver), then
 * {@link EnvelopeGuard.accept}, which remembers: nobody can make the guard remember what its author did not sign.
 */

/** Bounds of envelopes. */
export const envelopeLimits = {
  /** How long a letter is good, ms: a redial and a slow route, no longer. */
  validityMs: 120_000,
  /** How far ahead of ours a sender's clock may be, ms: the leeway that tokens have. */
  leewayMs: 60_000,
  /** A payload, bytes: the longest SDP and its head. */
  payloadBytes: MAX_SDP_LENGTH + 256,
  /** A letter, bytes: payload, fixed fields, signature. */
  letterBytes: MAX_SDP_LENGTH + 1_024,
  /** A cluster's id, characters: 52 are used. */
  clusterIdLength: 64,
  /** Sequence numbers of one dial. */
  sequence: 1_023,
  /** Letters remembered per sender: more than are on their way at once, as three dials of three rounds at 14 letters each. */
  lettersPerSender: 128,
  /** Senders remembered: with the line above at most 65,536 letters, about 10 MiB. */
  senders: 512,
};

/** The signed content of one letter. */
export interface SignalContent {
  readonly sender: PeerId;
  readonly recipient: PeerId;
  readonly clusterId: string;
  /** 16 bytes. */
  readonly dial: Uint8Array;
  /** 0 to 1,023. */
  readonly sequence: number;
  /** Whole milliseconds since the epoch by the sender's clock. */
  readonly time: number;
  /** At most 16,640 bytes. */
  readonly payload: Uint8Array;
}

/** The layout of the signed bytes; a change of layout is another number. */
const LAYOUT = 1;

/** The bytes that the sender signs under `starling/signal/1`. */
export function encodeSignalContent(content: SignalContent): Uint8Array {
  return encode([
    LAYOUT,
    publicKeyOf(content.sender),
    publicKeyOf(content.recipient),
    content.clusterId,
    content.dial,
    content.sequence,
    content.time,
    content.payload,
  ]);
}

/** What is sealed: the signed bytes and their signature (64 bytes). */
export function encodeLetter(body: Uint8Array, signature: Uint8Array): Uint8Array {
  return encode([body, signature]);
}

/** An opened letter: its content, and the statement whose signature is still to be checked. */
export interface Letter {
  readonly content: SignalContent;
  readonly statement: Statement;
}

/** Reads what a box contained; undefined when it is no letter. Never throws. */
export function decodeLetter(plain: Uint8Array): Letter | undefined {
  if (plain.length > envelopeLimits.letterBytes) return undefined;
  const decoded = decode(plain, { depth: 1, items: 3 });
  const pair = decoded.ok ? tuple(decoded.value, 2) : undefined;
  const body = bytes(pair?.[0], envelopeLimits.letterBytes);
  const signature = bytesOf(pair?.[1], 64);
  if (body === undefined || signature === undefined) return undefined;
  const content = decodeContent(body);
  if (content === undefined) return undefined;
  return { content, statement: { signer: content.sender, label: "starling/signal/1", body, signature } };
}

function decodeContent(body: Uint8Array): SignalContent | undefined {
  const decoded = decode(body, { depth: 1, items: 9 });
  const items = decoded.ok ? tuple(decoded.value, 8) : undefined;
  if (items === undefined || items[0] !== LAYOUT) return undefined;
  const sender = peer(items[1]);
  const recipient = peer(items[2]);
  const clusterId = text(items[3], envelopeLimits.clusterIdLength);
  const dial = bytesOf(items[4], 16);
  const sequence = integer(items[5], 0, envelopeLimits.sequence);
  const time = integer(items[6]);
  const payload = bytes(items[7], envelopeLimits.payloadBytes);
  if (!sender || !recipient || clusterId === undefined || !dial || !payload) return undefined;
  if (sequence === undefined || time === undefined) return undefined;
  return { sender, recipient, clusterId, dial: dial.slice(), sequence, time, payload };
}

/** Why a letter is not taken; `self`: we sent it. */
export type EnvelopeFault = "self" | "wrong-recipient" | "wrong-cluster" | "too-old" | "too-new" | "replayed";

/**
 * Takes each letter once.
 *
 * A letter is remembered for as long as it is good. Memory is bounded per sender: of one that writes more than is remembered
 * the newest letters are, and whatever is as old as one that was forgotten is refused as too old. So a replay never slips
 * through, a sender in a hurry loses at most what was overtaken on its way, and nobody else notices. It is bounded in senders,
 * too: beyond, the sender that has been silent longest is forgotten, which gives its letters of the last minutes a second
 * chance that negotiation's own memory of dials then denies.
 */
export class EnvelopeGuard {
  readonly #self: PeerId;
  readonly #clusterId: string;
  /** The longest silent first. */
  readonly #senders = new Map<PeerId, Correspondence>();

  constructor(self: PeerId, clusterId: string) {
    this.#self = self;
    this.#clusterId = clusterId;
  }

  /** How many senders are remembered. */
  get senders(): number {
    return this.#senders.size;
  }

  /** Judges a letter before its signature is checked; undefined when nothing is wrong. Remembers nothing. */
  check(content: SignalContent, now: Instant): EnvelopeFault | undefined {
    if (content.recipient !== this.#self) return "wrong-recipient";
    if (content.sender === this.#self) return "self";
    if (content.clusterId !== this.#clusterId) return "wrong-cluster";
    if (isOver(content.time, now)) return "too-old";
    if (content.time > now + envelopeLimits.leewayMs) return "too-new";
    const before = this.#senders.get(content.sender);
    if (before?.letters.has(keyOf(content))) return "replayed";
    return before !== undefined && content.time <= before.forgottenTo ? "too-old" : undefined;
  }

  /** Judges a letter whose signature holds, and remembers it; undefined when it is to be taken. */
  accept(content: SignalContent, now: Instant): EnvelopeFault | undefined {
    const fault = this.check(content, now);
    if (fault !== undefined) return fault;
    const before = this.#senders.get(content.sender) ?? { letters: new Map<string, Instant>(), forgottenTo: 0 };
    before.letters.set(keyOf(content), content.time);
    for (const [key, time] of before.letters) {
      if (before.letters.size <= envelopeLimits.lettersPerSender && !isOver(time, now)) break;
      before.letters.delete(key);
      before.forgottenTo = Math.max(before.forgottenTo, time);
    }
    this.#senders.delete(content.sender);
    this.#senders.set(content.sender, before);
    this.#forget(now);
    return undefined;
  }

  /** Drops senders without a live letter, and the longest silent beyond the bound. */
  #forget(now: Instant): void {
    for (const [sender, { letters }] of this.#senders) {
      let newest = 0;
      for (const time of letters.values()) newest = time;
      if (!isOver(newest, now) && this.#senders.size <= envelopeLimits.senders) return;
      this.#senders.delete(sender);
    }
  }
}

/** What is remembered of one sender. */
interface Correspondence {
  /** By dial and sequence, as they came: their times. */
  readonly letters: Map<string, Instant>;
  /** The latest time of a letter that is not remembered any more. */
  forgottenTo: Instant;
}

function isOver(time: Instant, now: Instant): boolean {
  return time < now - envelopeLimits.validityMs;
}

/** A letter's name within its sender; hexadecimal would take twice the memory. */
function keyOf(content: SignalContent): string {
  return String.fromCharCode(...content.dial, content.sequence);
}
