import { expect, test } from "vitest";
import { utf8 } from "../../../src/proto/bytes.ts";
import { sha256 } from "../../../src/proto/hash.ts";
import { Atlas } from "../../../src/proto/overlay/atlas.ts";
import { Rings } from "../../../src/proto/overlay/rings.ts";
import { type RingSeat, seatOf } from "../../../src/proto/overlay/seat.ts";
import { peerIdOf } from "../../../src/proto/peer-id.ts";

function seat(number: number, place = 0): RingSeat {
  return seatOf(peerIdOf(sha256(utf8(`member ${number}`))), new Uint8Array(16).fill(place));
}

const seats = Array.from({ length: 300 }, (_, number) => seat(number));

test("views of one atlas see their own members only, in the order that a view of its own would see", () => {
  const atlas = new Atlas();
  const all = new Rings(atlas);
  const even = new Rings(atlas);
  const alone = new Rings();
  seats.forEach((one, number) => {
    all.insert(one);
    if (number % 2 === 1) return;
    even.insert(one);
    alone.insert(one);
  });
  expect([even.size, all.size]).toEqual([150, 300]);
  expect(even.has((seats[1] as RingSeat).id)).toBe(false);
  for (const one of seats) {
    for (const steps of [1, -1, 2, -149, 150]) {
      for (let ring = 0; ring < 4; ring++) expect(even.step(ring, one, steps)).toBe(alone.step(ring, one, steps));
    }
  }
});

test("a seat is forgotten when nobody holds it, and its number is given again", () => {
  const atlas = new Atlas();
  const numbers = seats.slice(0, 100).map((one) => atlas.hold(one));
  expect(atlas.hold(seat(7))).toBe(numbers[7]);
  atlas.release(numbers[7] as number);
  expect(atlas.count).toBe(100);
  atlas.release(numbers[7] as number);
  expect([atlas.count, atlas.find(seat(7).id)]).toEqual([99, -1]);
  expect(atlas.hold(seat(200))).toBe(numbers[7]);
  expect([atlas.count, atlas.size]).toEqual([100, 100]);
  for (let ring = 0; ring < 4; ring++) {
    const order = Array.from(
      { length: 100 },
      (_, place) => atlas.seat(atlas.at(ring, place)).positions[ring] as number,
    );
    expect(order).toEqual([...order].sort((a, b) => a - b));
  }
});

test("a member whose place has changed sits here for some and there for others", () => {
  const atlas = new Atlas();
  const [before, after] = [new Rings(atlas), new Rings(atlas)];
  const [old, moved] = [seat(1), seat(1, 9)];
  before.insert(old);
  after.insert(old);
  after.insert(moved);
  expect(before.seat(old.id)).toBe(old);
  expect(after.seat(old.id)).toBe(moved);
  expect([after.size, atlas.count]).toEqual([1, 2]);
  before.remove(old.id);
  expect([before.has(old.id), after.has(old.id), atlas.count]).toEqual([false, true, 1]);
});
