import { describe, expect, test } from "vitest";
import { Pacer } from "../../../src/proto/streams/pacer.ts";

describe("pacer", () => {
  test("before anything is known 32 KiB may be outstanding, in frames of 4 KiB", () => {
    const pacer = new Pacer();
    expect([pacer.limitBytes, pacer.frameBytes, pacer.rate]).toEqual([32_768, 4_096, 0]);
    for (let frame = 0; frame < 8; frame++) {
      expect(pacer.open).toBe(true);
      pacer.sent(4_096, 0);
    }
    expect(pacer.open).toBe(false);
  });

  test("the time for which an acknowledgement was held back is no part of the round trip", () => {
    const pacer = new Pacer();
    pacer.sent(100, 0);
    pacer.acknowledged(1, 2, 12);
    expect(pacer.roundTrip.minimumMs).toBe(10);
    expect(pacer.roundTrip.smoothedMs).toBe(10);
  });

  test("a peer that claims to have waited longer than there was time does not make a path of no length", () => {
    const pacer = new Pacer();
    pacer.sent(100, 0);
    pacer.acknowledged(1, 1e9, 12);
    expect(pacer.roundTrip.minimumMs).toBe(0.05);
    pacer.sent(100, 100);
    pacer.acknowledged(2, 1e9, 400);
    expect(pacer.roundTrip.smoothedMs).toBeGreaterThan(20);
  });

  test("what took as long as a sleep says nothing about the path", () => {
    const pacer = new Pacer();
    pacer.sent(100, 0);
    pacer.acknowledged(1, 0, 10);
    pacer.sent(100, 20);
    expect(pacer.acknowledged(2, 0, 3_600_020)).toBe(true);
    pacer.answered(3_600_000, 3_600_020);
    expect(pacer.roundTrip.smoothedMs).toBe(10);
    expect(pacer.delivery.outstandingBytes).toBe(0);
  });

  test("an acknowledgement that goes back or beyond what was sent is refused and changes nothing", () => {
    const pacer = new Pacer();
    for (let frame = 0; frame < 3; frame++) pacer.sent(100, 0);
    expect(pacer.acknowledged(4, 0, 10)).toBe(false);
    expect(pacer.acknowledged(2, 0, 10)).toBe(true);
    expect(pacer.acknowledged(1, 0, 10)).toBe(false);
    expect(pacer.acknowledged(2, 0, 10)).toBe(true);
    expect(pacer.delivery.framesAcknowledged).toBe(2);
    expect(pacer.delivery.outstandingBytes).toBe(100);
  });

  test("frames in flight are bounded, twice as many for what is urgent", () => {
    const pacer = new Pacer({ maxFrames: 2 });
    pacer.sent(10, 0);
    pacer.sent(10, 0);
    expect([pacer.open, pacer.openForUrgent]).toEqual([false, true]);
    pacer.sent(10, 0);
    pacer.sent(10, 0);
    expect(pacer.openForUrgent).toBe(false);
  });

  test("bytes in flight are bounded on the fattest path", () => {
    const pacer = new Pacer({ maxBytes: 100_000 });
    for (let now = 0; now < 1_000; now += 10) {
      while (pacer.open) pacer.sent(16_384, now);
      pacer.acknowledged(pacer.delivery.framesSent, 0, now + 10);
    }
    expect(pacer.delivery.framesAcknowledged).toBeGreaterThan(100);
    expect(pacer.limitBytes).toBe(100_000);
  });
});
