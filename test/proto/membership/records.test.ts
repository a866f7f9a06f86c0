import { describe, expect, test } from "vitest";
import type { MembershipOutput } from "../../../src/proto/membership/effects.ts";
import { packEntries, packNamed } from "../../../src/proto/membership/entries.ts";
import {
  decodeMessage,
  decodePayload,
  encodeClaims,
  encodeDigest,
  encodeNotice,
  encodePayload,
  encodeRecords,
  encodeSums,
} from "../../../src/proto/membership/messages.ts";
import { RecordShelf } from "../../../src/proto/membership/record.ts";
import { type PeerId, publicKeyOf } from "../../../src/proto/peer-id.ts";
import { Lane } from "../../../src/proto/streams/lanes.ts";
import { Agent, events, facts, faults, id, NOW, of, record, recordPayload, SIGNATURE } from "./fixtures.ts";

const shelf = new RecordShelf();
const HOUR = 3_600_000;

/** The broadcasts among `outputs`, decoded. */
function said(outputs: readonly MembershipOutput[]) {
  return of(outputs, "broadcast").map(({ bytes }) => decodePayload(bytes, shelf));
}

function verdicts(outputs: readonly MembershipOutput[]): string[] {
  return of(outputs, "verdict").map(({ verdict }) => verdict);
}

function say(agent: Agent, peer: PeerId, bytes: Uint8Array): MembershipOutput[] {
  return agent.do({ type: "message", peer, lane: Lane.gossip, bytes });
}

describe("our own record", () => {
  test("is signed and broadcast at the start", () => {
    const agent = new Agent();
    expect(agent.machine.member(id(0))).toMatchObject({ state: "alive", record: { boot: 1, incarnation: 0 } });
    expect(agent.machine.record(id(0))).toEqual(recordPayload(id(0)));
  });

  test("changes with the next incarnation", () => {
    const agent = new Agent();
    const out = agent.do({
      type: "update",
      profile: {
        labels: [
          ["a", "1"],
          ["b", "2"],
        ],
      },
    });
    expect(events(out)).toEqual(["alive -> updated (record)"]);
    expect(said(out)).toMatchObject([
      {
        type: "record",
        record: {
          incarnation: 1,
          labels: [
            ["a", "1"],
            ["b", "2"],
          ],
        },
      },
    ]);
  });

  test("carries a renewed token", () => {
    const agent = new Agent();
    const out = agent.do({ type: "update", token: { token: "d.e.f", facts: facts(id(0), NOW + HOUR) } });
    expect(said(out)).toMatchObject([{ record: { token: "d.e.f" } }]);
    expect(agent.machine.member(id(0))?.facts.expiresAt).toBe(NOW + HOUR);
  });

  test("takes changes that come while it is being signed into the next one", () => {
    const agent = new Agent();
    const [sign] = of(agent.machine.handle({ type: "update", profile: { name: "one" } }, NOW), "sign");
    expect(agent.machine.handle({ type: "update", profile: { name: "two" } }, NOW)).toEqual([]);
    const out = agent.do({ type: "signed", signature: SIGNATURE, resume: sign?.resume as never });
    expect(said(out).map((payload) => payload?.type === "record" && payload.record.name)).toEqual(["one", "two"]);
  });

  test("says left when we leave, and then nothing is asked of us any more", () => {
    const agent = new Agent({ members: 2 });
    agent.link(id(1));
    const out = agent.do({ type: "leave" });
    expect(events(out)).toEqual(["alive -> left (record)"]);
    expect(said(out)).toMatchObject([{ record: { status: "left", incarnation: 1 } }]);
    expect(agent.machine.deadline()).toBeUndefined();
    expect(agent.do({ type: "leave" })).toEqual([]);
  });

  test("is renewed when a notice names it, at most every five seconds", () => {
    const agent = new Agent({ members: 2 });
    const notice = (incarnation: number): Uint8Array =>
      encodeNotice(packNamed([{ id: id(0), key: publicKeyOf(id(0)), boot: 1, incarnation }]));
    expect(said(agent.deliver(notice(0)))).toMatchObject([{ record: { incarnation: 1 } }]);
    expect(said(agent.deliver(notice(0)))).toEqual([]);
    expect(said(agent.deliver(notice(1)))).toEqual([]);
    expect(said(agent.pass(4_900))).toEqual([]);
    expect(said(agent.pass(200))).toMatchObject([{ record: { incarnation: 2 } }]);
  });

  test("of a later start that we did not make tells that somebody else runs under our key", () => {
    const agent = new Agent({ members: 1 });
    expect(of(agent.deliver(recordPayload(id(0), { boot: 9 })), "superseded")).toEqual([
      { type: "superseded", boot: 9 },
    ]);
    expect(of(agent.deliver(recordPayload(id(0), { boot: 9, incarnation: 1 })), "superseded")).toEqual([]);
    expect(agent.machine.member(id(0))?.record.boot).toBe(1);
  });
});

describe("the record of another", () => {
  test("makes it a member and is passed on", () => {
    const agent = new Agent();
    const out = agent.deliver(recordPayload(id(1)));
    expect(verdicts(out)).toEqual(["accept"]);
    expect(events(out)).toEqual(["unknown -> up (record)"]);
    expect(agent.machine.rings.has(id(1))).toBe(true);
  });

  test("with a forged signature or token makes nobody a member", () => {
    const agent = new Agent();
    agent.good = false;
    expect(agent.deliver(recordPayload(id(1)))).toEqual([]);
    expect(agent.machine.member(id(1))).toBeUndefined();
  });

  test("that is known is passed on without another check; that is older is not", () => {
    const agent = new Agent();
    agent.deliver(recordPayload(id(1), { incarnation: 3 }));
    const before = agent.machine.statistics().checks;
    expect(verdicts(agent.deliver(recordPayload(id(1), { incarnation: 3 })))).toEqual(["accept"]);
    const older = agent.deliver(recordPayload(id(1), { incarnation: 2 }));
    expect(verdicts(older)).toEqual(["ignore"]);
    expect(faults(older)).toEqual(["stale"]);
    expect(agent.machine.statistics().checks).toBe(before);
    expect(agent.machine.member(id(1))?.record.incarnation).toBe(3);
  });

  test("that is known but under another signature is rejected", () => {
    const agent = new Agent();
    agent.deliver(recordPayload(id(1)));
    const { body } = record(id(1));
    expect(verdicts(agent.deliver(encodePayload("record", { body, signature: new Uint8Array(64) })))).toEqual([
      "reject",
    ]);
  });

  test("of an earlier start cannot replace a later one, whatever its incarnation", () => {
    const agent = new Agent();
    agent.deliver(recordPayload(id(1), { boot: 2 }));
    agent.deliver(recordPayload(id(1), { boot: 1, incarnation: 99 }));
    expect(agent.machine.member(id(1))?.record.boot).toBe(2);
  });

  test("that says left takes it out, and no older record brings it back", () => {
    const agent = new Agent({ members: 1 });
    expect(events(agent.deliver(recordPayload(id(1), { incarnation: 1, status: "left" })))).toEqual([
      "alive -> left (record)",
    ]);
    agent.deliver(recordPayload(id(1), { incarnation: 1 }));
    agent.deliver(recordPayload(id(1)));
    expect(agent.state(id(1))).toBe("left");
    expect(events(agent.deliver(recordPayload(id(1), { boot: 2 })))).toEqual(["left -> up (record)"]);
  });

  test("is worth nothing once its token has expired, until it is renewed", () => {
    const agent = new Agent();
    agent.deliver(recordPayload(id(1), { token: String(NOW + HOUR) }));
    agent.now = NOW + HOUR + 59_000;
    agent.do({ type: "timeout" });
    expect(agent.state(id(1))).toBe("alive");
    agent.now += 1_000;
    expect(events(agent.do({ type: "timeout" }))).toEqual(["alive -> down (expired)"]);
    agent.deliver(recordPayload(id(1), { incarnation: 1, token: String(NOW + HOUR) }));
    expect(agent.state(id(1))).toBe("down");
    expect(events(agent.deliver(recordPayload(id(1), { incarnation: 2, token: String(NOW + 9 * HOUR) })))).toEqual([
      "down -> up (record)",
    ]);
  });

  test("is refused for good once its subject is revoked", () => {
    const agent = new Agent({ members: 1 });
    expect(events(agent.do({ type: "revoke", target: { of: "member", peer: id(1) } }))).toEqual([
      "alive -> down (revoked)",
    ]);
    expect(faults(agent.deliver(recordPayload(id(1), { boot: 9 })))).toEqual(["not-a-member"]);
    expect(agent.machine.member(id(1))).toBeUndefined();
    expect(agent.machine.rings.has(id(1))).toBe(false);
  });

  test("counts no more once its token is revoked, by its own name or that of the first of its line, until it shows another", () => {
    for (const name of [`fourth of ${id(1)}`, `first of ${id(1)}`]) {
      const agent = new Agent({ members: 2 });
      expect(events(agent.do({ type: "revoke", target: { of: "token", id: name } }))).toEqual([
        "alive -> down (revoked)",
      ]);
      expect(agent.state(id(1))).toBe("down");
      expect(agent.state(id(2))).toBe("alive");
    }
    const agent = new Agent({ members: 1 });
    expect(events(agent.do({ type: "revoke", target: { of: "token", id: `third of ${id(1)}` } }))).toEqual([]);
  });

  test("that changes all the time is followed at a bounded rate, and its subject is at fault", () => {
    const agent = new Agent({ members: 1 });
    let flooded = 0;
    for (let incarnation = 1; incarnation <= 100; incarnation++) {
      const out = agent.deliver(recordPayload(id(1), { incarnation }));
      flooded += of(out, "fault").filter(({ fault, peer }) => fault === "flood" && peer === id(1)).length;
    }
    expect(flooded).toBe(84);
  });

  test("in a payload that is none is rejected", () => {
    const agent = new Agent();
    expect(verdicts(agent.deliver(new Uint8Array([0x93, 16, 0, 0])))).toEqual(["reject"]);
  });
});

describe("an introduction", () => {
  test("by the server makes members that are worth a dial", () => {
    const agent = new Agent();
    const out = agent.do({ type: "introduced", standing: "present", records: [recordPayload(id(1))] });
    expect(of(out, "introduced")).toEqual([{ type: "introduced", peer: id(1) }]);
    expect(agent.state(id(1))).toBe("alive");
  });

  test("from an earlier life counts as down, and is tried again and again", () => {
    const agent = new Agent();
    agent.do({ type: "introduced", standing: "remembered", records: [recordPayload(id(1)), recordPayload(id(2))] });
    expect([agent.state(id(1)), agent.state(id(2))]).toEqual(["down", "down"]);
    const tried = of(agent.pass(60_000), "retry").map(({ peer }) => peer);
    expect(new Set(tried)).toEqual(new Set([id(1), id(2)]));
    expect(tried.length).toBeLessThanOrEqual(30);
  });

  test("that is no record is a fault of nobody", () => {
    const agent = new Agent();
    expect(agent.do({ type: "introduced", standing: "present", records: [new Uint8Array(5)] })).toEqual([
      { type: "fault", fault: "malformed" },
    ]);
  });
});

describe("a claim that somebody is down", () => {
  const claim = (peer: PeerId, ageSeconds = 60): Uint8Array =>
    encodeClaims(packEntries([{ ...record(peer), down: true, ageSeconds }]));

  test("is answered by a newer record when it is about ourselves", () => {
    const agent = new Agent({ members: 2 });
    agent.link(id(1));
    expect(said(say(agent, id(1), claim(id(0))))).toMatchObject([{ record: { incarnation: 1 } }]);
  });

  test("makes its subject suspect and is broadcast as a notice; without an answer it goes down", () => {
    const agent = new Agent({ members: 2 });
    agent.link(id(1));
    expect(events(say(agent, id(1), claim(id(2))))).toEqual(["alive -> suspect (claim)"]);
    expect(said(agent.pass(250))).toContainEqual({ type: "notice", named: [{ id: id(2), boot: 1, incarnation: 0 }] });
    expect(events(agent.pass(9_000))).toContain("suspect -> down (silence)");
  });

  test("is void when its subject signs a newer record", () => {
    const agent = new Agent({ members: 2 });
    agent.link(id(1));
    say(agent, id(1), claim(id(2)));
    expect(events(agent.deliver(recordPayload(id(2), { incarnation: 1 })))).toEqual([
      "suspect -> updated (record)",
      "suspect -> up (record)",
    ]);
  });

  test("that is news, or about another record than ours, waits for better evidence", () => {
    const agent = new Agent({ members: 2 });
    agent.link(id(1));
    expect(say(agent, id(1), claim(id(2), 4))).toEqual([]);
    agent.deliver(recordPayload(id(2), { incarnation: 1 }));
    expect(say(agent, id(1), claim(id(2)))).toEqual([]);
  });

  test("is sent to a member that we hold for down and that is still talking to us", () => {
    const agent = new Agent();
    agent.do({ type: "introduced", standing: "remembered", records: [recordPayload(id(1))] });
    agent.link(id(1));
    const hello = encodeDigest(agent.machine.record(id(1))?.slice(0, 8) as Uint8Array, 2);
    const claims = of(say(agent, id(1), hello), "send").map(({ bytes }) => decodeMessage(bytes, shelf));
    expect(claims).toContainEqual({
      type: "claims",
      entries: [expect.objectContaining({ id: id(1), down: true, boot: 1, incarnation: 0 })],
    });
    const again = of(say(agent, id(1), hello), "send").map(({ bytes }) => decodeMessage(bytes, shelf)?.type);
    expect(again).not.toContain("claims");
  });
});

describe("what nobody asked for", () => {
  test("records over a link, or sums, are a fault and have no effect", () => {
    const agent = new Agent({ members: 1 });
    agent.link(id(1));
    const carried = encodeRecords([{ record: record(id(5)), down: false, ageSeconds: 0 }], false);
    expect(faults(say(agent, id(1), carried))).toEqual(["unsolicited"]);
    expect(agent.machine.member(id(5))).toBeUndefined();
    expect(agent.machine.statistics().checks).toBe(1);
    const sums = encodeSums(new Uint8Array(512).fill(1), 9);
    const answers = Array.from({ length: 100 }, () => faults(say(agent, id(1), sums))).flat();
    expect(answers.length).toBeGreaterThanOrEqual(68);
  });

  test("a peer that answers all that we have begun at last, and late, is not blamed", () => {
    const agent = new Agent({ members: 1 });
    agent.link(id(1));
    const begun = of(agent.pass(600_000), "send").filter(
      ({ bytes }) => decodeMessage(bytes, new RecordShelf())?.type === "digest",
    );
    expect(begun.length).toBeGreaterThan(10);
    const sums = encodeSums(new Uint8Array(512).fill(1), 9);
    expect(begun.flatMap(() => faults(say(agent, id(1), sums)))).toEqual([]);
  });

  test("a message that is none, or on another lane, is the peer's fault", () => {
    const agent = new Agent({ members: 1 });
    agent.link(id(1));
    expect(of(say(agent, id(1), new Uint8Array([1, 2, 3])), "fault")).toEqual([
      { type: "fault", fault: "malformed", peer: id(1) },
    ]);
    const out = agent.do({ type: "message", peer: id(1), lane: Lane.data, bytes: new Uint8Array(5) });
    expect(faults(out)).toEqual(["malformed"]);
  });
});
