import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SeededRandom } from "../../../src/proto/random.ts";
import { backoffLimits, backoffMs } from "../../../src/proto/signaling/backoff.ts";
import type { SignalingInput } from "../../../src/proto/signaling/client-events.ts";
import { ClockSkew } from "../../../src/proto/signaling/clock-skew.ts";
import { loginBody, loginStatement } from "../../../src/proto/signaling/login.ts";
import type { LoginProof, ServerMessage } from "../../../src/proto/signaling/messages.ts";
import { encodeServerMessage } from "../../../src/proto/signaling/server-messages.ts";
import { Agent, alice, bob, desk, member, nonce, sealed, signature } from "./client-agent.ts";
import { CLUSTER, DAY, instanceOf, SERVER, START } from "./rooms-harness.ts";

describe("a client", () => {
  test("connects at once and logs in", () => {
    const agent = new Agent();
    expect(agent.client.deadline()).toBeLessThanOrEqual(START);
    expect(agent.handle({ type: "timeout" })).toEqual([{ type: "connect", attempt: 1 }]);
    expect(agent.client.state).toBe("connecting");
    expect(agent.handle({ type: "opened", attempt: 1 })).toEqual([
      { say: { type: "hello", cluster: CLUSTER, peer: alice, instance: instanceOf(1), serverName: SERVER } },
    ]);
    agent.now += 40;
    expect(agent.challenge(START + 1_020)).toEqual([
      { type: "skew", skewMs: 1_000, uncertaintyMs: 20 },
      {
        type: "sign",
        label: "starling/login/1",
        body: loginBody(CLUSTER, alice, { nonce, serverName: SERVER, instance: instanceOf(1), at: START + 40 }),
        resume: { attempt: 1, at: START + 40 },
      },
    ]);
    expect(agent.handle({ type: "signed", signature, resume: { attempt: 1, at: START + 40 } })).toEqual([
      { say: { type: "login", at: START + 40, signature, token: "held" } },
    ]);
    expect(agent.welcome()).toEqual([
      {
        type: "ready",
        expiresAt: START + 40 + DAY,
        issuers: new Uint8Array([9]),
        introductions: [new Uint8Array([1])],
        iceServers: [],
      },
    ]);
    expect(agent.client.state).toBe("ready");
  });

  test("sends its hello along with the request, and is silent where that was taken", () => {
    const agent = new Agent();
    agent.handle({ type: "timeout" });
    const hello = { type: "hello", cluster: CLUSTER, peer: alice, instance: instanceOf(1), serverName: SERVER };
    expect(agent.hello).toEqual(hello);
    agent.now += 100;
    expect(agent.handle({ type: "opened", attempt: 1, heard: true })).toEqual([]);
    // The server read its clock at some time since the request, not since the WebSocket was open.
    expect(agent.challenge(START + 1_050)).toMatchObject([
      { type: "skew", skewMs: 1_000, uncertaintyMs: 50 },
      { type: "sign", label: "starling/login/1" },
    ]);
  });

  test("signs for no server but its own", () => {
    const agent = new Agent();
    agent.pass(0);
    agent.handle({ type: "opened", attempt: 1 });
    expect(agent.challenge(START, "other.example")).toMatchObject([
      { type: "fault", fault: "foreign-challenge" },
      { type: "disconnect", attempt: 1 },
      { type: "offline", reason: "fault" },
    ]);
  });

  test("presents its record after every login and whenever it changes", () => {
    const agent = new Agent();
    expect(agent.handle({ type: "present", record: new Uint8Array([1]) })).toEqual([]);
    agent.challenged();
    agent.signed();
    expect(agent.welcome()).toMatchObject([
      { say: { type: "present", record: new Uint8Array([1]) } },
      { type: "ready" },
    ]);
    expect(agent.handle({ type: "present", record: new Uint8Array([2]) })).toEqual([
      { say: { type: "present", record: new Uint8Array([2]) } },
    ]);
  });

  test("sends signals while it is ready and gives them back at once while it is not", () => {
    const agent = new Agent();
    const signal = { type: "signal", to: bob, bytes: new Uint8Array([1]), id: 4 } as const;
    expect(agent.handle(signal)).toEqual([{ type: "undelivered", to: bob, id: 4, reason: "offline" }]);
    agent.challenged();
    expect(agent.handle(signal)).toEqual([{ type: "undelivered", to: bob, id: 4, reason: "offline" }]);
    agent.signed();
    agent.welcome();
    expect(agent.handle(signal)).toEqual([{ say: signal }]);
    expect(agent.hear({ type: "undelivered", to: bob, id: 4, reason: "absent" })).toEqual([
      { type: "undelivered", to: bob, id: 4, reason: "absent" },
    ]);
    expect(agent.hear({ type: "signal", from: bob, bytes: new Uint8Array([2]) })).toEqual([
      { type: "signal", from: bob, bytes: new Uint8Array([2]) },
    ]);
  });

  test("asks for STUN and TURN servers, not while it is away, and hands up what is granted", () => {
    expect(new Agent().handle({ type: "ice" })).toEqual([]);
    const agent = new Agent().ready();
    expect(agent.handle({ type: "ice" })).toEqual([{ say: { type: "ice" } }]);
    const granted = { type: "granted", iceServers: [{ urls: ["stun:s.example"] }] } as const;
    expect(agent.hear(granted)).toEqual([granted]);
  });

  test("asks for introductions and renewals, and knows the renewed token", () => {
    const agent = new Agent().ready();
    expect(agent.handle({ type: "introduce", count: 3 })).toEqual([{ say: { type: "introduce", count: 3 } }]);
    expect(agent.hear({ type: "introductions", records: [] })).toEqual([{ type: "introduced", records: [] }]);
    expect(agent.hear({ type: "expiring", expiresAt: START })).toEqual([{ type: "expiring", expiresAt: START }]);
    expect(agent.handle({ type: "renew", token: "held" })).toEqual([{ say: { type: "renew", token: "held" } }]);
    agent.hear({ type: "renewed", token: "fresh", expiresAt: START + 2 * DAY, iceServers: [] });
    agent.handle({ type: "closed", attempt: 1, reason: "" });
    agent.pass(30_000);
    agent.handle({ type: "opened", attempt: agent.attempt });
    agent.challenge();
    expect(agent.signed()).toMatchObject([{ say: { token: "fresh" } }]);
  });

  test("cannot renew where it is not connected", () => {
    expect(new Agent().handle({ type: "renew", token: "held" })).toMatchObject([
      { type: "unrenewed", code: "unavailable" },
    ]);
  });

  test("leaves with a goodbye, and for good", () => {
    const agent = new Agent().ready();
    expect(agent.handle({ type: "leave" })).toEqual([{ say: { type: "goodbye" } }, { type: "disconnect", attempt: 1 }]);
    expect(agent.client.deadline()).toBeUndefined();
    expect(agent.handle({ type: "nudge" })).toEqual([]);
    expect(agent.handle({ type: "credential", credential: member })).toEqual([]);
    expect(agent.client.state).toBe("stopped");
  });
});

describe("a lost server", () => {
  test("that falls silent is found out within 15 s of its last word", () => {
    const agent = new Agent().ready();
    const before = agent.now;
    expect(agent.pass(6_000)).toEqual([{ say: { type: "time", id: 1 } }]);
    expect(agent.pass(5_999)).toEqual([]);
    expect(agent.pass(1)).toMatchObject([{ type: "disconnect" }, { type: "offline", reason: "timed-out" }]);
    expect(agent.now - before).toBeLessThan(15_000);
  });

  test("is not lost as long as it says anything, even if it owes an answer", () => {
    const agent = new Agent().ready();
    expect(agent.pass(6_500)).toEqual([{ say: { type: "time", id: 1 } }]);
    for (let round = 0; round < 30; round++) {
      agent.hear({ type: "introductions", records: [] });
      expect(agent.pass(5_900)).toEqual([]);
    }
    expect(agent.client.state).toBe("ready");
    expect(agent.pass(100)).toMatchObject([{ type: "disconnect" }, { type: "offline", reason: "timed-out" }]);
  });

  test("is tried again after waits that grow to half a minute and differ between agents", () => {
    const agent = new Agent();
    const waits: number[] = [];
    for (let failure = 0; failure < 40; failure++) {
      agent.pass(0);
      const [seen] = agent.handle({ type: "closed", attempt: agent.attempt, reason: "connection refused" });
      if (seen === undefined || !("retryAt" in seen)) throw new Error("no retry");
      waits.push(seen.retryAt - agent.now);
      agent.pass(seen.retryAt - agent.now);
    }
    expect(waits[0]).toBeLessThan(500);
    expect(Math.max(...waits)).toBeLessThan(30_000);
    expect(Math.max(...waits)).toBeGreaterThan(15_000);
    const others = Array.from({ length: 1_000 }, (_, seed) => backoffMs(5_000, new SeededRandom(seed)));
    const mean = others.reduce((sum, wait) => sum + wait, 0) / others.length;
    expect(mean / (backoffLimits.firstMs + 5_000 * backoffLimits.growth)).toBeCloseTo(0.5, 1);
  });

  test("for two seconds has all of ten thousand back within 7 s of its return, and no second sees more than half of them", () => {
    const outageMs = 2_000;
    const returns = Array.from({ length: 10_000 }, (_, seed) => {
      const random = new SeededRandom(seed);
      let lostForMs = 0;
      while (lostForMs < outageMs) lostForMs += backoffMs(lostForMs, random);
      return lostForMs - outageMs;
    });
    const perSecond = Array.from(
      { length: 7 },
      (_, second) => returns.filter((at) => Math.floor(at / 1_000) === second).length,
    );
    expect(Math.max(...returns)).toBeLessThan(7_000);
    expect(Math.max(...perSecond)).toBeLessThan(5_000);
  });

  test("makes nobody wait longer than three times as long as it was away, however often that was tried", () => {
    for (let seed = 0; seed < 200; seed++) {
      const agent = new Agent(member, seed);
      const lostAt = agent.now;
      while (agent.now - lostAt < 2_000) {
        agent.pass(0);
        const [seen] = agent.handle({ type: "closed", attempt: agent.attempt, reason: "connection refused" });
        if (seen === undefined || !("retryAt" in seen)) throw new Error("no retry");
        expect(seen.retryAt - agent.now).toBeLessThan(500 + 3 * (agent.now - lostAt));
        agent.pass(seen.retryAt - agent.now);
      }
    }
  });

  test("that held for half a minute is tried again as if nothing had been", () => {
    const waitAfter = (healthyMs: number) => {
      const agent = new Agent();
      for (let failure = 0; failure < 12; failure++) {
        agent.handle({ type: "closed", attempt: agent.attempt, reason: "" });
        agent.pass(30_000);
      }
      agent.handle({ type: "opened", attempt: agent.attempt });
      agent.challenge();
      agent.signed();
      agent.welcome();
      for (let waited = 0; waited < healthyMs; waited += 5_000) {
        agent.pass(5_000);
        agent.hear({ type: "introductions", records: [] });
      }
      const seen = agent.handle({ type: "closed", attempt: agent.attempt, reason: "" });
      return seen.flatMap((output) => ("retryAt" in output ? [output.retryAt - agent.now] : []))[0] ?? 0;
    };
    expect(waitAfter(30_000)).toBeLessThan(500);
    expect(waitAfter(25_000)).toBeGreaterThan(500);
  });

  test.each([
    ["to open", 10_000, (agent: Agent) => agent.pass(0)],
    [
      "to challenge",
      5_000,
      (agent: Agent) => {
        agent.pass(0);
        agent.handle({ type: "opened", attempt: 1 });
      },
    ],
    ["while the challenge is signed", 15_000, (agent: Agent) => agent.challenged()],
    [
      "to welcome",
      15_000,
      (agent: Agent) => {
        agent.challenged();
        agent.signed();
      },
    ],
  ])("is not waited for without end: %s", (_name, ms, prepare) => {
    const agent = new Agent();
    prepare(agent);
    expect(agent.pass(ms - 1)).toEqual([]);
    expect(agent.pass(1)).toMatchObject([{ type: "disconnect" }, { type: "offline", reason: "timed-out" }]);
  });

  test("is asked again at once when the network has changed", () => {
    const agent = new Agent().ready();
    expect(agent.handle({ type: "nudge" })).toEqual([{ say: { type: "time", id: 1 } }]);
    expect(agent.handle({ type: "nudge" })).toEqual([]);
    agent.handle({ type: "closed", attempt: 1, reason: "" });
    expect(agent.handle({ type: "nudge" })).toEqual([{ type: "connect", attempt: 2 }]);
  });

  test("has two seconds to answer when the network is in doubt", () => {
    const agent = new Agent().ready();
    agent.handle({ type: "nudge" });
    expect(agent.pass(1_999)).toEqual([]);
    expect(agent.pass(1)).toMatchObject([{ type: "disconnect" }, { type: "offline", reason: "timed-out" }]);
  });

  test("has no say once it is lost: what still comes of an old connection is ignored", () => {
    const agent = new Agent().ready();
    agent.pass(12_000);
    agent.pass(30_000);
    const attempt = 1;
    const bytes = encodeServerMessage({ type: "signal", from: bob, bytes: new Uint8Array(1) });
    expect(agent.handle({ type: "received", attempt, bytes })).toEqual([]);
    expect(agent.handle({ type: "closed", attempt, reason: "" })).toEqual([]);
    expect(agent.handle({ type: "opened", attempt })).toEqual([]);
    expect(agent.handle({ type: "signed", signature, resume: { attempt, at: START } })).toEqual([]);
  });

  test("that goes away on purpose is left, and come back to no sooner than it asks", () => {
    const agent = new Agent().ready();
    expect(agent.hear({ type: "going-away", reconnectAfterMs: 2_000 })).toMatchObject([
      { type: "disconnect" },
      { type: "offline", reason: "going-away" },
    ]);
    expect(agent.pass(1_999)).toEqual([]);
    expect(agent.pass(60_000)).toContainEqual({ type: "connect", attempt: 2 });
  });

  test("cannot send its agents away for ever", () => {
    const agent = new Agent().ready();
    agent.hear({ type: "going-away", reconnectAfterMs: Number.MAX_SAFE_INTEGER });
    // A minute, and the longest wait for a server that has been away that long.
    expect(agent.pass(91_000)).toContainEqual({ type: "connect", attempt: 2 });
  });

  test("that goes away on purpose with a thousand has all of them back within 5 s, four in ten at most in one second", () => {
    const returns = Array.from({ length: 1_000 }, (_, seed) => {
      const agent = new Agent(member, seed).ready();
      const said = agent.hear({ type: "going-away", reconnectAfterMs: 1_000 });
      const offline = said.find((output) => "retryAt" in output);
      return offline !== undefined && "retryAt" in offline ? offline.retryAt - agent.now : Number.NaN;
    });
    const perSecond = Array.from(
      { length: 5 },
      (_, second) => returns.filter((at) => Math.floor(at / 1_000) === second).length,
    );
    expect(Math.max(...returns)).toBeLessThan(5_000);
    expect(Math.max(...perSecond)).toBeLessThan(400);
  });
});

describe("a refusal", () => {
  test.each(["full", "rate-limited", "unavailable", "token-not-yet-valid", "login-timeout"] as const)(
    "for %s is tried again",
    (code) => {
      const agent = new Agent();
      agent.challenged();
      agent.signed();
      expect(agent.hear({ type: "refused", code, detail: "" })).toMatchObject([
        { type: "disconnect" },
        { type: "offline", reason: "refused", code },
      ]);
    },
  );

  test.each(["token-revoked", "cluster-unknown", "token-used", "server-name", "version"] as const)(
    "for %s is final, says how far the clocks differ, and ends with another credential or a nudge",
    (code) => {
      const agent = new Agent();
      agent.challenged(START + 90_000);
      agent.signed();
      expect(agent.hear({ type: "refused", code, detail: "why" })).toEqual([
        { type: "disconnect", attempt: 1 },
        { type: "stopped", reason: code, detail: "why", skewMs: 90_000 },
      ]);
      expect(agent.pass(DAY)).toEqual([]);
      expect(agent.handle({ type: "credential", credential: member })).toEqual([{ type: "connect", attempt: 2 }]);
    },
  );
});

describe("a fenced client", () => {
  const rival: LoginProof = { nonce, serverName: "10.0.0.1:7000", instance: instanceOf(2), at: START + 1, signature };

  test("stops for good once it is proved that another agent holds its key", () => {
    const agent = new Agent().ready();
    expect(agent.hear({ type: "fenced", rival })).toMatchObject([
      {
        type: "verify",
        from: alice,
        statements: [loginStatement(CLUSTER, alice, rival)],
        resume: "fenced",
      },
      { type: "disconnect" },
      { type: "offline", reason: "fenced" },
    ]);
    expect(agent.handle({ type: "verified", resume: "fenced" })).toMatchObject([
      { type: "stopped", reason: "identity-in-use" },
    ]);
    expect(agent.client.deadline()).toBeUndefined();
    expect(agent.handle({ type: "nudge" })).toEqual([]);
    expect(agent.handle({ type: "credential", credential: member })).toEqual([]);
  });

  test("comes back when the proof does not hold, and gives the check time before", () => {
    const agent = new Agent().ready();
    agent.hear({ type: "fenced", rival });
    expect(agent.pass(4_999)).toEqual([]);
    expect(agent.pass(5_000)).toContainEqual({ type: "connect", attempt: 2 });
    // The proof may come late all the same.
    expect(agent.handle({ type: "verified", resume: "fenced" })).toMatchObject([
      { type: "disconnect", attempt: 2 },
      { type: "stopped", reason: "identity-in-use" },
    ]);
  });

  test("does not believe a login of its own earlier run", () => {
    const agent = new Agent().ready();
    expect(agent.hear({ type: "fenced", rival: { ...rival, at: START - 1 } })).toMatchObject([
      { type: "fault", fault: "false-fence" },
      { type: "disconnect" },
      { type: "offline", reason: "fault" },
    ]);
  });

  test("does not stop for its own other connection to the same server, and does not fight it", () => {
    const agent = new Agent().ready();
    const seen = agent.hear({ type: "fenced", rival: { ...rival, instance: instanceOf(1) } });
    expect(seen).toMatchObject([{ type: "disconnect" }, { type: "offline", reason: "fenced" }]);
    expect(agent.pass(60_000)).toEqual([]);
    expect(agent.pass(1_000)).toContainEqual({ type: "connect", attempt: 2 });
  });
});

describe("a bad server", () => {
  const malformed = (agent: Agent) =>
    agent.handle({ type: "received", attempt: agent.attempt, bytes: new Uint8Array([1]) });

  test("that sends what is no message is left", () => {
    expect(malformed(new Agent().ready())).toMatchObject([
      { type: "fault", fault: "malformed" },
      { type: "disconnect" },
      { type: "offline", reason: "fault" },
    ]);
  });

  test("that speaks out of turn is left", () => {
    const unexpected = [{ type: "fault", fault: "unexpected" }, { type: "disconnect" }, { type: "offline" }];
    const agent = new Agent();
    agent.challenged();
    expect(agent.hear({ type: "signal", from: bob, bytes: new Uint8Array(1) })).toMatchObject(unexpected);
    const other = new Agent();
    other.challenged();
    expect(other.welcome()).toMatchObject(unexpected);
    expect(new Agent().ready().challenge()).toMatchObject(unexpected);
  });

  test("that floods is left", () => {
    const agent = new Agent().ready();
    const seen = Array.from({ length: 1_200 }, () => agent.hear({ type: "introductions", records: [] })).flat();
    expect(seen).toContainEqual({ type: "fault", fault: "flood" });
  });

  test("never makes the client throw, nor leaves it without a deadline", () => {
    const act: fc.Arbitrary<SignalingInput | { type: "pass"; ms: number }> = fc.oneof(
      fc.record({ type: fc.constant("pass" as const), ms: fc.nat(20_000) }),
      fc.record({ type: fc.constant("opened" as const), attempt: fc.nat(5) }),
      fc.record({ type: fc.constant("closed" as const), attempt: fc.nat(5), reason: fc.string() }),
      fc.record({
        type: fc.constant("received" as const),
        attempt: fc.nat(5),
        bytes: fc.oneof(
          fc.uint8Array({ maxLength: 30 }),
          fc
            .constantFrom<ServerMessage>(
              { type: "challenge", version: 1, nonce, serverName: SERVER, serverTime: START, desks: [] },
              { type: "exchanged", bytes: sealed },
              { type: "asked", id: 3, bytes: sealed },
              { type: "time", id: 1, serverTime: START },
              { type: "refused", code: "full", detail: "" },
              { type: "going-away", reconnectAfterMs: 5 },
              { type: "welcome", expiresAt: START, issuers: nonce, introductions: [], iceServers: [] },
              { type: "fenced", rival: { nonce, serverName: "s", instance: instanceOf(1), at: START, signature } },
            )
            .map(encodeServerMessage),
        ),
      }),
      fc.record({
        type: fc.constant("signed" as const),
        signature: fc.constant(signature),
        resume: fc.record({ attempt: fc.nat(5), at: fc.constant(START) }),
      }),
      fc.record({
        type: fc.constantFrom("request" as const),
        attempt: fc.nat(5),
        kid: fc.constant("kid"),
        bytes: fc.constant(sealed),
      }),
      fc.record({ type: fc.constantFrom("no-desk" as const), attempt: fc.nat(5), detail: fc.constant("none") }),
      fc.record({
        type: fc.constantFrom("unsealed" as const),
        attempt: fc.nat(5),
        answer: fc.constantFrom(
          { ok: true, token: "issued", expiresAt: START + DAY } as const,
          { ok: false, code: "unavailable", detail: "" } as const,
        ),
      }),
      fc.constantFrom<SignalingInput>(
        { type: "nudge" },
        { type: "credential", credential: { kind: "join", token: "once" } },
        { type: "answer", attempt: 1, id: 3, bytes: sealed },
        { type: "desk", desk },
        { type: "introduce", count: 1 },
        { type: "renew", token: "t" },
      ),
    );
    fc.assert(
      fc.property(fc.array(act, { maxLength: 80 }), (acts) => {
        const agent = new Agent();
        let open = 0;
        for (const input of acts) {
          const seen = input.type === "pass" ? agent.pass(input.ms) : agent.handle(input);
          for (const output of seen) {
            if (!("type" in output)) expect(open).not.toBe(0);
            else if (output.type === "connect") open = output.attempt;
            else if (output.type === "disconnect") expect(output.attempt).toBe(open);
          }
          expect(agent.client.deadline()).toBeDefined();
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("the clock's skew", () => {
  test("is taken from the shortest of the last round trips", () => {
    const skew = new ClockSkew();
    expect(skew.add(1_000, 1_100, 5_050)).toEqual({ skewMs: 4_000, uncertaintyMs: 50 });
    expect(skew.add(2_000, 2_010, 6_005)).toEqual({ skewMs: 4_000, uncertaintyMs: 5 });
    expect(skew.add(3_000, 4_000, 7_900)).toEqual({ skewMs: 4_000, uncertaintyMs: 5 });
    for (let round = 0; round < 7; round++) skew.add(9_000, 9_100, 9_050);
    expect(skew.add(9_000, 9_100, 9_050)).toEqual({ skewMs: 0, uncertaintyMs: 50 });
  });

  test("lies within the stated uncertainty, wherever on the way the server read its clock", () => {
    const ms = fc.nat(5_000);
    fc.assert(
      fc.property(fc.integer({ min: -DAY, max: DAY }), ms, ms, (offset, out, back) => {
        const { skewMs, uncertaintyMs } = new ClockSkew().add(START, START + out + back, START + out + offset);
        expect(Math.abs(skewMs - offset)).toBeLessThanOrEqual(uncertaintyMs);
      }),
    );
  });

  test("is reported again only when it changes by 100 ms", () => {
    const agent = new Agent().ready();
    agent.pass(6_000);
    expect(agent.hear({ type: "time", id: 1, serverTime: agent.now + 40 })).toEqual([]);
    agent.pass(6_000);
    expect(agent.hear({ type: "time", id: 2, serverTime: agent.now + 500 })).toEqual([
      { type: "skew", skewMs: 500, uncertaintyMs: 0 },
    ]);
    // An answer to no question tells nothing.
    expect(agent.hear({ type: "time", id: 9, serverTime: 0 })).toEqual([]);
  });
});
