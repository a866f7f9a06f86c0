import { expect, test } from "vitest";
import {
  decodeLetter,
  EnvelopeGuard,
  encodeLetter,
  encodeSignalContent,
  envelopeLimits,
  type SignalContent,
} from "../../../src/proto/session/envelope.ts";
import { encode } from "../../../src/proto/wire/codec.ts";
import { ANSWERER, DIALER, identity } from "./handshake.ts";

const NOW = 1_000_000;
const CONTENT: SignalContent = {
  sender: DIALER.id,
  recipient: ANSWERER.id,
  clusterId: "cluster",
  dial: new Uint8Array(16).fill(1),
  sequence: 0,
  time: NOW,
  payload: Uint8Array.of(1, 2, 3),
};
const SIGNATURE = new Uint8Array(64).fill(5);
const guard = (): EnvelopeGuard => new EnvelopeGuard(ANSWERER.id, "cluster");

test("a letter reads back as it was written, with the statement to check", () => {
  const body = encodeSignalContent(CONTENT);
  const letter = decodeLetter(encodeLetter(body, SIGNATURE));
  expect(letter?.content).toEqual(CONTENT);
  expect(letter?.statement).toMatchObject({ signer: DIALER.id, label: "starling/signal/1", signature: SIGNATURE });
  expect([...(letter?.statement.body ?? [])]).toEqual([...body]);
});

test("what is no letter is not read", () => {
  const body = encodeSignalContent(CONTENT);
  const wrong = [
    new Uint8Array(0),
    encode([body]),
    encode([body, new Uint8Array(63)]),
    encode([body, SIGNATURE, 1]),
    encode([encode([1, 2, 3]), SIGNATURE]),
    encodeLetter(encodeSignalContent({ ...CONTENT, dial: new Uint8Array(15) }), SIGNATURE),
    encodeLetter(encodeSignalContent({ ...CONTENT, sequence: 1_024 }), SIGNATURE),
    encodeLetter(encodeSignalContent({ ...CONTENT, sequence: -1 }), SIGNATURE),
    encodeLetter(encodeSignalContent({ ...CONTENT, time: 0.5 }), SIGNATURE),
    encodeLetter(encodeSignalContent({ ...CONTENT, clusterId: "x".repeat(65) }), SIGNATURE),
    encodeLetter(encodeSignalContent({ ...CONTENT, payload: new Uint8Array(16_641) }), SIGNATURE),
    encodeLetter(new Uint8Array(20_000), SIGNATURE),
  ];
  for (const plain of wrong) expect(decodeLetter(plain)).toBeUndefined();
});

test("a letter is taken once", () => {
  const one = guard();
  expect(one.accept(CONTENT, NOW)).toBeUndefined();
  expect(one.check(CONTENT, NOW)).toBe("replayed");
  expect(one.accept(CONTENT, NOW + 100_000)).toBe("replayed");
  expect(one.accept({ ...CONTENT, sequence: 1 }, NOW)).toBeUndefined();
  expect(one.accept({ ...CONTENT, dial: new Uint8Array(16).fill(2) }, NOW)).toBeUndefined();
});

test("a check alone remembers nothing, so an unsigned copy does not shut out the letter", () => {
  const one = guard();
  expect(one.check(CONTENT, NOW)).toBeUndefined();
  expect(one.senders).toBe(0);
  expect(one.accept(CONTENT, NOW)).toBeUndefined();
});

test.each([
  [{ recipient: identity(9).id }, "wrong-recipient"],
  [{ sender: ANSWERER.id }, "self"],
  [{ clusterId: "other" }, "wrong-cluster"],
  [{ time: NOW - 120_001 }, "too-old"],
  [{ time: NOW + 60_001 }, "too-new"],
  [{ time: NOW - 120_000 }, undefined],
  [{ time: NOW + 60_000 }, undefined],
] as const)("a letter with %o is judged %s", (change, fault) => {
  expect(guard().check({ ...CONTENT, ...change }, NOW)).toBe(fault);
  expect(guard().accept({ ...CONTENT, ...change }, NOW)).toBe(fault);
});

test("a letter is remembered for as long as it is valid, also one from a clock that is ahead", () => {
  const one = guard();
  const ahead = { ...CONTENT, time: NOW + 60_000 };
  expect(one.accept(ahead, NOW)).toBeUndefined();
  expect(one.accept(ahead, NOW + 180_000)).toBe("replayed");
  expect(one.accept(ahead, NOW + 180_001)).toBe("too-old");
});

test("of a sender in a hurry every letter is taken once, also beyond what is remembered, and others notice nothing", () => {
  const one = guard();
  const letters = Array.from({ length: 3 * envelopeLimits.lettersPerSender }, (_, sequence) => {
    return { ...CONTENT, sequence, time: NOW + sequence };
  });
  for (const letter of letters) expect(one.accept(letter, NOW)).toBeUndefined();
  for (const letter of letters.slice(0, -envelopeLimits.lettersPerSender)) {
    expect(one.accept(letter, NOW)).toBe("too-old");
  }
  for (const letter of letters.slice(-envelopeLimits.lettersPerSender)) {
    expect(one.accept(letter, NOW)).toBe("replayed");
  }
  expect(one.accept({ ...CONTENT, sender: identity(9).id }, NOW)).toBeUndefined();
});

test("senders are bounded, and those whose letters have expired go first", () => {
  const one = guard();
  const senders = Array.from({ length: envelopeLimits.senders + 1 }, (_, index) => {
    const key = new Uint8Array(32);
    key.set([index >> 8, index & 0xff]);
    return key;
  });
  const letterFrom = (index: number, time: number): SignalContent => {
    const letter = decodeLetter(
      encodeLetter(
        encode([
          1,
          senders[index] as Uint8Array,
          new Uint8Array(32),
          "cluster",
          CONTENT.dial,
          0,
          time,
          new Uint8Array(0),
        ]),
        SIGNATURE,
      ),
    );
    return { ...(letter as { content: SignalContent }).content, recipient: ANSWERER.id };
  };
  for (let index = 0; index <= envelopeLimits.senders; index++) one.accept(letterFrom(index, NOW), NOW);
  expect(one.senders).toBe(envelopeLimits.senders);
  expect(one.check(letterFrom(0, NOW), NOW)).toBeUndefined();
  expect(one.check(letterFrom(1, NOW), NOW)).toBe("replayed");
  one.accept(letterFrom(0, NOW + 120_001), NOW + 120_001);
  expect(one.senders).toBe(1);
});
