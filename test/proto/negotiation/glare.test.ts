import { expect, test } from "vitest";
import { type Fate, type Side, World } from "./world.ts";

/**
 * Runs `play` once for every sequence of choices that it can make (depth first), and returns how many there were. Each run
 * replays the choices of the one before up to the last that has an alternative left.
 */
function everyWay(play: (choose: (count: number) => number) => void): number {
  let path: { taken: number; count: number }[] = [];
  for (let runs = 1; ; runs++) {
    let depth = 0;
    play((count) => {
      const known = path[depth];
      if (known === undefined) path.push({ taken: 0, count });
      const taken = known?.taken ?? 0;
      depth++;
      return taken;
    });
    while (path.length > 0 && (path.at(-1)?.taken ?? 0) + 1 === path.at(-1)?.count) path = path.slice(0, -1);
    const last = path.at(-1);
    if (last === undefined) return runs;
    last.taken++;
  }
}

const CALM: Fate = { signal: () => [0], step: () => 0, reaches: () => "open", noticesClose: () => true };

type Wish = readonly [side: Side, wish: "dial" | "ask"];

/** Both sides wish at some time, and signals arrive in some order: the runs, and every world that came of it. */
function everyOrder(wishes: readonly Wish[], judge: (world: World) => void): number {
  return everyWay((choose) => {
    const world = new World({ ...CALM, choose });
    for (const [side, type] of wishes) world.later(0, () => world.input(side, { type }));
    world.run();
    judge(world);
  });
}

const bothWays: readonly (readonly [Wish, Wish])[] = [
  [
    ["low", "dial"],
    ["high", "dial"],
  ],
  [
    ["low", "dial"],
    ["high", "ask"],
  ],
  [
    ["low", "ask"],
    ["high", "dial"],
  ],
  [
    ["low", "ask"],
    ["high", "ask"],
  ],
];

test.each(bothWays)(
  "%o and %o in every interleaving of signals: everybody who wished has the link, and it is one link for both",
  (...wishes) => {
    const runs = everyOrder(wishes, (world) => {
      const failures = world.outcomes.filter((outcome) => outcome.failure !== undefined);
      expect(failures).toEqual([]);
      expect(world.linked("low").length).toBeGreaterThanOrEqual(1);
      for (const side of ["low", "high"] as const) {
        expect(world.outcomes.some((outcome) => outcome.side === side && outcome.wanted)).toBe(true);
      }
    });
    expect(runs).toBeGreaterThan(3);
  },
);

test("two dials that cross before either is heard make one link, the lower side's, in every interleaving", () => {
  const links = new Set<number>();
  const runs = everyWay((choose) => {
    const world = new World({ ...CALM, choose });
    world.input("low", { type: "dial" });
    world.input("high", { type: "dial" });
    world.run();
    expect(world.outcomes.every((outcome) => outcome.failure === undefined)).toBe(true);
    links.add(world.linked("high").length);
  });
  expect([...links]).toEqual([1]);
  expect(runs).toBeGreaterThan(1);
});

test("crossing dials survive the loss of any one signal and the repetition of any other", () => {
  for (const fate of ["lost", "repeated"]) {
    for (let victim = 0; victim < 4; victim++) {
      let sent = 0;
      everyWay((choose) => {
        sent = 0;
        const world = new World({
          ...CALM,
          signal: () => (sent++ !== victim ? [0] : fate === "lost" ? [] : [0, 0]),
          choose,
        });
        world.later(0, () => world.input("low", { type: "dial" }));
        world.later(0, () => world.input("high", { type: "dial" }));
        world.run();
        for (const side of ["low", "high"] as const) {
          const wanted = world.outcomes.filter((outcome) => outcome.side === side && outcome.wanted);
          expect(wanted.map((outcome) => outcome.failure)).toContain(undefined);
        }
      });
    }
  }
});
