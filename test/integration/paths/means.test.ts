import { expect, test, vi } from "vitest";
import { Paths } from "../../../src/agent/paths.ts";
import { customStacks, type Stacks } from "../../../src/agent/stacks.ts";
import type { Rung } from "../../../src/proto/negotiation/plan.ts";
import type { RtcConnection, RtcEvent, RtcOptions } from "../../../src/proto/negotiation/rtc.ts";
import { peerIdOf } from "../../../src/proto/peer-id.ts";
import { SeededRandom } from "../../../src/proto/random.ts";
import type { RtcStack } from "../../../src/rtc.ts";

/** What a plan means for an agent: which stack, which servers; and what is learned from a connection. No stack, no network. */

const PEER = peerIdOf(new Uint8Array(32));
/** The lower id, which is the one that tries. */
const SELF = peerIdOf(new Uint8Array(32).fill(7));
const turn = (urls: string) => ({ urls, username: "me", credential: "hush" });
const SERVERS = [
  { urls: ["stun:a.example", "stun:b.example"] },
  turn("turn:c.example"),
  turn("turn:c.example?transport=tcp"),
];

interface Made {
  readonly stack: string;
  readonly options: RtcOptions;
  readonly notify: (event: RtcEvent) => void;
  readonly connection: RtcConnection;
}

function lab(kind: "both" | "custom" | "native only", servers: typeof SERVERS | [] = SERVERS) {
  const made: Made[] = [];
  const fake = (name: string): RtcStack => ({
    name,
    maxFrameBytes: 65_536,
    connect: (options, notify) => {
      const connection = { close: () => undefined, selectedPair: () => undefined } as never;
      made.push({ stack: name, options, notify, connection });
      return connection;
    },
    close: async () => undefined,
  });
  const best = fake("native");
  const stacks: Stacks =
    kind === "custom"
      ? customStacks(best)
      : {
          best,
          streams: kind === "both" ? fake("werift") : undefined,
          warm: () => undefined,
          isCustom: false,
          close: async () => undefined,
        };
  let now = 0;
  const renewals: string[] = [];
  const network = { extraAddresses: ["127.0.0.1"], announce: ["203.0.113.9"], portRange: [50_000, 50_010] } as const;
  const paths = new Paths(
    { trust: { id: SELF }, random: new SeededRandom(1), stacks, iceServers: servers, network, now: () => now },
    { ask: () => undefined, renew: (peer, reason) => renewals.push(`${reason} ${peer === PEER}`) },
  );
  const heard: RtcEvent[] = [];
  const connect = (rung: Rung) => {
    paths.connect({ rung, policy: "all" }, true, (event) => heard.push(event));
    return made.at(-1) as Made;
  };
  return { paths, made, heard, connect, renewals, at: (ms: number) => (now = ms) };
}

const urlsOf = ({ options }: Made): unknown[] => options.iceServers.map(({ urls }) => urls);
const DESCRIPTION: RtcEvent = { type: "description", kind: "offer", sdp: "v=0" };

test("UDP is for the best stack with one STUN and one TURN server, TCP for the one that can, without STUN", () => {
  const { connect } = lab("both");
  const direct = connect("udp");
  expect([direct.stack, urlsOf(direct)]).toEqual(["native", ["stun:a.example", "turn:c.example"]]);
  expect(direct.options).toMatchObject({ extraAddresses: ["127.0.0.1"], portRange: [50_000, 50_010] });
  const stream = connect("tcp");
  expect([stream.stack, urlsOf(stream)]).toEqual(["werift", ["turn:c.example?transport=tcp"]]);
});

test("on a rung for which there is no server of ours we come as if over UDP", () => {
  const made = lab("both").connect("tls");
  expect([made.stack, urlsOf(made)]).toEqual(["native", ["stun:a.example", "turn:c.example"]]);
});

test("a stack of the application's own gets every server and one plan", () => {
  const { paths, connect } = lab("custom");
  expect(paths.ladder(PEER, false).map(({ rung }) => rung)).toEqual(["udp"]);
  expect(connect("udp").options.iceServers).toEqual(SERVERS);
});

test("an agent that may use the native stack only has one rung", () => {
  const { paths, connect } = lab("native only");
  expect(paths.ladder(PEER, false).map(({ rung }) => rung)).toEqual(["udp"]);
  expect(connect("tcp").stack).toBe("native");
});

test("the ladder has the rungs that there are servers for, and begins where the last dial ended", () => {
  const { paths } = lab("both");
  expect(paths.ladder(PEER, false).map(({ rung }) => rung)).toEqual(["udp", "tcp"]);
  const rounds = [{ role: "dialer", rung: "tcp", tookMs: 1, local: [], remote: [] }] as const;
  paths.ended(PEER, { ok: true, attempt: 1, role: "dialer", rung: "tcp" }, rounds);
  expect(paths.ladder(PEER, false).map(({ rung }) => rung)).toEqual(["tcp", "udp"]);
  expect(paths.trace(PEER)).toMatchObject({ at: 0, rounds });
});

test("one dial in which no server answered lets the next ones to anybody begin with TCP", () => {
  const { paths } = lab("both");
  const failure = { stage: "ice", reason: "no-udp" } as const;
  const rounds = [{ role: "dialer", rung: "udp", tookMs: 800, local: [], remote: [], failure }] as const;
  paths.ended(PEER, { ok: false, failure }, rounds);
  expect(paths.ladder(peerIdOf(new Uint8Array(32).fill(8)), false)[0]?.rung).toBe("tcp");
});

test("a server that a connection heard nothing of is passed over by the next one", () => {
  const { connect, at } = lab("both");
  const silent = connect("udp");
  at(10);
  silent.notify(DESCRIPTION);
  at(900);
  silent.notify({ type: "closed", reason: "no-udp" });
  expect(urlsOf(connect("udp"))).toEqual(["stun:b.example", "turn:c.example"]);
});

test("a connection that ended at once, or heard of a server, says nothing against it", () => {
  const { connect, at } = lab("both");
  const quick = connect("udp");
  at(10);
  quick.notify(DESCRIPTION);
  at(100);
  quick.notify({ type: "closed", reason: "closed here" });
  const heard = connect("udp");
  heard.notify(DESCRIPTION);
  at(150);
  const reflexive = "candidate:1 1 udp 1 198.51.100.1 4000 typ srflx raddr 10.0.0.1 rport 4000";
  heard.notify({ type: "candidate", candidate: reflexive, mid: "0" });
  at(9_000);
  heard.notify({ type: "closed", reason: "closed here" });
  // The other one has never been asked; a, which is known, would be next.
  expect(urlsOf(connect("udp"))).toEqual(["stun:b.example", "turn:c.example"]);
  const second = connect("udp");
  second.notify(DESCRIPTION);
  at(10_000);
  second.notify({ type: "closed", reason: "no-udp" });
  expect(urlsOf(connect("udp"))[0]).toBe("stun:a.example");
});

test("announced addresses go to the peer beside our own", () => {
  const { connect, heard } = lab("both");
  const made = connect("udp");
  made.notify({ type: "candidate", candidate: "candidate:1 1 udp 1 192.0.2.7 50003 typ host", mid: "0" });
  expect(heard.map((event) => event.type === "candidate" && event.candidate.split(" ")[4])).toEqual([
    "192.0.2.7",
    "203.0.113.9",
  ]);
});

/** A connection whose pair has these kinds. */
function carrying(made: Made, local: "host" | "relay", remote: "host" | "relay"): Made {
  const summary = (kind: "host" | "relay") => ({ kind, address: "192.0.2.1:1" });
  Object.assign(made.connection, { selectedPair: () => ({ local: summary(local), remote: summary(remote) }) });
  return made;
}

test("a relayed link is tried directly while it stands: without TURN servers, once, and by the fastest stack", () => {
  vi.useFakeTimers();
  try {
    const { paths, connect, renewals, at } = lab("both");
    const made = carrying(connect("udp"), "relay", "relay");
    paths.linked(PEER, made.connection);
    at(10_000);
    vi.advanceTimersByTime(10_000);
    expect(renewals).toEqual(["better-path true"]);
    expect(paths.ladder(PEER, true)).toMatchObject([{ rung: "direct", rounds: 1 }]);
    expect(paths.ladder(PEER, false)[0]?.rung).toBe("udp");
    expect([connect("direct").stack, urlsOf(connect("direct"))]).toEqual(["native", ["stun:a.example"]]);
    paths.linked(PEER, carrying(connect("direct"), "host", "host").connection);
    expect(paths.ladder(PEER, true)[0]?.rung).toBe("udp");
    at(500_000);
    vi.advanceTimersByTime(490_000);
    expect(renewals).toHaveLength(1);
    paths.close();
  } finally {
    vi.useRealTimers();
  }
});

test("a link is made anew before the TURN credential ends by which this side is relayed", () => {
  vi.useFakeTimers();
  try {
    const { paths, connect, renewals, at } = lab("both", []);
    paths.granted(
      "wss://a.example",
      [{ urls: ["turn:z.example"], username: "u", credential: "c", expiresAt: 3_600_000 }],
      0,
    );
    const made = connect("udp");
    expect(urlsOf(made)).toEqual(["turn:z.example"]);
    expect(JSON.stringify(made.options.iceServers)).not.toContain("expiresAt");
    paths.linked(PEER, carrying(made, "relay", "host").connection);
    at(3_000_000);
    vi.advanceTimersByTime(3_000_000);
    expect(renewals).toContain("credential true");
    paths.close();
  } finally {
    vi.useRealTimers();
  }
});
