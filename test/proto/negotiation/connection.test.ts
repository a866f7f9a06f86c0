import { expect, test } from "vitest";
import type { RtcEvent } from "../../../src/proto/negotiation/rtc.ts";
import type { Role } from "../../../src/proto/session/transcript.ts";
import { answer, Bench, candidateOf, certificate, dialOf, HIGH, offer, sdpOf } from "./fixture.ts";

const PLAN = { rung: "udp", policy: "all" } as const;
const LINKED = (role: Role): object => ({ ok: true, attempt: 1, role, rung: "udp" });
const REPORT = (role: Role, tookMs: number): object => ({ role, rung: "udp", tookMs, local: [], remote: [] });
const described = (kind: "offer" | "answer", byte: number): RtcEvent => ({
  type: "description",
  kind,
  sdp: sdpOf(byte),
});
const candidate = (number: number): RtcEvent => ({ type: "candidate", ...candidateOf(number) });
const ICE: RtcEvent = { type: "ice-connected" };
const DTLS: RtcEvent = { type: "dtls-connected" };
const OPEN: RtcEvent = { type: "open" };

test("a dial goes offer, answer, ICE, DTLS, channel, admission, and ends in one outcome", () => {
  const bench = new Bench("low");
  expect(bench.input({ type: "dial" })).toEqual([
    { type: "connect", attempt: 1, initiator: true, plan: PLAN },
    { type: "rtc", attempt: 1, command: { type: "offer" } },
  ]);
  bench.now = 5;
  const [said] = bench.rtc(1, described("offer", 0xaa));
  const dial = said?.type === "signal" ? said.signal.dial : dialOf(0);
  expect(dial).toHaveLength(16);
  expect(said).toEqual({ type: "signal", signal: { dial, sequence: 0, time: 5, ...offer(0xaa) } });
  expect(bench.hear(dial, 0, answer(0xbb))).toEqual([
    { type: "rtc", attempt: 1, command: { type: "accept", answer: sdpOf(0xbb) } },
  ]);
  expect(bench.rtc(1, ICE, DTLS)).toEqual([]);
  expect(bench.rtc(1, OPEN)).toEqual([
    {
      type: "opened",
      attempt: 1,
      role: "dialer",
      localFingerprint: certificate(0xaa),
      remoteFingerprint: certificate(0xbb),
    },
  ]);
  expect(bench.input({ type: "admitted", attempt: 1 })).toEqual([
    { type: "outcome", dial, wanted: true, result: LINKED("dialer"), rounds: [REPORT("dialer", 5)] },
  ]);
  expect([bench.machine.engaged, bench.machine.deadline()]).toEqual([false, undefined]);
});

test("an offer is answered, and its connection opens the same way", () => {
  const bench = new Bench("high");
  const dial = dialOf(9);
  expect(bench.hear(dial, 0, offer(0xaa))).toEqual([
    { type: "connect", attempt: 1, initiator: false, plan: PLAN },
    { type: "rtc", attempt: 1, command: { type: "answer", offer: sdpOf(0xaa) } },
  ]);
  expect(bench.rtc(1, described("answer", 0xbb))).toEqual([
    { type: "signal", signal: { dial, sequence: 0, time: 1, ...answer(0xbb) } },
  ]);
  expect(bench.rtc(1, ICE, OPEN)).toEqual([
    {
      type: "opened",
      attempt: 1,
      role: "answerer",
      localFingerprint: certificate(0xbb),
      remoteFingerprint: certificate(0xaa),
    },
  ]);
  expect(bench.input({ type: "admitted", attempt: 1 })).toEqual([
    { type: "outcome", dial, wanted: false, result: LINKED("answerer"), rounds: [REPORT("answerer", 0)] },
  ]);
});

test("local candidates wait for the description and then a moment for company", () => {
  const bench = new Bench("low");
  bench.input({ type: "dial" });
  expect(bench.rtc(1, candidate(1), candidate(2))).toEqual([]);
  expect(bench.rtc(1, described("offer", 0xaa))).toHaveLength(1);
  expect(bench.rtc(1, candidate(3))).toEqual([]);
  expect(bench.machine.deadline()).toBe(20);
  expect(bench.wake()).toMatchObject([
    {
      type: "signal",
      signal: { sequence: 1, kind: "candidates", round: 1, candidates: [1, 2, 3].map(candidateOf) },
    },
  ]);
});

test("a full batch of candidates does not wait, and 64 are the end of it", () => {
  const bench = new Bench("low");
  bench.dialed();
  const signals = Array.from({ length: 80 }, (_, index) => bench.rtc(1, candidate(index))).flat();
  expect(signals).toHaveLength(4);
  for (const output of signals) {
    expect(output.type === "signal" && output.signal.kind === "candidates" && output.signal.candidates.length).toBe(16);
  }
});

test("what a stack offers as a candidate is checked as if it came from outside", () => {
  const bench = new Bench("low");
  bench.dialed();
  bench.rtc(1, { type: "candidate", candidate: "", mid: "0" });
  bench.rtc(1, { type: "candidate", candidate: "candidate:1\r\na=x", mid: "0" });
  expect(bench.machine.deadline()).toBe(6_000);
});

test("candidates that arrive before the answer are held until it comes", () => {
  const bench = new Bench("low");
  const dial = bench.dialed();
  expect(bench.hear(dial, 1, { kind: "candidates", round: 1, candidates: [candidateOf(1)] })).toEqual([]);
  expect(bench.hear(dial, 0, answer(0xbb))).toEqual([
    { type: "rtc", attempt: 1, command: { type: "accept", answer: sdpOf(0xbb) } },
    { type: "rtc", attempt: 1, command: { type: "candidate", ...candidateOf(1) } },
  ]);
  expect(bench.hear(dial, 2, { kind: "candidates", round: 1, candidates: [candidateOf(2)] })).toEqual([
    { type: "rtc", attempt: 1, command: { type: "candidate", ...candidateOf(2) } },
  ]);
});

test("candidates that arrive before the offer are held until it comes, for each round", () => {
  const bench = new Bench("high");
  const dial = dialOf(1);
  expect(bench.hear(dial, 1, { kind: "candidates", round: 1, candidates: [candidateOf(1)] })).toEqual([]);
  expect(bench.hear(dial, 3, { kind: "candidates", round: 2, candidates: [candidateOf(2)] })).toEqual([]);
  expect(bench.hear(dial, 0, offer(0xaa)).at(-1)).toEqual({
    type: "rtc",
    attempt: 1,
    command: { type: "candidate", ...candidateOf(1) },
  });
  expect(bench.hear(dial, 2, offer(0xab, 2)).at(-1)).toEqual({
    type: "rtc",
    attempt: 2,
    command: { type: "candidate", ...candidateOf(2) },
  });
});

test("held candidates are bounded before the offer and before the answer", () => {
  const batch = Array.from({ length: 16 }, (_, index) => candidateOf(index));
  const surplus = [{ type: "ignored", why: "surplus" }];
  const early = new Bench("high");
  for (let order = 0; order < 4; order++) {
    expect(early.hear(dialOf(1), order, { kind: "candidates", round: 1, candidates: batch })).toEqual([]);
  }
  expect(early.hear(dialOf(1), 4, { kind: "candidates", round: 1, candidates: batch })).toEqual(surplus);
  for (let round = 2; round < 6; round++)
    early.hear(dialOf(1), round + 10, { kind: "candidates", round, candidates: batch });
  // Four rounds are kept, and the first was touched longest ago.
  expect(early.hear(dialOf(1), 30, offer(0xaa))).toHaveLength(2);
  const dialer = new Bench("low");
  const dial = dialer.dialed();
  for (let order = 0; order < 4; order++) dialer.hear(dial, order, { kind: "candidates", round: 1, candidates: batch });
  expect(dialer.hear(dial, 4, { kind: "candidates", round: 1, candidates: batch })).toEqual(surplus);
  expect(dialer.hear(dial, 5, answer(0xbb))).toHaveLength(65);
});

const stages: readonly [stage: string, limitMs: number, events: readonly RtcEvent[]][] = [
  ["ice", 15_000, []],
  ["dtls", 5_000, [ICE]],
  ["channel", 5_000, [ICE, DTLS]],
  ["admission", 6_000, [ICE, DTLS, OPEN]],
];

test.each(stages)("a dialer stuck in %s for %i ms tries a fresh connection", (_stage, limitMs, events) => {
  const bench = new Bench("low");
  const dial = bench.dialed();
  bench.now = 100;
  bench.hear(dial, 0, answer(0xbb));
  bench.rtc(1, ...events);
  expect(bench.machine.deadline()).toBe(100 + limitMs);
  expect(bench.wake()).toEqual([{ type: "discard", attempt: 1 }]);
  expect(bench.wake()).toMatchObject([
    { type: "connect", attempt: 2, initiator: true },
    { type: "rtc", attempt: 2, command: { type: "offer" } },
  ]);
});

test.each(stages)(
  "an answerer stuck in %s for %i ms says so and waits for the next offer",
  (stage, limitMs, events) => {
    const bench = new Bench("high");
    const dial = dialOf(1);
    bench.hear(dial, 0, offer(0xaa));
    bench.rtc(1, described("answer", 0xbb), ...events);
    expect(bench.machine.deadline()).toBe(limitMs);
    expect(bench.wake()).toEqual([
      { type: "discard", attempt: 1 },
      { type: "signal", signal: { dial, sequence: 1, time: limitMs, kind: "reject", round: 1, reason: "failed" } },
    ]);
    expect(bench.hear(dial, 1, offer(0xab, 2))).toMatchObject([{ type: "connect", attempt: 2, initiator: false }, {}]);
    bench.rtc(2, described("answer", 0xbb), ...events);
    bench.wake();
    // The peer has nothing more to say: the outcome names where it failed.
    expect(bench.wake()).toMatchObject([
      { type: "signal", signal: { kind: "reject", round: 2, reason: "gave-up" } },
      { type: "outcome", dial, wanted: false, result: { ok: false, failure: { stage, reason: "timeout" } } },
    ]);
    expect(bench.now).toBe(2 * limitMs + 25_000);
  },
);

test("an unanswered dial makes three rounds of its own connection each, then fails in signaling", () => {
  const bench = new Bench("low");
  const dial = bench.dialed();
  const starts: number[] = [];
  for (const attempt of [2, 3]) {
    expect(bench.wake()).toEqual([{ type: "discard", attempt: attempt - 1 }]);
    const failedAt = bench.now;
    expect(bench.wake()[0]).toMatchObject({ type: "connect", attempt });
    starts.push(bench.now - failedAt);
    expect(bench.rtc(attempt, described("offer", 0xaa))).toMatchObject([
      { type: "signal", signal: { dial, sequence: attempt - 1, round: attempt } },
    ]);
  }
  expect(bench.wake()).toMatchObject([
    { type: "discard", attempt: 3 },
    { type: "signal", signal: { dial, kind: "reject", round: 3, reason: "gave-up" } },
    {
      type: "outcome",
      dial,
      wanted: true,
      result: { ok: false, failure: { stage: "signaling", reason: "timeout" } },
    },
  ]);
  expect([bench.machine.engaged, bench.machine.deadline()]).toEqual([false, undefined]);
  expect(starts[0]).toBeGreaterThanOrEqual(125);
  expect(starts[0]).toBeLessThanOrEqual(375);
  expect(starts[1]).toBeGreaterThanOrEqual(250);
  expect(starts[1]).toBeLessThanOrEqual(750);
});

test("a stack that closes is a failure of the stage that it was in, and is tried again", () => {
  const bench = new Bench("low", undefined, { roundsPerRung: 1 });
  const dial = bench.dialed();
  bench.hear(dial, 0, answer(0xbb));
  expect(bench.rtc(1, ICE, { type: "closed", reason: "x" })).toMatchObject([
    { type: "discard", attempt: 1 },
    { type: "signal" },
    { type: "outcome", result: { ok: false, failure: { stage: "dtls", reason: "closed" } } },
  ]);
});

test("a stage that is reported late does not give a connection more time", () => {
  const bench = new Bench("low");
  bench.hear(bench.dialed(), 0, answer(0xbb));
  bench.rtc(1, DTLS);
  bench.now = 1_000;
  bench.rtc(1, ICE, DTLS);
  expect(bench.machine.deadline()).toBe(5_000);
});

test("the effort as a whole ends after its limit, whatever the rounds do", () => {
  const bench = new Bench("low", undefined, { effortMs: 7_000 });
  bench.dialed();
  const outputs = bench.wakeUntil("outcome");
  expect(bench.now).toBe(7_000);
  expect(outputs.at(-1)).toMatchObject({ result: { failure: { stage: "signaling", reason: "timeout" } } });
});

test("events and answers for a connection that is over change nothing", () => {
  const bench = new Bench("low");
  bench.dialed();
  bench.wake();
  expect(bench.rtc(1, OPEN, { type: "closed", reason: "" })).toEqual([]);
  expect(bench.input({ type: "admitted", attempt: 1 })).toEqual([]);
  expect(bench.input({ type: "refused", attempt: 1, by: "channel", reason: "closed" })).toEqual([]);
});

test("a refusal for cause ends the dial and says whose it was", () => {
  const bench = new Bench("low");
  const dial = bench.dialed();
  bench.hear(dial, 0, answer(0xbb));
  bench.rtc(1, ICE, OPEN);
  expect(bench.input({ type: "refused", attempt: 1, by: "remote", reason: "expired" })).toMatchObject([
    { type: "discard", attempt: 1 },
    { type: "signal", signal: { kind: "reject", reason: "refused" } },
    { type: "outcome", result: { ok: false, failure: { stage: "admission", reason: "expired", by: "remote" } } },
  ]);
});

test("a channel lost in admission is tried again under a fresh dial id, because the peer may have linked", () => {
  const bench = new Bench("low");
  const dial = bench.dialed();
  bench.hear(dial, 0, answer(0xbb));
  bench.rtc(1, ICE, OPEN);
  expect(bench.input({ type: "refused", attempt: 1, by: "channel", reason: "closed" })).toEqual([
    { type: "discard", attempt: 1 },
  ]);
  bench.wake();
  const [said] = bench.rtc(2, described("offer", 0xac));
  expect(said).toMatchObject({ type: "signal", signal: { kind: "offer", round: 2, sequence: 0 } });
  expect(said?.type === "signal" && said.signal.dial).not.toEqual(dial);
});

test("an answer that must not reach the stack ends the dial, and the peer is blamed", () => {
  const bench = new Bench("low");
  const dial = bench.dialed();
  expect(bench.hear(dial, 0, { kind: "answer", round: 1, sdp: "v=0\r\n" })).toMatchObject([
    { type: "fault", peer: HIGH, fault: "no-fingerprint" },
    { type: "discard", attempt: 1 },
    { type: "signal", signal: { kind: "reject", reason: "bad-description" } },
    { type: "outcome", result: { ok: false, failure: { stage: "signaling", reason: "bad-description" } } },
  ]);
});

test("an offer that must not reach the stack makes no connection", () => {
  const bench = new Bench("low");
  expect(bench.hear(dialOf(1), 0, { kind: "offer", round: 1, rung: 0, sdp: "v=0\r\n" })).toMatchObject([
    { type: "fault", peer: HIGH, fault: "no-fingerprint" },
    { type: "signal", signal: { dial: dialOf(1), kind: "reject", round: 1, reason: "bad-description" } },
  ]);
  expect(bench.machine.engaged).toBe(false);
});

test("a description of our own that we would refuse from others ends the dial", () => {
  const bench = new Bench("low");
  bench.input({ type: "dial" });
  expect(bench.rtc(1, { type: "description", kind: "offer", sdp: "v=0" })).toMatchObject([
    { type: "discard", attempt: 1 },
    { type: "signal" },
    { type: "outcome", result: { failure: { stage: "signaling", reason: "bad-local-description" } } },
  ]);
});

test("a fingerprint never changes within a connection", () => {
  const bench = new Bench("low");
  const dial = bench.dialed(0xaa);
  bench.hear(dial, 0, answer(0xbb));
  expect(bench.hear(dial, 1, answer(0xcc))).toEqual([{ type: "fault", peer: HIGH, fault: "description-changed" }]);
  expect(bench.hear(dial, 2, answer(0xbb))).toEqual([{ type: "ignored", why: "duplicate" }]);
  expect(bench.rtc(1, described("offer", 0xdd), ICE, OPEN)).toMatchObject([
    { localFingerprint: certificate(0xaa), remoteFingerprint: certificate(0xbb) },
  ]);
});

test("a ladder given with a dial is for that effort only", () => {
  const bench = new Bench("low");
  const relay = { rung: "tcp", policy: "relay" } as const;
  expect(bench.input({ type: "dial", ladder: [relay] })[0]).toMatchObject({ plan: relay });
  bench.input({ type: "abort", reason: "aborted" });
  expect(bench.input({ type: "dial" })[0]).toMatchObject({ plan: PLAN });
});
