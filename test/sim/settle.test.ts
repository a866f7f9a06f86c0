import { expect, test } from "vitest";
import type { PeerId } from "../../src/proto/peer-id.ts";
import { MeshRun } from "./mesh-run.ts";
import { isLinked, isTogether } from "./settle.ts";

test("members that know all are together, and linked only while every wanted link is up on both sides", () => {
  const run = new MeshRun({ nodes: 30, seed: 1 });
  const { world } = run;
  run.startAsOne();
  world.run(2_000);
  expect([isTogether(run), isLinked(run)]).toEqual([true, true]);
  const [wanted] = run.mesh(0)?.overlay.wanted ?? [];
  world.disconnect(0, world.indexOf(wanted as PeerId) as number);
  expect([isTogether(run), isLinked(run)]).toEqual([true, false]);
  world.run(5_000);
  expect([isTogether(run), isLinked(run)]).toEqual([true, true]);
});
