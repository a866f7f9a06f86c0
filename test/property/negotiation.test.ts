import fc from "fast-check";
import { expect, test } from "vitest";
import { parseSdp } from "../../src/proto/negotiation/sdp.ts";
import { decodeSignalBody } from "../../src/proto/negotiation/signal.ts";
import { below, fraction, SeededRandom } from "../../src/proto/random.ts";
import { type Fate, type Side, World } from "../proto/negotiation/world.ts";

interface Script {
  readonly seed: number;
  /** Chance that a signal is lost, repeated, and that a pair of connections hangs. */
  readonly loss: number;
  readonly repeats: number;
  readonly hangs: number;
  readonly slowestMs: number;
  readonly deeds: readonly { readonly side: Side; readonly deed: "dial" | "ask" | "abort"; readonly atMs: number }[];
}

const side = fc.constantFrom<Side>("low", "high");

function fateOf(script: Script): Fate {
  const random = new SeededRandom(script.seed);
  return {
    signal: () => {
      if (fraction(random) < script.loss) return [];
      const copies = fraction(random) < script.repeats ? 2 : 1;
      return Array.from({ length: copies }, () => below(random, script.slowestMs + 1));
    },
    step: () => below(random, 200),
    noticesClose: () => fraction(random) < 0.5,
    reaches: () => {
      if (fraction(random) >= script.hangs) return "open";
      return (["nothing", "ice", "dtls"] as const)[below(random, 3)] as "nothing" | "ice" | "dtls";
    },
  };
}

function play(script: Script): World {
  const world = new World(fateOf(script), script.seed);
  for (const { side, deed, atMs } of script.deeds) {
    world.later(atMs, () => {
      world.input(side, deed === "abort" ? { type: "abort", reason: "aborted" } : { type: deed });
    });
  }
  world.run();
  return world;
}

test("over any path and with any stack, every effort ends once and both ends report the same links", () => {
  const script = fc.record({
    seed: fc.nat(0xffff_ffff),
    loss: fc.constantFrom(0, 0.1, 0.4, 1),
    repeats: fc.constantFrom(0, 0.5),
    hangs: fc.constantFrom(0, 0.3, 1),
    slowestMs: fc.constantFrom(0, 300, 3_000, 20_000),
    deeds: fc.array(fc.record({ side, deed: fc.constantFrom("dial", "ask", "dial", "abort"), atMs: fc.nat(30_000) }), {
      minLength: 1,
      maxLength: 6,
    }),
  });
  fc.assert(
    fc.property(script, (each) => {
      // The world's own checks are the property.
      play(each as Script);
    }),
    { numRuns: 600 },
  );
});

test("where signals only come late, twice and in any order, whoever dials gets the link, and both ends have the same one", () => {
  const script = fc.record({
    seed: fc.nat(0xffff_ffff),
    loss: fc.constant(0),
    repeats: fc.constantFrom(0, 0.5),
    hangs: fc.constant(0),
    slowestMs: fc.constantFrom(0, 10, 500, 1_500),
    deeds: fc.uniqueArray(fc.record({ side, deed: fc.constantFrom("dial", "dial", "ask"), atMs: fc.nat(2_000) }), {
      minLength: 1,
      maxLength: 2,
      selector: (deed) => deed.side,
    }),
  });
  fc.assert(
    fc.property(script, (each) => {
      const world = play(each as Script);
      for (const { side } of each.deeds) {
        expect(world.outcomes.find((outcome) => outcome.side === side && outcome.wanted)?.failure).toBeUndefined();
      }
      expect(world.outcomes.filter((outcome) => outcome.failure !== undefined)).toEqual([]);
      expect(world.linked("low").length).toBeGreaterThan(0);
    }),
    { numRuns: 600 },
  );
});

test("stacks that hang in one connection of two still link within the rounds of a dial, nearly always", () => {
  let linked = 0;
  for (let seed = 0; seed < 200; seed++) {
    const deeds = [{ side: seed % 2 === 0 ? "low" : "high", deed: "dial", atMs: 0 } as const];
    const world = play({ seed, loss: 0, repeats: 0, hangs: 0.5, slowestMs: 200, deeds });
    if (world.linked("low").length === 1) linked++;
  }
  // 1 - 0.5^3 of them, give or take three standard deviations.
  expect(linked).toBeGreaterThan(160);
});

test("no bytes make the readers of signals throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.string({ unit: "binary", maxLength: 300 }), (bytes, text) => {
      expect(decodeSignalBody(bytes)?.kind ?? "none").toBeTypeOf("string");
      expect(parseSdp(`v=0\r\n${text}`).ok).toBe(false);
    }),
    { numRuns: 1_000 },
  );
});
