import { describe, expect, test } from "vitest";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import { encodeClientMessage } from "../../../src/proto/signaling/client-messages.ts";
import { loginBody } from "../../../src/proto/signaling/login.ts";
import { admission, CLUSTER, DAY, instanceOf, SERVER, Server, START, testPeer, told } from "./rooms-harness.ts";

const alice = testPeer(1);
const bob = testPeer(2);
const carol = testPeer(3);

const closed = (connection: number, code = 1008, abrupt = false) => ({ type: "close", connection, code, abrupt });

/** The nonce in the challenge that answers `seen`. */
function nonceIn(seen: readonly unknown[]): Uint8Array {
  const [first] = seen as readonly { message: { nonce: Uint8Array } }[];
  return first?.message.nonce ?? new Uint8Array(0);
}

describe("a login", () => {
  test("goes from hello over challenge and authority to welcome", () => {
    const server = new Server();
    expect(server.connect(1)).toEqual([]);
    const challenge = server.hello(1, alice);
    const nonce = nonceIn(challenge);
    expect(nonce).toHaveLength(32);
    expect(challenge).toEqual([
      { to: 1, message: { type: "challenge", version: 1, nonce, serverName: SERVER, serverTime: START, desks: [] } },
    ]);
    server.now += 20;
    expect(server.login(1)).toEqual([
      {
        type: "authenticate",
        connection: 1,
        request: {
          cluster: CLUSTER,
          peer: alice,
          statement: {
            signer: alice,
            label: "starling/login/1",
            body: loginBody(CLUSTER, alice, { nonce, serverName: SERVER, instance: instanceOf(1), at: START + 20 }),
            signature: new Uint8Array(64).fill(1),
          },
          token: "t",
          address: "192.0.2.1",
        },
      },
    ]);
    expect(server.verdict(1, admission(alice))).toEqual([
      { type: "joined", connection: 1, cluster: CLUSTER, peer: alice },
      {
        to: 1,
        message: {
          type: "welcome",
          expiresAt: START + DAY,
          issuers: new Uint8Array([9]),
          introductions: [],
          iceServers: [],
        },
      },
    ]);
  });

  test("gets another nonce on every connection, so that an old signature is worth nothing", () => {
    const server = new Server();
    server.connect(1);
    server.connect(2);
    const first = nonceIn(server.hello(1, alice));
    expect(nonceIn(server.hello(2, alice))).not.toEqual(first);
    const [request] = server.login(2);
    expect(request).toMatchObject({ type: "authenticate" });
    const asked = request as { request: { statement: { body: Uint8Array } } };
    const replayed = loginBody(CLUSTER, alice, {
      nonce: first,
      serverName: SERVER,
      instance: instanceOf(2),
      at: START,
    });
    expect(asked.request.statement.body).not.toEqual(replayed);
  });

  test("signs what the hello said when it came, whatever becomes of its buffer", () => {
    const server = new Server();
    server.connect(1);
    const hello = {
      type: "hello",
      cluster: CLUSTER,
      peer: alice,
      instance: instanceOf(1),
      serverName: SERVER,
    } as const;
    const bytes = encodeClientMessage(hello);
    const nonce = nonceIn(server.handle({ type: "message", connection: 1, bytes }));
    bytes.fill(0);
    const body = loginBody(CLUSTER, alice, { nonce, serverName: SERVER, instance: instanceOf(1), at: START });
    expect(server.login(1)).toMatchObject([{ type: "authenticate", request: { statement: { body } } }]);
  });

  test("for a name that is not the server's is refused, with the name that would be right", () => {
    const server = new Server();
    server.connect(1);
    const seen = server.hello(1, alice, CLUSTER, "evil.example");
    expect(told(seen, 1)).toMatchObject([{ type: "refused", code: "server-name" }]);
    expect(JSON.stringify(told(seen, 1))).toContain(SERVER);
    expect(seen.at(-1)).toEqual(closed(1));
  });

  test("names the one of the server's names that the agent uses", () => {
    const server = new Server();
    server.connect(1);
    expect(told(server.hello(1, alice, CLUSTER, "10.0.0.1:7000"), 1)).toMatchObject([{ serverName: "10.0.0.1:7000" }]);
  });

  test("in a later version only is refused", () => {
    const server = new Server();
    server.connect(1);
    const bytes = new Uint8Array([0x93, 1, 0x91, 2, 0xc0]);
    expect(told(server.handle({ type: "message", connection: 1, bytes }), 1)).toMatchObject([{ code: "version" }]);
  });

  test("that the authority refuses is told why, and closed", () => {
    const server = new Server();
    server.connect(1);
    server.hello(1, alice);
    server.login(1);
    expect(server.verdict(1, { ok: false, code: "token-revoked", detail: "revoked on Monday" })).toEqual([
      { type: "fault", address: "192.0.2.1", fault: "loginsRefused", code: "token-revoked" },
      { to: 1, message: { type: "refused", code: "token-revoked", detail: "revoked on Monday" } },
      closed(1),
    ]);
    expect(server.rooms.counters).toMatchObject({ connections: 1, logins: 1, loginsRefused: 1, welcomes: 0 });
  });

  test("with a token of somebody else is refused, whatever the authority thinks", () => {
    const server = new Server();
    server.connect(1);
    server.hello(1, alice);
    server.login(1);
    expect(told(server.verdict(1, admission(bob)), 1)).toMatchObject([{ type: "refused", code: "token-mismatch" }]);
    expect(server.rooms.members(CLUSTER)).toEqual([]);
  });

  test("with an answer that agents would not accept is refused as the server's own trouble", () => {
    const server = new Server();
    server.connect(1);
    server.hello(1, alice);
    server.login(1);
    const seen = server.verdict(1, { ...admission(alice), issuers: new Uint8Array(40_000) });
    expect(told(seen, 1)).toMatchObject([{ type: "refused", code: "unavailable" }]);
  });

  test("must come within five seconds, from the first byte of the connection on", () => {
    const server = new Server();
    server.connect(1);
    server.connect(2);
    server.pass(4_000);
    server.hello(2, alice);
    expect(server.pass(999)).toEqual([]);
    const seen = server.pass(1);
    expect(seen).toContainEqual(closed(1, 1008, true));
    expect(told(seen, 2)).toMatchObject([{ code: "login-timeout" }]);
    expect(seen).toContainEqual(closed(2));
    expect(server.rooms.counters.loginTimeouts).toBe(2);
  });

  test("gives up when the authority does not answer, and ignores the answer that comes too late", () => {
    const server = new Server();
    server.connect(1);
    server.hello(1, alice);
    server.login(1);
    expect(told(server.pass(10_000), 1)).toMatchObject([{ type: "refused", code: "unavailable" }]);
    expect(server.verdict(1, admission(alice))).toEqual([]);
    server.handle({ type: "disconnected", connection: 1 });
    expect(server.verdict(1, admission(alice))).toEqual([]);
  });

  test.each([
    ["a signal", { type: "signal", to: bob, bytes: new Uint8Array(1), id: 1 }],
    ["a record", { type: "present", record: new Uint8Array(1) }],
    ["a request for introductions", { type: "introduce", count: 1 }],
    ["a renewal", { type: "renew", token: "t" }],
    ["a question for the time", { type: "time", id: 1 }],
  ] as const)("is not replaced by %s: that closes, in every stage before", (_name, message) => {
    const server = new Server();
    server.join(9, bob);
    for (const connection of [1, 2, 3]) server.connect(connection);
    for (const connection of [2, 3]) server.hello(connection, alice);
    server.login(3);
    for (const connection of [1, 2, 3]) {
      const seen = server.say(connection, message);
      expect(told(seen, connection)).toMatchObject([{ type: "refused", code: "unexpected" }]);
      expect(seen.at(-1)).toEqual(closed(connection));
      expect(told(seen, 9)).toEqual([]);
    }
  });

  test("cannot be made twice on one connection", () => {
    const server = new Server();
    server.join(1, alice);
    expect(told(server.hello(1, bob), 1)).toMatchObject([{ type: "refused", code: "unexpected" }]);
    expect(server.rooms.members(CLUSTER)).toEqual([]);
  });
});

describe("signals", () => {
  test("reach the recipient with the name of the session that they came from", () => {
    const server = new Server();
    server.join(1, alice);
    server.join(2, bob);
    const sealed = new Uint8Array([1, 2, 3]);
    expect(server.say(1, { type: "signal", to: bob, bytes: sealed, id: 5 })).toEqual([
      { to: 2, message: { type: "signal", from: alice, bytes: sealed } },
    ]);
    expect(server.rooms.counters).toMatchObject({ signals: 1, signalBytes: 3 });
  });

  test("to somebody who is not here come back", () => {
    const server = new Server();
    server.join(1, alice);
    expect(server.say(1, { type: "signal", to: bob, bytes: new Uint8Array(1), id: 5 })).toEqual([
      { to: 1, message: { type: "undelivered", to: bob, id: 5, reason: "absent" } },
    ]);
  });

  test("do not cross from one cluster to another", () => {
    const server = new Server();
    server.join(1, alice);
    server.join(2, bob, { cluster: "cluster-b" });
    const seen = server.say(1, { type: "signal", to: bob, bytes: new Uint8Array(1), id: 5 });
    expect(told(seen, 2)).toEqual([]);
    expect(told(seen, 1)).toMatchObject([{ type: "undelivered", reason: "absent" }]);
  });

  test("do not reach a connection that is only logging in", () => {
    const server = new Server();
    server.join(1, alice);
    server.connect(2);
    server.hello(2, bob);
    server.login(2);
    const seen = server.say(1, { type: "signal", to: bob, bytes: new Uint8Array(1), id: 5 });
    expect(told(seen, 2)).toEqual([]);
  });
});

describe("one key", () => {
  test("has one session: the newest ends the other and shows it the login that did", () => {
    const server = new Server();
    server.join(1, alice);
    server.connect(2);
    const nonce = nonceIn(server.hello(2, alice));
    server.login(2);
    const seen = server.verdict(2, admission(alice));
    expect(seen.slice(0, 5)).toEqual([
      { type: "fault", address: "192.0.2.1", fault: "fenced", peer: alice },
      {
        to: 1,
        message: {
          type: "fenced",
          rival: {
            nonce,
            serverName: SERVER,
            instance: instanceOf(2),
            at: START,
            signature: new Uint8Array(64).fill(2),
          },
        },
      },
      { type: "left", connection: 1, cluster: CLUSTER, peer: alice },
      closed(1),
      { type: "joined", connection: 2, cluster: CLUSTER, peer: alice },
    ]);
    server.join(3, bob);
    expect(server.say(3, { type: "signal", to: alice, bytes: new Uint8Array(1), id: 1 })).toMatchObject([{ to: 2 }]);
    expect(server.say(1, { type: "signal", to: bob, bytes: new Uint8Array(1), id: 1 })).toEqual([]);
  });

  test("that failed to log in fences nobody", () => {
    const server = new Server();
    server.join(1, alice);
    server.connect(2);
    server.hello(2, alice);
    server.login(2);
    expect(told(server.verdict(2, { ok: false, code: "signature-invalid" }), 1)).toEqual([]);
    expect(server.rooms.members(CLUSTER)).toHaveLength(1);
  });

  test("may be in two clusters at once", () => {
    const server = new Server();
    server.join(1, alice);
    expect(told(server.join(2, alice, { cluster: "cluster-b" }), 1)).toEqual([]);
  });
});

describe("introductions", () => {
  const record = (number: number) => new Uint8Array([number]);

  test("are records of others in the room, each once, as many as asked for", () => {
    const server = new Server();
    for (let number = 1; number <= 20; number++) {
      server.join(number, testPeer(number));
      server.say(number, { type: "present", record: record(number) });
    }
    server.join(30, testPeer(30), { cluster: "cluster-b" });
    server.say(30, { type: "present", record: record(30) });
    const seen = new Set<number>();
    for (let round = 0; round < 40; round++) {
      const [message] = told(server.say(7, { type: "introduce", count: 5 }), 7);
      const records = message?.type === "introductions" ? message.records.map((bytes) => bytes[0] ?? 0) : [];
      expect(new Set(records).size).toBe(5);
      for (const number of records) seen.add(number);
    }
    expect([...seen].sort((a, b) => a - b)).toEqual([
      1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
    ]);
  });

  test("come with the welcome, and leave out who has gone or has presented nothing", () => {
    const server = new Server();
    server.join(1, alice);
    server.say(1, { type: "present", record: record(1) });
    server.join(2, bob);
    server.say(2, { type: "present", record: record(2) });
    server.join(3, carol);
    server.say(1, { type: "goodbye" });
    const seen = server.join(4, testPeer(4));
    expect(told(seen, 4)).toMatchObject([{ type: "welcome", introductions: [record(2)] }]);
  });

  test("use the newest record, a copy of the message's bytes", () => {
    const server = new Server();
    server.join(1, alice);
    server.say(1, { type: "present", record: record(1) });
    const bytes = new Uint8Array([0x92, 3, 0xc4, 1, 5]);
    server.handle({ type: "message", connection: 1, bytes });
    bytes.fill(0);
    expect(told(server.join(2, bob), 2)).toMatchObject([{ introductions: [record(5)] }]);
  });

  test("keep within their budget: a record beyond is counted and not kept, its member stays", () => {
    const server = new Server({ recordBytes: 150 });
    server.join(1, alice);
    server.join(2, bob);
    server.say(1, { type: "present", record: new Uint8Array(100) });
    expect(server.say(2, { type: "present", record: new Uint8Array(100) })).toEqual([
      { type: "fault", address: "192.0.2.1", fault: "recordsNotKept", peer: bob },
    ]);
    server.say(1, { type: "goodbye" });
    expect(server.say(2, { type: "present", record: new Uint8Array(100) })).toEqual([]);
  });
});

describe("a session", () => {
  test("is told the time, and stays for as long as it is heard", () => {
    const server = new Server();
    server.join(1, alice);
    for (let round = 0; round < 20; round++) {
      expect(server.pass(6_000)).toEqual([]);
      expect(server.say(1, { type: "time", id: round })).toEqual([
        { to: 1, message: { type: "time", id: round, serverTime: server.now } },
      ]);
    }
  });

  test("is pinged after 15 s of silence and ends after 15 s more", () => {
    const server = new Server();
    server.join(1, alice);
    server.join(2, bob);
    const pings = server.pass(15_000);
    expect(pings).toHaveLength(2);
    for (const connection of [1, 2]) expect(pings).toContainEqual({ type: "ping", connection });
    server.handle({ type: "ponged", connection: 2 });
    const seen = server.pass(15_000);
    expect(told(seen, 1)).toMatchObject([{ type: "refused", code: "silent" }]);
    expect(seen).toContainEqual(closed(1));
    expect(told(seen, 2)).toEqual([]);
    expect(server.rooms.members(CLUSTER).map(({ peer }) => peer)).toEqual([bob]);
  });

  test("that slept with its server gets its ping before it is given up", () => {
    const server = new Server();
    server.join(1, alice);
    server.now += 3_600_000;
    expect(server.handle({ type: "timeout" })).toEqual([{ type: "ping", connection: 1 }]);
  });

  test("is warned a minute before its token expires and ends a minute after", () => {
    const server = new Server({ pingAfterMs: DAY });
    server.join(1, alice, { expiresAt: START + 600_000 });
    expect(server.pass(539_999)).toEqual([]);
    expect(server.pass(1)).toEqual([{ to: 1, message: { type: "expiring", expiresAt: START + 600_000 } }]);
    expect(server.pass(119_999)).toEqual([]);
    expect(told(server.pass(1), 1)).toMatchObject([{ type: "refused", code: "token-expired" }]);
    expect(server.rooms.counters.expired).toBe(1);
  });

  test("is granted STUN and TURN servers at the login, with a renewed token and whenever it asks", () => {
    const grants = (peer: PeerId, now: number) => [{ urls: ["turn:t.example"], username: peer, expiresAt: now + 5 }];
    const server = new Server({ pingAfterMs: DAY }, [], grants);
    const granted = (at: number) => [{ urls: ["turn:t.example"], username: alice, expiresAt: at + 5 }];
    expect(told(server.join(1, alice), 1)).toMatchObject([{ type: "welcome", iceServers: granted(START) }]);
    server.now = START + 1_000;
    expect(server.say(1, { type: "ice" })).toEqual([
      { to: 1, message: { type: "granted", iceServers: granted(START + 1_000) } },
    ]);
    server.say(1, { type: "renew", token: "old" });
    const verdict = { ok: true, subject: alice, expiresAt: START + DAY, scopes: [], token: "new" } as const;
    const [renewed] = told(server.handle({ type: "renewed", connection: 1, verdict }), 1);
    expect(renewed).toMatchObject({ type: "renewed", iceServers: granted(START + 1_000) });
    server.connect(2);
    expect(told(server.say(2, { type: "ice" }), 2)).toMatchObject([{ type: "refused", code: "unexpected" }]);
  });

  test("goes on with a renewed token", () => {
    const server = new Server({ pingAfterMs: 2 * DAY });
    server.join(1, alice, { expiresAt: START + 600_000 });
    server.pass(550_000);
    expect(server.say(1, { type: "renew", token: "old" })).toEqual([
      { type: "renew", connection: 1, request: { cluster: CLUSTER, peer: alice, token: "old", address: "192.0.2.1" } },
    ]);
    // One at a time.
    expect(server.say(1, { type: "renew", token: "old" })).toEqual([]);
    const verdict = { ok: true, subject: alice, expiresAt: START + DAY, scopes: [], token: "new" } as const;
    expect(server.handle({ type: "renewed", connection: 1, verdict })).toEqual([
      { to: 1, message: { type: "renewed", token: "new", expiresAt: START + DAY, iceServers: [] } },
    ]);
    expect(server.pass(3_600_000)).toEqual([]);
    expect(told(server.pass(DAY), 1).map(({ type }) => type)).toEqual(["expiring", "refused"]);
  });

  test("is told that its renewal is refused, and goes on until its token ends", () => {
    const server = new Server();
    server.join(1, alice);
    server.say(1, { type: "renew", token: "old" });
    const verdict = { ok: false, code: "token-revoked" } as const;
    expect(told(server.handle({ type: "renewed", connection: 1, verdict }), 1)).toEqual([
      { type: "unrenewed", code: "token-revoked", detail: "" },
    ]);
    expect(server.rooms.members(CLUSTER)).toHaveLength(1);
  });

  test("with a token that lives no longer than the notice is not asked to renew without end", () => {
    const server = new Server({ pingAfterMs: DAY });
    server.join(1, alice, { expiresAt: START + 30_000 });
    expect(told(server.pass(0), 1)).toMatchObject([{ type: "expiring" }]);
    server.say(1, { type: "renew", token: "old" });
    const verdict = { ok: true, subject: alice, expiresAt: START + 30_000, scopes: [], token: "new" } as const;
    server.handle({ type: "renewed", connection: 1, verdict });
    expect(server.pass(0)).toEqual([]);
  });

  test("ends with a goodbye, or with the server", () => {
    const server = new Server();
    server.join(1, alice);
    server.join(2, bob);
    server.connect(3);
    expect(server.say(1, { type: "goodbye" })).toEqual([
      { type: "left", connection: 1, cluster: CLUSTER, peer: alice },
      closed(1, 1000),
    ]);
    expect(server.handle({ type: "drain" })).toEqual([
      { to: 2, message: { type: "going-away", reconnectAfterMs: 1_000 } },
      { type: "left", connection: 2, cluster: CLUSTER, peer: bob },
      closed(2, 1001),
      closed(3, 1001, true),
    ]);
    expect(server.connect(4)).toContainEqual(closed(4, 1008, true));
  });

  test("leaves nothing behind", () => {
    const server = new Server();
    for (let id = 1; id <= 50; id++) {
      server.join(id, testPeer(id));
      server.say(id, { type: "present", record: new Uint8Array(100) });
      server.handle({ type: "disconnected", connection: id });
    }
    expect(server.rooms.connections).toBe(0);
    expect(server.rooms.members(CLUSTER)).toEqual([]);
    expect(server.rooms.deadline()).toBeUndefined();
  });
});
