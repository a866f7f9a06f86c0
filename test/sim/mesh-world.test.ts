import { expect, test } from "vitest";
import { everybodyIsUp, nobodyDeadIsUp, replicasAreEqual } from "./checkers.ts";
import { MeshWorld } from "./mesh-world.ts";

/** Ten meshes that have found each other. */
function settled(seed: number): MeshWorld {
  const mesh = new MeshWorld({ nodes: 10, seed });
  for (let index = 0; index < mesh.size; index++) mesh.world.start(index);
  mesh.world.run(20_000);
  return mesh;
}

const up = (mesh: MeshWorld) => everybodyIsUp().after?.(mesh) ?? [];
const dead = (mesh: MeshWorld) => nobodyDeadIsUp().after?.(mesh) ?? [];
const replicas = (mesh: MeshWorld) => replicasAreEqual(["app"]).after?.(mesh) ?? [];
const put = (mesh: MeshWorld, index: number, key: string) =>
  mesh.world.command(index, { type: "put", request: 1, bucket: "app", key, value: Uint8Array.of(index) });

test("meshes that start together know each other, and a killed one is down everywhere soon, not at once", () => {
  const mesh = settled(1);
  expect(up(mesh)).toEqual([]);
  mesh.world.crash(3);
  mesh.world.run(500);
  expect(dead(mesh)).toHaveLength(9);
  mesh.world.run(10_000);
  expect(dead(mesh)).toEqual([]);
});

test("the halves of a split mesh hold each other for down and drift apart, and agree when it heals", () => {
  const mesh = settled(2);
  mesh.world.change((network) => network.setGroups([0, 0, 0, 0, 0, 1, 1, 1, 1, 1]));
  mesh.world.run(20_000);
  put(mesh, 0, "here");
  put(mesh, 9, "there");
  mesh.world.run(3_000);
  expect(up(mesh)).toHaveLength(50);
  expect(replicas(mesh)).toHaveLength(5);
  mesh.world.change((network) => network.heal());
  mesh.world.run(60_000);
  expect(up(mesh)).toEqual([]);
  expect(replicas(mesh)).toEqual([]);
});

test("two runs of a seed give one digest", () => {
  expect(settled(3).world.digest).toBe(settled(3).world.digest);
});
