import { expect, test } from "vitest";
import { concat } from "../../../src/proto/bytes.ts";
import { publicKeyOf } from "../../../src/proto/peer-id.ts";
import { SeededRandom } from "../../../src/proto/random.ts";
import { admissionMacKey, proofBody, proofMac } from "../../../src/proto/session/transcript.ts";
import { encode } from "../../../src/proto/wire/codec.ts";
import { ANSWERER, DIALER, handshake, identity, meet, optionsOf, Side } from "./handshake.ts";

const MALLORY = identity(66);
const foreignKey = (epoch: number): Uint8Array => admissionMacKey(new Uint8Array(32).fill(8), epoch);

/** A victim whose peer is whatever the test makes of it. */
function victim(change = {}): Side {
  const side = new Side(optionsOf("answerer", change));
  side.input({ type: "open" });
  return side;
}

function frame(side: Side, bytes: Uint8Array | undefined): void {
  side.input({ type: "frame", bytes: bytes as Uint8Array });
}

test("a peer of another cluster key is refused before its signature costs anything", () => {
  const dialer = new Side(optionsOf("dialer", { macKey: foreignKey }));
  const answerer = new Side(optionsOf("answerer"));
  meet(dialer, answerer);
  expect([dialer.verdict, answerer.verdict]).toEqual(["local: bad-mac", "local: bad-mac"]);
  expect([dialer.verifications, answerer.verifications]).toEqual([0, 0]);
});

test("a peer of another cluster id with the same key is refused", () => {
  expect(handshake({ dialer: { clusterId: "other" } })).toEqual(["local: bad-mac", "local: bad-mac"]);
});

test("our own proof sent back to us is refused", () => {
  const side = victim();
  // The attacker has the dialer's hello from elsewhere, and no key at all.
  const hello = new Side(optionsOf("dialer"));
  hello.input({ type: "open" });
  frame(side, hello.sent[0]);
  frame(side, side.sent[1]);
  expect(side.verdict).toBe("local: bad-mac");
});

test("our own proof sent back to us is refused even if the certificates of both ends are equal", () => {
  const certificate = new Uint8Array(32).fill(9);
  const same = { localFingerprint: certificate, remoteFingerprint: certificate };
  expect(handshake({ dialer: same, answerer: same })).toEqual(["admitted", "admitted"]);
  const side = victim(same);
  const hello = new Side(optionsOf("dialer", same));
  hello.input({ type: "open" });
  frame(side, hello.sent[0]);
  frame(side, side.sent[1]);
  expect(side.verdict).toBe("local: bad-mac");
});

test("a channel that leads back to ourselves is refused", () => {
  const side = victim();
  frame(side, side.sent[0]);
  expect(side.verdict).toBe("local: self");
  const { expected: _, ...open } = optionsOf("dialer", { self: ANSWERER.id, token: ANSWERER.token });
  const [dialer, answerer] = [new Side(open, ANSWERER), new Side(optionsOf("answerer"))];
  meet(dialer, answerer);
  expect([dialer.end?.type, answerer.end?.type]).toEqual(["refused", "refused"]);
});

test("frames of an older handshake do not open a new channel", () => {
  const [dialer, answerer] = [new Side(optionsOf("dialer")), new Side(optionsOf("answerer"))];
  meet(dialer, answerer);
  expect(answerer.verdict).toBe("admitted");
  const later = victim({ random: new SeededRandom(201) });
  frame(later, dialer.sent[0]);
  frame(later, dialer.sent[1]);
  expect(later.verdict).toBe("local: bad-mac");
});

test("a man in the middle with certificates of his own is refused by both ends", () => {
  const his = new Uint8Array(32).fill(0x66);
  const verdicts = handshake({ dialer: { remoteFingerprint: his }, answerer: { remoteFingerprint: his } });
  expect(verdicts).toEqual(["local: bad-mac", "local: bad-mac"]);
});

test("each of the two certificates counts by itself", () => {
  const his = new Uint8Array(32).fill(0x66);
  const refused = ["local: bad-mac", "local: bad-mac"];
  expect(handshake({ dialer: { remoteFingerprint: his } })).toEqual(refused);
  expect(handshake({ answerer: { remoteFingerprint: his } })).toEqual(refused);
  expect(handshake({ dialer: { localFingerprint: his } })).toEqual(refused);
  expect(handshake({ answerer: { localFingerprint: his } })).toEqual(refused);
});

test("swapped certificates are refused", () => {
  const { localFingerprint, remoteFingerprint } = optionsOf("dialer");
  const swapped = { localFingerprint: remoteFingerprint, remoteFingerprint: localFingerprint };
  expect(handshake({ dialer: swapped })).toEqual(["local: bad-mac", "local: bad-mac"]);
});

test("a member who presents another member's token is refused", () => {
  const dialer = new Side(optionsOf("dialer", { token: ANSWERER.token }));
  const answerer = new Side(optionsOf("answerer"));
  meet(dialer, answerer);
  expect(answerer.verdict).toBe("local: wrong-subject");
  expect(dialer.verdict).toBe("remote: wrong-subject");
});

test("a member who claims another member's identity is refused for its signature, and not told so", () => {
  // Mallory holds the cluster key and the dialer's token, but not the dialer's node key.
  const dialer = new Side(optionsOf("dialer"), MALLORY);
  const answerer = new Side(optionsOf("answerer"));
  meet(dialer, answerer);
  expect(answerer.verdict).toBe("local: bad-signature");
  expect(dialer.end).toEqual({ type: "refused", by: "remote", reason: "unspecified" });
});

test("another member than the one that was dialed is refused, and does not learn who was expected", () => {
  const dialer = new Side(optionsOf("dialer", { self: MALLORY.id, token: MALLORY.token }), MALLORY);
  const answerer = new Side(optionsOf("answerer"));
  meet(dialer, answerer);
  expect(answerer.verdict).toBe("local: unexpected-peer");
  expect(answerer.sent.at(-1)).toEqual(Uint8Array.of(3, 0));
});

test("a valid MAC with a signature of zeros is refused by the check of signatures", () => {
  const verdicts = handshake({}, (from, bytes, index) => {
    if (from !== "dialer" || index !== 1) return [bytes];
    return [concat(bytes.subarray(0, 1), new Uint8Array(64), bytes.subarray(65))];
  });
  expect(verdicts).toEqual(["remote: unspecified", "local: bad-signature"]);
});

test("a proof before the hello, a second hello and a second proof are refused", () => {
  const recorded = new Side(optionsOf("dialer"));
  meet(recorded, new Side(optionsOf("answerer")));
  const [hello, proof] = recorded.sent;
  const early = victim();
  frame(early, proof);
  expect([early.verdict, early.sent.length]).toEqual(["local: out-of-order", 1]);
  const twice = victim();
  frame(twice, hello);
  frame(twice, hello);
  expect(twice.verdict).toBe("local: out-of-order");
  const repeated = victim();
  frame(repeated, hello);
  frame(repeated, proof);
  frame(repeated, proof);
  expect(repeated.verdict).toBe("local: out-of-order");
});

test("a ready before the proof admits nobody", () => {
  const hello = new Side(optionsOf("dialer"));
  hello.input({ type: "open" });
  const before = victim();
  frame(before, Uint8Array.of(4));
  expect(before.verdict).toBe("local: out-of-order");
  const side = victim();
  frame(side, hello.sent[0]);
  frame(side, Uint8Array.of(4));
  expect(side.verdict).toBe("local: out-of-order");
});

test.each([0x00, 0x05, 0x0f, 0x10, 0x7f, 0xff])(
  "a frame of kind %i before admission ends it, at every point",
  (kind) => {
    const recorded = new Side(optionsOf("dialer"));
    meet(recorded, new Side(optionsOf("answerer")));
    for (const before of [0, 1, 2]) {
      const side = victim();
      for (const known of recorded.sent.slice(0, before)) frame(side, known);
      frame(side, Uint8Array.of(kind, 1, 2, 3));
      expect(side.verdict).toBe("local: frame-before-admission");
      // A stranger that has not said hello is not answered, nor is one that our ready may have told to be a member.
      expect(side.sent.some((sent) => sent[0] === 3)).toBe(before === 1);
    }
  },
);

test("empty, truncated and oversized frames are refused", () => {
  const empty = victim();
  frame(empty, new Uint8Array(0));
  expect(empty.verdict).toBe("local: malformed");
  const garbled = victim();
  frame(garbled, Uint8Array.of(1, 0x98, 1));
  expect([garbled.verdict, garbled.sent.length]).toEqual(["local: malformed", 1]);
  const large = victim();
  frame(large, concat(Uint8Array.of(1), encode([1, 1, publicKeyOf(DIALER.id), "x".repeat(8_192)])));
  expect([large.verdict, large.sent.length]).toEqual(["local: oversized", 1]);
});

test("what a stranger without the cluster key is told does not depend on what it got wrong", () => {
  const told = (change: object, tamper?: (bytes: Uint8Array) => Uint8Array): readonly (number | undefined)[] => {
    const answerer = new Side(optionsOf("answerer"));
    const dialer = new Side(optionsOf("dialer", { macKey: foreignKey, ...change }));
    meet(dialer, answerer, (from, bytes, index) => [
      from === "dialer" && index === 1 && tamper ? tamper(bytes) : bytes,
    ]);
    return [...(answerer.sent.at(-1) ?? [])];
  };
  expect(told({})).toEqual([3, 0]);
  expect(told({ token: "rubbish" })).toEqual([3, 0]);
  expect(told({ clusterId: "other" })).toEqual([3, 0]);
  expect(told({}, (bytes) => bytes.subarray(0, 96))).toEqual([3, 0]);
  expect(told({}, () => Uint8Array.of(0x10))).toEqual([3, 0]);
});

test("a proof is worth nothing in the other role", () => {
  const transcript = new Uint8Array(32).fill(5);
  const key = admissionMacKey(new Uint8Array(32).fill(1), 0);
  expect(proofMac(key, proofBody("dialer", transcript))).not.toEqual(proofMac(key, proofBody("answerer", transcript)));
});
