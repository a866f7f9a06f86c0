import { describe, expect, test } from "vitest";
import { Climb } from "../../../src/proto/negotiation/ladder.ts";
import type { DialFailure } from "../../../src/proto/negotiation/outcome.ts";
import { DEFAULT_LADDER, ladderFor, planOf } from "../../../src/proto/negotiation/plan.ts";
import { RungMemory } from "../../../src/proto/negotiation/rung-memory.ts";
import { answer, Bench, dialOf, HIGH, LOW, offer, sdpOf } from "./fixture.ts";

const LADDER = ladderFor({ tcp: true, tls: true });
const pathless: DialFailure = { stage: "ice", reason: "timeout" };
const hung: DialFailure = { stage: "dtls", reason: "timeout" };
const blocked: DialFailure = { stage: "ice", reason: "no-udp" };
const reflexive = {
  candidate: "candidate:2 1 udp 1686052863 198.51.100.7 40000 typ srflx raddr 10.0.0.2 rport 1",
  mid: "0",
};

/** The rungs of a climb on which every round fails for `reason`, to the end. */
function climbed(reason: DialFailure, ladder = LADDER): string[] {
  const climb = new Climb(ladder, 3);
  const rungs: string[] = [climb.plan.rung];
  while (climb.advance(reason, rungs.length + 1)) rungs.push(climb.plan.rung);
  return rungs;
}

describe("a climb", () => {
  test("goes on at once where ICE found no path, and tries the last rung three times", () => {
    expect(climbed(pathless)).toEqual(["udp", "tcp", "tls", "tls", "tls"]);
  });

  test("makes three connections on each rung where a path was found and the rest hung", () => {
    const rungs = ["udp", "tcp", "tls"].flatMap((rung) => [rung, rung, rung]);
    expect(climbed(hung)).toEqual(rungs);
  });

  test("tries the only rung three times", () => {
    expect(climbed(pathless, DEFAULT_LADDER)).toEqual(["udp", "udp", "udp"]);
  });

  test("passes over UDP, wherever it stands, once it is known to be blocked", () => {
    const climb = new Climb([...LADDER.slice(1), ...LADDER.slice(0, 1)], 1);
    expect([climb.advance(blocked, 2), climb.plan.rung]).toEqual([true, "tls"]);
    expect(climb.advance(blocked, 3)).toBe(false);
  });

  test("takes up TCP and TLS for a peer without UDP although no server of ours speaks them", () => {
    const climb = new Climb(DEFAULT_LADDER, 3);
    expect(climb.advance({ stage: "ice", reason: "peer-no-udp" }, 2)).toBe(true);
    expect(climb.plan.rung).toBe("tcp");
    expect([climb.advance(pathless, 3), climb.plan.rung]).toEqual([true, "tls"]);
  });

  test("ends with the rounds of a dial", () => {
    expect(new Climb(LADDER, 99).advance(hung, 65)).toBe(false);
  });

  test("has a rung at least and 16 at most", () => {
    expect(() => new Climb([], 3)).toThrow("1 to 16");
  });
});

test("UDP is judged only where there is another way", () => {
  expect(ladderFor({ tcp: false, tls: false })).toBe(DEFAULT_LADDER);
  expect(DEFAULT_LADDER[0]?.udpWithinMs).toBeUndefined();
  expect(LADDER.map(({ rung, udpWithinMs }) => [rung, udpWithinMs])).toEqual([
    ["udp", 800],
    ["tcp", undefined],
    ["tls", undefined],
  ]);
});

test("an offer of a rung that we lack is answered on that rung all the same", () => {
  expect(planOf(DEFAULT_LADDER, 2)).toEqual({ rung: "tls", policy: "all" });
  expect(planOf(LADDER, 1)).toBe(LADDER[1]);
  expect(planOf(LADDER, 15)).toBe(LADDER[0]);
});

describe("a dial where UDP may be blocked", () => {
  test("goes to TCP without a pause when no server has answered 800 ms after both descriptions", () => {
    const bench = new Bench("low", LADDER);
    const dial = bench.dialed();
    bench.now = 500;
    bench.hear(dial, 0, answer(0xbb));
    expect(bench.wake()).toEqual([{ type: "discard", attempt: 1 }]);
    expect(bench.now).toBe(1_300);
    expect(bench.wake()).toMatchObject([{ type: "connect", attempt: 2, plan: LADDER[1] }, { type: "rtc" }]);
    expect(bench.now).toBe(1_300);
    const [said] = bench.rtc(2, { type: "description", kind: "offer", sdp: sdpOf(0xab) });
    expect(said).toMatchObject({ signal: { kind: "offer", round: 2, rung: 1, dial } });
  });

  test.each([
    ["a server has answered", { type: "candidate", ...reflexive }],
    ["a path was found", { type: "ice-connected" }],
  ] as const)("stays with UDP when %s", (_, event) => {
    const bench = new Bench("low", LADDER);
    const dial = bench.dialed();
    bench.hear(dial, 0, answer(0xbb));
    bench.rtc(1, event);
    bench.wakeUntil("discard");
    expect(bench.now).toBeGreaterThanOrEqual(5_000);
  });

  test("an early answer of a server counts as well", () => {
    const bench = new Bench("low", LADDER);
    const dial = bench.dialed();
    bench.rtc(1, { type: "candidate", ...reflexive });
    bench.hear(dial, 0, answer(0xbb));
    bench.wakeUntil("discard");
    expect(bench.now).toBe(6_000);
  });

  test("an answerer without UDP says so and waits; the dialer's next offer is over TCP", () => {
    const answerer = new Bench("high", LADDER);
    answerer.hear(dialOf(9), 0, offer(0xaa));
    answerer.rtc(1, { type: "description", kind: "answer", sdp: sdpOf(0xbb) });
    expect(answerer.wake()).toMatchObject([
      { type: "discard", attempt: 1 },
      { type: "signal", signal: { kind: "reject", round: 1, reason: "no-udp" } },
    ]);
    expect(answerer.hear(dialOf(9), 1, offer(0xac, 2, 1))[0]).toMatchObject({ type: "connect", plan: LADDER[1] });

    const dialer = new Bench("low", LADDER);
    const dial = dialer.dialed();
    dialer.hear(dial, 0, answer(0xbb));
    dialer.hear(dial, 1, { kind: "reject", round: 1, reason: "no-udp" });
    expect(dialer.wake()[0]).toMatchObject({ type: "connect", plan: LADDER[1] });
    expect(dialer.now).toBe(0);
  });
});

test("an outcome tells of every round: its rung, what was offered, where it failed", () => {
  const bench = new Bench("low", LADDER);
  const dial = bench.dialed();
  const host = { candidate: "candidate:1 1 udp 2122 fd00::2 5000 typ host", mid: "0" };
  bench.rtc(1, { type: "candidate", ...host });
  bench.hear(dial, 0, answer(0xbb));
  bench.hear(dial, 1, { kind: "candidates", round: 1, candidates: [reflexive] });
  bench.wakeUntil("connect");
  bench.rtc(2, { type: "description", kind: "offer", sdp: sdpOf(0xab) });
  const outputs = bench.input({ type: "abort", reason: "aborted" });
  expect(outputs.at(-1)).toMatchObject({
    type: "outcome",
    rounds: [
      {
        role: "dialer",
        rung: "udp",
        tookMs: 800,
        local: ["host [fd00::2]:5000"],
        remote: ["srflx 198.51.100.7:40000"],
        failure: { stage: "ice", reason: "no-udp" },
      },
      { rung: "tcp", failure: { stage: "signaling", reason: "aborted" } },
    ],
  });
});

describe("what is remembered", () => {
  const rungs = (memory: RungMemory, now: number, peer = HIGH): string[] =>
    memory.order(peer, LADDER, now).map(({ rung }) => rung);

  test("a dial begins on the rung that linked the peer last, and comes to the others after it", () => {
    const memory = new RungMemory();
    memory.linked(HIGH, "tcp", 0);
    expect(rungs(memory, 1)).toEqual(["tcp", "tls", "udp"]);
    expect(rungs(memory, 1, LOW)).toEqual(["udp", "tcp", "tls"]);
    memory.linked(HIGH, "udp", 2);
    expect(rungs(memory, 3)).toEqual(["udp", "tcp", "tls"]);
  });

  test("a rung is forgotten after an hour, and when we have moved", () => {
    const memory = new RungMemory();
    memory.linked(HIGH, "tls", 0);
    expect(rungs(memory, 3_599_999)[0]).toBe("tls");
    expect(rungs(memory, 3_600_000)[0]).toBe("udp");
    memory.linked(HIGH, "tls", 0);
    memory.blocked(0);
    memory.moved();
    expect(rungs(memory, 1)[0]).toBe("udp");
  });

  test("where our own UDP is blocked every dial begins with TCP, for a minute or until a link over UDP", () => {
    const memory = new RungMemory();
    memory.blocked(0);
    expect([rungs(memory, 59_999, LOW)[0], rungs(memory, 60_000, LOW)[0]]).toEqual(["tcp", "udp"]);
    memory.linked(HIGH, "udp", 1);
    expect(rungs(memory, 2, LOW)[0]).toBe("udp");
    expect(memory.order(LOW, DEFAULT_LADDER, 2)).toBe(DEFAULT_LADDER);
  });

  test("a ladder without the remembered rung keeps its order", () => {
    const memory = new RungMemory();
    memory.linked(HIGH, "tls", 0);
    memory.blocked(0);
    expect(memory.order(HIGH, DEFAULT_LADDER, 1)).toBe(DEFAULT_LADDER);
  });

  test("1,024 peers are remembered, the latest ones", () => {
    const memory = new RungMemory();
    memory.linked(HIGH, "tls", 0);
    for (let index = 0; index < 1_024; index++) memory.linked(`peer-${index}` as never, "tls", 0);
    expect(rungs(memory, 1)[0]).toBe("udp");
  });
});
