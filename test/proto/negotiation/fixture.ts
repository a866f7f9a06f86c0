/** Descriptions, identities and signals for tests of negotiation. */

import type { NegotiationInput, NegotiationOutput } from "../../../src/proto/negotiation/interface.ts";
import { Negotiation } from "../../../src/proto/negotiation/negotiation.ts";
import type { DialPlan, PairingLimits } from "../../../src/proto/negotiation/plan.ts";
import type { RtcEvent } from "../../../src/proto/negotiation/rtc.ts";
import type { Signal, SignalBody } from "../../../src/proto/negotiation/signal.ts";
import { peerIdOf } from "../../../src/proto/peer-id.ts";
import { SeededRandom } from "../../../src/proto/random.ts";

const one = peerIdOf(new Uint8Array(32).fill(1));
const two = peerIdOf(new Uint8Array(32).fill(2));

/** Two identities in order: LOW usually dials and prevails. */
export const [LOW, HIGH] = one < two ? [one, two] : [two, one];

export function fingerprintLine(byte: number): string {
  return `a=fingerprint:sha-256 ${new Array<string>(32).fill(byte.toString(16).padStart(2, "0").toUpperCase()).join(":")}`;
}

/** A description as stacks make them, with a certificate whose SHA-256 is 32 times `byte`. */
export function sdpOf(byte: number, ...further: readonly string[]): string {
  const lines = [
    "v=0",
    "o=- 1 0 IN IP4 127.0.0.1",
    "s=-",
    "t=0 0",
    "a=group:BUNDLE 0",
    fingerprintLine(byte),
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "c=IN IP4 0.0.0.0",
    "a=mid:0",
    "a=setup:actpass",
    "a=sctp-port:5000",
    ...further,
  ];
  return `${lines.join("\r\n")}\r\n`;
}

export const certificate = (byte: number): Uint8Array => new Uint8Array(32).fill(byte);
export const dialOf = (byte: number): Uint8Array => new Uint8Array(16).fill(byte);
export const candidateOf = (number: number): { candidate: string; mid: string } => ({
  candidate: `candidate:${number} 1 udp 2116026367 192.0.2.2 43644 typ host`,
  mid: "0",
});

/** A machine with its clock, for step by step tests. */
export class Bench {
  readonly machine: Negotiation;
  now = 0;

  constructor(side: "low" | "high", ladder?: readonly DialPlan[], limits: Partial<PairingLimits> = {}) {
    const [self, peer] = side === "low" ? [LOW, HIGH] : [HIGH, LOW];
    this.machine = new Negotiation({
      self,
      peer,
      random: new SeededRandom(1),
      ...(ladder && { ladder: () => ladder }),
      limits,
    });
  }

  input(input: NegotiationInput): readonly NegotiationOutput[] {
    return this.machine.handle(input, this.now);
  }

  /** Starts a dial, has the stack describe it and returns the dial's id. */
  dialed(byte = 0xaa): Uint8Array {
    this.input({ type: "dial" });
    const [output] = this.rtc(1, { type: "description", kind: "offer", sdp: sdpOf(byte) });
    if (output?.type !== "signal") throw new Error("an offer was expected");
    return output.signal.dial;
  }

  rtc(attempt: number, ...events: readonly RtcEvent[]): readonly NegotiationOutput[] {
    return events.flatMap((event) => this.input({ type: "rtc", attempt, event }));
  }

  /** A signal from the peer; sequence and time follow from `order` unless they are given. */
  hear(dial: Uint8Array, order: number, body: SignalBody, time = 1_000 + order): readonly NegotiationOutput[] {
    const signal: Signal = { dial, sequence: order, time, ...body };
    return this.input({ type: "signal", signal });
  }

  /** Lets time pass to the next deadline and returns what it causes. */
  wake(): readonly NegotiationOutput[] {
    const deadline = this.machine.deadline();
    if (deadline === undefined) throw new Error("nothing is pending");
    this.now = deadline;
    return this.input({ type: "timeout" });
  }

  /** Wakes until something comes of it. */
  wakeUntil(type: NegotiationOutput["type"]): readonly NegotiationOutput[] {
    for (let turn = 0; turn < 100; turn++) {
      const outputs = this.wake();
      if (outputs.some((output) => output.type === type)) return outputs;
    }
    throw new Error(`no ${type} within 100 turns`);
  }
}

export const offer = (byte: number, round = 1, rung = 0): SignalBody => ({
  kind: "offer",
  round,
  rung,
  sdp: sdpOf(byte),
});
export const answer = (byte: number, round = 1): SignalBody => ({ kind: "answer", round, sdp: sdpOf(byte) });
