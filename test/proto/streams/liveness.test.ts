import { describe, expect, test } from "vitest";
import { ACK_BYTES, Acknowledgements } from "../../../src/proto/streams/acknowledgements.ts";
import { Liveness, MAX_UNACKED_MS } from "../../../src/proto/streams/liveness.ts";
import { Pings } from "../../../src/proto/streams/pings.ts";

const CALM = { smoothedMs: 20, variationMs: 2, largestMs: 25 };
const LOSSY = { smoothedMs: 30, variationMs: 10, largestMs: 1_020 };

describe("liveness", () => {
  test("nothing is asked of a silent peer without application streams", () => {
    const liveness = new Liveness(1_000);
    liveness.heard(1_000);
    expect(liveness.deadline(undefined, false, CALM)).toBeUndefined();
    expect(liveness.judge(undefined, false, CALM, 1_000_000)).toBeUndefined();
  });

  test("with application streams a peer is asked after a second of silence, and given up 1.5 s later", () => {
    const liveness = new Liveness(1_000);
    liveness.heard(1_000);
    expect(liveness.deadline(undefined, true, CALM)).toBe(2_000);
    expect(liveness.judge(undefined, true, CALM, 1_999)).toBeUndefined();
    expect(liveness.judge(undefined, true, CALM, 2_000)).toBe("ask");
    liveness.asked(2_000);
    expect(liveness.deadline(undefined, true, CALM)).toBe(3_500);
    expect(liveness.judge(undefined, true, CALM, 3_500)).toBe("dead");
  });

  test("where stalls have been seen the peer has 2.75 s", () => {
    const liveness = new Liveness(1_000);
    liveness.heard(1_000);
    liveness.judge(undefined, true, LOSSY, 2_000);
    liveness.asked(2_000);
    expect(liveness.deadline(undefined, true, LOSSY)).toBe(4_750);
  });

  test("a frame that is not acknowledged is a question too, and any frame that comes is an answer for now", () => {
    const liveness = new Liveness(1_000);
    liveness.heard(1_000);
    expect(liveness.deadline(5_000, false, CALM)).toBe(6_500);
    liveness.heard(6_000);
    expect(liveness.deadline(5_000, false, CALM)).toBe(7_500);
    expect(liveness.judge(5_000, false, CALM, 7_500)).toBe("dead");
  });

  test("a peer that sends and never acknowledges is given up after 30 s", () => {
    const liveness = new Liveness(1_000);
    for (let now = 0; now < MAX_UNACKED_MS; now += 500) {
      liveness.heard(now);
      expect(liveness.judge(0, true, CALM, now)).toBeUndefined();
    }
    liveness.heard(MAX_UNACKED_MS);
    expect(liveness.judge(0, true, CALM, MAX_UNACKED_MS)).toBe("dead");
  });

  test("after a sleep of this process the peer is asked afresh, once", () => {
    const liveness = new Liveness(1_000);
    liveness.heard(1_000);
    expect(liveness.judge(1_000, true, CALM, 3_600_000)).toBe("ask");
    liveness.asked(3_600_000);
    expect(liveness.judge(1_000, true, CALM, 3_600_000)).toBeUndefined();
    expect(liveness.deadline(1_000, true, CALM)).toBe(3_601_500);
    expect(liveness.judge(1_000, true, CALM, 3_601_500)).toBe("dead");
  });
});

describe("pings", () => {
  test("come back to whoever asked, once, and numbers on the wire are never used twice", () => {
    const pings = new Pings();
    expect(pings.sent(77, 100)).toBe(0);
    expect(pings.sent(77, 110)).toBe(1);
    expect(pings.sent(undefined, 120)).toBe(2);
    expect(pings.answered(1, 130)).toEqual({ id: 77, rttMs: 20 });
    expect(pings.answered(1, 131)).toBeUndefined();
    expect(pings.answered(2, 132)).toEqual({ id: undefined, rttMs: 12 });
    expect(pings.answered(9, 132)).toBeUndefined();
  });

  test("beyond 1,024 in flight the oldest is forgotten, and its answer is no fault of whoever sends it", () => {
    const pings = new Pings();
    for (let id = 0; id < 1_025; id++) pings.sent(id, id);
    expect(pings.answered(0, 2_000)).toBe("forgotten");
    expect(pings.answered(1, 2_000)).toEqual({ id: 1, rttMs: 1_999 });
    expect(pings.answered(1, 2_000)).toBeUndefined();
    expect(pings.answered(1_025, 2_000)).toBeUndefined();
  });
});

describe("acknowledgements", () => {
  test("are owed for a frame, due 2 ms later, and state how long the last frame has waited", () => {
    const acks = new Acknowledgements();
    expect(acks.owed).toBe(false);
    acks.received(100, 10);
    acks.received(100, 11);
    expect(acks.dueAt).toBe(12);
    expect([...acks.take(11.5)]).toEqual([2, 3, 16, 2, 5]);
    expect(acks.owed).toBe(false);
    expect(acks.dueAt).toBeUndefined();
  });

  test("are due at once after 64 KiB", () => {
    const acks = new Acknowledgements();
    acks.received(ACK_BYTES - 1, 10);
    expect(acks.dueAt).toBe(12);
    acks.received(1, 10.5);
    expect(acks.dueAt).toBe(10.5);
  });
});
