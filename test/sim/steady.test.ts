import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { MeshRun } from "./mesh-run.ts";
import { steady } from "./scenarios/steady.ts";

test("a mesh that begins as one knows everybody, has all links and nothing to say but probes", () => {
  const run = new MeshRun({ nodes: 60, seed: 1 });
  run.startAsOne();
  run.world.run(2_000);
  for (let index = 0; index < run.size; index++) {
    const mesh = run.mesh(index);
    expect([...run.view(index)].filter(({ state }) => state === "alive")).toHaveLength(60);
    expect(new Set(mesh?.links)).toEqual(mesh?.overlay.wanted);
  }
  expect([...run.events, ...run.faults]).toEqual([]);
}, 120_000);

test("a member at rest sends no more than five messages and 800 bytes a second, and nobody falls into suspicion", () => {
  const { failures, figures } = steady.run({ nodes: 300, seed: 2 });
  expect(failures).toEqual([]);
  expect(figures["messagesPerNodeSecond"]).toBeGreaterThan(4);
}, 120_000);

test("equal seeds give equal digests in other processes too, and other seeds give others", () => {
  const digestOf = (seed: number): unknown => {
    const main = join(import.meta.dirname, "main.ts");
    const options = ["--scenario", "swarm", "--nodes", "12", "--seed", `${seed}`, "--json"];
    return (JSON.parse(execFileSync(process.execPath, [main, ...options], { encoding: "utf8" })) as { digest: unknown })
      .digest;
  };
  expect(digestOf(5)).toBe(digestOf(5));
  expect(digestOf(6)).not.toBe(digestOf(5));
}, 120_000);
