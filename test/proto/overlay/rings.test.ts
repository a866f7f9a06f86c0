import { describe, expect, test } from "vitest";
import { utf8 } from "../../../src/proto/bytes.ts";
import { sha256 } from "../../../src/proto/hash.ts";
import { observersOf, observes, wantedLinks } from "../../../src/proto/overlay/neighbours.ts";
import { Rings } from "../../../src/proto/overlay/rings.ts";
import { RING_SIZE, RINGS, type RingSeat, seatOf } from "../../../src/proto/overlay/seat.ts";
import { peerIdOf } from "../../../src/proto/peer-id.ts";

function seat(number: number): RingSeat {
  return seatOf(peerIdOf(sha256(utf8(`member ${number}`))), sha256(utf8(`place ${number}`)).slice(0, 16));
}

/** A seat at the same chosen position in every ring. */
function at(position: number): RingSeat {
  return { id: peerIdOf(new Uint8Array(32).fill(position)), positions: [position, position, position, position] };
}

function rings(...seats: RingSeat[]): Rings {
  const result = new Rings();
  for (const one of seats) result.insert(one);
  return result;
}

const crowd = Array.from({ length: 100 }, (_, number) => seat(number));

test("a position depends on the identity, the place and the ring, and on nothing else", () => {
  const id = peerIdOf(new Uint8Array(32).fill(1));
  const one = seatOf(id, new Uint8Array(16));
  expect(seatOf(id, new Uint8Array(16))).toEqual(one);
  expect(seatOf(id, new Uint8Array(16).fill(1)).positions).not.toEqual(one.positions);
  expect(new Set(one.positions).size).toBe(RINGS);
  for (const position of one.positions) {
    expect(Number.isSafeInteger(position)).toBe(true);
    expect(position).toBeGreaterThanOrEqual(0);
    expect(position).toBeLessThan(RING_SIZE);
  }
});

describe("a ring", () => {
  const [a, b, c] = [at(10), at(20), at(30)];
  const three = rings(c, a, b);

  test("goes round in order of position", () => {
    expect(three.step(0, a, 1)).toBe(b.id);
    expect(three.step(0, a, 2)).toBe(c.id);
    expect(three.step(0, c, 1)).toBe(a.id);
    expect(three.step(0, a, -1)).toBe(c.id);
    expect(three.step(0, a, -2)).toBe(b.id);
  });

  test("never leads back to where one started", () => {
    expect(three.step(0, a, 3)).toBeUndefined();
    expect(three.step(0, a, 0)).toBeUndefined();
    expect(rings(a).step(0, a, 1)).toBeUndefined();
  });

  test("knows the neighbours of somebody who is not in it", () => {
    expect(three.step(0, at(15), 1)).toBe(b.id);
    expect(three.step(0, at(15), -1)).toBe(a.id);
    expect(three.step(0, at(5), -1)).toBe(c.id);
    expect(three.step(0, at(35), 1)).toBe(a.id);
    expect(three.step(0, at(35), 3)).toBe(c.id);
    expect(three.step(0, at(35), 4)).toBeUndefined();
  });

  test("orders two at one position by identity", () => {
    const twin = { ...a, id: at(99).id };
    const ring = rings(twin, a);
    expect(ring.step(0, a, 1)).toBe(twin.id);
    ring.remove(a.id);
    expect(ring.ids().next().value).toBe(twin.id);
  });

  test("counts a member once, moves it when its seat has changed, and tells of every change", () => {
    const ring = rings(a, b, c);
    expect(ring.insert(a)).toBe(false);
    expect(ring.version).toBe(3);
    expect(ring.insert({ ...a, positions: [25, 25, 25, 25] })).toBe(true);
    expect(ring.size).toBe(3);
    expect(ring.step(0, b, 1)).toBe(a.id);
    expect(ring.remove(a.id)).toBe(true);
    expect(ring.remove(a.id)).toBe(false);
    expect(ring.size).toBe(2);
  });
});

describe("the links that a member wants", () => {
  test("are all others in a cluster of up to 17", () => {
    const small = rings(...crowd.slice(0, 17));
    expect(wantedLinks(small, crowd[0] as RingSeat)).toEqual(new Set(crowd.slice(1, 17).map(({ id }) => id)));
  });

  test("are the successor and the predecessor in each ring beyond", () => {
    const many = rings(...crowd);
    const wanted = wantedLinks(many, crowd[0] as RingSeat);
    expect(wanted.size).toBeLessThanOrEqual(8);
    for (let ring = 0; ring < RINGS; ring++) {
      expect(wanted).toContain(many.step(ring, crowd[0] as RingSeat, 1));
      expect(wanted).toContain(many.step(ring, crowd[0] as RingSeat, -1));
    }
  });

  test("are wanted by both sides", () => {
    for (const count of [2, 17, 18, 100]) {
      const some = crowd.slice(0, count);
      const view = rings(...some);
      for (const one of some) {
        for (const id of wantedLinks(view, one)) {
          expect(wantedLinks(view, some.find((other) => other.id === id) as RingSeat)).toContain(one.id);
        }
      }
    }
  });

  test("pass over whom one cannot connect to, in the same direction", () => {
    const many = rings(...crowd);
    const self = crowd[0] as RingSeat;
    const bad = many.step(0, self, 1);
    const wanted = wantedLinks(many, self, (id) => id !== bad);
    expect(wanted).not.toContain(bad);
    expect(wanted).toContain(many.step(0, self, 2));
  });

  test("leave a place empty when 16 in a row cannot be connected to", () => {
    expect(wantedLinks(rings(...crowd), crowd[0] as RingSeat, () => false)).toEqual(new Set());
  });

  test("change for few when one member comes", () => {
    const before = rings(...crowd);
    const after = rings(...crowd, seat(1_000));
    const changed = crowd.filter((one) => {
      const [old, young] = [wantedLinks(before, one), wantedLinks(after, one)];
      return [...young].some((id) => !old.has(id)) || [...old].some((id) => !young.has(id));
    });
    expect(changed.length).toBeLessThanOrEqual(16);
  });
});

describe("observers", () => {
  const many = rings(...crowd);

  test("are the two nearest on either side in each ring, up to 16", () => {
    const observers = observersOf(many, crowd[0] as RingSeat);
    expect(observers.size).toBeGreaterThan(10);
    expect(observers.size).toBeLessThanOrEqual(16);
    for (const steps of [-2, -1, 1, 2]) expect(observers).toContain(many.step(2, crowd[0] as RingSeat, steps));
    for (const id of wantedLinks(many, crowd[0] as RingSeat)) expect(observers).toContain(id);
  });

  test("are recognised without computing all of them", () => {
    for (const one of crowd.slice(0, 20)) {
      const observers = observersOf(many, one);
      for (const other of crowd) expect(observes(many, other, one)).toBe(observers.has(other.id));
    }
  });

  test("are recognised by where they would sit when they are in no ring any more", () => {
    const self = crowd[0] as RingSeat;
    const observers = observersOf(many, self);
    const gone = crowd.filter((one) => observers.has(one.id)).slice(0, 3);
    const rest = rings(...crowd.filter((one) => !gone.includes(one)));
    for (const one of gone) expect(observes(rest, one, self)).toBe(true);
  });

  test("may have unsettled members between themselves and the accused, up to eight a side", () => {
    const line = Array.from({ length: 30 }, (_, index) => at(index + 1));
    const view = rings(...line);
    const [subject, far, farther] = [line[0], line[10], line[12]] as [RingSeat, RingSeat, RingSeat];
    expect(observes(view, far, subject)).toBe(false);
    expect(observes(view, far, subject, () => true)).toBe(true);
    expect(observes(view, farther, subject, () => true)).toBe(false);
  });

  test("do not include the member itself, and in a pair are the other", () => {
    const pair = rings(at(1), at(2));
    expect(observersOf(pair, at(1))).toEqual(new Set([at(2).id]));
    expect(observes(pair, at(2), at(1))).toBe(true);
    expect(observes(pair, at(1), at(1))).toBe(false);
  });
});
