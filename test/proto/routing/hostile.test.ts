import { beforeEach, describe, expect, test } from "vitest";
import {
  type Envelope,
  encodeBody,
  encodeBounce,
  encodeEnvelope,
  Purpose,
  type Search,
} from "../../../src/proto/routing/envelope.ts";
import {
  ENVELOPE_LIFE_MS,
  LINK_RATE,
  MAX_COPIES,
  MAX_HELD_BYTES,
  MAX_HOPS,
  MAX_ROUTING_MESSAGE_BYTES,
  OWN_RATE,
  SOURCE_RATE,
  STRANGER_RATE,
} from "../../../src/proto/routing/limits.ts";
import { CLOCK_LEEWAY_MS } from "../../../src/proto/trust/times.ts";
import { fakeSignature, id, NOW, RoutingWorld } from "./world.ts";

/** A chain 0 - 1 - 2 - 3, and 4 linked with 1: node 4 is the attacker, 1 its first honest neighbour. */
let world: RoutingWorld;

beforeEach(() => {
  world = new RoutingWorld(6);
  for (const [a, b] of [
    [0, 1],
    [1, 2],
    [2, 3],
    [4, 1],
  ] as const)
    world.link(a, b);
});

let serial = 0;

function envelope(fields: Partial<Envelope> = {}): Envelope {
  const unique = new Uint8Array(8);
  new DataView(unique.buffer).setUint32(0, ++serial);
  const purpose = Purpose.membership;
  return { source: id(4), destination: id(3), id: unique, time: NOW, purpose, contents: Uint8Array.of(1), ...fields };
}

/** The bytes of an envelope, by default properly signed by its source. */
function bytesOf(
  made: Envelope,
  { by = made.source, search = SEARCH }: { by?: string; search?: Search } = {},
): Uint8Array {
  const body = encodeBody(made);
  return encodeEnvelope({ body, signature: fakeSignature(by as Envelope["source"], body) }, search);
}

const SEARCH: Search = { hops: MAX_HOPS, seenBy: new Uint8Array() };

function attack(bytes: Uint8Array, from = 4): void {
  world.give(1, { type: "message", peer: id(from), bytes });
}

describe("an attacker on a link", () => {
  test("who forges a source is refused by its first neighbour, and spends nothing of the source's", () => {
    for (let count = 0; count < SOURCE_RATE.burst; count++) attack(bytesOf(envelope({ source: id(0) }), { by: id(4) }));
    expect(world.faults()).toHaveLength(SOURCE_RATE.burst);
    expect(new Set(world.faults())).toEqual(new Set(["1: route-malformed 4"]));
    expect(world.nodes[1]?.load().passages).toBe(0);
    world.run(1_000);
    world.signal(0, 3);
    world.run(1_000);
    expect(world.toldBy(3, "arrived")).toHaveLength(1);
    expect(world.toldBy(0, "delivered")).toHaveLength(1);
  });

  test("who replays an envelope moves nobody: it is known where it has passed, and stale later", () => {
    const captured = bytesOf(envelope({ source: id(0) }));
    world.give(1, { type: "message", peer: id(0), bytes: captured });
    world.run(1_000);
    expect(world.toldBy(3, "arrived")).toHaveLength(1);
    const before = world.envelopes;
    for (let count = 0; count < 50; count++) attack(captured);
    world.run(1_000);
    expect(world.toldBy(3, "arrived")).toHaveLength(1);
    expect(world.envelopes).toBe(before);
    // Each copy costs its sender's own link one small bounce.
    expect(world.bounces).toBe(50);
    // To another member that has never seen it, after its life.
    world.run(ENVELOPE_LIFE_MS + CLOCK_LEEWAY_MS);
    world.give(2, { type: "message", peer: id(1), bytes: captured });
    world.give(5, { type: "link-up", peer: id(2) });
    world.give(5, { type: "message", peer: id(2), bytes: captured });
    expect(world.toldBy(5, "fault")).toEqual([{ type: "fault", fault: "route-stale" }]);
    expect(world.toldBy(3, "arrived")).toHaveLength(1);
  });

  test("who sends the same envelope to its destination again and again gets a few receipts", () => {
    world.link(4, 3);
    const signal = bytesOf(envelope({ purpose: Purpose.signal }));
    for (let count = 0; count < 100; count++) world.give(3, { type: "message", peer: id(4), bytes: signal });
    expect(world.toldBy(3, "arrived")).toHaveLength(1);
    world.run(100);
    expect(world.envelopes).toBe(1 + MAX_COPIES);
  });

  test("whose clock, or whose replay, is of another time is refused before any signature is checked", () => {
    attack(bytesOf(envelope({ time: NOW - ENVELOPE_LIFE_MS - CLOCK_LEEWAY_MS - 1 })));
    attack(bytesOf(envelope({ time: NOW + CLOCK_LEEWAY_MS + 1 }), { by: id(5) }));
    expect(world.faults()).toEqual(["1: route-stale", "1: route-stale"]);
    attack(bytesOf(envelope({ time: NOW - ENVELOPE_LIFE_MS })));
    attack(bytesOf(envelope({ time: NOW + CLOCK_LEEWAY_MS })));
    world.run(1_000);
    expect(world.toldBy(3, "arrived")).toHaveLength(2);
  });

  test("who floods is held to the rate of its link and of its own envelopes, and others are served", () => {
    for (let count = 0; count < 2_000; count++) attack(bytesOf(envelope()));
    world.run(100);
    expect(world.toldBy(3, "arrived").length).toBe(SOURCE_RATE.burst);
    // One report for its envelopes, by whom it floods; one for its link.
    expect(new Set(world.faults())).toEqual(new Set(["1: route-flood 4", "1: route-flood"]));
    expect(world.faults().length).toBeLessThanOrEqual(2);
    world.signal(0, 3);
    world.run(500);
    expect(world.toldBy(0, "delivered")).toHaveLength(1);
  });

  test("who invents sources is held to what strangers on its link have together", () => {
    for (let count = 0; count < LINK_RATE.burst; count++) attack(bytesOf(envelope({ source: id(1_000 + count) })));
    world.run(100);
    expect(world.toldBy(3, "arrived").length).toBe(STRANGER_RATE.burst);
    expect(world.faults()).toEqual(["1: route-flood"]);
    world.signal(0, 3);
    world.run(500);
    expect(world.toldBy(0, "delivered")).toHaveLength(1);
  });

  test("who promises more hops than there are, or sends what is too long, is at fault", () => {
    attack(
      encodeEnvelope(
        { body: encodeBody(envelope()), signature: new Uint8Array(64) },
        { ...SEARCH, hops: MAX_HOPS + 1 },
      ),
    );
    attack(new Uint8Array(MAX_ROUTING_MESSAGE_BYTES + 1));
    attack(Uint8Array.of(0xc1));
    expect(world.faults()).toEqual(Array(3).fill("1: route-malformed 4"));
  });

  test("who sends an envelope without hops has it carried no further, but a destination takes it", () => {
    attack(bytesOf(envelope(), { search: { ...SEARCH, hops: 0 } }));
    attack(bytesOf(envelope({ destination: id(1) }), { search: { ...SEARCH, hops: 0 } }));
    world.run(100);
    expect(world.toldBy(3, "arrived")).toEqual([]);
    expect(world.toldBy(1, "arrived")).toHaveLength(1);
    expect(world.bounces).toBe(1);
  });

  test("who renews the hops on every round cannot keep an envelope going: each member handles it once", () => {
    // 1 and 2 and 4 in a triangle, and a destination that nobody has a link to.
    world.link(4, 2);
    const going = envelope({ destination: id(5) });
    for (let round = 0; round < 20; round++) {
      attack(bytesOf(going));
      world.give(2, { type: "message", peer: id(4), bytes: bytesOf(going) });
      world.run(50);
    }
    expect(world.envelopes).toBeLessThan(10);
  });

  test("who bounces what it was not given, or twice, changes nothing", () => {
    world.signal(0, 3);
    attack(encodeBounce(id(0), new Uint8Array(8), SEARCH));
    expect(world.faults()).toEqual(["1: route-unsolicited"]);
    world.run(500);
    expect(world.toldBy(0, "delivered")).toHaveLength(1);
    const own = envelope({ destination: id(5) });
    attack(bytesOf(own));
    const before = world.bounces;
    for (let count = 0; count < 20; count++)
      world.give(1, { type: "message", peer: id(2), bytes: encodeBounce(own.source, own.id, SEARCH) });
    world.run(100);
    expect(world.bounces - before).toBeLessThan(5);
  });

  test("who forges a receipt ends no waiting: only the destination's own counts", () => {
    world.dead.add(3);
    world.signal(0, 3);
    const receipt = { destination: id(0), purpose: Purpose.receipt, contents: world.latestId };
    // Member 1 carries it and knows its id; it signs for itself, and in the name of the destination.
    for (const by of [id(1), id(3)]) {
      const forged = bytesOf(envelope({ ...receipt, source: by }), { by: id(1) });
      world.give(0, { type: "message", peer: id(1), bytes: forged });
    }
    world.run(5_000);
    expect(world.toldBy(0, "delivered")).toEqual([]);
    expect(world.toldBy(0, "unreachable")).toHaveLength(1);
    expect(world.faults()).toEqual(["0: route-malformed 1"]);
  });

  test("who claims that everybody has had its envelope stops that one, and no other", () => {
    const seenBy = new Uint8Array(4 * MAX_HOPS).fill(7);
    attack(bytesOf(envelope(), { search: { hops: 5, seenBy } }));
    world.signal(0, 3);
    world.run(500);
    expect(world.toldBy(0, "delivered")).toHaveLength(1);
  });

  test("whose envelopes cannot be carried on fills a bounded store", () => {
    const contents = new Uint8Array(16_000);
    world.dead.add(2);
    for (let second = 0; second < 30; second++) {
      for (let count = 0; count < 20; count++) attack(bytesOf(envelope({ contents, time: world.now })));
      world.run(1_000);
    }
    const { heldBytes, passages } = world.nodes[1]?.load() ?? {};
    expect(passages).toBeGreaterThan(400);
    expect(heldBytes).toBeLessThanOrEqual(MAX_HELD_BYTES);
  });
});

test("a message from a peer without a link is ignored", () => {
  world.give(0, { type: "message", peer: id(3), bytes: bytesOf(envelope({ destination: id(0) })) });
  expect(world.told).toEqual([]);
});

test("an envelope of our own that we never sent is counted and dropped", () => {
  attack(bytesOf(envelope({ source: id(1) })));
  expect(world.faults()).toEqual(["1: route-replayed"]);
});

test("an honest member keeps its own envelopes within what others carry for it, and is never at fault", () => {
  for (let second = 0; second < 20; second++) {
    for (let count = 0; count < 40; count++) world.signal(0, 3);
    world.run(1_000);
  }
  expect(world.faults()).toEqual([]);
  const sent = OWN_RATE.burst + 20 * OWN_RATE.perSecond;
  expect(world.toldBy(0, "delivered").length).toBeLessThanOrEqual(sent);
  expect(world.toldBy(0, "unreachable").length).toBeGreaterThanOrEqual(800 - sent);
});
