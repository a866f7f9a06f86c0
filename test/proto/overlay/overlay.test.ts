import { beforeEach, describe, expect, test } from "vitest";
import { utf8 } from "../../../src/proto/bytes.ts";
import { sha256 } from "../../../src/proto/hash.ts";
import type { Instant } from "../../../src/proto/machine.ts";
import { wantedLinks } from "../../../src/proto/overlay/neighbours.ts";
import { Overlay, type OverlayInput, type OverlayOutput } from "../../../src/proto/overlay/overlay.ts";
import { Rings } from "../../../src/proto/overlay/rings.ts";
import { type RingSeat, seatOf } from "../../../src/proto/overlay/seat.ts";
import { type PeerId, peerIdOf } from "../../../src/proto/peer-id.ts";
import { below, SeededRandom } from "../../../src/proto/random.ts";

const NOW: Instant = 1_700_000_000_000;
const seats = Array.from({ length: 60 }, (_, number) =>
  seatOf(peerIdOf(sha256(utf8(`member ${number}`))), sha256(utf8(`place ${number}`)).slice(0, 16)),
).sort((a, b) => (a.id < b.id ? -1 : 1));

let rings: Rings;
let overlay: Overlay;
let now: Instant;

/** An overlay at the member of rank `self` among those of `count` that are known at once. */
function begin(self: number, count: number): RingSeat {
  const own = seats[self] as RingSeat;
  rings = new Rings();
  rings.insert(own);
  overlay = new Overlay(own, rings, new SeededRandom(1));
  now = NOW;
  for (const seat of seats.slice(0, count)) if (seat !== own) join(seat);
  return own;
}

function join(seat: RingSeat): readonly OverlayOutput[] {
  rings.insert(seat);
  return overlay.handle({ type: "member-up", peer: seat.id }, now);
}

function goes(peer: PeerId): readonly OverlayOutput[] {
  rings.remove(peer);
  return overlay.handle({ type: "member-gone", peer }, now);
}

function tell(input: OverlayInput): readonly OverlayOutput[] {
  return overlay.handle(input, now);
}

function pass(ms: number): OverlayOutput[] {
  const until = now + ms;
  const out: OverlayOutput[] = [];
  for (let at = overlay.deadline(); at !== undefined && at <= until; at = overlay.deadline()) {
    now = Math.max(now, at);
    out.push(...overlay.handle({ type: "timeout" }, now));
  }
  now = until;
  return out;
}

function peer(rank: number): PeerId {
  return (seats[rank] as RingSeat).id;
}

function link(...peers: PeerId[]): void {
  for (const one of peers) tell({ type: "link-up", peer: one });
}

describe("a link that both sides want", () => {
  test("is dialed by the lower identity as soon as things have settled", () => {
    begin(0, 3);
    expect(pass(400)).toEqual(
      expect.arrayContaining([
        { type: "dial", peer: peer(1) },
        { type: "dial", peer: peer(2) },
      ]),
    );
  });

  test("is asked for by the higher identity after two seconds, if it has not come by then", () => {
    begin(2, 3);
    expect(pass(1_999)).toEqual([]);
    link(peer(0));
    expect(pass(1)).toEqual([{ type: "ask", peer: peer(1) }]);
  });

  test("is dialed again at once when it is lost, unless it was young", () => {
    begin(0, 2);
    pass(400);
    link(peer(1));
    now += 60_000;
    tell({ type: "link-down", peer: peer(1) });
    expect(pass(400)).toEqual([{ type: "dial", peer: peer(1) }]);
    link(peer(1));
    tell({ type: "link-down", peer: peer(1) });
    expect(pass(400)).toEqual([]);
    expect(pass(700)).toEqual([{ type: "dial", peer: peer(1) }]);
  });

  test("is not dialed twice at a time", () => {
    begin(0, 2);
    expect(pass(400).length).toBe(1);
    expect(tell({ type: "try", peer: peer(1) })).toEqual([]);
    expect(pass(80_000)).toEqual([]);
  });
});

describe("a dial that fails", () => {
  /** The waits between dials, ms, when each fails at once. */
  function waits(count: number, reason: "no-path" | "absent"): number[] {
    const result: number[] = [];
    for (let index = 0; index < count; index++) {
      tell({ type: "dial-failed", peer: peer(1), reason });
      const from = now;
      while (!pass(50).some(({ type }) => type === "dial"));
      result.push(now - from);
    }
    return result;
  }

  test("is repeated with a back-off that doubles to five minutes, spread over half", () => {
    begin(0, 2);
    pass(400);
    const all = waits(12, "absent");
    all.forEach((wait, index) => {
      const ceiling = Math.min(300_000, 1_000 * 2 ** index);
      expect(wait).toBeGreaterThanOrEqual(ceiling / 2);
      expect(wait).toBeLessThanOrEqual(ceiling + 50);
    });
    expect(new Set(all.slice(9)).size).toBeGreaterThan(1);
  });

  test("is forgotten when gossip says that the member is back", () => {
    begin(0, 2);
    pass(400);
    waits(6, "absent");
    tell({ type: "dial-failed", peer: peer(1), reason: "absent" });
    expect(pass(400)).toEqual([]);
    join(seats[1] as RingSeat);
    expect(pass(400)).toEqual([{ type: "dial", peer: peer(1) }]);
  });

  test("without an answer from the driver counts as failed after ninety seconds", () => {
    begin(0, 2);
    pass(400);
    expect(pass(89_000)).toEqual([]);
    expect(pass(3_000)).toEqual([{ type: "dial", peer: peer(1) }]);
  });
});

describe("a pair that cannot connect", () => {
  let self: RingSeat;
  let bad: PeerId;
  let place: readonly [ring: number, direction: number];

  beforeEach(() => {
    self = begin(0, 40);
    // A neighbour whose substitute is not a neighbour anyway.
    const all = wantedLinks(rings, self);
    place = [0, 1, 2, 3]
      .flatMap((ring) => [[ring, 1] as const, [ring, -1] as const])
      .find(([ring, direction]) => !all.has(rings.step(ring, self, 2 * direction) as PeerId)) as readonly [
      number,
      number,
    ];
    bad = rings.step(place[0], self, place[1]) as PeerId;
    pass(400);
    link(...[...overlay.wanted].filter((one) => one !== bad));
  });

  function fail(times: number): OverlayOutput[] {
    const out: OverlayOutput[] = [];
    for (let index = 0; index < times; index++) {
      out.push(...tell({ type: "dial-failed", peer: bad, reason: "no-path" }));
      out.push(...pass(10_000));
    }
    return out;
  }

  test("is replaced by the next in the same direction after three failures", () => {
    fail(2);
    expect(overlay.unconnectable.size).toBe(0);
    const out = fail(1);
    const next = rings.step(place[0], self, 2 * place[1]) as PeerId;
    expect([...overlay.unconnectable]).toEqual([bad]);
    expect(overlay.wanted).toContain(next);
    expect(out).toContainEqual({ type: "dial", peer: next });
  });

  test("is not replaced because the member does not answer", () => {
    for (let index = 0; index < 6; index++) {
      tell({ type: "dial-failed", peer: bad, reason: "absent" });
      pass(60_000);
    }
    expect(overlay.unconnectable.size).toBe(0);
  });

  test("is replaced at once when the member refuses", () => {
    tell({ type: "dial-refused", peer: bad });
    expect([...overlay.unconnectable]).toEqual([bad]);
  });

  test("is given another chance when gossip says that the member is back", () => {
    fail(3);
    join(seats.find((seat) => seat.id === bad) as RingSeat);
    expect(overlay.unconnectable.size).toBe(0);
    expect(overlay.wanted).toContain(bad);
  });

  test("is tried again now and then, and takes its place back", () => {
    const substitute = rings.step(place[0], self, 2 * place[1]) as PeerId;
    fail(3);
    link(substitute);
    expect(pass(600_000)).toContainEqual({ type: "dial", peer: bad });
    link(bad);
    expect(overlay.unconnectable.size).toBe(0);
    expect(pass(31_000)).toEqual([{ type: "drop", peer: substitute, reason: "unwanted" }]);
  });

  test("is forgotten when the two are no neighbours any more", () => {
    fail(3);
    goes(bad);
    expect(overlay.unconnectable.size).toBe(0);
    expect(pass(600_000).filter(({ peer: one }) => one === bad)).toEqual([]);
  });
});

describe("a link that we do not want", () => {
  let stranger: PeerId;

  beforeEach(() => {
    begin(0, 40);
    pass(2_000);
    link(...overlay.wanted);
    stranger = seats
      .slice(1, 40)
      .map(({ id }) => id)
      .find((one) => !overlay.wanted.has(one)) as PeerId;
  });

  test("goes five seconds after we were introduced by it, once we have others", () => {
    expect(tell({ type: "try", peer: stranger })).toEqual([{ type: "dial", peer: stranger }]);
    link(stranger);
    expect(pass(4_900)).toEqual([]);
    expect(pass(200)).toEqual([{ type: "drop", peer: stranger, reason: "unwanted" }]);
  });

  test("goes after half a minute when we dialed it as a neighbour", () => {
    const neighbour = [...overlay.wanted][0] as PeerId;
    const between = seats.slice(40).filter((seat) => {
      join(seat);
      return !overlay.wanted.has(neighbour);
    });
    expect(between.length).toBeGreaterThan(0);
    link(...overlay.wanted);
    const dropped = pass(31_000).filter(({ type }) => type === "drop");
    expect(dropped).not.toEqual([]);
    for (const { peer: one } of dropped) expect(overlay.wanted.has(one)).toBe(false);
  });

  test("stays as long as its dialer keeps it", () => {
    link(stranger);
    expect(pass(600_000)).toEqual([]);
  });

  test("stays when its peer has asked us to dial", () => {
    expect(tell({ type: "asked", peer: stranger })).toEqual([{ type: "dial", peer: stranger }]);
    link(stranger);
    expect(pass(600_000)).toEqual([]);
  });

  test("stays while fewer than half of the wanted ones stand", () => {
    tell({ type: "try", peer: stranger });
    link(stranger);
    for (const one of overlay.wanted) tell({ type: "link-down", peer: one });
    expect(pass(60_000).filter(({ type }) => type === "drop")).toEqual([]);
    link(...overlay.wanted);
    expect(pass(31_000)).toEqual([{ type: "drop", peer: stranger, reason: "unwanted" }]);
  });

  test("goes when its member is gone, and so does one to somebody who is no member", () => {
    link(stranger, peer(50));
    goes(stranger);
    expect(pass(31_000)).toEqual(
      expect.arrayContaining([
        { type: "drop", peer: stranger, reason: "gone" },
        { type: "drop", peer: peer(50), reason: "gone" },
      ]),
    );
  });
});

describe("guests", () => {
  const many = Array.from({ length: 100 }, (_, number) => peerIdOf(sha256(utf8(`guest ${number}`))));

  test("are refused beyond 64 while the others are fresh", () => {
    begin(0, 20);
    link(...many.slice(0, 64));
    expect(tell({ type: "link-up", peer: many[64] as PeerId })).toEqual([
      { type: "drop", peer: many[64], reason: "full" },
    ]);
  });

  test("make room for each other when they have been there for a while", () => {
    begin(0, 20);
    link(...many.slice(0, 64));
    now += 6_000;
    expect(tell({ type: "link-up", peer: many[64] as PeerId })).toEqual([
      { type: "drop", peer: many[0], reason: "unwanted" },
    ]);
  });

  test("never stand in the way of a neighbour", () => {
    begin(0, 20);
    link(...many.slice(0, 64));
    expect(tell({ type: "link-up", peer: [...overlay.wanted][0] as PeerId })).toEqual([]);
  });
});

describe("a newcomer", () => {
  function introduce(...ranks: number[]): OverlayOutput[] {
    return ranks.flatMap((rank) => tell({ type: "introduced", peer: peer(rank) }));
  }

  function dialed(outputs: readonly OverlayOutput[]): PeerId[] {
    return outputs.filter(({ type }) => type === "dial").map(({ peer: one }) => one);
  }

  test("dials three of those whom it is introduced to, whoever is lower", () => {
    begin(5, 1);
    expect(dialed(introduce(3, 5, 7, 9, 11, 13))).toEqual([3, 7, 9].map(peer));
    expect(dialed(introduce(3))).toEqual([]);
  });

  test("dials one more for each dial that fails", () => {
    begin(5, 1);
    introduce(3, 7, 9, 11, 13);
    expect(dialed(tell({ type: "dial-failed", peer: peer(7), reason: "absent" }))).toEqual([peer(11)]);
    expect(dialed(tell({ type: "dial-failed", peer: peer(11), reason: "no-path" }))).toEqual([peer(13)]);
    expect(dialed(tell({ type: "dial-failed", peer: peer(3), reason: "absent" }))).toEqual([]);
  });

  test("dials all others when five seconds have brought no link", () => {
    begin(5, 1);
    introduce(3, 7, 9, 11, 13);
    expect(dialed(pass(4_900))).toEqual([]);
    expect(dialed(pass(200))).toEqual([11, 13].map(peer));
  });

  test("dials nobody else of an introduction once it has a link", () => {
    begin(5, 1);
    introduce(3, 7, 9, 11, 13);
    link(peer(7));
    expect(dialed(tell({ type: "dial-failed", peer: peer(3), reason: "absent" }))).toEqual([]);
    expect(dialed(pass(10_000))).toEqual([]);
  });

  test("waits with the links that its rings ask for until it has a way in", () => {
    begin(0, 6);
    const [way, ...others] = [1, 2, 3, 4, 5].map(peer);
    expect(dialed(introduce(1, 2, 3))).toEqual([1, 2, 3].map(peer));
    expect(dialed(pass(4_000))).toEqual([]);
    link(way as PeerId);
    expect(new Set(dialed(pass(2_000)))).toEqual(new Set(others.slice(2)));
  });

  test("that has links dials one of those whom it is introduced to, for they may be of another mesh", () => {
    begin(0, 20);
    link(peer(1));
    const strangers = [30, 31, 32];
    expect(dialed(introduce(...strangers))).toEqual([peer(30)]);
    expect(dialed(tell({ type: "dial-failed", peer: peer(30), reason: "absent" }))).toContain(peer(31));
  });
});

test("a dial waits while the list is still arriving", () => {
  begin(0, 20);
  pass(100);
  for (const seat of seats.slice(20, 30)) join(seat);
  expect(pass(300)).toEqual([]);
  const dialed = pass(2_000).flatMap(({ type, peer: one }) => (type === "dial" ? [one] : []));
  expect(new Set(dialed)).toEqual(overlay.wanted);
});

test("no more than 16 members that are not wanted are dialed at once", () => {
  begin(0, 1);
  const out = seats.slice(1, 40).flatMap(({ id }) => tell({ type: "try", peer: id }));
  expect(out.length).toBe(16);
  tell({ type: "dial-failed", peer: peer(1), reason: "absent" });
  expect(tell({ type: "try", peer: peer(30) }).length).toBe(1);
});

test("whoever comes or goes, near or far, the wanted links are those that the rings name", () => {
  const random = new SeededRandom(7);
  const own = begin(30, 10);
  const there = new Set(seats.slice(0, 10));
  for (let turn = 0; turn < 600; turn++) {
    const seat = seats[below(random, seats.length)] as RingSeat;
    if (seat === own) continue;
    if (there.delete(seat)) goes(seat.id);
    else {
      there.add(seat);
      join(seat);
    }
    expect(overlay.wanted).toEqual(wantedLinks(rings, own));
  }
});
