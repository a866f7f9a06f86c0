import { describe, expect, test } from "vitest";
import { utf8 } from "../../../src/proto/bytes.ts";
import { sha256 } from "../../../src/proto/hash.ts";
import { wantedLinks } from "../../../src/proto/overlay/neighbours.ts";
import { Rings } from "../../../src/proto/overlay/rings.ts";
import { type RingSeat, seatOf } from "../../../src/proto/overlay/seat.ts";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import { Bearings, UNKNOWN_DISTANCE } from "../../../src/proto/routing/bearings.ts";
import { id } from "./world.ts";

function ringsOf(count: number): Rings {
  const rings = new Rings();
  for (let number = 0; number < count; number++)
    rings.insert(seatOf(id(number), sha256(utf8(`place ${number}`)).slice(0, 16)));
  return rings;
}

/** Distances from `to` by a plain search over the whole computed graph, `without` one member. */
function plainDistances(rings: Rings, to: PeerId, without: PeerId): Map<PeerId, number> {
  const distances = new Map([[to, 0]]);
  for (const peer of distances.keys()) {
    for (const other of wantedLinks(rings, rings.seat(peer) as RingSeat)) {
      if (other !== without && !distances.has(other)) distances.set(other, (distances.get(peer) as number) + 1);
    }
  }
  return distances;
}

function bearingsOf(rings: Rings, self: PeerId): Bearings {
  const bearings = new Bearings(self, rings);
  bearings.setLinks([...wantedLinks(rings, rings.seat(self) as RingSeat)]);
  return bearings;
}

describe("bearings", () => {
  test.each([3, 17, 18, 60, 400, 2_000])("among %i members the best link lies on a shortest path", (count) => {
    const rings = ringsOf(count);
    for (let pair = 0; pair < 40; pair++) {
      const self = id((pair * 31) % count);
      const to = id((pair * 17 + 1) % count);
      if (self === to) continue;
      const exact = plainDistances(rings, to, self);
      const ranking = bearingsOf(rings, self).towards(rings.seat(to) as RingSeat);
      const links = [...wantedLinks(rings, rings.seat(self) as RingSeat)];
      const least = Math.min(...links.map((link) => exact.get(link) ?? UNKNOWN_DISTANCE));
      expect(ranking[0]?.distance).toBe(least);
      expect(exact.get(ranking[0]?.peer as PeerId)).toBe(least);
      expect(ranking.map(({ peer }) => peer).sort()).toEqual(links.sort());
      // Never nearer than the truth; what lies far off the best is not looked for.
      for (const { peer, distance } of ranking) expect(distance).toBeGreaterThanOrEqual(exact.get(peer) as number);
    }
  });

  test("a member that stands in no ring is looked for where it would sit", () => {
    const rings = ringsOf(200);
    const gone = rings.seat(id(7)) as RingSeat;
    rings.remove(gone.id);
    const ranking = bearingsOf(rings, id(3)).towards(gone);
    expect(ranking[0]?.distance).toBeLessThan(5);
  });

  test("links and rings that change are seen at the next look", () => {
    const rings = ringsOf(100);
    const self = id(0);
    const to = rings.seat(id(50)) as RingSeat;
    const bearings = bearingsOf(rings, self);
    expect(bearings.towards(to)).toBe(bearings.towards(to));
    bearings.setLinks([to.id, id(1)]);
    expect(bearings.towards(to)[0]).toEqual({ peer: to.id, distance: 0 });
    const before = bearings.towards(to);
    rings.remove(id(99));
    expect(bearings.towards(to)).not.toBe(before);
  });

  test("a link whose peer nobody knows is the last resort", () => {
    const rings = ringsOf(30);
    const bearings = new Bearings(id(0), rings);
    bearings.setLinks([id(500), id(1)]);
    const ranking = bearings.towards(rings.seat(id(20)) as RingSeat);
    expect(ranking.map(({ peer }) => peer)).toEqual([id(1), id(500)]);
    expect(ranking[1]?.distance).toBe(UNKNOWN_DISTANCE);
  });
});
