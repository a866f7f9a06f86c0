import { describe, expect, test } from "vitest";
import { peerIdOf } from "../../../src/proto/peer-id.ts";
import { SeededRandom } from "../../../src/proto/random.ts";
import { Renewals, type RenewalsInput } from "../../../src/proto/session/renewals.ts";

const A = peerIdOf(new Uint8Array(32).fill(1));
const B = peerIdOf(new Uint8Array(32).fill(2));

function world(): { at: (now: number, input: RenewalsInput) => string[]; machine: Renewals } {
  const machine = new Renewals(new SeededRandom(1));
  const name = new Map([
    [A, "A"],
    [B, "B"],
  ]);
  const at = (now: number, input: RenewalsInput): string[] =>
    machine.handle(input, now).map(({ type, peer }) => `${type} ${name.get(peer)}`);
  return { at, machine };
}

describe("a session that has lost its connection", () => {
  test("is dialed for at once when it has streams, and left to the overlay when it has none", () => {
    const { at, machine } = world();
    expect(at(0, { type: "detached", peer: A, busy: true })).toEqual(["dial A"]);
    expect(at(0, { type: "detached", peer: B, busy: false })).toEqual([]);
    expect(machine.deadline()).toBe(2_500);
  });

  test("is dialed for again after each failure, within 8 s every time, until there is a connection", () => {
    const { at, machine } = world();
    at(0, { type: "detached", peer: A, busy: true });
    let now = 0;
    const pauses: number[] = [];
    for (let failure = 0; failure < 10; failure++) {
      expect(at(now, { type: "failed", peer: A })).toEqual([]);
      const next = machine.deadline() ?? Number.NaN;
      pauses.push(next - now);
      expect(at(next - 1, { type: "timeout" })).toEqual([]);
      expect(at(next, { type: "timeout" })).toEqual(["dial A"]);
      now = next;
    }
    expect(pauses[0]).toBeLessThanOrEqual(500);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(8_000);
    expect(pauses[9]).toBeGreaterThanOrEqual(4_000);
    at(now, { type: "attached", peer: A });
    expect(machine.deadline()).toBeUndefined();
  });

  test("gives up a dial of which nothing is heard, and begins another with more patience after each failure", () => {
    const { at, machine } = world();
    at(0, { type: "detached", peer: A, busy: true });
    expect(at(2_499, { type: "timeout" })).toEqual([]);
    expect(at(2_500, { type: "timeout" })).toEqual(["give-up A", "dial A"]);
    at(2_500, { type: "failed", peer: A });
    at(3_000, { type: "timeout" });
    expect(machine.deadline()).toBe(3_000 + 5_000);
  });

  test("is dialed for at once when the network changes, however long it was to wait", () => {
    const { at } = world();
    at(0, { type: "detached", peer: A, busy: true });
    for (let failure = 0; failure < 6; failure++) {
      at(failure * 10_000, { type: "failed", peer: A });
      at(failure * 10_000 + 9_000, { type: "timeout" });
    }
    at(60_000, { type: "failed", peer: A });
    expect(at(60_001, { type: "changed" })).toEqual(["dial A"]);
  });

  test("is forgotten when it is over", () => {
    const { at, machine } = world();
    at(0, { type: "detached", peer: A, busy: true });
    at(1, { type: "over", peer: A });
    expect(machine.deadline()).toBeUndefined();
    expect(at(2, { type: "failed", peer: A })).toEqual([]);
    expect(at(3, { type: "changed" })).toEqual([]);
  });
});

describe("a connection beneath one that stands", () => {
  test("is asked for once, however many want it", () => {
    const { at } = world();
    expect(at(0, { type: "renew", peer: A })).toEqual(["renew A"]);
    expect(at(1, { type: "renew", peer: A })).toEqual([]);
    at(2, { type: "attached", peer: A });
    expect(at(3, { type: "renew", peer: A })).toEqual(["renew A"]);
  });

  test("is given up after the third failure", () => {
    const { at, machine } = world();
    at(0, { type: "renew", peer: A });
    for (const now of [1_000, 2_000]) {
      at(now, { type: "failed", peer: A });
      expect(at(now + 999, { type: "timeout" })).toEqual(["renew A"]);
    }
    at(3_000, { type: "failed", peer: A });
    expect(machine.deadline()).toBeUndefined();
  });

  test("becomes a dial when the one that stood breaks", () => {
    const { at } = world();
    at(0, { type: "renew", peer: A });
    expect(at(1, { type: "detached", peer: A, busy: true })).toEqual(["dial A"]);
  });
});
