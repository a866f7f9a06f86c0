import { describe, expect, test } from "vitest";
import { Replays } from "../../../signaling/proto/replays.ts";
import { hex } from "../../../src/proto/bytes.ts";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import { encodeClientMessage } from "../../../src/proto/signaling/client-messages.ts";
import { decodeResumption, encodeResumption, instanceOf as runOf } from "../../../src/proto/signaling/resumption.ts";
import { Agent, alice, member } from "./client-agent.ts";
import {
  admission,
  CLUSTER,
  DAY,
  instanceOf,
  SERVER,
  type Seen,
  Server,
  START,
  testPeer,
  told,
} from "./rooms-harness.ts";

const ticket = new Uint8Array([1, 2, 3]);
const proof = new Uint8Array(32).fill(6);
const share = new Uint8Array(32).fill(9);

/** A server that has been there for a minute, and seen a ticket of somebody else. */
function server(): Server {
  const server = new Server();
  resume(server, 99, testPeer(99));
  server.pass(60_000);
  return server;
}

/** `peer` comes with a hello and a ticket that says it was made at `at`. */
function resume(server: Server, connection: number, peer: PeerId, at = server.now, run = connection): Seen[] {
  server.connect(connection);
  const hello = { type: "hello", cluster: CLUSTER, peer, instance: instanceOf(run), serverName: SERVER } as const;
  const resumption = encodeResumption({ ticket, at, proof });
  return server.handle({ type: "message", connection, bytes: encodeClientMessage(hello), resumption });
}

const yes = (server: Server, connection: number, peer: PeerId): Seen[] =>
  server.handle({ type: "resumed", connection, verdict: admission(peer) });

describe("a server", () => {
  test("welcomes who comes with a ticket that holds, without a challenge", () => {
    const at = server();
    expect(resume(at, 1, alice)).toEqual([
      {
        type: "resume",
        connection: 1,
        request: {
          cluster: CLUSTER,
          peer: alice,
          instance: instanceOf(1),
          serverName: SERVER,
          ticket,
          at: at.now,
          proof,
          address: "192.0.2.1",
        },
      },
    ]);
    expect(yes(at, 1, alice)).toMatchObject([{ type: "joined", peer: alice }, { message: { type: "welcome" } }]);
    expect(at.rooms.counters).toMatchObject({ resumed: 1, welcomes: 1, logins: 0 });
  });

  test("challenges who comes with one that does not, and lets it log in", () => {
    const at = server();
    resume(at, 1, alice);
    expect(told(at.handle({ type: "resumed", connection: 1, verdict: undefined }), 1)).toMatchObject([
      { type: "challenge" },
    ]);
    at.login(1);
    expect(told(at.verdict(1, admission(alice)), 1)).toMatchObject([{ type: "welcome" }]);
    expect(at.rooms.counters).toMatchObject({ resumed: 0, welcomes: 1 });
  });

  test("takes what was shown once no second time, also after the session has ended, nor anything made before it", () => {
    const at = server();
    resume(at, 1, alice);
    const madeAt = at.now;
    yes(at, 1, alice);
    at.handle({ type: "disconnected", connection: 1 });
    at.pass(5_000);
    for (const [connection, again] of [
      [2, madeAt],
      [3, madeAt - 1],
    ] as const) {
      expect(told(resume(at, connection, alice, again, 1), connection)).toMatchObject([{ type: "challenge" }]);
    }
    expect(resume(at, 4, alice, madeAt + 1, 1)).toMatchObject([{ type: "resume" }]);
  });

  test("takes of two that were made at one time only the first, though both were asked about", () => {
    const at = server();
    resume(at, 1, alice, at.now, 7);
    resume(at, 2, alice, at.now, 7);
    expect(told(yes(at, 1, alice), 1)).toMatchObject([{ type: "welcome" }]);
    expect(told(yes(at, 2, alice), 2)).toMatchObject([{ type: "challenge" }]);
  });

  test("takes nothing that is older than ten seconds, nor of the future, nor from before its own start", () => {
    const at = server();
    const challenged = (connection: number, madeAt: number): void =>
      expect(told(resume(at, connection, testPeer(connection), madeAt), connection)).toMatchObject([
        { type: "challenge" },
      ]);
    challenged(1, at.now - 10_001);
    challenged(2, at.now + 251);
    expect(resume(at, 3, testPeer(3), at.now - 9_999)).toMatchObject([{ type: "resume" }]);
    // All that was taken before is forgotten by another process: it takes nothing of that time.
    const fresh = new Server();
    resume(fresh, 1, testPeer(1), fresh.now);
    fresh.now += 100;
    expect(told(resume(fresh, 2, testPeer(2), START + 100), 2)).toMatchObject([{ type: "challenge" }]);
    // Who waited in its queue while it began is taken.
    const busy = new Replays(START);
    expect([250, 251].map((age) => busy.allows(alice, START + age, START + 3_000))).toEqual([false, true]);
    fresh.now += 200;
    expect(resume(fresh, 3, testPeer(3), START + 300)).toMatchObject([{ type: "resume" }]);
  });

  test("lets a ticket end a session of its own run, and no session of another's", () => {
    const at = server();
    at.join(1, alice);
    expect(told(resume(at, 2, alice, at.now, 2), 2)).toMatchObject([{ type: "challenge" }]);
    at.pass(1_000);
    resume(at, 3, alice, at.now, 1);
    const seen = yes(at, 3, alice);
    expect(told(seen, 1)).toMatchObject([{ type: "fenced", rival: { instance: instanceOf(1) } }]);
    expect(told(seen, 3)).toMatchObject([{ type: "welcome" }]);
    // The session of another run began while the authority was asked.
    at.pass(1_000);
    resume(at, 4, testPeer(5), at.now, 4);
    at.join(5, testPeer(5));
    expect(told(yes(at, 4, testPeer(5)), 4)).toMatchObject([{ type: "challenge" }]);
  });

  test("asks for a ticket for nobody but the run whose share it is, and gives it to that", () => {
    const at = server();
    const hello = { type: "hello", cluster: CLUSTER, peer: alice, instance: runOf(share), serverName: SERVER } as const;
    at.connect(1);
    at.say(1, hello);
    at.login(1);
    at.verdict(1, admission(alice));
    const other = new Uint8Array(32).fill(8);
    expect(at.say(1, { type: "seek", share: other, token: "t" })).toEqual([]);
    expect(at.rooms.counters.ticketsRefused).toBe(2);
    const request = { cluster: CLUSTER, peer: alice, instance: runOf(share), share, token: "t" };
    expect(at.say(1, { type: "seek", share, token: "t" })).toEqual([{ type: "seal-ticket", connection: 1, request }]);
    const given = { share: other, ticket, lifeMs: DAY };
    const answer = at.handle({ type: "ticket-sealed", connection: 1, ticket: given });
    expect(told(answer, 1)).toEqual([{ type: "ticket", ...given }]);
    expect(at.handle({ type: "ticket-sealed", connection: 1, ticket: undefined })).toEqual([]);
    // Before the login nobody gets one.
    at.connect(2);
    expect(told(at.say(2, { type: "seek", share, token: "t" }), 2)).toMatchObject([
      { type: "refused", code: "unexpected" },
    ]);
  });

  test("says nothing of tickets to an agent that does not ask, and reads no bytes that are no resumption", () => {
    const at = server();
    const seen = at.join(1, alice);
    seen.push(...at.pass(60_000));
    expect(told(seen, 1).map(({ type }) => type)).not.toContain("ticket");
    for (const bytes of [new Uint8Array(0), new Uint8Array(1_601), Uint8Array.of(0x93, 1, 2, 3), new Uint8Array(40)])
      expect(decodeResumption(bytes)).toBeUndefined();
  });
});

describe("a client with a share", () => {
  const agreed = new Uint8Array(32).fill(3);
  const answer = { share: new Uint8Array(32).fill(4), ticket, lifeMs: DAY };
  const welcomed = (agent: Agent, tickets = true): Agent => {
    agent.pass(0);
    agent.handle({ type: "opened", attempt: agent.attempt, heard: true, tickets });
    agent.challenge(agent.now + 5_000);
    agent.signed();
    agent.welcome();
    return agent;
  };
  const asked = (seen: readonly Seen[] | ReturnType<Agent["pass"]>) =>
    seen.filter((one) => "say" in one && one.say.type === "seek");
  const holding = (): Agent => {
    const agent = welcomed(new Agent(member, 1, share));
    for (let waited = 0; asked(agent.pass(1_000)).length === 0; waited++) {
      if (waited > 10) throw new Error("no ticket was asked for");
      agent.hear({ type: "time", id: 0, serverTime: agent.now + 5_000 });
    }
    expect(agent.hear({ type: "ticket", ...answer })).toEqual([{ type: "agree", ...answer }]);
    agent.handle({ type: "agreed", ...answer, agreed });
    return agent;
  };
  const lose = (agent: Agent): void => {
    agent.handle({ type: "closed", attempt: agent.attempt, reason: "reset" });
    agent.resumption = undefined;
    while (agent.client.state === "waiting") agent.pass(500);
  };

  test("asks within ten seconds for a ticket, and comes back with it, the time and the proof, by the server's clock", () => {
    const agent = holding();
    lose(agent);
    const shown = agent.resumption && decodeResumption(agent.resumption);
    expect(shown?.ticket).toEqual(ticket);
    const behindMs = agent.now + 5_000 - (shown?.at ?? 0);
    expect(behindMs >= 0 && behindMs < 600).toBe(true);
    agent.handle({ type: "opened", attempt: agent.attempt, heard: true, tickets: true });
    expect(agent.welcome()).toMatchObject([{ type: "ready" }]);
    // It holds one already.
    expect(asked(agent.pass(5_000))).toEqual([]);
  });

  test("logs in where its ticket is not taken, and does not show that again", () => {
    const agent = holding();
    lose(agent);
    agent.handle({ type: "opened", attempt: agent.attempt, heard: true, tickets: true });
    expect(agent.challenge()).toMatchObject([{ type: "skew" }, { type: "sign", label: "starling/login/1" }]);
    lose(agent);
    expect(agent.client.state).toBe("connecting");
    expect(agent.resumption).toBeUndefined();
  });

  test("asks an older server for no ticket, and takes no welcome that answers nothing", () => {
    const old = welcomed(new Agent(member, 1, share), false);
    old.hear({ type: "time", id: 0, serverTime: old.now });
    expect(asked(old.pass(11_000))).toEqual([]);
    const agent = new Agent(member, 1, share);
    agent.pass(0);
    agent.handle({ type: "opened", attempt: agent.attempt, heard: true, tickets: true });
    expect(agent.welcome()).toMatchObject([{ type: "fault", fault: "unexpected" }, {}, {}]);
  });

  test("asks again when it holds another token, and shows no ticket whose time is over", () => {
    const agent = holding();
    agent.handle({ type: "credential", credential: { ...member, token: "next" } });
    let seen: ReturnType<typeof asked> = [];
    for (let waited = 0; waited < 11 && seen.length === 0; waited++) {
      agent.hear({ type: "time", id: 0, serverTime: agent.now });
      seen = asked(agent.pass(1_000));
    }
    expect(seen).toMatchObject([{ say: { token: "next" } }]);
    agent.now += DAY;
    lose(agent);
    expect(agent.resumption).toBeUndefined();
  });

  test("shows no join token for a ticket", () => {
    const agent = welcomed(new Agent(member, 1, share));
    agent.handle({ type: "credential", credential: { kind: "join", token: "secret" } });
    for (let second = 0; second < 12; second++) {
      agent.hear({ type: "time", id: 0, serverTime: agent.now });
      expect(asked(agent.pass(1_000))).toEqual([]);
    }
  });

  test("is named after its share, so that nobody can put in another", () => {
    expect(hex(runOf(share))).toHaveLength(32);
    expect(runOf(share)).not.toEqual(runOf(new Uint8Array(32).fill(8)));
  });
});
