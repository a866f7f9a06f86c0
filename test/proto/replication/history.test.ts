import { expect, test } from "vitest";
import { runHistory } from "./history.ts";

const SEEDS = 200;
const AT_ONCE = 25;

for (let first = 1; first <= SEEDS; first += AT_ONCE) {
  test(`histories of seeds ${first} to ${first + AT_ONCE - 1} lose no acknowledged write, revive nothing, and end equal`, () => {
    for (let seed = first; seed < first + AT_ONCE; seed++)
      expect({ seed, wrong: runHistory(seed) }).toEqual({ seed, wrong: [] });
  }, 120_000);
}

/** Where comparisons refused each other in turn for ever, and where the two that share a key met after two minutes only. */
test.each([350, 343])(
  "the history of seed %i, which went wrong once, loses and revives nothing, and ends equal",
  (seed) => {
    expect(runHistory(seed)).toEqual([]);
  },
);
