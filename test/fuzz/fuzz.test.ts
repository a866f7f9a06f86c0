import { describe, expect, test } from "vitest";
import { fuzz } from "./fuzz.ts";
import { TARGETS } from "./targets.ts";

/** The short form of `npm run fuzz`: another seed each day of the year, which a failure prints. */
const SEED = Math.floor(Date.now() / 86_400_000);
const INPUTS = 4_000;

describe("spoiled inputs", () => {
  test.each(TARGETS)("of %s are refused without an exception", { timeout: 120_000 }, async (name) => {
    const report = await fuzz(name, INPUTS, SEED);
    expect(report.crashes, `npm run fuzz -- --target ${name} --seed ${SEED} --inputs ${INPUTS}`).toEqual([]);
  });
});
