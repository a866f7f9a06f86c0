import { expect, test } from "vitest";
import { decline, decodeSignalBody, encodeSignalBody, type SignalBody } from "../../../src/proto/negotiation/signal.ts";
import { encode } from "../../../src/proto/wire/codec.ts";
import { candidateOf, dialOf, sdpOf } from "./fixture.ts";

const CANDIDATE = "candidate:1 1 udp 2 192.0.2.1 9 typ host";
const reasons = ["failed", "gave-up", "aborted", "busy", "refused", "bad-description", "no-udp"] as const;

test.each<SignalBody>([
  { kind: "offer", round: 1, rung: 0, sdp: sdpOf(1) },
  { kind: "offer", round: 64, rung: 15, sdp: "x".repeat(16_384) },
  { kind: "answer", round: 2, sdp: sdpOf(2) },
  { kind: "candidates", round: 1, candidates: [] },
  { kind: "candidates", round: 1, candidates: Array.from({ length: 16 }, (_, index) => candidateOf(index)) },
  { kind: "ask" },
  ...reasons.map((reason) => ({ kind: "reject", round: 0, reason }) as const),
])("a signal body reads back as it was written: %o", (body) => {
  expect(decodeSignalBody(encodeSignalBody(body))).toEqual(body);
});

test.each([
  ["nothing", new Uint8Array(0)],
  ["no array", encode("offer")],
  ["an unknown kind", encode([6, 1])],
  ["an offer of round 0", encode([1, 0, 0, "v=0"])],
  ["an offer of round 65", encode([1, 65, 0, "v=0"])],
  ["an offer of rung 16", encode([1, 1, 16, "v=0"])],
  ["an offer without a description", encode([1, 1, 0])],
  ["an over-long description", encode([1, 1, 0, "x".repeat(16_385)])],
  ["an answer with more behind it", encode([2, 1, "v=0", 1])],
  ["17 candidates", encode([3, 1, new Array<[string, string]>(17).fill([CANDIDATE, "0"])])],
  ["a candidate of two lines", encode([3, 1, [[`${CANDIDATE}\r\na=x`, "0"]]])],
  ["a candidate that is not a pair", encode([3, 1, [CANDIDATE]])],
  ["an ask with a round", encode([4, 1])],
  ["a reject without a known reason", encode([5, 1, 7])],
  ["a reject with a text", encode([5, 1, "busy"])],
])("%s is no signal body", (_, payload) => {
  expect(decodeSignalBody(payload)).toBeUndefined();
});

test("an agent without room declines an offer or an ask without negotiating", () => {
  const head = { dial: dialOf(1), sequence: 4, time: 7 };
  expect(decline({ ...head, kind: "offer", round: 2, rung: 0, sdp: "" }, "busy", 99.5)).toEqual({
    dial: dialOf(1),
    sequence: 0,
    time: 99,
    kind: "reject",
    round: 2,
    reason: "busy",
  });
  expect(decline({ ...head, kind: "ask" }, "aborted", 1)).toMatchObject({ round: 0, reason: "aborted" });
});
