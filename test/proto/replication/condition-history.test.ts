import { expect, test } from "vitest";
import { runConditions } from "./condition-history.ts";

const SEEDS = 200;
const AT_ONCE = 25;

for (let first = 1; first <= SEEDS; first += AT_ONCE) {
  test(`conditional writes of seeds ${first} to ${first + AT_ONCE - 1} lose no acknowledged step while all mean the same replicas`, () => {
    let acknowledged = 0;
    let conflicts = 0;
    for (let seed = first; seed < first + AT_ONCE; seed++) {
      const outcome = runConditions(seed);
      expect({ seed, wrong: outcome.wrong }).toEqual({ seed, wrong: [] });
      acknowledged += outcome.acknowledged;
      conflicts += outcome.conflicts;
    }
    expect(acknowledged).toBeGreaterThan(AT_ONCE * 10);
    expect(conflicts).toBeGreaterThan(AT_ONCE);
  }, 120_000);
}
