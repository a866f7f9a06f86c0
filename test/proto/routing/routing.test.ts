import { describe, expect, test } from "vitest";
import { wantedLinks } from "../../../src/proto/overlay/neighbours.ts";
import type { RingSeat } from "../../../src/proto/overlay/seat.ts";
import { Purpose } from "../../../src/proto/routing/envelope.ts";
import { MAX_CONTENT_BYTES, MAX_HOPS, PATIENCE_MS, RETRY_MS } from "../../../src/proto/routing/limits.ts";
import { id, RoutingWorld } from "./world.ts";

const REQUEST_0 = [{ type: "delivered", request: 0 }];

/** Members of the world that are wanted by `node`, by number. */
function neighbours(world: RoutingWorld, node: number): number[] {
  return [...(world.links[node] ?? [])];
}

describe("an envelope", () => {
  test("reaches every member of a hundred, is acknowledged, and takes shortest paths", () => {
    const world = new RoutingWorld(100).linkAll();
    for (let to = 1; to < 100; to++) {
      world.signal(0, to);
      world.run(1_000);
      expect(world.toldBy(to, "arrived")).toEqual([
        { type: "arrived", from: id(0), purpose: Purpose.signal, contents: Uint8Array.of(0, to) },
      ]);
    }
    expect(world.toldBy(0, "delivered")).toHaveLength(99);
    expect(world.bounces).toBe(0);
    // There and back: the mean distance in such a graph is 2.4.
    expect(world.envelopes / 198).toBeLessThan(2.6);
    expect(world.faults()).toEqual([]);
  });

  test("to a neighbour goes over its link", () => {
    const world = new RoutingWorld(2).linkAll();
    world.signal(0, 1);
    world.run(100);
    expect(world.toldBy(0, "delivered")).toEqual(REQUEST_0);
    expect(world.envelopes).toBe(2);
  });

  test("goes round missing links, which those who lack them bounce or pass by", () => {
    const world = new RoutingWorld(40).linkAll();
    const to = 20;
    // All links of the destination but one are missing, and nobody but their ends knows.
    const [kept, ...missing] = neighbours(world, to);
    for (const other of missing) world.unlink(to, other);
    for (let from = 0; from < 40; from++) if (from !== to && from !== kept) world.signal(from, to);
    world.run(PATIENCE_MS);
    const delivered = Array.from({ length: 40 }, (_, from) => world.toldBy(from, "delivered").length);
    expect(delivered.reduce((sum, count) => sum + count)).toBe(38);
    expect(world.faults()).toEqual([]);
  });

  test("finds the one link that a member has left, also where everybody should have one to it", () => {
    // In a full mesh nothing tells the members apart, so the search has to ask one after the other.
    const world = new RoutingWorld(12).linkAll();
    for (let other = 1; other < 12; other++) if (other !== 5 && other !== 0) world.unlink(0, other);
    for (let from = 1; from < 12; from++) if (from !== 5) world.signal(from, 0);
    world.run(PATIENCE_MS);
    expect(world.told.filter(({ output }) => output.type === "delivered")).toHaveLength(10);
  });

  test("that comes to a dead end is bounced, and goes on from where another way begins", () => {
    // 0 - 1 - 2 is a dead end; the way is 0 - 3 - 4.
    const world = new RoutingWorld(5);
    for (const [a, b] of [
      [0, 1],
      [1, 2],
      [0, 3],
      [3, 4],
    ] as const)
      world.link(a, b);
    for (let round = 0; round < 8; round++) world.signal(0, 4, Uint8Array.of(round));
    world.run(200);
    expect(world.toldBy(0, "delivered")).toHaveLength(8);
    expect(world.bounces).toBeGreaterThan(0);
    expect(world.faults()).toEqual([]);
  });

  test("goes another way when the first one is silent", () => {
    const world = new RoutingWorld(30).linkAll();
    const to = 29;
    for (const other of neighbours(world, 0)) if (other !== to) world.dead.add(other);
    const [alive] = [...world.dead];
    world.dead.delete(alive as number);
    world.unlink(0, to);
    world.signal(0, to);
    world.run(PATIENCE_MS);
    // Most of the neighbours are dead, so it takes luck within four tries; it must end either way, and once.
    const ends = [...world.toldBy(0, "delivered"), ...world.toldBy(0, "unreachable")];
    expect(ends).toHaveLength(1);
  });

  test("is sent by the second best link after half a second without a receipt", () => {
    const world = new RoutingWorld(4);
    for (const [a, b] of [
      [0, 1],
      [0, 2],
      [1, 3],
      [2, 3],
    ] as const)
      world.link(a, b);
    world.dead.add(1);
    for (let round = 0; round < 8; round++) world.signal(0, 3, Uint8Array.of(round));
    world.run(RETRY_MS - 1);
    const early = world.toldBy(0, "delivered").length;
    expect(early).toBeLessThan(8);
    world.run(100);
    expect(world.toldBy(0, "delivered")).toHaveLength(8);
    expect(world.toldBy(3, "arrived")).toHaveLength(8);
  });

  test("is repeated over the only link there is, and then takes another way further on", () => {
    // 0 - 1, and 1 reaches 4 by 2 or by 3.
    const world = new RoutingWorld(5);
    for (const [a, b] of [
      [0, 1],
      [1, 2],
      [1, 3],
      [2, 4],
      [3, 4],
    ] as const)
      world.link(a, b);
    world.dead.add(2);
    for (let round = 0; round < 8; round++) world.signal(0, 4, Uint8Array.of(round));
    world.run(PATIENCE_MS);
    expect(world.toldBy(0, "delivered")).toHaveLength(8);
  });

  test("is taken further when the link breaks over which it went", () => {
    const world = new RoutingWorld(4);
    world.link(0, 1);
    world.link(0, 2);
    world.link(1, 3);
    world.link(2, 3);
    world.dead.add(1);
    for (let round = 0; round < 8; round++) world.signal(0, 3, Uint8Array.of(round));
    world.unlink(0, 1);
    world.run(100);
    expect(world.toldBy(0, "delivered")).toHaveLength(8);
  });

  test("to a peer that has given up its half of a link goes another way", () => {
    const world = new RoutingWorld(3).linkAll();
    // 0 has dropped its link to 1, and 1 has not noticed.
    world.links[0]?.delete(1);
    world.give(0, { type: "link-down", peer: id(1) });
    world.signal(1, 0, Uint8Array.of(1));
    world.run(RETRY_MS - 1);
    expect(world.toldBy(1, "delivered")).toEqual([]);
    world.run(100);
    expect(world.toldBy(1, "delivered")).toHaveLength(1);
    // Once 0 has written by way of 2, 1 answers it there at once.
    world.signal(0, 1, Uint8Array.of(2));
    world.run(100);
    expect(world.toldBy(0, "delivered")).toHaveLength(1);
    world.signal(1, 0, Uint8Array.of(3));
    world.run(100);
    expect(world.toldBy(1, "delivered")).toHaveLength(2);
    // A link that is made anew is taken again.
    world.link(0, 1);
    const before = world.envelopes;
    world.signal(1, 0, Uint8Array.of(4));
    world.run(100);
    expect(world.envelopes - before).toBe(2);
  });

  test("without a request is lost in silence, and not tried twice", () => {
    const world = new RoutingWorld(3);
    world.link(0, 1);
    world.link(1, 2);
    world.dead.add(1);
    world.give(0, { type: "route", to: id(2), purpose: Purpose.membership, contents: Uint8Array.of(1) });
    world.run(10_000);
    expect(world.told).toEqual([]);
    expect(world.envelopes).toBe(1);
    expect(world.nodes[0]?.load().awaited).toBe(0);
  });
});

describe("a source", () => {
  test("without a link learns at once that nobody can be reached", () => {
    const world = new RoutingWorld(3);
    world.signal(0, 1);
    expect(world.toldBy(0, "unreachable")).toEqual([{ type: "unreachable", request: 0 }]);
  });

  test("learns before its patience ends that nobody knows a way, and the search stays within its hops", () => {
    const world = new RoutingWorld(100).linkAll();
    for (const other of neighbours(world, 50)) world.unlink(50, other);
    world.signal(0, 50);
    world.run(PATIENCE_MS - 1);
    expect(world.toldBy(0, "unreachable")).toEqual([{ type: "unreachable", request: 0 }]);
    // One more search begins after half a second, when the first has not ended yet.
    expect(world.envelopes).toBeLessThanOrEqual(2 * MAX_HOPS);
    expect(world.bounces).toBeLessThanOrEqual(world.envelopes);
    expect(world.nodes.every((node) => node.load().heldBytes === 0)).toBe(true);
  });

  test("gives up after two seconds when everything is silent", () => {
    const world = new RoutingWorld(20).linkAll();
    for (let node = 1; node < 20; node++) world.dead.add(node);
    world.unlink(0, 7);
    world.signal(0, 7);
    world.run(PATIENCE_MS - 1);
    expect(world.told).toEqual([]);
    world.run(1);
    expect(world.toldBy(0, "unreachable")).toEqual([{ type: "unreachable", request: 0 }]);
  });

  test("is answered although it stands in nobody's rings, back along the way it came", () => {
    // 9 is a newcomer with one link, of whom nobody else has heard.
    const world = new RoutingWorld(10, (node) => node !== 9).linkAll();
    world.link(9, 0);
    world.signal(9, 5);
    world.run(500);
    expect(world.toldBy(9, "delivered")).toEqual([{ type: "delivered", request: 9 }]);
    world.signal(5, 9);
    world.run(500);
    expect(world.toldBy(9, "arrived")).toHaveLength(1);
    expect(world.toldBy(5, "delivered")).toHaveLength(1);
    // Who has not carried anything for the newcomer cannot find it.
    const stranger = [1, 2, 3, 4, 6, 7, 8].find((node) => !world.links[node]?.has(9)) as number;
    world.signal(stranger, 9);
    world.run(500);
    expect(world.toldBy(stranger, "unreachable")).toHaveLength(1);
  });

  test("may send as much as one letter holds, and no more", () => {
    const world = new RoutingWorld(2).linkAll();
    world.signal(0, 1, new Uint8Array(MAX_CONTENT_BYTES));
    world.run(100);
    expect(world.toldBy(0, "delivered")).toEqual(REQUEST_0);
    expect(() => world.signal(0, 1, new Uint8Array(MAX_CONTENT_BYTES + 1))).toThrow("one envelope");
    expect(() => world.signal(0, 0)).toThrow("itself");
  });
});

test("a cluster that has lost a fifth of its members unnoticed still delivers nearly everything", () => {
  const world = new RoutingWorld(200).linkAll();
  for (let node = 0; node < 200; node += 5) world.dead.add(node);
  let sent = 0;
  for (let from = 1; from < 200; from += 5) {
    const to = (from * 7 + 4) % 200;
    if (world.dead.has(to) || to === from) continue;
    world.signal(from, to);
    sent++;
  }
  world.run(PATIENCE_MS);
  const delivered = world.told.filter(({ output }) => output.type === "delivered").length;
  expect(sent).toBeGreaterThan(30);
  expect(delivered / sent).toBeGreaterThan(0.9);
});

test("the neighbours of a member are the ones that the rings name", () => {
  const world = new RoutingWorld(40).linkAll();
  const wanted = wantedLinks(world.rings, world.rings.seat(id(3)) as RingSeat);
  expect(neighbours(world, 3).length).toBe(wanted.size);
});
