import { beforeEach, describe, expect, test } from "vitest";
import { messageIdOf, Topic } from "../../../src/proto/gossip/messages.ts";
import { soleAccuserMs } from "../../../src/proto/membership/cases.ts";
import type { MembershipInput, MembershipResume } from "../../../src/proto/membership/effects.ts";
import { ACCUSER_RATE, OWN_ACCUSATION_RATE, QUESTION_RATE, VOID_MS } from "../../../src/proto/membership/limits.ts";
import { encodePayload, encodeTell } from "../../../src/proto/membership/messages.ts";
import { decodeProbeFrame, encodeProbe } from "../../../src/proto/membership/probe-frames.ts";
import { encodeRefutation } from "../../../src/proto/membership/statements.ts";
import { observersOf } from "../../../src/proto/overlay/neighbours.ts";
import type { RingSeat } from "../../../src/proto/overlay/seat.ts";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import { Lane } from "../../../src/proto/streams/lanes.ts";
import {
  Agent,
  events,
  facts,
  faults,
  id,
  of,
  record,
  recordPayload,
  refutation,
  SIGNATURE,
  suspicion,
} from "./fixtures.ts";

/** Past the 30 s in which a fresh view is lenient. */
const SETTLE_MS = 31_000;
const MEMBERS = 40;

let agent: Agent;
let accused: PeerId;
let observers: PeerId[];
let stranger: PeerId;

/** An agent that knows 40 others, and a member that it does not observe itself. */
beforeEach(() => {
  agent = new Agent({ members: MEMBERS });
  agent.pass(SETTLE_MS);
  const everybody = Array.from({ length: MEMBERS }, (_, index) => id(index + 1));
  const observersFor = (peer: PeerId): Set<PeerId> =>
    observersOf(agent.machine.rings, agent.machine.rings.seat(peer) as RingSeat);
  accused = everybody.find((peer) => !observersFor(peer).has(agent.self)) as PeerId;
  observers = [...observersFor(accused)];
  stranger = everybody.find((peer) => peer !== accused && !observers.includes(peer)) as PeerId;
});

function accuse(accuser: PeerId, fields: Parameters<typeof suspicion>[2] = {}, subject = accused) {
  return agent.deliver(encodePayload("suspicion", suspicion(accuser, subject, fields)));
}

function refute(fields: Parameters<typeof refutation>[1] = {}, subject = accused) {
  return agent.deliver(encodePayload("refutation", refutation(subject, fields)));
}

describe("an accusation", () => {
  test("by an observer makes a member suspect and is passed on", () => {
    const out = accuse(observers[0] as PeerId);
    expect(of(out, "verdict").map(({ verdict }) => verdict)).toEqual(["accept"]);
    expect(events(out)).toEqual(["alive -> suspect (silence)"]);
    expect(agent.machine.suspicion(accused)?.charges.size).toBe(1);
  });

  test("by a member that is no observer has no effect, is not passed on, and is nobody's fault, for its view may differ", () => {
    const out = accuse(stranger);
    expect(of(out, "verdict").map(({ verdict }) => verdict)).toEqual(["ignore"]);
    expect(of(out, "fault")).toEqual([{ type: "fault", fault: "not-an-observer" }]);
    expect(agent.state(accused)).toBe("alive");
  });

  test("with a forged signature has no effect", () => {
    agent.good = false;
    expect(accuse(observers[0] as PeerId)).toEqual([]);
    expect(agent.state(accused)).toBe("alive");
  });

  test("by or of somebody who is no member has no effect and costs no check", () => {
    const before = agent.machine.statistics().checks;
    expect(faults(accuse(id(99)))).toEqual(["not-a-member"]);
    expect(faults(accuse(observers[0] as PeerId, {}, id(99)))).toEqual(["not-a-member"]);
    expect(agent.machine.statistics().checks).toBe(before);
  });

  test("of an earlier start has no effect", () => {
    agent.deliver(recordPayload(accused, { boot: 2 }));
    expect(faults(accuse(observers[0] as PeerId, { boot: 1 }))).toEqual(["stale"]);
    expect(agent.state(accused)).toBe("alive");
  });

  test("that has been answered has no effect when it comes again, nor does its confirmation", () => {
    accuse(observers[0] as PeerId);
    refute();
    accuse(observers[0] as PeerId);
    accuse(observers[1] as PeerId);
    expect(agent.state(accused)).toBe("alive");
  });

  test("whose answer came first has no effect", () => {
    refute();
    expect(events(accuse(observers[0] as PeerId))).toEqual([]);
    expect(agent.state(accused)).toBe("alive");
  });

  test("is told to the accused over its own link", () => {
    agent.link(accused);
    const out = accuse(observers[0] as PeerId);
    const told = of(out, "send").filter(({ lane }) => lane === Lane.gossip);
    expect(told).toEqual([
      {
        type: "send",
        peer: accused,
        lane: Lane.gossip,
        bytes: encodeTell(encodePayload("suspicion", suspicion(observers[0] as PeerId, accused))),
      },
    ]);
  });

  test("is told to the accused when a link comes up later", () => {
    accuse(observers[0] as PeerId);
    const told = of(agent.link(accused), "send").map(({ peer, bytes }) => [peer, bytes]);
    expect(told).toContainEqual([
      accused,
      encodeTell(encodePayload("suspicion", suspicion(observers[0] as PeerId, accused))),
    ]);
  });
});

describe("a suspicion", () => {
  test("ends with the accused's own answer to its id", () => {
    accuse(observers[0] as PeerId);
    const out = refute();
    expect(events(out)).toEqual(["suspect -> up (answer)"]);
    expect(of(out, "verdict").map(({ verdict }) => verdict)).toEqual(["accept"]);
    expect(agent.pass(20_000).some(({ type }) => type === "event")).toBe(false);
  });

  test("does not end with an answer to another id, of another start, or by a newer record", () => {
    accuse(observers[0] as PeerId);
    refute({ id: 2 });
    refute({ boot: 2 });
    agent.deliver(recordPayload(accused, { incarnation: 5 }));
    expect(agent.state(accused)).toBe("suspect");
    expect(events(agent.pass(20_000))).toContain("suspect -> down (silence)");
  });

  test("becomes down after the window once three observers have confirmed, and not before", () => {
    for (const observer of observers.slice(0, 4)) accuse(observer);
    agent.pass(999);
    expect(agent.state(accused)).toBe("suspect");
    expect(events(agent.pass(20))).toEqual(["suspect -> down (silence)"]);
    expect(agent.machine.rings.has(accused)).toBe(false);
  });

  test("is not hastened by confirmations of members that are no observers", () => {
    accuse(observers[0] as PeerId);
    const others = Array.from({ length: MEMBERS }, (_, index) => id(index + 1));
    for (const other of others.filter((peer) => peer !== accused && !observers.includes(peer))) accuse(other);
    agent.pass(5_000);
    expect(agent.state(accused)).toBe("suspect");
  });

  test("by a sole accuser takes its full time", () => {
    accuse(observers[0] as PeerId);
    agent.pass(8_900);
    expect(agent.state(accused)).toBe("suspect");
    agent.pass(200);
    expect(agent.state(accused)).toBe("down");
  });

  test("ends when the member restarts or leaves", () => {
    accuse(observers[0] as PeerId);
    expect(events(agent.deliver(recordPayload(accused, { boot: 2 })))).toEqual(["suspect -> up (record)"]);
    accuse(observers[0] as PeerId, { id: 3, boot: 2 });
    expect(events(agent.deliver(recordPayload(accused, { boot: 2, incarnation: 1, status: "left" })))).toEqual([
      "suspect -> left (record)",
    ]);
    expect(agent.machine.suspicion(accused)).toBeUndefined();
  });

  test("of a member that answers too late is undone", () => {
    for (const observer of observers.slice(0, 4)) accuse(observer);
    agent.pass(1_100);
    expect(events(refute())).toEqual(["down -> up (answer)"]);
    expect(agent.machine.rings.has(accused)).toBe(true);
  });

  test("that ended in down is not undone by an answer to anything else, nor by an old record", () => {
    for (const observer of observers.slice(0, 4)) accuse(observer);
    agent.pass(1_100);
    refute({ id: 2 });
    expect(faults(agent.deliver(recordPayload(accused)))).toEqual([]);
    expect(agent.state(accused)).toBe("down");
    expect(events(agent.deliver(recordPayload(accused, { incarnation: 1 })))).toEqual(["down -> up (record)"]);
  });

  test("gets a fresh window when we did not run", () => {
    for (const observer of observers.slice(0, 4)) accuse(observer);
    agent.now += 30_000;
    agent.do({ type: "timeout" });
    expect(agent.state(accused)).toBe("suspect");
    expect(events(refute())).toEqual(["suspect -> up (answer)"]);
  });
});

describe("an observer", () => {
  let watched: PeerId;
  let accuser: PeerId;

  beforeEach(() => {
    const everybody = Array.from({ length: MEMBERS }, (_, index) => id(index + 1));
    const seat = (peer: PeerId): RingSeat => agent.machine.rings.seat(peer) as RingSeat;
    watched = everybody.find((peer) => observersOf(agent.machine.rings, seat(peer)).has(agent.self)) as PeerId;
    accuser = [...observersOf(agent.machine.rings, seat(watched))].find((peer) => peer !== agent.self) as PeerId;
    agent.link(watched);
  });

  test("probes a suspect at once and joins the accusation under its id when there is no answer", () => {
    const out = accuse(accuser, {}, watched);
    expect(of(out, "send").filter(({ lane, peer }) => lane === Lane.probe && peer === watched).length).toBe(1);
    const later = of(agent.pass(400), "broadcast");
    expect(later.length).toBe(1);
    expect(agent.machine.suspicion(watched)?.charges.get("01".repeat(16))?.accusers).toEqual([accuser, agent.self]);
  });

  test("does not join when there are three confirmations already", () => {
    const others = [...observersOf(agent.machine.rings, agent.machine.rings.seat(watched) as RingSeat)];
    for (const other of others.filter((peer) => peer !== agent.self).slice(0, 4)) accuse(other, {}, watched);
    expect(of(agent.pass(900), "broadcast")).toEqual([]);
  });

  test("keeps silent when the suspect answers it", () => {
    const out = accuse(accuser, {}, watched);
    const probe = of(out, "send").find(({ lane }) => lane === Lane.probe);
    const sequence = decodeProbeFrame(probe?.bytes ?? new Uint8Array())?.sequence ?? 0;
    agent.do({ type: "message", peer: watched, lane: Lane.probe, bytes: encodeProbe("answer", sequence) });
    expect(of(agent.pass(450), "broadcast")).toEqual([]);
  });

  test("confirms at once for others a suspicion of a member that it holds for down", () => {
    accuse(accuser, {}, watched);
    agent.pass(30_000);
    expect(agent.state(watched)).toBe("down");
    const out = accuse(accuser, { id: 9 }, watched);
    expect(of(out, "broadcast").length).toBe(1);
    expect(of(accuse(accuser, { id: 9 }, watched), "broadcast")).toEqual([]);
    expect(of(accuse(accuser, { id: 10 }, watched), "broadcast")).toEqual([]);
  });

  test("confirms nothing of a member that it holds for down on the word of others alone", () => {
    agent.do({ type: "link-down", peer: watched, deliberate: true });
    const others = [...observersOf(agent.machine.rings, agent.machine.rings.seat(watched) as RingSeat)];
    for (const other of others.filter((peer) => peer !== agent.self).slice(0, 4)) accuse(other, {}, watched);
    agent.pass(1_100);
    expect(agent.state(watched)).toBe("down");
    expect(of(accuse(accuser, { id: 9 }, watched), "broadcast")).toEqual([]);
  });

  test("keeps what it says itself far below what others take from it", () => {
    const seatOf = (peer: PeerId): RingSeat => agent.machine.rings.seat(peer) as RingSeat;
    const observed = [...observersOf(agent.machine.rings, seatOf(agent.self))];
    agent.link(...observed);
    const accusersOf = new Map(
      observed.map((peer) => [
        peer,
        [...observersOf(agent.machine.rings, seatOf(peer))].filter((it) => it !== agent.self),
      ]),
    );
    let said = 0;
    // Everybody is silent, and everybody else accuses everybody: each smaller id asks us to join again.
    for (const [peer, [first]] of accusersOf) said += of(accuse(first as PeerId, { id: 99 }, peer), "broadcast").length;
    said += of(agent.pass(700), "broadcast").length;
    for (const [peer, [, ...others]] of accusersOf) {
      for (const [index, other] of others.entries())
        said += of(accuse(other, { id: 98 - index }, peer), "broadcast").length;
    }
    expect(said).toBeLessThanOrEqual(OWN_ACCUSATION_RATE.burst + OWN_ACCUSATION_RATE.perSecond);
    expect(said).toBeGreaterThan(OWN_ACCUSATION_RATE.burst / 2);
    // What is said within 90 s may arrive at once.
    const { perSecond, burst } = OWN_ACCUSATION_RATE;
    expect(ACCUSER_RATE.burst).toBeGreaterThanOrEqual(burst + 90 * perSecond);
    expect(ACCUSER_RATE.perSecond).toBeGreaterThanOrEqual(perSecond);
  });
});

describe("when we are accused ourselves", () => {
  const answered = encodeRefutation(new Uint8Array(16).fill(1), id(0), 1, 0);
  const answer = encodePayload("refutation", { body: answered, signature: SIGNATURE });

  test("we sign the id, broadcast it, and give it to whoever told us", () => {
    agent.link(id(3));
    const out = agent.do({
      type: "message",
      peer: id(3),
      lane: Lane.gossip,
      bytes: encodeTell(encodePayload("suspicion", suspicion(id(5), id(0)))),
    });
    expect(out).toEqual([
      { type: "broadcast", bytes: answer },
      { type: "send", peer: id(3), lane: Lane.gossip, bytes: encodeTell(answer) },
    ]);
    expect(agent.machine.statistics().health).toBeGreaterThan(0);
  });

  test("we sign an id once, and repeat the answer to whoever asks again over a link", () => {
    agent.link(id(3));
    agent.deliver(encodePayload("suspicion", suspicion(id(5), id(0))));
    const again = encodeTell(encodePayload("suspicion", suspicion(id(6), id(0))));
    expect(agent.do({ type: "message", peer: id(3), lane: Lane.gossip, bytes: again })).toEqual([
      { type: "send", peer: id(3), lane: Lane.gossip, bytes: encodeTell(answer) },
    ]);
  });

  test("of an earlier life, we say nothing", () => {
    expect(faults(agent.deliver(encodePayload("suspicion", suspicion(id(5), id(0), { boot: 7 }))))).toEqual(["stale"]);
  });
});

describe("checks that come back late", () => {
  /** Hands in a payload and returns the input that its good check will be. */
  function pending(
    kind: "suspicion" | "record" | "refutation",
    signed: Parameters<typeof encodePayload>[1],
  ): MembershipInput {
    const bytes = encodePayload(kind, signed);
    const message = messageIdOf(Topic.membership, bytes);
    const out = agent.machine.handle({ type: "delivered", from: id(1), id: message, bytes }, agent.now);
    const [check] = of(out, "verify");
    const subject = check?.statements[0]?.signer as PeerId;
    return { type: "verified", resume: check?.resume as MembershipResume, token: facts(subject) };
  }

  test("do not open a suspicion that has been answered meanwhile", () => {
    const suspected = pending("suspicion", suspicion(observers[0] as PeerId, accused));
    const answered = pending("refutation", refutation(accused));
    agent.do(answered);
    expect(events(agent.do(suspected))).toEqual([]);
    expect(agent.state(accused)).toBe("alive");
  });

  test("do not put an older record over a newer one", () => {
    const older = pending("record", record(accused, { incarnation: 1 }));
    const newer = pending("record", record(accused, { incarnation: 2 }));
    agent.do(newer);
    expect(of(agent.do(older), "verdict").map(({ verdict }) => verdict)).toEqual(["ignore"]);
    expect(agent.machine.member(accused)?.record.incarnation).toBe(2);
  });

  test("make us sign one answer to one id, however many accuse us of it", () => {
    const first = pending("suspicion", suspicion(id(5), id(0)));
    const second = pending("suspicion", suspicion(id(6), id(0)));
    expect(of(agent.machine.handle(first, agent.now), "sign").length).toBe(1);
    expect(of(agent.machine.handle(second, agent.now), "sign")).toEqual([]);
  });
});

describe("the word of few", () => {
  test("is put to the accused in an envelope before it is down, which answers in one, and stays", () => {
    const asking = new Agent({ members: MEMBERS, routing: true });
    const told = suspicion(observers[0] as PeerId, accused);
    asking.deliver(encodePayload("suspicion", told));
    const routed = of(asking.pass(soleAccuserMs(MEMBERS + 1)), "route").filter(({ to }) => to === accused);
    expect(routed).toHaveLength(1);
    const question = (routed[0] as { readonly bytes: Uint8Array }).bytes;
    expect(question).toEqual(encodeTell(encodePayload("suspicion", told)));
    expect(asking.state(accused)).toBe("suspect");
    const answer = encodeTell(encodePayload("refutation", refutation(accused)));
    expect(events(asking.do({ type: "routed", from: accused, bytes: answer }))).toEqual(["suspect -> up (answer)"]);
  });

  test("takes a member down that does not answer that either", () => {
    const asking = new Agent({ members: MEMBERS, routing: true });
    asking.deliver(encodePayload("suspicion", suspicion(observers[0] as PeerId, accused)));
    asking.pass(soleAccuserMs(MEMBERS + 1) + 3_100);
    expect(asking.state(accused)).toBe("down");
  });

  test("is put to few of many who are silent at once, and all of them go down in their time", () => {
    const asking = new Agent({ members: MEMBERS, routing: true });
    asking.pass(SETTLE_MS);
    const { rings } = asking.machine;
    const silent = new Set<PeerId>();
    for (const peer of [...rings.ids()].slice(1)) {
      const [first] = [...observersOf(rings, rings.seat(peer) as RingSeat)].filter((it) => it !== asking.self);
      silent.add(peer);
      asking.deliver(encodePayload("suspicion", suspicion(first as PeerId, peer, { id: silent.size })));
    }
    const out = asking.pass(soleAccuserMs(MEMBERS + 1) + 3_100);
    const questions = of(out, "route").filter(({ bytes }) => (bytes[0] ?? 0) >= 0x90);
    const { burst, perSecond } = QUESTION_RATE;
    expect(questions.length).toBeLessThanOrEqual(burst + perSecond * 4);
    expect(questions.length).toBeGreaterThanOrEqual(burst);
    expect([...silent].filter((peer) => asking.state(peer) !== "down")).toEqual([]);
  });

  test("put to ourselves in an envelope is answered in one, each time", () => {
    const asked = new Agent({ members: MEMBERS, routing: true });
    const question = encodeTell(encodePayload("suspicion", suspicion(id(1), asked.self)));
    for (let time = 0; time < 2; time++) {
      const out = asked.do({ type: "routed", from: id(7), bytes: question });
      expect(of(out, "route").map(({ to }) => to)).toEqual([id(7)]);
    }
  });
});

describe("floods", () => {
  test("of accusations by one observer are cut off, and it is at fault", () => {
    const accuser = observers[0] as PeerId;
    const out = Array.from({ length: 300 }, (_, incarnation) => accuse(accuser, { incarnation })).flat();
    const floods = of(out, "fault").filter(({ fault }) => fault === "flood");
    expect(floods).toHaveLength(300 - ACCUSER_RATE.burst);
    // The rest is not even checked, so that it may be anybody's.
    expect(floods.filter(({ peer }) => peer === accuser)).toHaveLength(1);
    expect(agent.machine.suspicion(accused)?.charges.size).toBe(1);
  });

  test("void whatever an accuser says until it has been silent for a minute, for some would hear of it and others not", () => {
    const accuser = observers[0] as PeerId;
    for (let incarnation = 0; incarnation < 300; incarnation++) accuse(accuser, { incarnation });
    refute();
    const say = (incarnation: number, pauseMs: number): readonly string[] => {
      agent.pass(pauseMs);
      return of(accuse(accuser, { incarnation, id: incarnation & 255 }), "verdict").map(({ verdict }) => verdict);
    };
    expect(say(301, VOID_MS - 1)).toEqual(["ignore"]);
    expect(say(302, VOID_MS - 1)).toEqual(["ignore"]);
    expect(say(303, VOID_MS)).toEqual(["accept"]);
  });

  test("of statements over one link are cut off before they cost a check", () => {
    agent.good = false;
    const before = agent.machine.statistics().checks;
    const out = Array.from({ length: 3_000 }, (_, incarnation) =>
      accuse(observers[0] as PeerId, { incarnation }),
    ).flat();
    // Whoever passes them on has not said them.
    expect(of(out, "fault")[0]).toEqual({ type: "fault", fault: "flood" });
    expect(agent.machine.statistics().checks - before).toBe(1_024);
    agent.now += 1_000;
    agent.good = true;
    agent.deliver(encodePayload("suspicion", suspicion(observers[0] as PeerId, accused)), id(2));
    expect(agent.state(accused)).toBe("suspect");
  });
});
