import { describe, expect, test } from "vitest";
import type { RoomsLimits } from "../../../signaling/proto/limits.ts";
import { CLUSTER, Server, START, testPeer, told } from "./rooms-harness.ts";

/** Requests of those who have no token yet, and the desks that answer them: the server's own, or members'. */

const [issuer, newcomer, other] = [testPeer(1), testPeer(2), testPeer(3)];
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const OWN = { cluster: CLUSTER, kid: "own", desk: bytes("own desk") };
const desk = { kid: "theirs", desk: bytes("their desk") };
const exchange = (kid: string) => ({ type: "exchange", kid, bytes: bytes("sealed") }) as const;

/** A server at which `issuer`, on connection 1, holds a desk. */
function withDesk(limits: Partial<RoomsLimits> = {}, own = [] as (typeof OWN)[]): Server {
  const server = new Server(limits, own);
  server.join(1, issuer);
  server.say(1, { type: "desk", desk: desk.desk });
  server.handle({ type: "desk-checked", connection: 1, desk });
  return server;
}

function desksTold(server: Server, connection: number, cluster = CLUSTER): unknown {
  server.connect(connection);
  const [message] = told(server.hello(connection, newcomer, cluster), connection);
  return message?.type === "challenge" ? message.desks : message;
}

describe("desks", () => {
  test("are named in every challenge of their cluster, the server's own first", () => {
    const server = withDesk({}, [OWN]);
    expect(desksTold(server, 2)).toEqual([OWN.desk, desk.desk]);
    expect(desksTold(server, 3, "cluster-b")).toEqual([]);
  });

  test("of members are the authority's to judge, and gone with their holder", () => {
    const server = new Server();
    server.join(1, issuer);
    expect(server.say(1, { type: "desk", desk: desk.desk })).toEqual([
      { type: "check-desk", connection: 1, claim: { cluster: CLUSTER, peer: issuer, desk: desk.desk } },
    ]);
    expect(desksTold(server, 2)).toEqual([]);
    server.handle({ type: "desk-checked", connection: 1, desk: undefined });
    expect(desksTold(server, 3)).toEqual([]);
    expect(server.rooms.counters.desksRefused).toBe(1);
    server.handle({ type: "desk-checked", connection: 1, desk });
    expect(desksTold(server, 4)).toEqual([desk.desk]);
    server.handle({ type: "disconnected", connection: 1 });
    expect(desksTold(server, 5)).toEqual([]);
  });

  test("of one issuing key are one: the server's own, else that of the first holder, who may renew it", () => {
    const server = withDesk({}, [OWN]);
    server.join(2, other);
    server.handle({ type: "desk-checked", connection: 2, desk: { ...desk, desk: bytes("a copy") } });
    server.handle({ type: "desk-checked", connection: 2, desk: { kid: OWN.kid, desk: bytes("a copy") } });
    expect(desksTold(server, 3)).toEqual([OWN.desk, desk.desk]);
    server.handle({ type: "desk-checked", connection: 1, desk: { ...desk, desk: bytes("newer") } });
    expect(desksTold(server, 4)).toEqual([OWN.desk, bytes("newer")]);
    server.handle({ type: "disconnected", connection: 1 });
    server.handle({ type: "desk-checked", connection: 2, desk });
    expect(desksTold(server, 5)).toEqual([OWN.desk, desk.desk]);
  });

  test("are no more than allowed", () => {
    const server = withDesk({ desks: 1 });
    server.join(2, other);
    server.handle({ type: "desk-checked", connection: 2, desk: { kid: "third", desk: bytes("third") } });
    expect(desksTold(server, 3)).toEqual([desk.desk]);
    server.handle({ type: "desk-checked", connection: 1, desk: { kid: "other", desk: bytes("other") } });
    expect(desksTold(server, 4)).toEqual([bytes("other")]);
  });
});

describe("a request", () => {
  test("goes to the server's own desk and the answer back, and the login follows on the same challenge", () => {
    const server = new Server({}, [OWN]);
    server.connect(2);
    server.hello(2, newcomer);
    expect(server.say(2, exchange("own"))).toEqual([
      { type: "exchange", connection: 2, request: { cluster: CLUSTER, kid: "own", bytes: bytes("sealed") } },
    ]);
    expect(server.handle({ type: "exchanged", connection: 2, bytes: bytes("answer") })).toEqual([
      { to: 2, message: { type: "exchanged", bytes: bytes("answer") } },
    ]);
    expect(server.login(2)).toMatchObject([{ type: "authenticate", request: { peer: newcomer, token: "t" } }]);
  });

  test("goes to a member's desk and the answer back; nobody else's answer counts, nor a second one", () => {
    const server = withDesk();
    server.join(4, other);
    server.connect(2);
    server.hello(2, newcomer);
    expect(server.say(2, exchange("theirs"))).toEqual([
      { to: 1, message: { type: "asked", id: 2, bytes: bytes("sealed") } },
    ]);
    expect(server.say(4, { type: "answer", id: 2, bytes: bytes("a lie") })).toEqual([]);
    expect(server.say(1, { type: "answer", id: 9, bytes: bytes("to nobody") })).toEqual([]);
    expect(server.say(1, { type: "answer", id: 1, bytes: bytes("to itself") })).toEqual([]);
    const answer = { type: "answer", id: 2, bytes: bytes("answer") } as const;
    expect(server.say(1, answer)).toEqual([{ to: 2, message: { type: "exchanged", bytes: bytes("answer") } }]);
    expect(server.say(1, answer)).toEqual([]);
    expect(server.login(2)).toMatchObject([{ type: "authenticate" }]);
  });

  test("is taken once on a connection, before the login and not in the place of one", () => {
    const server = new Server({}, [OWN]);
    server.connect(2);
    expect(told(server.say(2, exchange("own")), 2)).toMatchObject([{ type: "refused", code: "unexpected" }]);
    server.connect(3);
    server.hello(3, newcomer);
    server.say(3, exchange("own"));
    expect(told(server.login(3), 3)).toMatchObject([{ type: "refused", code: "unexpected" }]);
    server.connect(4);
    server.hello(4, newcomer);
    server.say(4, exchange("own"));
    server.handle({ type: "exchanged", connection: 4, bytes: bytes("answer") });
    expect(told(server.say(4, exchange("own")), 4)).toMatchObject([{ type: "refused", code: "unexpected" }]);
    server.join(5, other);
    expect(told(server.say(5, exchange("own")), 5)).toMatchObject([{ type: "refused", code: "unexpected" }]);
  });

  test("for a desk that is not here is refused with the reason", () => {
    const server = withDesk();
    server.connect(2);
    server.hello(2, newcomer);
    expect(told(server.say(2, exchange("nobody's")), 2)).toMatchObject([
      { type: "refused", code: "issuer-unreachable" },
    ]);
    expect(server.rooms.counters.exchangesRefused).toBe(1);
    // In another cluster it is not here either.
    server.connect(3);
    server.hello(3, newcomer, "cluster-b");
    expect(told(server.say(3, exchange("theirs")), 3)).toMatchObject([{ code: "issuer-unreachable" }]);
  });

  test("that no desk answers ends in time, with the reason", () => {
    const server = withDesk({ exchangeMs: 10_000 }, [OWN]);
    server.connect(2);
    server.hello(2, newcomer);
    server.say(2, exchange("theirs"));
    expect(told(server.pass(9_999), 2)).toEqual([]);
    expect(told(server.pass(1), 2)).toMatchObject([{ type: "refused", code: "issuer-unreachable" }]);
    // What comes later is dropped.
    expect(server.say(1, { type: "answer", id: 2, bytes: bytes("late") })).toEqual([]);
    server.connect(3);
    server.hello(3, newcomer);
    server.say(3, exchange("own"));
    expect(told(server.handle({ type: "exchanged", connection: 3, bytes: undefined }), 3)).toMatchObject([
      { type: "refused", code: "issuer-unreachable" },
    ]);
    expect(server.rooms.counters.exchangesUnanswered).toBe(2);
  });

  test("is one of a bounded number for each member's desk, and the others are served when time has passed", () => {
    const server = withDesk({ asks: { perSecond: 1, burst: 3 } });
    const ask = (connection: number) => {
      server.connect(connection, `192.0.2.${connection}`);
      server.hello(connection, testPeer(connection));
      return server.say(connection, exchange("theirs"));
    };
    for (const connection of [10, 11, 12]) expect(ask(connection)).toMatchObject([{ to: 1 }]);
    for (const connection of [13, 14, 15]) {
      expect(told(ask(connection), connection)).toMatchObject([{ code: "issuer-unreachable" }]);
    }
    server.now = START + 1_000;
    expect(ask(16)).toMatchObject([{ to: 1 }]);
  });
});
