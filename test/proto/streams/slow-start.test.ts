import { describe, expect, test } from "vitest";
import { SlowStart } from "../../../src/proto/streams/slow-start.ts";

describe("slow start", () => {
  test("begins with 32 KiB on a path that is not known, and doubles in each round trip", () => {
    const slowStart = new SlowStart(25);
    expect(slowStart.limitBytes(0, Number.POSITIVE_INFINITY)).toBe(32_768);
    expect(slowStart.limitBytes(32_768, 100)).toBe(65_536);
    expect(slowStart.limitBytes(98_304, 100)).toBe(131_072);
  });

  test("begins anew from what is outstanding, whatever was delivered before", () => {
    const slowStart = new SlowStart(25);
    slowStart.begin(1_000_000, 0);
    expect(slowStart.limitBytes(1_000_000, 100)).toBe(32_768);
    slowStart.begin(2_000_000, 50_000);
    expect(slowStart.limitBytes(2_010_000, 100)).toBe(60_000);
  });

  test("allows at once what is out after the round trips that fit the queue: twice 10 ms into 25, and any number of 0.1 ms", () => {
    const slowStart = new SlowStart(25);
    expect(slowStart.limitBytes(0, 10)).toBe(131_072);
    expect(slowStart.limitBytes(0, 0.1)).toBe(134_217_728);
    expect(slowStart.limitBytes(0, 0.05)).toBe(134_217_728);
  });
});
