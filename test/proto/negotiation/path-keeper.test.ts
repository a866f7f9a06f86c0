import { describe, expect, test } from "vitest";
import { PathKeeper } from "../../../src/proto/negotiation/path-keeper.ts";
import { SeededRandom } from "../../../src/proto/random.ts";
import { HIGH, LOW } from "./fixture.ts";

/** When a link is renewed, in ms from the beginning, until `until`; every look finds it as `settled` says, default relayed. */
function renewals(keeper: PathKeeper, until: number, settled: { readonly isRelayed: boolean } = RELAYED) {
  const seen: [number, string][] = [];
  for (let due = keeper.deadline(); due !== undefined && due <= until; due = keeper.deadline()) {
    for (const output of keeper.handle({ type: "timeout" }, due)) {
      if (output.type === "renew") seen.push([due, output.reason]);
      else keeper.handle({ type: "settled", peer: output.peer, ...settled }, due);
    }
  }
  return seen;
}

const RELAYED = { isRelayed: true } as const;

const keeperOf = (side: "low" | "high"): [PathKeeper, typeof LOW] => [
  new PathKeeper(side === "low" ? LOW : HIGH, new SeededRandom(1)),
  side === "low" ? HIGH : LOW,
];

describe("a relayed link", () => {
  test("is tried directly after 10, 20, 40 and then every 50 seconds, give or take a fifth less", () => {
    const [keeper, peer] = keeperOf("low");
    keeper.handle({ type: "linked", peer, isRelayed: true }, 0);
    const at = renewals(keeper, 400_000).map(([ms]) => ms);
    const pauses = at.map((ms, index) => ms - (at[index - 1] ?? 0));
    for (const [index, nominal] of [10_000, 20_000, 40_000, 50_000, 50_000, 50_000].entries()) {
      expect(pauses[index]).toBeLessThanOrEqual(nominal);
      expect(pauses[index]).toBeGreaterThanOrEqual(nominal * 0.8);
    }
    expect(new Set(pauses.slice(3)).size).toBeGreaterThan(1);
  });

  test("is the affair of the lower side", () => {
    const [keeper, peer] = keeperOf("high");
    keeper.handle({ type: "linked", peer, isRelayed: true }, 0);
    expect(renewals(keeper, 400_000)).toEqual([]);
    expect(keeper.deadline()).toBeUndefined();
  });

  test("that another relayed connection carries goes on in its pace", () => {
    const [keeper, peer] = keeperOf("low");
    keeper.handle({ type: "linked", peer, isRelayed: true }, 0);
    renewals(keeper, 120_000);
    keeper.handle({ type: "linked", peer, isRelayed: true }, 120_000);
    expect(renewals(keeper, 120_000 + 35_000)).toEqual([]);
  });

  test("is left alone when it is direct, or gone", () => {
    const [keeper, peer] = keeperOf("low");
    keeper.handle({ type: "linked", peer, isRelayed: true }, 0);
    keeper.handle({ type: "linked", peer, isRelayed: false }, 1);
    expect(renewals(keeper, 400_000, { isRelayed: false })).toEqual([]);
    expect(keeper.deadline()).toBeUndefined();
    keeper.handle({ type: "linked", peer, isRelayed: true }, 2);
    keeper.handle({ type: "lost", peer }, 3);
    expect(keeper.deadline()).toBeUndefined();
  });

  test("is tried at once when this machine has moved, and quickly after that", () => {
    const [keeper, peer] = keeperOf("low");
    keeper.handle({ type: "linked", peer, isRelayed: true }, 0);
    renewals(keeper, 120_000);
    expect(keeper.handle({ type: "moved" }, 130_000)).toEqual([{ type: "renew", peer, reason: "direct" }]);
    expect(keeper.deadline()).toBeLessThanOrEqual(150_000);
  });
});

describe("a path that moves after its link has come up", () => {
  test("is looked at when ICE has chosen for good", () => {
    const [keeper, peer] = keeperOf("low");
    keeper.handle({ type: "linked", peer, isRelayed: false }, 0);
    expect(keeper.deadline()).toBe(5_000);
    expect(keeper.handle({ type: "timeout" }, 5_000)).toEqual([{ type: "look", peer }]);
    expect(keeper.handle({ type: "timeout" }, 5_001)).toEqual([]);
  });

  test("is tried directly ten seconds after the link when it has become a relay's", () => {
    const [keeper, peer] = keeperOf("low");
    keeper.handle({ type: "linked", peer, isRelayed: false }, 0);
    const [[at = 0, reason] = []] = renewals(keeper, 10_000);
    expect(reason).toBe("direct");
    expect(at).toBeGreaterThanOrEqual(9_000);
  });

  test("is left alone when it has become direct", () => {
    const [keeper, peer] = keeperOf("low");
    keeper.handle({ type: "linked", peer, isRelayed: true }, 0);
    expect(renewals(keeper, 400_000, { isRelayed: false })).toEqual([]);
  });

  test("that is gone by then is not brought back", () => {
    const [keeper, peer] = keeperOf("low");
    keeper.handle({ type: "linked", peer, isRelayed: true }, 0);
    keeper.handle({ type: "timeout" }, 5_000);
    keeper.handle({ type: "lost", peer }, 5_000);
    keeper.handle({ type: "settled", peer, isRelayed: true }, 5_000);
    expect(keeper.deadline()).toBeUndefined();
  });
});

describe("a credential", () => {
  test("has its link renewed at four fifths of its life, on either side, and again every 10 s until that is done", () => {
    const [keeper, peer] = keeperOf("high");
    keeper.handle({ type: "linked", peer, isRelayed: true, credentialEndsAt: 3_600_000 }, 0);
    expect(renewals(keeper, 2_890_000)).toEqual([
      [2_880_000, "credential"],
      [2_890_000, "credential"],
    ]);
    keeper.handle({ type: "linked", peer, isRelayed: true, credentialEndsAt: 7_200_000 }, 2_895_000);
    keeper.handle({ type: "timeout" }, 2_900_000);
    expect(keeper.deadline()).toBe(2_895_000 + 0.8 * (7_200_000 - 2_895_000));
  });
});
