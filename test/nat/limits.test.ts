import { expect, test } from "vitest";
import { aloneLimits, type Limit, liveLimits, lossLimits, matrixLimits } from "./limits.ts";
import type { LiveResult } from "./live.ts";
import type { CellResult } from "./run-cell.ts";

/** A cell that is as it should be, but for what is told. */
function cell(differing: Partial<CellResult> = {}): CellResult {
  const names = { cell: "none / none", stack: "auto", expected: "direct", path: "direct", kind: "direct" } as const;
  const seen = { connectMs: 600, settleMs: 5, rtc: "native", local: null, remote: null, rttMs: 1 } as const;
  return { ...names, ...seen, why: "right", failure: null, ...differing };
}

function change(differing: Partial<LiveResult> = {}): LiveResult {
  const times = { recoveryMs: 4_000, pathMs: null, isToClimb: false } as const;
  const counts = { sent: [500, 501], received: [501, 500] } as const;
  return { change: "moves", stack: "auto", ...times, ...counts, fault: null, failure: null, ...differing };
}

/** What does not hold. */
const broken = (limits: readonly Limit[]): string[] => limits.filter(({ ok }) => !ok).map(({ what }) => what);

test("the median of each kind of path is held to the bound of its kind", () => {
  const slow = [cell({ connectMs: 900 }), cell({ connectMs: 1_001 }), cell({ connectMs: 1_002 })];
  const relayed = [cell({ kind: "relayed", connectMs: 2_000 }), cell({ kind: "udp-blocked", connectMs: 4_001 })];
  expect(matrixLimits("auto", [...slow, ...relayed])).toEqual([
    { what: "auto: linked on the path that theory allows", asked: "5 of 5", measured: "5", ok: true },
    { what: "auto: direct, p50 of 3", asked: "<= 1000 ms", measured: "1001 ms, worst 1002 ms", ok: false },
    { what: "auto: relayed, p50 of 1", asked: "<= 2000 ms", measured: "2000 ms, worst 2000 ms", ok: true },
    { what: "auto: udp-blocked, p50 of 1", asked: "<= 4000 ms", measured: "4001 ms, worst 4001 ms", ok: false },
    { what: "auto: why is right", asked: "5 of 5", measured: "5", ok: true },
  ]);
});

test("a line that takes its time is granted ten times that", () => {
  expect(broken(matrixLimits("far", [cell({ connectMs: 2_000 })], 100))).toEqual([]);
  expect(broken(matrixLimits("far", [cell({ connectMs: 2_001 })], 100))).toEqual(["far: direct, p50 of 1"]);
});

test("one pair on the wrong path, or one account that is not right, is one too many", () => {
  const wrong = [cell(), cell({ failure: "relayed, and direct was possible", why: null }), cell({ why: "why says" })];
  expect(broken(matrixLimits("auto", wrong))).toEqual([
    "auto: linked on the path that theory allows",
    "auto: why is right",
  ]);
});

test("what a stack cannot do alone, auto must have done", () => {
  const unable = cell({ stack: "native", cell: "none / udp-blocked", failure: "no link", why: null });
  const covering = cell({ cell: "none / udp-blocked", kind: "udp-blocked" });
  expect(broken(aloneLimits([cell({ stack: "native" }), unable], [covering]))).toEqual([]);
  const uncovered = ["native alone: cells that it cannot do, auto does"];
  expect(broken(aloneLimits([unable], []))).toEqual(uncovered);
  expect(broken(aloneLimits([unable], [covering, { ...covering, failure: "no link" }]))).toEqual(uncovered);
});

test("with loss each link must be there in time, not half of them", () => {
  const inTime = cell({ connectMs: 15_000 });
  expect(broken(lossLimits("loss", [inTime, inTime]))).toEqual([]);
  for (const bad of [cell({ connectMs: 15_001 }), cell({ connectMs: null, failure: "no link" })])
    expect(broken(lossLimits("loss", [inTime, inTime, bad]))).toEqual(["loss: linked within 15 s"]);
});

test("after a change messages flow again in time, each once and in order, and the direct path is taken", () => {
  expect(broken(liveLimits("auto", [change({ recoveryMs: 6_000 })]))).toEqual([]);
  expect(broken(liveLimits("auto", [change({ recoveryMs: 6_001 })]))).toEqual(["auto, moves: flows again"]);
  expect(broken(liveLimits("auto", [change({ fault: "messages were lost" })]))).toEqual([
    "auto, moves: lost, doubled or out of order",
  ]);
  const climbing = change({ isToClimb: true, pathMs: 60_000 });
  expect(broken(liveLimits("auto", [climbing]))).toEqual([]);
  for (const pathMs of [60_001, null])
    expect(broken(liveLimits("auto", [{ ...climbing, pathMs }]))).toEqual(["auto, moves: is taken"]);
});

test("of what was not measured nothing is said", () => {
  const nothing = [
    ...matrixLimits("auto", []),
    ...lossLimits("loss", []),
    ...aloneLimits([], []),
    ...liveLimits("auto", []),
  ];
  expect(nothing).toEqual([]);
});
