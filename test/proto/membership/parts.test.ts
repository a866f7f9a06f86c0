import { describe, expect, test } from "vitest";
import { bucketOf, Digest } from "../../../src/proto/membership/digest.ts";
import { MAX_PROBES } from "../../../src/proto/membership/limits.ts";
import { Links } from "../../../src/proto/membership/links.ts";
import { LocalHealth } from "../../../src/proto/membership/local-health.ts";
import { newProbe, OpenProbes } from "../../../src/proto/membership/open-probe.ts";
import { type MemberRecord, RecordShelf } from "../../../src/proto/membership/record.ts";
import { Rotation } from "../../../src/proto/membership/rotation.ts";
import { MemberTable } from "../../../src/proto/membership/table.ts";
import { prefixOf } from "../../../src/proto/overlay/atlas.ts";
import { observersOf } from "../../../src/proto/overlay/neighbours.ts";
import { seatOf } from "../../../src/proto/overlay/seat.ts";
import { peerIdOf } from "../../../src/proto/peer-id.ts";
import { SeededRandom, shuffle } from "../../../src/proto/random.ts";
import { facts, id, NOW, record } from "./fixtures.ts";

const HOUR = 3_600_000;

describe("local health", () => {
  test("stretches time-outs from once to nine times and no further", () => {
    const health = new LocalHealth();
    expect(health.stretch).toBe(1);
    for (let count = 0; count < 20; count++) health.worse();
    expect(health.stretch).toBe(9);
    for (let count = 0; count < 20; count++) health.better();
    expect(health.stretch).toBe(1);
  });
});

/** When a link opened at NOW is no longer new. */
const LATER = NOW + 20_000;

describe("the time-out of a link", () => {
  test("is at least 250 ms and follows the round trip and its variation", () => {
    const links = new Links();
    const near = links.open(id(1), 2, NOW);
    const far = links.open(id(2), 400, NOW);
    expect(links.timeoutMs(near, LATER)).toBe(250);
    expect(links.timeoutMs(far, LATER)).toBe(400 + 4 * 200 + 50);
    for (let count = 0; count < 50; count++) links.answered(far, 400, LATER);
    expect(Math.round(links.timeoutMs(far, LATER))).toBe(450);
  });

  test("has room for a stall until it has shown itself for two seconds", () => {
    const links = new Links();
    const link = links.open(id(1), 2, NOW);
    expect(links.timeoutMs(link, NOW + 1_999)).toBe(1_302);
    expect(links.timeoutMs(link, NOW + 2_000)).toBe(250);
  });

  test("grows by a stall where one was seen, for a minute", () => {
    const links = new Links();
    const stalled = links.open(id(1), 2, NOW);
    const other = links.open(id(2), 2, NOW);
    links.answered(stalled, 1_010, LATER);
    expect(stalled.roundTrip.smoothedMs).toBe(2);
    expect(links.timeoutMs(stalled, LATER + 59_000)).toBe(1_302);
    expect(links.timeoutMs(stalled, LATER + 61_000)).toBe(250);
    expect(links.timeoutMs(other, LATER)).toBe(250);
  });

  test("grows everywhere for twenty seconds once two peers have stalled at different times", () => {
    const links = new Links();
    const [first, second, other] = [1, 2, 3].map((count) => links.open(id(count), 2, NOW));
    if (!first || !second || !other) throw new Error("three links");
    links.answered(first, 1_010, LATER);
    links.answered(second, 1_010, LATER + 2_000);
    links.answered(first, 1_010, LATER + 5_000);
    expect(links.timeoutMs(other, LATER + 5_000)).toBe(250);
    links.answered(second, 1_010, LATER + 10_000);
    expect(links.timeoutMs(other, LATER + 29_000)).toBe(1_302);
    expect(links.timeoutMs(other, LATER + 31_000)).toBe(250);
  });

  test("is not touched by slow answers that we may have been slow to take", () => {
    const links = new Links();
    const link = links.open(id(1), 2, NOW);
    links.ranLate(LATER + 100);
    links.answered(link, 1_010, LATER + 1_000);
    expect(links.timeoutMs(link, LATER + 1_000)).toBe(250);
    links.answered(link, 1_010, LATER + 1_111);
    expect(links.timeoutMs(link, LATER + 1_111)).toBe(1_302);
  });

  test("is not touched by stalls of a new link", () => {
    const links = new Links();
    const link = links.open(id(1), 2, NOW);
    links.answered(link, 1_010, NOW + 9_000);
    expect(links.timeoutMs(link, NOW + 9_000)).toBe(250);
  });

  test("has no part in the refutation window but through stalls and long paths", () => {
    const links = new Links();
    expect(links.windowMs(LATER)).toBe(1_000);
    const link = links.open(id(1), 150, NOW);
    const other = links.open(id(2), 2, NOW);
    expect(links.windowMs(LATER)).toBe(1_300);
    links.answered(link, 1_200, LATER);
    expect(links.windowMs(LATER)).toBe(1_300);
    links.answered(other, 1_200, LATER + 5_000);
    expect(links.windowMs(LATER + 5_000)).toBe(2_800);
    expect(links.windowMs(LATER + 66_000)).toBe(1_300);
  });
});

describe("the probes under way", () => {
  const probe = (number: number, dueInMs: number) => newProbe(id(number), "direct", undefined, NOW, NOW + dueInMs);

  test("stand in the order in which they began, one for each target, in the place of the one before", () => {
    const probes = new OpenProbes();
    const [first, second, again] = [probe(1, 300), probe(2, 100), probe(1, 200)];
    for (const each of [first, second, again]) probes.put(each);
    expect(probes.all()).toEqual([again, second]);
    expect([probes.of(id(1)), probes.of(id(2)), probes.of(id(3))]).toEqual([again, second, undefined]);
    probes.remove(id(3));
    probes.remove(id(1));
    probes.put(first);
    expect(probes.all()).toEqual([second, first]);
  });

  test("are due at their time-outs, and when they are to be sent again", () => {
    const probes = new OpenProbes();
    expect([probes.nextAt(), probes.due(NOW)]).toEqual([Number.POSITIVE_INFINITY, []]);
    const [late, repeated] = [probe(1, 300), probe(2, 400)];
    repeated.repeatAt = NOW + 100;
    for (const each of [late, repeated]) probes.put(each);
    expect(probes.nextAt()).toBe(NOW + 100);
    expect(probes.due(NOW + 99)).toEqual([]);
    expect(probes.due(NOW + 100)).toEqual([repeated]);
    expect(probes.due(NOW + 300)).toEqual([late, repeated]);
  });

  test("are full at their bound", () => {
    const probes = new OpenProbes();
    for (let number = 0; number < MAX_PROBES; number++) {
      expect(probes.isFull).toBe(false);
      probes.put(probe(number, 100));
    }
    expect(probes.isFull).toBe(true);
  });
});

describe("the rotation", () => {
  const peers = [1, 2, 3, 4, 5].map(id);

  test("takes every target once a round", () => {
    const rotation = new Rotation(new SeededRandom(1));
    rotation.update(new Set(peers));
    for (let round = 0; round < 3; round++) expect(new Set(peers.map(() => rotation.next()))).toEqual(new Set(peers));
  });

  test("lets nobody wait longer because others come and go", () => {
    const rotation = new Rotation(new SeededRandom(2));
    rotation.update(new Set(peers));
    let waited = 0;
    for (let step = 0; step < 200; step++) {
      if (step % 2 === 0) rotation.update(new Set([...peers.slice(0, 3), id(10 + (step % 3))]));
      waited = rotation.next() === peers[0] ? 0 : waited + 1;
      expect(waited).toBeLessThanOrEqual(8);
    }
  });

  test("has nothing to offer without targets", () => {
    const rotation = new Rotation(new SeededRandom(3));
    expect(rotation.next()).toBeUndefined();
    rotation.update(new Set(peers));
    rotation.update(new Set());
    expect(rotation.next()).toBeUndefined();
  });
});

describe("the digest", () => {
  const records = Array.from({ length: 40 }, (_, number) => record(id(number)));

  test("does not depend on the order of changes, and sees each of them", () => {
    const [one, other] = [new Digest(), new Digest()];
    for (const item of records) one.toggle(item, false);
    for (const item of shuffle(new SeededRandom(4), [...records])) other.toggle(item, false);
    expect(one.root()).toEqual(other.root());
    expect(one.differing(other.sums())).toBeUndefined();
    other.toggle(records[3] as never, false);
    expect(one.root()).not.toEqual(other.root());
    const mask = new Uint8Array(8);
    const bucket = bucketOf((records[3] as MemberRecord).key);
    mask[bucket >> 3] = 1 << (bucket & 7);
    expect(one.differing(other.sums())).toEqual(mask);
    other.toggle(records[3] as never, true);
    expect(one.differing(other.sums())).toEqual(mask);
    other.toggle(records[3] as never, true);
    other.toggle(records[3] as never, false);
    expect(one.root()).toEqual(other.root());
  });
});

describe("heads", () => {
  const ALL = new Uint8Array(8).fill(255);

  function listOf(records: readonly MemberRecord[]): MemberTable {
    const table = new MemberTable(seatOf(id(0), facts(id(0)).place));
    for (const item of records) table.put(item, facts(item.id), "alive", NOW, NOW);
    return table;
  }

  function headsOf(table: MemberTable): Uint8Array {
    return [...table.heads(ALL, 65_536)][0]?.heads as Uint8Array;
  }

  /** A record of somebody whose key begins as that of `other`. */
  function alike(other: MemberRecord): MemberRecord {
    const key = other.key.slice();
    key[31] = (key[31] as number) ^ 255;
    return record(peerIdOf(key));
  }

  test("tell who is missing, who differs and who is beyond", () => {
    const ours = listOf([record(id(1)), record(id(2)), record(id(3))]);
    const theirs = listOf([record(id(2)), record(id(3), { incarnation: 1 }), record(id(4))]);
    const { missing, differing, beyond } = ours.compare(ALL, headsOf(theirs));
    expect(missing).toEqual([prefixOf(record(id(4)).key)]);
    expect(differing.map((member) => member.record.id)).toEqual([id(3)]);
    expect(beyond).toEqual([id(1)]);
  });

  test("say whether their member is down", () => {
    const [ours, theirs] = [listOf([record(id(1))]), listOf([record(id(1))])];
    expect(ours.compare(ALL, headsOf(theirs)).differing).toEqual([]);
    theirs.move(id(1), "down", NOW);
    expect(ours.compare(ALL, headsOf(theirs)).differing.length).toBe(1);
  });

  test("of buckets that were not asked for say nothing about the others", () => {
    const ours = listOf([record(id(1)), record(id(2)), record(id(3))]);
    expect(ours.compare(new Uint8Array(8), new Uint8Array(0)).beyond).toEqual([]);
  });

  test("of two keys that begin alike are told apart where one is held, and asked about where it is not", () => {
    const one = record(id(1));
    const other = alike(one);
    expect(prefixOf(other.key)).toBe(prefixOf(one.key));
    expect(listOf([one, other]).compare(ALL, headsOf(listOf([one])))).toMatchObject({
      missing: [],
      differing: [],
      beyond: [other.id],
    });
    expect(
      listOf([one])
        .compare(ALL, headsOf(listOf([other])))
        .differing.map((member) => member.record.id),
    ).toEqual([one.id]);
    expect(
      listOf([one, other])
        .under(prefixOf(one.key))
        .map((member) => member.record.id)
        .sort(),
    ).toEqual([one.id, other.id].sort());
  });

  test("come in parts that cover all buckets between them", () => {
    const table = listOf(Array.from({ length: 40 }, (_, number) => record(id(number))));
    const parts = [...table.heads(ALL, 120)];
    expect(parts.length).toBeGreaterThan(3);
    expect(parts.reduce((sum, { heads }) => sum + heads.length, 0)).toBe(40 * 12);
    const covered = new Uint8Array(8);
    for (const { mask } of parts)
      mask.forEach((bits, index) => {
        expect((covered[index] as number) & bits).toBe(0);
        covered[index] = (covered[index] as number) | bits;
      });
    expect(covered).toEqual(ALL);
  });
});

describe("the table", () => {
  function table(members: number): MemberTable {
    const result = new MemberTable(seatOf(id(0), facts(id(0)).place));
    for (let number = 0; number < members; number++)
      result.put(record(id(number)), facts(id(number)), "alive", NOW, NOW);
    return result;
  }

  test("keeps counts, rings and digest in step with every change", () => {
    const members = table(10);
    const before = members.digest.root();
    members.move(id(3), "suspect", NOW + 1);
    expect(members.counts).toEqual({ alive: 9, suspect: 1, down: 0, left: 0 });
    expect(members.rings.size).toBe(10);
    expect(members.digest.root()).toEqual(before);
    members.move(id(3), "down", NOW + 2);
    expect(members.rings.has(id(3))).toBe(false);
    expect(members.digest.root()).not.toEqual(before);
    members.move(id(3), "alive", NOW + 3);
    expect(members.rings.has(id(3))).toBe(true);
    expect(members.digest.root()).toEqual(before);
    members.remove(id(3));
    members.put(record(id(3)), facts(id(3)), "alive", NOW, NOW);
    expect(members.digest.root()).toEqual(before);
    expect(members.get(id(3))).toMatchObject({ state: "alive", provenBoot: 0 });
  });

  test("knows nothing of the links of a member that was down and comes back by its own word", () => {
    const members = table(10);
    members.proven(id(3), 1);
    members.put(record(id(3), { incarnation: 1 }), facts(id(3)), "alive", NOW, NOW + 1);
    expect(members.get(id(3))).toMatchObject({ provenBoot: 1, knownSince: NOW });
    members.move(id(3), "down", NOW + 2);
    members.put(record(id(3), { incarnation: 2 }), facts(id(3)), "alive", NOW + 3, NOW + 3);
    expect(members.get(id(3))).toMatchObject({ provenBoot: 0, knownSince: NOW + 3 });
  });

  test("takes an expired token out of the rings and out of what is told, and keeps its member for a retry", () => {
    const members = table(3);
    members.put(record(id(5)), facts(id(5), NOW + HOUR), "alive", NOW, NOW);
    const due = NOW + HOUR + 60_000;
    expect(members.dueAt).toBe(due);
    expect(members.due(due - 1)).toEqual({ lapsed: [], forgotten: [] });
    const { lapsed } = members.due(due);
    expect(lapsed.map((member) => member.record.id)).toEqual([id(5)]);
    members.lapse(id(5), due);
    expect(members.digest.root()).toEqual(table(3).digest.root());
    expect(members.get(id(5))).toMatchObject({ state: "down", lapsed: true });
    expect(members.dueAt).toBe(due + 72 * HOUR);
    expect(members.due(due + 72 * HOUR).forgotten.map((member) => member.record.id)).toEqual([id(5)]);
  });

  test("remembers the down for 72 hours, and those that left for as long as their tokens live", () => {
    const members = table(3);
    members.move(id(1), "down", NOW);
    members.put(record(id(2), { incarnation: 1, status: "left" }), facts(id(2), NOW + 100 * HOUR), "left", NOW, NOW);
    expect(members.due(NOW + 71 * HOUR)).toEqual({ lapsed: [], forgotten: [] });
    expect(members.due(NOW + 72 * HOUR).forgotten.map((member) => member.record.id)).toEqual([id(1)]);
    members.remove(id(1));
    expect(members.due(NOW + 101 * HOUR).forgotten.map((member) => member.record.id)).toEqual([id(2)]);
  });

  test("lets the observers of a member accuse it and nobody else, once things have settled", () => {
    const members = table(40);
    const later = NOW + 31_000;
    const observers = observersOf(members.rings, seatOf(id(7), facts(id(7)).place));
    for (let number = 0; number < 40; number++) {
      expect(members.mayAccuse(id(number), id(7), later), `member ${number}`).toBe(observers.has(id(number)));
    }
    expect(members.mayAccuse(id(99), id(7), later)).toBe(false);
  });

  test("accepts the accusers of a view without the arrivals of the last 30 s", () => {
    const members = table(40);
    const later = NOW + 31_000;
    const before = observersOf(members.rings, seatOf(id(7), facts(id(7)).place));
    for (let number = 40; number < 60; number++)
      members.put(record(id(number)), facts(id(number)), "alive", later, later);
    for (const observer of before) expect(members.mayAccuse(observer, id(7), later + 29_000)).toBe(true);
    const displaced = [...before].filter((observer) => !members.mayAccuse(observer, id(7), later + 30_000));
    expect(displaced.length).toBeGreaterThan(0);
  });

  test("begins as another list of the same shelf, and goes its own way", () => {
    const shelf = new RecordShelf();
    const first = new MemberTable(seatOf(id(0), facts(id(0)).place), shelf);
    for (let number = 0; number < 20; number++) first.put(record(id(number)), facts(id(number)), "alive", NOW, NOW);
    first.move(id(3), "down", NOW + 1);
    first.proven(id(4), 1);
    const second = new MemberTable(seatOf(id(1), facts(id(1)).place), shelf);
    second.copy(first);
    expect(second.digest.root()).toEqual(first.digest.root());
    expect([second.size, second.rings.size, second.counts.down]).toEqual([20, 19, 1]);
    expect(second.get(id(4))).toMatchObject({ state: "alive", provenBoot: 1, since: NOW, knownSince: NOW });
    second.move(id(5), "down", NOW + 2);
    first.remove(id(6));
    expect([first.get(id(5))?.state, second.get(id(6))?.state]).toEqual(["alive", "alive"]);
    expect([first.rings.has(id(5)), second.rings.has(id(6))]).toEqual([true, true]);
    second.move(id(6), "down", NOW + 3);
    expect(second.get(id(6))?.state).toBe("down");
    const { count } = shelf.atlas;
    second.remove(id(6));
    expect(shelf.atlas.count).toBe(count - 1);
  });

  test("accepts the accusers of a view that no longer has those whom we suspect", () => {
    const [members, ahead] = [table(40), table(40)];
    const seat = seatOf(id(7), facts(id(7)).place);
    const later = NOW + 31_000;
    for (const suspect of [...observersOf(members.rings, seat)].slice(0, 3)) {
      members.move(suspect, "suspect", later);
      ahead.move(suspect, "down", later);
    }
    const observers = observersOf(ahead.rings, seat);
    expect([...observers].every((observer) => members.mayAccuse(observer, id(7), later))).toBe(true);
    expect([...observers].some((observer) => !table(40).mayAccuse(observer, id(7), later))).toBe(true);
  });
});
