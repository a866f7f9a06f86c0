import { hex } from "../../src/proto/bytes.ts";
import type { Instant } from "../../src/proto/machine.ts";
import { type Random, randomBytes } from "../../src/proto/random.ts";
import type { Endpoint } from "./address.ts";
import { Attribute, readAddress, readXorAddress } from "./attributes.ts";
import { HEADER_BYTES, MessageClass, parseMessage, type StunMessage } from "./message.ts";
import { MessageWriter } from "./message-writer.ts";

/**
 * The client's side of STUN: requests under fresh transaction ids, which are sent again until an answer comes or patience ends
 * (RFC 8489, section 6.2.1, with shorter pauses: these requests are made for people who wait).
 */

/** When a request over UDP is sent again, and when it is given up, ms after it was first sent. */
const RESEND_MS: readonly number[] = [300, 900];
const PATIENCE_MS = 1_700;
/** A request over a stream is sent once; what is lost TCP sends again, after 1 s at least. */
const STREAM_PATIENCE_MS = 5_000;

/** Requests under way at once: those of one check. Programs, not peers, make them. */
export const MAX_TRANSACTIONS = 32;

/** Longest request, bytes: an authenticated one with names of full length. */
const MAX_REQUEST_BYTES = 2_048;

/** Bytes of a transaction id, which stand behind type, length and cookie. */
const ID_AT = 8;
const ID_BYTES = HEADER_BYTES - ID_AT;

interface Pending<Tag> {
  readonly tag: Tag;
  readonly bytes: Uint8Array;
  readonly sentAt: Instant;
  sent: number;
}

/** What became of a request. */
export interface Settled<Tag> {
  readonly tag: Tag;
  /** Undefined: no answer came. */
  readonly answer: StunMessage | undefined;
  readonly rttMs: number;
}

/** Requests that wait for their answers. */
export class Transactions<Tag> {
  readonly #random: Random;
  readonly #resendMs: readonly number[];
  readonly #patienceMs: number;
  readonly #pending = new Map<string, Pending<Tag>>();

  constructor(random: Random, transport: "datagram" | "stream") {
    this.#random = random;
    this.#resendMs = transport === "datagram" ? RESEND_MS : [];
    this.#patienceMs = transport === "datagram" ? PATIENCE_MS : STREAM_PATIENCE_MS;
  }

  get idle(): boolean {
    return this.#pending.size === 0;
  }

  /** Makes a request and returns its bytes, to be sent at once. `fill` writes its attributes. */
  begin(tag: Tag, method: number, now: Instant, fill: (writer: MessageWriter) => void = () => {}): Uint8Array {
    const header = new Uint8Array(HEADER_BYTES);
    header.set(randomBytes(this.#random, ID_BYTES), ID_AT);
    const target = new Uint8Array(MAX_REQUEST_BYTES);
    const writer = new MessageWriter(target, MessageClass.request, method, header);
    fill(writer);
    const bytes = target.subarray(0, writer.finish());
    if (this.#pending.size < MAX_TRANSACTIONS) this.#pending.set(idOf(bytes), { tag, bytes, sentAt: now, sent: 1 });
    return bytes;
  }

  /** The request that `packet` answers; undefined when it answers none. */
  answer(packet: Uint8Array, now: Instant): Settled<Tag> | undefined {
    const answer = parseMessage(packet);
    const isAnswer = answer?.cls === MessageClass.success || answer?.cls === MessageClass.error;
    const pending = answer === undefined || !isAnswer ? undefined : this.#pending.get(idOf(packet));
    if (answer === undefined || pending === undefined) return undefined;
    this.#pending.delete(idOf(packet));
    return { tag: pending.tag, answer, rttMs: now - pending.sentAt };
  }

  deadline(): Instant | undefined {
    let next: Instant | undefined;
    for (const { sentAt, sent } of this.#pending.values()) {
      const at = sentAt + (this.#resendMs[sent - 1] ?? this.#patienceMs);
      if (next === undefined || at < next) next = at;
    }
    return next;
  }

  /** What is to be sent again, and what is given up. */
  due(now: Instant): {
    readonly again: readonly { tag: Tag; bytes: Uint8Array }[];
    readonly lost: readonly Settled<Tag>[];
  } {
    const again: { tag: Tag; bytes: Uint8Array }[] = [];
    const lost: Settled<Tag>[] = [];
    for (const [id, pending] of [...this.#pending]) {
      const { tag, bytes, sentAt, sent } = pending;
      if (now < sentAt + (this.#resendMs[sent - 1] ?? this.#patienceMs)) continue;
      if (sent <= this.#resendMs.length) {
        pending.sent++;
        again.push({ tag, bytes });
      } else {
        this.#pending.delete(id);
        lost.push({ tag, answer: undefined, rttMs: now - sentAt });
      }
    }
    return { again, lost };
  }
}

function idOf(message: Uint8Array): string {
  return hex(message.subarray(ID_AT, HEADER_BYTES));
}

/** The address that an attribute of `answer` holds; `plain`: as it is, as RFC 5780 has it. */
export function endpointIn(answer: StunMessage | undefined, type: number, plain = false): Endpoint | undefined {
  const at = answer?.find(type) ?? 0;
  if (answer === undefined || at === 0) return undefined;
  const read = plain ? readAddress : readXorAddress;
  return read(answer.bytes, at, answer.length(at));
}

/** The address by which a server sees us; old servers tell it unmasked. */
export function mappedIn(answer: StunMessage | undefined): Endpoint | undefined {
  return endpointIn(answer, Attribute.xorMappedAddress) ?? endpointIn(answer, Attribute.mappedAddress, true);
}

/** The code of an error answer; undefined when it is none. */
export function errorCodeIn(answer: StunMessage | undefined): number | undefined {
  const at = answer?.find(Attribute.errorCode) ?? 0;
  if (answer === undefined || at === 0 || answer.length(at) < 4) return undefined;
  return (answer.bytes[at + 2] as number) * 100 + (answer.bytes[at + 3] as number);
}
