import { beforeAll, describe, expect, test } from "vitest";
import { RecordShelf } from "../../src/proto/membership/record.ts";
import type { MeshInput, MeshOutput } from "../../src/proto/mesh.ts";
import { MeshNode } from "../sim/mesh-node.ts";
import { World } from "../sim/world.ts";

/** Whole meshes in a simulated world: what they carry for each other over the links of others. */

type Carried = Extract<MeshOutput, { type: "signal" | "delivered" | "unreachable" | "fault" }>;

const NODES = 30;
const LETTER = new Uint8Array(16_000).fill(3);

let world: World<MeshInput, MeshOutput>;
let heard: { readonly node: number; readonly output: Carried }[];

beforeAll(() => {
  const shelf = new RecordShelf();
  heard = [];
  world = new World<MeshInput, MeshOutput>({
    nodes: NODES,
    seed: 1,
    network: { loss: 0 },
    create: (context) => new MeshNode(context, { signer: world.signer, shelf }),
    observe: (node, output) => {
      if (output.type === "signal" || output.type === "delivered" || output.type === "unreachable")
        heard.push({ node, output });
      if (output.type === "fault") heard.push({ node, output });
    },
  });
  for (let node = 0; node < NODES; node++) world.start(node);
  world.run(30_000);
});

const strangers = (): [number, number][] => {
  const pairs: [number, number][] = [];
  for (let a = 0; a < NODES; a++)
    for (let b = 0; b < NODES; b++) if (a !== b && !world.linked(a, b)) pairs.push([a, b]);
  return pairs;
};

describe("thirty meshes that have settled", () => {
  test("send no more than five frames a second each while nothing happens, routed ones included", () => {
    const sent = (): number =>
      Array.from({ length: NODES }, (_, node) => world.messagesSentBy(node)).reduce((a, b) => a + b);
    const before = sent();
    world.run(60_000);
    expect((sent() - before) / NODES / 60).toBeLessThanOrEqual(5);
  });

  test("carry a signal of full size between any two that have no link, and say that it has arrived", () => {
    const pairs = strangers().slice(0, 60);
    expect(pairs).toHaveLength(60);
    for (const [request, [from, to]] of pairs.entries()) {
      world.command(from, { type: "signal", to: world.idOf(to), letter: LETTER, request });
    }
    world.run(2_000);
    for (const [request, [from, to]] of pairs.entries()) {
      expect(heard).toContainEqual({ node: from, output: { type: "delivered", request } });
      const arrivals = heard.filter(
        ({ node, output }) => node === to && output.type === "signal" && output.from === world.idOf(from),
      );
      expect(arrivals).toHaveLength(1);
    }
    expect(heard.filter(({ output }) => output.type === "fault" || output.type === "unreachable")).toEqual([]);
  });

  test("say within two seconds that a member which has just died cannot be reached, and do not blame each other", () => {
    heard.length = 0;
    const [from, to] = strangers()[0] as [number, number];
    world.crash(to);
    world.command(from, { type: "signal", to: world.idOf(to), letter: LETTER, request: 7 });
    world.run(2_001);
    expect(heard).toEqual([{ node: from, output: { type: "unreachable", request: 7 } }]);
  });
});

test("a member that died before anybody had a link with it is down to all within half a minute, not a minute", () => {
  const shelf = new RecordShelf();
  const young: World<MeshInput, MeshOutput> = new World<MeshInput, MeshOutput>({
    nodes: 9,
    seed: 2,
    network: { loss: 0 },
    create: (context) => new MeshNode(context, { signer: young.signer, shelf }),
  });
  // It presents itself at the server and dies; the server goes on to introduce it for a while.
  young.start(8);
  young.run(1_000);
  young.crash(8);
  for (let node = 0; node < 8; node++) young.start(node);
  const held = (node: number): string | undefined =>
    (young.node(node) as MeshNode).mesh.membership.member(young.idOf(8))?.state;
  young.run(3_000);
  expect(held(0)).toMatch(/alive|suspect/);
  young.run(27_000);
  expect(Array.from({ length: 8 }, (_, node) => held(node))).toEqual(Array(8).fill("down"));
  // Nobody who lives was ever mistaken for dead meanwhile.
  for (let node = 0; node < 8; node++) expect((young.node(node) as MeshNode).mesh.links.size).toBe(7);
});
