import { describe, expect, test } from "vitest";
import type { MembershipOutput } from "../../../src/proto/membership/effects.ts";
import { ROUTED_UNPROVEN_MS, SETTLING_MS, WARM_UP_MS } from "../../../src/proto/membership/limits.ts";
import { decodePayload, encodePayload } from "../../../src/proto/membership/messages.ts";
import {
  decodeProbeFrame,
  encodeProbe,
  encodeReport,
  encodeRequest,
} from "../../../src/proto/membership/probe-frames.ts";
import { RecordShelf } from "../../../src/proto/membership/record.ts";
import { encodeRefutation } from "../../../src/proto/membership/statements.ts";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import { Lane } from "../../../src/proto/streams/lanes.ts";
import { Agent, events, faults, id, of, recordPayload, SIGNATURE } from "./fixtures.ts";

/** What was sent on the probe lane: to whom, and what. */
function probes(outputs: readonly MembershipOutput[]) {
  return of(outputs, "send")
    .filter(({ lane }) => lane === Lane.probe)
    .map(({ peer, bytes }) => ({ peer, frame: decodeProbeFrame(bytes) }));
}

function say(agent: Agent, peer: PeerId, bytes: Uint8Array): MembershipOutput[] {
  return agent.do({ type: "message", peer, lane: Lane.probe, bytes });
}

/** Answers every probe to one of `peers`, for as long as answers cause none. */
function answer(agent: Agent, outputs: readonly MembershipOutput[], ...peers: PeerId[]): MembershipOutput[] {
  return probes(outputs).flatMap(({ peer, frame }) =>
    frame?.type === "probe" && peers.includes(peer) ? say(agent, peer, encodeProbe("answer", frame.sequence)) : [],
  );
}

test("a probe is answered with its own sequence", () => {
  const agent = new Agent({ members: 2 });
  agent.link(id(1));
  expect(say(agent, id(1), encodeProbe("probe", 77))).toEqual([
    { type: "send", peer: id(1), lane: Lane.probe, bytes: encodeProbe("answer", 77) },
  ]);
});

test("one member is probed every 500 ms, each in its turn", () => {
  const agent = new Agent({ members: 3 });
  agent.link(id(1), id(2), id(3));
  const probed: PeerId[] = [];
  for (let tick = 0; tick < 6; tick++) {
    const out = agent.pass(500);
    expect(probes(out).length).toBe(1);
    probed.push(...probes(out).map(({ peer }) => peer));
    answer(agent, out, id(1), id(2), id(3));
  }
  expect(new Set(probed.slice(0, 3)).size).toBe(3);
  expect(probed.slice(3)).toEqual(probed.slice(0, 3));
});

test("a missed probe makes a member probe all its links at once and ask others to probe", () => {
  const agent = new Agent({ members: 4 });
  agent.link(id(1), id(2), id(3), id(4));
  const target = probes(agent.pass(500))[0]?.peer as PeerId;
  const out = probes(agent.pass(250));
  const others = [1, 2, 3, 4].map(id).filter((peer) => peer !== target);
  expect(new Set(out.filter(({ frame }) => frame?.type === "probe").map(({ peer }) => peer))).toEqual(
    new Set([target, ...others]),
  );
  const requests = out.filter(({ frame }) => frame?.type === "request");
  expect(new Set(requests.map(({ peer }) => peer))).toEqual(new Set(others));
  for (const { frame } of requests) expect(frame).toMatchObject({ target });
});

describe("an accusation", () => {
  /** Links to four, of which the first that is probed is silent; helpers report `verdicts`. */
  function silence(...verdicts: readonly ("reached" | "silent" | "no-link")[]): MembershipOutput[] {
    const agent = new Agent({ members: 4 });
    const peers = [1, 2, 3, 4].map(id);
    agent.link(...peers);
    const target = probes(agent.pass(500))[0]?.peer as PeerId;
    const out = agent.pass(250);
    const others = peers.filter((peer) => peer !== target);
    answer(agent, out, ...others);
    const requests = probes(out).filter(({ frame }) => frame?.type === "request");
    verdicts.forEach((verdict, index) => {
      const { peer, frame } = requests[index] as (typeof requests)[0];
      say(agent, peer, encodeReport(frame?.sequence as number, verdict));
    });
    const all: MembershipOutput[] = [];
    for (let step = 0; step < 10; step++) {
      const more = agent.pass(100);
      answer(agent, more, ...others);
      all.push(...more);
    }
    return of(all, "event").filter(({ event, peer }) => event === "suspect" && peer === target);
  }

  test("follows when the member answers neither us nor any helper", () => {
    expect(silence("silent", "silent", "silent").length).toBe(1);
  });

  test("follows when the helpers have no link and its own link is silent twice", () => {
    expect(silence("no-link", "no-link", "no-link").length).toBe(1);
  });

  test("does not follow when a single helper reaches it", () => {
    expect(silence("silent", "silent", "reached")).toEqual([]);
  });

  test("is put off when not one helper says a word, for then it is we who are cut off", () => {
    expect(silence()).toEqual([]);
  });
});

describe("an indirect probe", () => {
  test("is made for a linked peer, and its outcome is reported", () => {
    const agent = new Agent({ members: 2 });
    agent.link(id(1), id(2));
    const out = say(agent, id(1), encodeRequest(5, id(2)));
    expect(probes(out).map(({ peer, frame }) => [peer, frame?.type])).toEqual([[id(2), "probe"]]);
    expect(answer(agent, out, id(2))).toEqual([
      { type: "send", peer: id(1), lane: Lane.probe, bytes: encodeReport(5, "reached") },
    ]);
    say(agent, id(1), encodeRequest(6, id(2)));
    expect(probes(agent.pass(300)).filter(({ frame }) => frame?.type === "report")).toEqual([
      { peer: id(1), frame: { type: "report", sequence: 6, verdict: "silent" } },
    ]);
  });

  test("that stays unanswered makes us look for ourselves if we observe the member", () => {
    const agent = new Agent({ members: 3 });
    agent.link(id(1), id(2), id(3));
    say(agent, id(1), encodeRequest(5, id(2)));
    const requests = probes(agent.pass(300)).filter(({ frame }) => frame?.type === "request");
    expect(requests.map(({ peer }) => peer).sort()).toEqual([id(1), id(3)].sort());
    for (const { frame } of requests) expect(frame).toMatchObject({ target: id(2) });
  });

  test("of a member without a link is refused at once", () => {
    const agent = new Agent({ members: 2 });
    agent.link(id(1));
    expect(probes(say(agent, id(1), encodeRequest(5, id(2))))).toEqual([
      { peer: id(1), frame: { type: "report", sequence: 5, verdict: "no-link" } },
    ]);
  });
});

describe("a closed channel", () => {
  test("is a hint: others are asked at once, and one who reaches the member ends the matter", () => {
    const agent = new Agent({ members: 3 });
    agent.link(id(1), id(2), id(3));
    const out = agent.do({ type: "link-down", peer: id(3), deliberate: false });
    const requests = probes(out);
    expect(requests.map(({ frame }) => frame?.type)).toEqual(["request", "request"]);
    say(agent, id(1), encodeReport(requests.find(({ peer }) => peer === id(1))?.frame?.sequence as number, "reached"));
    const later = agent.pass(2_000);
    expect(of(later, "event").filter(({ peer }) => peer === id(3))).toEqual([]);
  });

  test("that was closed on purpose is no hint", () => {
    const agent = new Agent({ members: 3 });
    agent.link(id(1), id(2), id(3));
    expect(agent.do({ type: "link-down", peer: id(3), deliberate: true })).toEqual([]);
  });

  test("makes a member probe by envelope, where envelopes are carried, once no helper has a link either", () => {
    const agent = new Agent({ members: 3, routing: true });
    agent.link(id(1), id(2), id(3));
    const out = agent.do({ type: "link-down", peer: id(3), deliberate: false });
    const [first, last] = probes(out).filter(({ frame }) => frame?.type === "request");
    const report = (request: typeof first): MembershipOutput[] =>
      say(agent, request?.peer as PeerId, encodeReport(request?.frame?.sequence as number, "no-link"));
    expect(of([...out, ...report(first)], "route")).toEqual([]);
    const [envelope] = of(report(last), "route");
    expect(envelope?.to).toBe(id(3));
    const frame = decodeProbeFrame(envelope?.bytes as Uint8Array);
    agent.do({ type: "routed", from: id(3), bytes: encodeProbe("answer", frame?.sequence as number) });
    const later = agent.pass(1_000);
    expect(of(later, "event").filter(({ peer }) => peer === id(3))).toEqual([]);
  });

  test("of a member that nobody else sees leads to an accusation, but never a failed dial alone", () => {
    const lost = new Agent({ members: 1 });
    lost.link(id(1));
    lost.do({ type: "link-down", peer: id(1), deliberate: false });
    expect(of(lost.pass(1_000), "event").map(({ event }) => event)).toEqual(["suspect"]);
    const never = new Agent({ members: 1 });
    expect(of(never.pass(50_000), "event")).toEqual([]);
    expect(of(never.pass(15_000), "event").map(({ event }) => event)).toContain("suspect");
  });
});

test("a neighbour that has just restarted is given time for its links", () => {
  const agent = new Agent({ members: 1 });
  agent.link(id(1));
  for (let tick = 0; tick < 140; tick++) answer(agent, agent.pass(500), id(1));
  agent.do({ type: "link-down", peer: id(1), deliberate: true });
  agent.deliver(recordPayload(id(1), { boot: 2 }));
  expect(of(agent.pass(50_000), "event")).toEqual([]);
  expect(of(agent.pass(15_000), "event").map(({ event }) => event)).toContain("suspect");
});

test("a link to the start before is no evidence against the start after", () => {
  const agent = new Agent({ members: 1 });
  agent.link(id(1));
  for (let tick = 0; tick < 140; tick++) answer(agent, agent.pass(500), id(1));
  agent.deliver(recordPayload(id(1), { boot: 2 }));
  expect(of(agent.pass(50_000), "event")).toEqual([]);
});

test("a link whose peer answers suspicions elsewhere is no evidence until it speaks again", () => {
  const agent = new Agent({ members: 1 });
  agent.link(id(1));
  for (let tick = 0; tick < 20; tick++) answer(agent, agent.pass(500), id(1));
  const accused = of(agent.pass(2_000), "broadcast").map(({ bytes }) => decodePayload(bytes, new RecordShelf()));
  expect(accused.length).toBe(1);
  const [first] = accused;
  if (first?.type !== "suspicion") throw new Error("expected a suspicion");
  const body = encodeRefutation(first.suspicion.idBytes, id(1), 1, 0);
  agent.deliver(encodePayload("refutation", { body, signature: SIGNATURE }));
  expect(of(agent.pass(30_000), "broadcast")).toEqual([]);
});

test("a lost link is held against its peer once, and not again after it has answered elsewhere", () => {
  const agent = new Agent({ members: 1 });
  agent.link(id(1));
  agent.do({ type: "link-down", peer: id(1), deliberate: false });
  const [first] = of(agent.pass(1_000), "broadcast").map(({ bytes }) => decodePayload(bytes, new RecordShelf()));
  if (first?.type !== "suspicion") throw new Error("expected a suspicion");
  const body = encodeRefutation(first.suspicion.idBytes, id(1), 1, 0);
  agent.deliver(encodePayload("refutation", { body, signature: SIGNATURE }));
  expect(agent.state(id(1))).toBe("alive");
  expect(of(agent.pass(120_000), "broadcast")).toEqual([]);
});

test("a neighbour that helpers have reached is not accused for the link that never came about", () => {
  const accusations = (reached: boolean): number => {
    const agent = new Agent({ members: 2 });
    agent.link(id(1));
    let seen = reached;
    let accused = 0;
    for (let step = 0; step < 800; step++) {
      const out = agent.pass(100);
      answer(agent, out, id(1));
      accused += events(out).filter((event) => event.includes("suspect")).length;
      for (const { peer, frame } of probes(out)) {
        if (frame?.type !== "request") continue;
        say(agent, peer, encodeReport(frame.sequence, seen ? "reached" : "no-link"));
        seen = false;
      }
    }
    return accused;
  };
  expect(accusations(false)).toBeGreaterThan(0);
  expect(accusations(true)).toBe(0);
});

test("a newcomer that nobody has a link with yet is looked for by envelope only when its silence would prove something", () => {
  const agent = new Agent({ members: 2, routing: true });
  agent.link(id(1));
  const noLink = (out: readonly MembershipOutput[]): MembershipOutput[] =>
    probes(out).flatMap(({ peer, frame }) => {
      if (frame?.type === "request") return say(agent, peer, encodeReport(frame.sequence, "no-link"));
      return frame?.type === "probe" ? say(agent, peer, encodeProbe("answer", frame.sequence)) : [];
    });
  const envelopesWithin = (ms: number): unknown[] => {
    const all: MembershipOutput[] = [];
    for (let waited = 0; waited < ms; waited += 100) {
      const out = agent.pass(100);
      all.push(...out, ...noLink(out));
    }
    return of(all, "route");
  };
  expect(envelopesWithin(ROUTED_UNPROVEN_MS - 1_000)).toEqual([]);
  expect(envelopesWithin(5_000)).not.toEqual([]);
});

test("a routed probe is answered by envelope", () => {
  const agent = new Agent({ members: 2, routing: true });
  expect(agent.do({ type: "routed", from: id(2), bytes: encodeProbe("probe", 3) })).toEqual([
    { type: "route", to: id(2), bytes: encodeProbe("answer", 3) },
  ]);
});

test("a late answer is evidence of a stall, and makes the next time-outs longer", () => {
  const agent = new Agent({ members: 1 });
  agent.link(id(1));
  // A link that is no longer new: its probes up to here are answered.
  for (let waited = 0; waited < WARM_UP_MS; waited += 500) {
    for (const { frame } of probes(agent.pass(500)))
      say(agent, id(1), encodeProbe("answer", frame?.sequence as number));
  }
  const [first] = probes(agent.pass(500));
  expect(probes(agent.pass(300)).length, "given up after 250 ms, and tried three times").toBe(3);
  agent.pass(700);
  say(agent, id(1), encodeProbe("answer", first?.frame?.sequence as number));
  expect(probes(agent.pass(1_200)).length, "waited for").toBe(1);
  expect(probes(agent.pass(700)).length, "given up in the end").toBeGreaterThan(1);
});

test("all links silent means that we are isolated, once", () => {
  const agent = new Agent({ members: 3 });
  agent.link(id(1), id(2), id(3));
  const out = agent.pass(5_000);
  expect(of(out, "isolated").length).toBe(1);
  expect(new Set(of(out, "link-silent").map(({ peer }) => peer))).toEqual(new Set([id(1), id(2), id(3)]));
});

test("a probe lane that says nonsense, or too much, is at fault", () => {
  const agent = new Agent({ members: 2 });
  agent.link(id(1));
  expect(faults(say(agent, id(1), new Uint8Array([9, 9])))).toEqual(["malformed"]);
  const flood = Array.from({ length: 100 }, (_, sequence) => say(agent, id(1), encodeProbe("probe", sequence))).flat();
  expect(of(flood, "send").length).toBe(64);
  expect(faults(flood).length).toBe(36);
  const requests = Array.from({ length: 100 }, (_, sequence) =>
    say(agent, id(1), encodeRequest(sequence, id(2))),
  ).flat();
  expect(faults(requests).length).toBe(36);
});

test("frames from a peer without a link are ignored", () => {
  const agent = new Agent({ members: 2 });
  expect(say(agent, id(1), encodeProbe("probe", 1))).toEqual([]);
});

test("an agent that was stopped holds nothing against those it had asked before", () => {
  const agent = new Agent({ members: 3 });
  agent.link(id(1), id(2), id(3));
  agent.pass(500);
  agent.now += 20_000;
  const out = agent.do({ type: "timeout" });
  expect(of(out, "event")).toEqual([]);
  expect(probes(out)).toEqual([]);
  expect(agent.machine.statistics().health).toBe(2);
});

test("a member that is down is not probed, and one that a stale record names is found out in time", () => {
  const agent = new Agent();
  agent.do({ type: "introduced", standing: "remembered", records: [recordPayload(id(1))] });
  expect(agent.state(id(1))).toBe("down");
  expect(probes(agent.pass(5_000))).toEqual([]);
});

test("a member counts as settled once both it and we have been there for ten seconds", () => {
  const agent = new Agent({ members: 1 });
  agent.link(id(1));
  expect(agent.machine.isSettled(id(1), agent.now)).toBe(false);
  agent.pass(SETTLING_MS);
  expect(agent.machine.isSettled(id(1), agent.now)).toBe(true);
  agent.deliver(recordPayload(id(2)), id(1));
  expect(agent.machine.isSettled(id(2), agent.now)).toBe(false);
  expect(agent.machine.isSettled(id(3), agent.now), "a stranger").toBe(false);
});
