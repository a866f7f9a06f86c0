import { expect, test } from "vitest";
import { answer, Bench, candidateOf, dialOf, HIGH, offer, sdpOf } from "./fixture.ts";

const ignored = (why: string): object[] => [{ type: "ignored", why }];
const gaveUp = { type: "signal", signal: { kind: "reject", reason: "gave-up" } };

function link(bench: Bench, attempt: number): void {
  bench.rtc(attempt, { type: "ice-connected" }, { type: "open" });
  bench.input({ type: "admitted", attempt });
}

test("when both have dialed the lower side ignores the other's offer", () => {
  const bench = new Bench("low");
  const dial = bench.dialed();
  expect(bench.hear(dialOf(9), 0, offer(0xbb))).toEqual(ignored("glare"));
  expect(bench.hear(dial, 1, answer(0xbb))).toMatchObject([{ type: "rtc", attempt: 1, command: { type: "accept" } }]);
});

test("when both have dialed the higher side drops its own offer and answers, with one outcome for both wishes", () => {
  const bench = new Bench("high");
  const own = bench.dialed();
  expect(bench.hear(dialOf(9), 0, offer(0xbb))).toMatchObject([
    { type: "discard", attempt: 1 },
    { type: "connect", attempt: 2, initiator: false },
    { type: "rtc", attempt: 2, command: { type: "answer" } },
  ]);
  expect(bench.hear(own, 0, answer(0xbb))).toMatchObject([...ignored("late-dial"), gaveUp]);
  bench.rtc(2, { type: "description", kind: "answer", sdp: sdpOf(0xcc) }, { type: "open" });
  expect(bench.input({ type: "admitted", attempt: 2 })).toMatchObject([
    { type: "outcome", dial: dialOf(9), wanted: true, result: { ok: true, attempt: 2, role: "answerer" } },
  ]);
});

test("once the peer has answered, an offer of its own says that it has started again, and even the lower side takes it", () => {
  const bench = new Bench("low");
  const dial = bench.dialed();
  bench.hear(dial, 0, answer(0xbb));
  expect(bench.hear(dialOf(9), 5, offer(0xbc))).toMatchObject([
    { type: "discard", attempt: 1 },
    { type: "connect", attempt: 2, initiator: false },
    { type: "rtc" },
  ]);
});

test("between two rounds an offer of the peer is as good as our next one", () => {
  const bench = new Bench("low");
  bench.dialed();
  bench.wake();
  expect(bench.hear(dialOf(9), 0, offer(0xbb))[0]).toMatchObject({ type: "connect", initiator: false });
});

test("a wish that comes while an effort is under way joins it", () => {
  const bench = new Bench("high");
  bench.hear(dialOf(9), 0, offer(0xaa));
  expect(bench.input({ type: "dial" })).toEqual([]);
  expect(bench.input({ type: "ask" })).toEqual([]);
  expect(bench.input({ type: "abort", reason: "closing" })).toMatchObject([
    { type: "discard", attempt: 1 },
    { type: "signal", signal: { kind: "reject", round: 1, reason: "aborted" } },
    { type: "outcome", wanted: true, result: { ok: false, failure: { stage: "signaling", reason: "closing" } } },
  ]);
});

test("an ask is repeated until the offer comes, whatever its dial", () => {
  const bench = new Bench("high");
  const [asked] = bench.input({ type: "ask" });
  expect(asked).toMatchObject({ type: "signal", signal: { kind: "ask", sequence: 0 } });
  expect(bench.wake()).toMatchObject([{ type: "signal", signal: { kind: "ask", sequence: 1 } }]);
  expect(bench.now).toBe(4_000);
  expect(bench.hear(dialOf(9), 0, offer(0xaa))[0]).toMatchObject({ type: "connect", initiator: false });
});

test("an ask that nobody follows ends after 12 seconds", () => {
  const bench = new Bench("high");
  bench.input({ type: "ask" });
  const outputs = bench.wakeUntil("outcome");
  expect(bench.now).toBe(12_000);
  expect(outputs.slice(-2)).toMatchObject([
    gaveUp,
    { type: "outcome", wanted: true, result: { ok: false, failure: { stage: "signaling", reason: "timeout" } } },
  ]);
});

test("who is asked dials under the asker's id, once", () => {
  const bench = new Bench("low");
  expect(bench.hear(dialOf(9), 0, { kind: "ask" })).toMatchObject([
    { type: "connect", attempt: 1, initiator: true },
    { type: "rtc", command: { type: "offer" } },
  ]);
  expect(bench.rtc(1, { type: "description", kind: "offer", sdp: sdpOf(1) })).toMatchObject([
    { type: "signal", signal: { dial: dialOf(9), sequence: 0, kind: "offer", round: 1 } },
  ]);
  expect(bench.hear(dialOf(9), 1, { kind: "ask" })).toEqual(ignored("engaged"));
  expect(bench.hear(dialOf(8), 0, { kind: "ask" })).toEqual(ignored("engaged"));
});

test("when both ask the lower side dials", () => {
  const low = new Bench("low");
  low.input({ type: "ask" });
  expect(low.hear(dialOf(9), 0, { kind: "ask" })[0]).toMatchObject({ type: "connect", initiator: true });
  const high = new Bench("high");
  high.input({ type: "ask" });
  expect(high.hear(dialOf(9), 0, { kind: "ask" })).toEqual(ignored("glare"));
});

test("an asker may lose patience and dial; the asked one's offer still finds it", () => {
  const bench = new Bench("high");
  const [asked] = bench.input({ type: "ask" });
  const dial = asked?.type === "signal" ? asked.signal.dial : dialOf(0);
  expect(bench.input({ type: "dial" })[0]).toMatchObject({ type: "connect", initiator: true });
  expect(bench.hear(dial, 0, offer(0xaa))).toMatchObject([
    { type: "discard", attempt: 1 },
    { type: "connect", attempt: 2, initiator: false },
    {},
  ]);
});

test("an answerer whose peer asks takes the peer's former dial for over", () => {
  const bench = new Bench("low");
  bench.hear(dialOf(1), 0, offer(0xaa));
  expect(bench.hear(dialOf(2), 1, { kind: "ask" })).toMatchObject([
    { type: "discard", attempt: 1 },
    { type: "connect", attempt: 2, initiator: true },
    {},
  ]);
});

test("a declined ask or dial ends at once", () => {
  const asker = new Bench("high");
  const [asked] = asker.input({ type: "ask" });
  const dial = asked?.type === "signal" ? asked.signal.dial : dialOf(0);
  expect(asker.hear(dial, 0, { kind: "reject", round: 0, reason: "busy" })).toMatchObject([
    { type: "outcome", result: { failure: { stage: "signaling", reason: "peer-busy" } } },
  ]);
  const dialer = new Bench("low");
  expect(dialer.hear(dialer.dialed(), 0, { kind: "reject", round: 1, reason: "busy" })).toMatchObject([
    { type: "discard", attempt: 1 },
    { type: "outcome", result: { failure: { stage: "signaling", reason: "peer-busy" } } },
  ]);
});

test("an answerer that failed brings the next round at once", () => {
  const bench = new Bench("low");
  const dial = bench.dialed();
  bench.hear(dial, 0, answer(0xbb));
  expect(bench.hear(dial, 1, { kind: "reject", round: 1, reason: "failed" })).toEqual([
    { type: "discard", attempt: 1 },
  ]);
  expect(bench.hear(dial, 2, { kind: "reject", round: 1, reason: "failed" })).toEqual(ignored("stale-round"));
  bench.wake();
  expect(bench.hear(dial, 3, { kind: "reject", round: 1, reason: "failed" })).toEqual(ignored("stale-round"));
  expect(bench.hear(dial, 4, answer(0xbb))).toEqual(ignored("stale-round"));
  expect(bench.hear(dial, 5, { kind: "candidates", round: 1, candidates: [candidateOf(1)] })).toEqual(
    ignored("stale-round"),
  );
});

test("an answerer takes a later round and ignores an earlier one", () => {
  const bench = new Bench("high");
  bench.hear(dialOf(1), 1, offer(0xab, 2));
  expect(bench.hear(dialOf(1), 0, offer(0xaa, 1))).toEqual(ignored("stale-round"));
  expect(bench.hear(dialOf(1), 2, offer(0xac, 2))).toEqual(ignored("stale-round"));
  expect(bench.hear(dialOf(1), 3, offer(0xac, 3))).toMatchObject([
    { type: "discard", attempt: 1 },
    { type: "connect", attempt: 2, initiator: false },
    {},
  ]);
});

test("repeated, foreign and overdue signals are ignored and counted", () => {
  const bench = new Bench("low");
  const dial = bench.dialed();
  const foreign = dialOf(7);
  expect(bench.hear(foreign, 0, answer(0xbb))).toEqual(ignored("foreign-dial"));
  expect(bench.hear(foreign, 1, { kind: "reject", round: 1, reason: "failed" })).toEqual(ignored("foreign-dial"));
  bench.hear(dial, 0, answer(0xbb));
  expect(bench.hear(dial, 0, answer(0xbb))).toEqual(ignored("duplicate"));
  link(bench, 1);
  expect(bench.hear(dial, 1, answer(0xbb))).toEqual(ignored("late-dial"));
  expect(bench.hear(dial, 2, { kind: "reject", round: 1, reason: "gave-up" })).toEqual(ignored("late-dial"));
  expect(bench.machine.engaged).toBe(false);
});

test("a repeated signal reaches the stack once", () => {
  const bench = new Bench("high");
  bench.hear(dialOf(1), 0, offer(0xaa));
  const body = { kind: "candidates", round: 1, candidates: [candidateOf(1)] } as const;
  expect(bench.hear(dialOf(1), 31, body)).toHaveLength(1);
  expect(bench.hear(dialOf(1), 31, body)).toEqual(ignored("duplicate"));
  expect(bench.hear(dialOf(1), 63, body)).toHaveLength(1);
  expect(bench.hear(dialOf(1), 1_023, body)).toHaveLength(1);
  expect(bench.hear(dialOf(1), 1_023, body)).toEqual(ignored("duplicate"));
});

test("a dial that failed here is not taken up again, and who still waits is told once", () => {
  const bench = new Bench("high");
  bench.hear(dialOf(1), 0, offer(0xaa));
  bench.input({ type: "abort", reason: "aborted" });
  expect(bench.hear(dialOf(1), 1, offer(0xab, 2))).toMatchObject([...ignored("late-dial"), gaveUp]);
  expect(bench.hear(dialOf(1), 2, offer(0xac, 3))).toEqual(ignored("late-dial"));
});

test("a dial that its owner has ended does not begin with a late offer", () => {
  const bench = new Bench("high");
  bench.hear(dialOf(1), 1, { kind: "reject", round: 1, reason: "aborted" });
  expect(bench.hear(dialOf(1), 0, offer(0xaa))).toEqual(ignored("late-dial"));
});

test("an offer that its sender has overtaken is late, but only for as long as signals may linger", () => {
  const bench = new Bench("low");
  bench.hear(bench.dialed(), 0, answer(0xbb), 5_000);
  link(bench, 1);
  expect(bench.hear(dialOf(2), 0, offer(0xbc), 4_999)).toEqual(ignored("late"));
  expect(bench.hear(dialOf(3), 0, { kind: "ask" }, 4_999)).toEqual(ignored("late"));
  bench.now += 30_000;
  expect(bench.hear(dialOf(4), 0, offer(0xbd), 4_000)[0]).toMatchObject({ type: "connect" });
});

test("our signals carry strictly increasing times, also where the clock stands still", () => {
  const bench = new Bench("high");
  bench.now = 700.9;
  const times: number[] = [];
  for (const output of [...bench.input({ type: "ask" }), ...bench.input({ type: "abort", reason: "aborted" })]) {
    if (output.type === "signal") times.push(output.signal.time);
  }
  expect(times).toEqual([700, 701]);
});

test("after a link, a new dial of either side makes a new connection beside it", () => {
  const bench = new Bench("low");
  bench.hear(bench.dialed(), 0, answer(0xbb));
  link(bench, 1);
  expect(bench.input({ type: "dial" })[0]).toMatchObject({ type: "connect", attempt: 2 });
  const other = new Bench("high");
  other.hear(dialOf(1), 0, offer(0xaa));
  other.rtc(1, { type: "description", kind: "answer", sdp: sdpOf(0xbb) });
  link(other, 1);
  expect(other.hear(dialOf(2), 1, offer(0xab))[0]).toMatchObject({ type: "connect", attempt: 2 });
});

test("roles within a dial are fixed", () => {
  const wrong = [{ type: "fault", peer: HIGH, fault: "wrong-role" }];
  const dialer = new Bench("low");
  const dial = dialer.dialed();
  expect(dialer.hear(dial, 0, offer(0xbb))).toEqual(wrong);
  const answerer = new Bench("low");
  answerer.hear(dialOf(1), 0, offer(0xbb));
  expect(answerer.hear(dialOf(1), 1, answer(0xbb))).toEqual(wrong);
  const early = new Bench("low");
  early.input({ type: "dial" });
  expect(early.hear(dialOf(1), 0, answer(0xbb))).toEqual(ignored("foreign-dial"));
});

test("signals and connections that a peer can cause are bounded", () => {
  const bench = new Bench("high");
  expect(bench.hear(dialOf(1), 1_024, offer(0xaa))).toEqual([
    { type: "fault", peer: expect.any(String), fault: "too-many-signals" },
  ]);
  let connections = 0;
  for (let dial = 1; dial <= 60; dial++) {
    connections += bench.hear(dialOf(dial), 0, offer(0xaa), 1_000 + dial)[0]?.type === "ignored" ? 0 : 1;
  }
  expect(connections).toBe(24);
});

test("an absent peer ends what depends on signals and nothing else", () => {
  const waiting = new Bench("low");
  waiting.dialed();
  expect(waiting.input({ type: "abort", reason: "unreachable" })).toMatchObject([
    { type: "discard", attempt: 1 },
    { type: "outcome", result: { failure: { stage: "signaling", reason: "unreachable" } } },
  ]);
  const connecting = new Bench("low");
  connecting.hear(connecting.dialed(), 0, answer(0xbb));
  expect(connecting.input({ type: "abort", reason: "unreachable" })).toEqual([]);
  expect(connecting.input({ type: "abort", reason: "aborted" }).at(-1)).toMatchObject({
    result: { failure: { stage: "ice", reason: "aborted" } },
  });
  expect(connecting.input({ type: "abort", reason: "aborted" })).toEqual([]);
});
