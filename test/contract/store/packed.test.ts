import { expect, test } from "vitest";
import type { Step } from "../../../src/drivers/store/backend.ts";
import { packSteps, unpackSteps } from "../../../src/drivers/store/packed.ts";
import { valueFor } from "./stores.ts";

test("a transaction comes out of its packing as it went in, small and large envelopes in any order", () => {
  const address = (seed: number): Uint8Array => valueFor(seed, 16);
  const steps: readonly Step[] = [
    { type: "put", address: address(1), envelope: valueFor(2, 16_383) },
    { type: "put", address: address(3), envelope: valueFor(4, 16_384) },
    { type: "delete", address: address(5) },
    { type: "move", from: address(6), head: valueFor(7, 29), address: address(8), envelope: valueFor(9, 50_000) },
    { type: "move", from: address(10), head: valueFor(11, 29), address: address(12), envelope: valueFor(13, 100) },
    { type: "put", address: address(14), envelope: valueFor(15, 2_000_000) },
  ];
  const packed = packSteps(steps);
  expect(packed.large).toEqual(
    [steps[1], steps[3], steps[5]].map((step) => step && "envelope" in step && step.envelope),
  );
  expect([...unpackSteps(packed)]).toEqual(steps);
});
