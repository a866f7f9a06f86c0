import { expect, test } from "vitest";
import { Clock } from "./clock.ts";
import { EPOCH_MS } from "./epoch.ts";
import { MeshRun } from "./mesh-run.ts";

test("a clock that is right and runs right shows the world's time", () => {
  const clock = new Clock(0, 0);
  expect(clock.at(EPOCH_MS + 1_234.5)).toBe(EPOCH_MS + 1_234.5);
  expect(clock.when(EPOCH_MS + 1_234.5)).toBe(EPOCH_MS + 1_234.5);
});

test("a clock that was set ahead and runs fast gains a second in a thousand", () => {
  const clock = new Clock(300, 1_000);
  expect(clock.at(EPOCH_MS)).toBe(EPOCH_MS + 300);
  expect(clock.at(EPOCH_MS + 1_000_000)).toBe(EPOCH_MS + 1_001_300);
});

test.each([-1_000, -7, 0, 31, 500])(
  "whoever is woken by a clock that drifts by %i ppm is not woken too soon, nor late",
  (driftPpm) => {
    const clock = new Clock(-17.3, driftPpm);
    for (let at = 0.1; at < 100_000; at *= 1.7) {
      const woken = clock.when(EPOCH_MS + at);
      expect(clock.at(woken)).toBeGreaterThanOrEqual(EPOCH_MS + at);
      expect(clock.at(woken)).toBeLessThan(EPOCH_MS + at + 0.01);
    }
  },
);

test("nodes whose clocks drift find each other and lose nobody", { timeout: 60_000 }, () => {
  const run = new MeshRun({ nodes: 12, seed: 1, clockSkewMs: 500, clockDriftPpm: 5_000 });
  for (let index = 0; index < run.size; index++) run.world.start(index);
  run.world.run(60_000);
  for (let index = 0; index < run.size; index++)
    expect(run.mesh(index)?.membership.statistics().members).toMatchObject({ alive: 12, down: 0 });
  expect(run.events.get("down")).toBeUndefined();
});
