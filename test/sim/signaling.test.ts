import { expect, test } from "vitest";
import { type Ask, Recorder } from "./recorder.ts";
import { World } from "./world.ts";

function recorders(nodes: number): World<Ask> {
  const world = new World<Ask>({ nodes, seed: 1, create: () => new Recorder() });
  for (let index = 0; index < nodes; index++) world.start(index);
  return world;
}

test("3,000 who come at once are all let in, though the server lets no more than 2,048 try at a time", () => {
  const world = recorders(3_000);
  world.run(150);
  expect(world.signaling.server.counters.logins).toBeLessThan(2_049);
  world.run(5_000);
  expect(world.signaling.server.counters.logins).toBe(3_000);
});

test("members come back to a server that was away by their own back-off, and present themselves again", () => {
  const world = recorders(20);
  world.run(1_000);
  for (let index = 0; index < 20; index++)
    world.command(index, { type: "do", outputs: [{ type: "present", record: Uint8Array.of(index + 1) }] });
  world.run(1_000);
  world.signaling.server.set(false);
  world.run(2_000);
  expect(world.signaling.server.counters.logins).toBe(0);
  world.signaling.server.set(true);
  world.run(200);
  const soon = world.signaling.server.counters.logins;
  expect(soon).toBeLessThan(20);
  // Nobody waits longer than three times the outage and half a second.
  world.run(7_000);
  expect(world.signaling.server.counters.logins).toBe(20);
  world.command(0, { type: "do", outputs: [{ type: "introduce" }] });
  world.run(1_000);
  const node = world.node(0);
  const records = node instanceof Recorder ? node.told("introduced").at(-1)?.input.records : undefined;
  expect(records).toHaveLength(8);
});

test("a server finds out after a while that a member died without a word, and at once that one has stopped", () => {
  const world = recorders(3);
  world.run(1_000);
  for (let index = 0; index < 3; index++)
    world.command(index, { type: "do", outputs: [{ type: "present", record: Uint8Array.of(index + 1) }] });
  world.run(1_000);
  world.crash(1);
  world.stop(2);
  world.run(100);
  const introduced = (): number | undefined => {
    world.command(0, { type: "do", outputs: [{ type: "introduce" }] });
    world.run(1_000);
    const node = world.node(0);
    return node instanceof Recorder ? node.told("introduced").at(-1)?.input.records.length : undefined;
  };
  expect(introduced()).toBe(1);
  world.run(60_000);
  expect(introduced()).toBe(0);
});
