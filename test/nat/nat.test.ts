import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Cell, pairCell, SPECIAL_CELLS } from "./cells.ts";
import { buildLab, type Lab, removeLab } from "./lab.ts";
import { NAT_NAMES } from "./nat-types.ts";
import { netcheckEach, verdictOn } from "./netcheck.ts";
import { verifyTypes } from "./probing.ts";
import { missingForDelay, missingForLab } from "./requirements.ts";
import { type Conditions, RIGHT, runCell } from "./run-cell.ts";
import { HAS_COTURN } from "./turn-servers.ts";

/** The short form of the NAT lab: a few cells of the matrix that `npm run test:nat` runs in full. */
const missing = missingForLab();
const because = (reason: string | undefined): string => (reason === undefined ? "" : ` (skipped: ${reason})`);

async function expectPath(lab: Lab, cell: Cell, conditions?: Conditions): Promise<void> {
  expect(await runCell(lab, cell, "auto", conditions)).toMatchObject({
    failure: null,
    why: lab.turn === "starling" ? RIGHT : null,
  });
}

describe.skipIf(missing !== undefined)(`in the NAT lab${because(missing)}`, () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await buildLab();
  }, 60_000);
  afterAll(removeLab);

  test("every NAT is what it claims to be", async () => {
    await verifyTypes(lab.network, NAT_NAMES);
  }, 60_000);

  test("netcheck tells each NAT for what it is", async () => {
    const expected = Object.fromEntries(NAT_NAMES.map((nat) => [nat, verdictOn(nat)]));
    expect(await netcheckEach(lab.network, NAT_NAMES)).toEqual(expected);
  }, 60_000);

  test.each([
    ...SPECIAL_CELLS,
    pairCell("port-restricted", "port-restricted"),
    pairCell("port-restricted", "symmetric"),
    pairCell("none", "udp-blocked"),
  ])("two agents find the path that theory allows: $name", (cell) => expectPath(lab, cell), 90_000);
});

const missingLine = missing ?? missingForDelay();

describe.skipIf(missingLine !== undefined)(`far apart in the NAT lab${because(missingLine)}`, () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await buildLab();
  }, 60_000);
  afterAll(removeLab);

  test("two agents find their path with 100 ms between them", () => {
    return expectPath(lab, pairCell("port-restricted", "port-restricted"), { delay: { oneWayMs: 50, jitterMs: 5 } });
  }, 90_000);
});

const missingToo = missing ?? (HAS_COTURN ? undefined : "coturn is not installed");

describe.skipIf(missingToo !== undefined)(`with coturn in the NAT lab${because(missingToo)}`, () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await buildLab("coturn");
  }, 60_000);
  afterAll(removeLab);

  test("two agents that only a relay can join are relayed", () => {
    return expectPath(lab, pairCell("symmetric", "symmetric"));
  }, 90_000);
});
