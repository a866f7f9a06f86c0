import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pairCell, SPECIAL_CELLS } from "./cells.ts";
import { buildLab, type Lab } from "./lab.ts";
import { NAT_NAMES } from "./nat-types.ts";
import { verifyTypes } from "./probing.ts";
import { missingForLab } from "./requirements.ts";
import { runCell } from "./run-cell.ts";

/** The short form of the NAT lab: a few cells of the matrix that `npm run test:nat` runs in full. */
const missing = missingForLab();

describe.skipIf(missing !== undefined)(`in the NAT lab${missing === undefined ? "" : ` (skipped: ${missing})`}`, () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await buildLab();
  }, 60_000);
  afterAll(() => lab?.remove());

  test("every NAT is what it claims to be", async () => {
    await verifyTypes(lab.network, NAT_NAMES);
  }, 60_000);

  test.each([
    ...SPECIAL_CELLS,
    pairCell("none", "symmetric"),
    pairCell("port-restricted", "port-restricted"),
    pairCell("port-restricted", "symmetric"),
  ])(
    "two agents find the path that theory allows: $name",
    async (cell) => {
      const result = await runCell(lab.network, lab.site, cell, "auto");
      expect(result).toMatchObject({ failure: null });
    },
    90_000,
  );
});
