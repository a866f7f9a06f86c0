import { describe, expect, test } from "vitest";
import { Delivery } from "../../../src/proto/streams/delivery.ts";
import { RATE_ROUNDS, RateWindow } from "../../../src/proto/streams/rate-window.ts";
import { RoundTrip } from "../../../src/proto/streams/round-trip.ts";

describe("delivery", () => {
  test("counts what is in flight and since when", () => {
    const delivery = new Delivery();
    expect(delivery.oldestSentAt).toBeUndefined();
    delivery.sent(100, 10);
    delivery.sent(50, 11);
    expect(delivery.outstandingBytes).toBe(150);
    expect(delivery.oldestSentAt).toBe(10);
    delivery.acknowledged(1, 20);
    expect(delivery.outstandingBytes).toBe(50);
    expect(delivery.oldestSentAt).toBe(11);
    expect(delivery.framesSent).toBe(2);
    expect(delivery.framesAcknowledged).toBe(1);
  });

  test("a steady flow is measured at its rate", () => {
    const delivery = new Delivery();
    // 100 bytes a millisecond, acknowledged 5 ms later.
    for (let now = 0; now < 5; now++) delivery.sent(100, now);
    let sample = delivery.acknowledged(1, 5);
    for (let now = 5; now < 50; now++) {
      delivery.sent(100, now);
      sample = delivery.acknowledged(now - 3, now + 1);
    }
    expect(sample.bytes / sample.intervalMs).toBeCloseTo(100, 5);
    expect(sample.elapsedMs).toBe(5);
    expect(sample.limited).toBe(false);
  });

  test("what a stall held back is not taken for the rate of the path when it comes at once", () => {
    const delivery = new Delivery();
    for (let now = 0; now < 20; now++) delivery.sent(100, now);
    // Nothing for a second; then one frame, a new one goes out, and everything else arrives 1 ms later.
    delivery.acknowledged(1, 1_000);
    delivery.sent(100, 1_000);
    const sample = delivery.acknowledged(21, 1_001);
    expect(sample.bytes).toBe(2_000);
    expect(sample.intervalMs).toBe(1_000);
  });

  test("a sample is limited while what was offered, not the path, decided", () => {
    const delivery = new Delivery();
    delivery.sent(100, 0);
    delivery.idle();
    expect(delivery.acknowledged(1, 10).limited).toBe(true);
    delivery.sent(100, 20);
    delivery.sent(100, 20);
    // The first frame after a pause is limited still; those sent after its acknowledgement are not.
    expect(delivery.acknowledged(2, 30).limited).toBe(true);
    delivery.sent(100, 30);
    expect(delivery.acknowledged(4, 40).limited).toBe(false);
  });

  test("records grow with the frames in flight and survive it", () => {
    const delivery = new Delivery();
    for (let frame = 0; frame < 10; frame++) delivery.sent(1, frame);
    delivery.acknowledged(10, 20);
    for (let frame = 10; frame < 1_000; frame++) delivery.sent(frame, frame);
    expect(delivery.oldestSentAt).toBe(10);
    expect(delivery.acknowledged(500, 2_000).elapsedMs).toBe(2_000 - 499);
    expect(delivery.oldestSentAt).toBe(500);
    delivery.acknowledged(1_000, 2_000);
    expect(delivery.outstandingBytes).toBe(0);
  });
});

describe("rate window", () => {
  test("keeps the largest of ten round trips", () => {
    const rates = new RateWindow();
    rates.add(50, false);
    rates.endRound();
    for (let round = 0; round < RATE_ROUNDS - 1; round++) {
      rates.add(10, false);
      expect(rates.rate).toBe(50);
      rates.endRound();
    }
    expect(rates.rate).toBe(10);
  });

  test("what was limited by the offer raises the rate, and never ages it", () => {
    const rates = new RateWindow();
    rates.add(50, false);
    rates.endRound();
    for (let round = 0; round < 100; round++) {
      rates.add(1, true);
      expect(rates.endRound()).toBe(false);
    }
    expect(rates.rate).toBe(50);
    rates.add(60, true);
    expect(rates.rate).toBe(60);
  });

  test("starts over from one rate", () => {
    const rates = new RateWindow();
    rates.add(50, false);
    expect(rates.measured).toBe(true);
    rates.restart(7);
    expect(rates.rate).toBe(7);
  });
});

describe("round trip", () => {
  test("is smoothed as in RFC 6298", () => {
    const roundTrip = new RoundTrip();
    expect(roundTrip.smoothedMs).toBeUndefined();
    roundTrip.smooth(100);
    expect([roundTrip.smoothedMs, roundTrip.variationMs]).toEqual([100, 50]);
    roundTrip.smooth(180);
    expect([roundTrip.smoothedMs, roundTrip.variationMs]).toEqual([110, 57.5]);
  });

  test("its minimum is forgotten after 10 to 20 s, its maximum after 30 to 60 s", () => {
    const roundTrip = new RoundTrip();
    roundTrip.observe(1, 100_000);
    roundTrip.observe(2_000, 100_000);
    roundTrip.observe(50, 109_000);
    expect(roundTrip.minimumMs).toBe(1);
    roundTrip.observe(50, 111_000);
    expect(roundTrip.minimumMs).toBe(1);
    roundTrip.observe(50, 122_000);
    expect(roundTrip.minimumMs).toBe(50);
    expect(roundTrip.largestMs).toBe(2_000);
    roundTrip.observe(50, 131_000);
    expect(roundTrip.largestMs).toBe(2_000);
    roundTrip.observe(50, 162_000);
    expect(roundTrip.largestMs).toBe(50);
  });

  test("an unproven path is taken for one that stalls", () => {
    const roundTrip = new RoundTrip();
    roundTrip.observe(1, 0);
    expect(roundTrip.largestMs).toBe(1_000);
    roundTrip.observe(1, 31_000);
    expect(roundTrip.largestMs).toBe(1);
  });
});
