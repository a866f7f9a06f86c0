import { describe, expect, test } from "vitest";
import { Attribute } from "../../../stun/proto/attributes.ts";
import { isIntact } from "../../../stun/proto/integrity.ts";
import { Method, type StunMessage, u32 } from "../../../stun/proto/message.ts";
import { ALICE, BOB, Lab, LabClient, type LabPath, RELAY_4, RELAY_6, START } from "./lab.ts";
import { addressesOf, errorCode, type Fill, request, signed, udpTransport } from "./requests.ts";

const lifetimeOf = (answer: StunMessage): number => u32(answer.bytes, answer.find(Attribute.lifetime));
const lifetime =
  (seconds: number): Fill =>
  (writer) =>
    writer.u32(Attribute.lifetime, seconds);
const family =
  (code: number, type: number = Attribute.requestedAddressFamily): Fill =>
  (writer) =>
    writer.bytes(type, Uint8Array.of(code, 0, 0, 0));
const both = family(2, Attribute.additionalAddressFamily);
const evenPort =
  (reserves: boolean): Fill =>
  (writer) =>
    writer.bytes(Attribute.evenPort, Uint8Array.of(reserves ? 0x80 : 0));
const token =
  (bytes: Uint8Array): Fill =>
  (writer) =>
    writer.bytes(Attribute.reservationToken, bytes);

describe("an allocation", () => {
  test("is answered with relayed and mapped address and lifetime, signed, and reported", () => {
    const lab = new Lab();
    const client = new LabClient(lab, 1_000);
    const answer = client.allocate();
    expect(addressesOf(answer, Attribute.xorRelayedAddress)).toEqual([{ address: RELAY_4, port: 50_001 }]);
    expect(addressesOf(answer, Attribute.xorMappedAddress)).toEqual([{ address: "5.5.5.5", port: 1_000 }]);
    expect(lifetimeOf(answer)).toBe(600);
    expect(isIntact(answer, client.signature().integrity)).toBe(true);
    const facts = {
      user: "alice",
      transport: "udp",
      client: { address: "5.5.5.5", port: 1_000 },
      relayed: [{ address: RELAY_4, port: 50_001 }],
    };
    expect(lab.outputs).toEqual([
      { type: "open-relays", request: 1, families: [4], wish: "any" },
      { type: "allocation-started", allocation: facts },
    ]);
    lab.advance(601_000);
    expect(lab.outputs.slice(2)).toEqual([
      { type: "close-relay", relay: 1 },
      {
        type: "allocation-ended",
        allocation: facts,
        reason: "expired",
        lifeMs: 600_000,
        bytesToPeers: 0,
        bytesToClient: 0,
      },
    ]);
  });

  test("is one for each 5-tuple: a second request is told 437, a repeated one what it was told before", () => {
    const lab = new Lab();
    const client = new LabClient(lab);
    const first = client.allocate(() => {}, 77);
    lab.advance(1_500);
    const again = client.allocate(() => {}, 77);
    expect(addressesOf(again, Attribute.xorRelayedAddress)).toEqual(addressesOf(first, Attribute.xorRelayedAddress));
    expect(lifetimeOf(again)).toBe(598);
    expect(errorCode(client.allocate(() => {}, 78))).toBe(437);
    // The same transaction of another user is not the same request.
    expect(errorCode(new LabClient(lab, 1_000, BOB).allocate(() => {}, 77))).toBe(437);
    expect(lab.open.size).toBe(1);
    expect(errorCode(new LabClient(lab, 1_001).allocate())).toBe(undefined);
    expect(lab.open.size).toBe(2);
  });

  test("that still waits for its socket leaves a repeated request to the answer that is on its way", () => {
    const lab = new Lab({ holdsOpening: true });
    const client = new LabClient(lab);
    const signature = client.signature();
    client.send(signed(Method.allocate, signature, udpTransport, 77));
    client.send(signed(Method.allocate, signature, udpTransport, 77));
    expect(lab.sent).toEqual([]);
    expect(client.code(Method.refresh)).toBe(437);
    const [opening] = lab.outputs;
    if (opening?.type === "open-relays") lab.opening(opening);
    expect(errorCode(lab.answer())).toBe(undefined);
    expect(lab.open.size).toBe(1);
  });

  test("whose socket cannot be opened is told 508 and counts no more", () => {
    const lab = new Lab({ broken: [4] });
    const client = new LabClient(lab);
    expect(errorCode(client.allocate())).toBe(508);
    expect(lab.server.allocations).toBe(0);
    expect(errorCode(client.allocate(family(2)))).toBe(undefined);
  });

  test("ends with its connection, also while it waits for its socket", () => {
    const tcp: LabPath = { name: "tcp", transport: "tcp" };
    const lab = new Lab();
    new LabClient(lab, 1_000, ALICE, tcp).allocate();
    lab.disconnect(tcp);
    expect(lab.open.size).toBe(0);
    expect(lab.outputs.at(-1)).toMatchObject({ type: "allocation-ended", reason: "disconnected" });
    const slow = new Lab({ holdsOpening: true });
    const client = new LabClient(slow, 1_000, ALICE, tcp);
    client.send(signed(Method.allocate, client.signature(), udpTransport));
    slow.disconnect(tcp);
    expect(slow.server.allocations).toBe(0);
    const [opening] = slow.outputs;
    if (opening?.type === "open-relays") slow.opening(opening);
    expect(slow.open.size).toBe(0);
    expect(slow.sent).toEqual([]);
  });

  test("ends with the server", () => {
    const lab = new Lab();
    new LabClient(lab).allocate(evenPort(true));
    const closed = lab.server.close(START).map((output) => output.type);
    expect(closed).toEqual(["close-relay", "allocation-ended", "close-relay"]);
    expect(lab.server.deadline()).toBe(undefined);
  });
});

describe("an Allocate request is refused", () => {
  const cases: readonly [string, number, Fill][] = [
    ["without a transport", 400, () => {}],
    ["for TCP", 442, (writer) => writer.bytes(Attribute.requestedTransport, Uint8Array.of(6, 0, 0, 0))],
    [
      "with a transport of wrong length",
      400,
      (writer) => writer.bytes(Attribute.requestedTransport, Uint8Array.of(17)),
    ],
    ["for an unknown family", 440, fills(udpTransport, family(3))],
    ["for one family and another beside it", 400, fills(udpTransport, family(1), both)],
    ["for IPv4 beside IPv4", 400, fills(udpTransport, family(1, Attribute.additionalAddressFamily))],
    ["for two families and a reserved port", 400, fills(udpTransport, both, evenPort(true))],
    ["with a token and a wish for a port", 400, fills(udpTransport, token(new Uint8Array(8)), evenPort(false))],
    ["with a token and a family", 400, fills(udpTransport, token(new Uint8Array(8)), family(1))],
    ["with a token and a second family", 400, fills(udpTransport, token(new Uint8Array(8)), both)],
    ["with a token of wrong length", 400, fills(udpTransport, token(new Uint8Array(7)))],
    ["with a token that nobody gave", 508, fills(udpTransport, token(new Uint8Array(8)))],
    ["with a lifetime of wrong length", 400, fills(udpTransport, (writer) => writer.zeros(Attribute.lifetime, 8))],
    [
      "with an attribute that must be understood and is not",
      420,
      fills(udpTransport, (writer) => writer.u32(0x7777, 1)),
    ],
  ];
  test.each(cases)("%s", (_name, code, fill) => {
    const lab = new Lab();
    expect(new LabClient(lab).code(Method.allocate, fill)).toBe(code);
    expect(lab.outputs).toEqual([]);
  });

  test("for a family that the server has no address of", () => {
    const lab = new Lab({ families: [4] });
    expect(errorCode(new LabClient(lab).allocate(family(2)))).toBe(440);
  });

  test("and the answer to unknown attributes names them", () => {
    const unknown: Fill = (writer) => writer.u32(0x7777, 1).u32(0x0033, 1).u32(0x8888, 1);
    const answer = new LabClient(new Lab()).allocate(unknown);
    expect(answer.value(Attribute.unknownAttributes)).toEqual(Uint8Array.of(0x77, 0x77, 0x00, 0x33));
  });

  test("for DONT-FRAGMENT where the system cannot, and not where it can", () => {
    const fill: Fill = (writer) => writer.zeros(Attribute.dontFragment, 0);
    const answer = new LabClient(new Lab({ canForbidFragments: false })).allocate(fill);
    expect(errorCode(answer)).toBe(420);
    expect(answer.value(Attribute.unknownAttributes)).toEqual(Uint8Array.of(0, Attribute.dontFragment));
    expect(errorCode(new LabClient(new Lab()).allocate(fill))).toBe(undefined);
  });
});

describe("families", () => {
  test("IPv6 is given when asked for", () => {
    const answer = new LabClient(new Lab()).allocate(family(2));
    expect(addressesOf(answer, Attribute.xorRelayedAddress)).toEqual([{ address: RELAY_6, port: 50_001 }]);
  });

  test("both are given when asked for, and each may be refreshed and released alone", () => {
    const lab = new Lab();
    const client = new LabClient(lab);
    expect(addressesOf(client.allocate(both), Attribute.xorRelayedAddress).map(({ address }) => address)).toEqual([
      RELAY_4,
      RELAY_6,
    ]);
    expect(client.code(Method.refresh, fills(family(2), lifetime(0)))).toBe(undefined);
    expect(lab.open.size).toBe(1);
    expect(client.code(Method.refresh, family(2))).toBe(443);
    lab.advance(500_000);
    expect(client.code(Method.refresh, family(1))).toBe(undefined);
    lab.advance(500_000);
    expect(lab.open.size).toBe(1);
    expect(client.code(Method.refresh, lifetime(0))).toBe(undefined);
    expect(lab.server.allocations).toBe(0);
    expect(lab.open.size).toBe(0);
  });

  test("IPv4 alone is given, with the reason, where IPv6 cannot be had as well", () => {
    for (const [lab, reason] of [
      [new Lab({ families: [4] }), Uint8Array.of(2, 0, 4, 40)],
      [new Lab({ broken: [6] }), Uint8Array.of(2, 0, 5, 8)],
    ] as const) {
      const answer = new LabClient(lab).allocate(both);
      expect(addressesOf(answer, Attribute.xorRelayedAddress).length).toBe(1);
      expect(answer.value(Attribute.addressErrorCode)).toEqual(reason);
    }
  });
});

describe("a reserved port", () => {
  test("is had with its token by the same user, once, within 30 seconds", () => {
    const lab = new Lab();
    const ticket = new LabClient(lab, 1).allocate(evenPort(true)).value(Attribute.reservationToken) ?? new Uint8Array();
    expect(lab.outputs[0]).toMatchObject({ wish: "even-and-next" });
    expect(errorCode(new LabClient(lab, 2, BOB).allocate(token(ticket)))).toBe(508);
    const answer = new LabClient(lab, 3).allocate(token(ticket));
    expect(addressesOf(answer, Attribute.xorRelayedAddress)).toEqual([{ address: RELAY_4, port: 50_002 }]);
    expect(errorCode(new LabClient(lab, 4).allocate(token(ticket)))).toBe(508);
  });

  test("is closed when nobody comes for it", () => {
    const lab = new Lab();
    const ticket = new LabClient(lab, 1).allocate(evenPort(true)).value(Attribute.reservationToken) ?? new Uint8Array();
    expect(lab.open.size).toBe(2);
    lab.advance(31_000);
    expect(lab.open.size).toBe(1);
    expect(errorCode(new LabClient(lab, 2).allocate(token(ticket)))).toBe(508);
  });

  test("is not given beyond the bound", () => {
    const lab = new Lab({ limits: { reservations: 1 } });
    expect(errorCode(new LabClient(lab, 1).allocate(evenPort(true)))).toBe(undefined);
    expect(errorCode(new LabClient(lab, 2).allocate(evenPort(true)))).toBe(508);
    expect(errorCode(new LabClient(lab, 3).allocate(evenPort(false)))).toBe(undefined);
  });
});

describe("a lifetime", () => {
  test.each([
    [1, 600],
    [600, 600],
    [700, 700],
    [3_600, 3_600],
    [100_000, 3_600],
    [0xffffffff, 3_600],
  ])("of %d s asked for is %d s", (asked, granted) => {
    const client = new LabClient(new Lab());
    expect(lifetimeOf(client.allocate(lifetime(asked)))).toBe(granted);
    expect(lifetimeOf(client.ask(Method.refresh, lifetime(asked)))).toBe(granted);
  });

  test("is renewed by a Refresh, and ended by one that asks for zero", () => {
    const lab = new Lab();
    const client = new LabClient(lab);
    client.allocate();
    lab.advance(599_000);
    expect(client.code(Method.refresh)).toBe(undefined);
    lab.advance(599_000);
    expect(lab.open.size).toBe(1);
    const end = client.ask(Method.refresh, lifetime(0));
    expect(lifetimeOf(end)).toBe(0);
    expect(lab.open.size).toBe(0);
    expect(lab.outputs.at(-1)).toMatchObject({ type: "allocation-ended", reason: "released" });
    expect(client.code(Method.refresh, lifetime(0))).toBe(437);
    expect(errorCode(client.allocate())).toBe(undefined);
  });

  test("may be shortened by a Refresh, and its end is kept", () => {
    const lab = new Lab();
    const client = new LabClient(lab);
    client.allocate(lifetime(3_600));
    client.ask(Method.refresh, lifetime(600));
    lab.advance(601_000);
    expect(lab.open.size).toBe(0);
  });

  test("of thousands ends without a pause: 512 at one time-out, the rest at the next", () => {
    const lab = new Lab({ limits: { allocationsPerUser: 2_000 } });
    for (let port = 1; port <= 1_100; port++) new LabClient(lab, port).allocate();
    lab.now = START + 700_000;
    const ends = () =>
      lab.server.handle({ type: "timeout" }, lab.now).filter(({ type }) => type === "close-relay").length;
    expect([ends(), ends(), ends(), ends()]).toEqual([512, 512, 76, 0]);
    expect(lab.server.deadline()).toBe(undefined);
  });
});

describe("quotas", () => {
  test("a user beyond the bound is told 486, others are not, and what ends makes room", () => {
    const lab = new Lab({ limits: { allocationsPerUser: 2 } });
    const [first] = [1, 2].map((port) => new LabClient(lab, port));
    expect(errorCode((first as LabClient).allocate())).toBe(undefined);
    expect(errorCode(new LabClient(lab, 2).allocate())).toBe(undefined);
    expect(errorCode(new LabClient(lab, 3).allocate())).toBe(486);
    expect(errorCode(new LabClient(lab, 3, BOB).allocate())).toBe(undefined);
    (first as LabClient).ask(Method.refresh, lifetime(0));
    expect(errorCode(new LabClient(lab, 4).allocate())).toBe(undefined);
    expect(lab.server.counters.quotaReached).toBe(1);
  });

  test("beyond the server's bound everybody is told 508", () => {
    const lab = new Lab({ limits: { allocations: 1 } });
    expect(errorCode(new LabClient(lab, 1).allocate())).toBe(undefined);
    expect(errorCode(new LabClient(lab, 2, BOB).allocate())).toBe(508);
  });

  test("no more wait for sockets than the bound", () => {
    const lab = new Lab({ holdsOpening: true, limits: { pending: 2 } });
    for (const port of [1, 2]) {
      const client = new LabClient(lab, port);
      client.send(signed(Method.allocate, client.signature(), udpTransport));
    }
    expect(errorCode(new LabClient(lab, 3).allocate())).toBe(508);
  });
});

test("a request for an allocation that is not there is told 437, one for another's 441", () => {
  const lab = new Lab();
  const client = new LabClient(lab);
  for (const method of [Method.refresh, Method.createPermission, Method.channelBind])
    expect(client.code(method)).toBe(437);
  client.allocate();
  for (const method of [Method.refresh, Method.createPermission, Method.channelBind])
    expect(new LabClient(lab, 1_000, BOB).code(method)).toBe(441);
});

test("a request above 4 KiB is not looked at", () => {
  const lab = new Lab();
  new LabClient(lab).send(request(Method.allocate, (writer) => writer.zeros(0x8001, 4_100)));
  expect(lab.sent).toEqual([]);
  expect(lab.server.counters.ignored).toBe(1);
});

function fills(...all: readonly Fill[]): Fill {
  return (writer) => {
    for (const fill of all) fill(writer);
  };
}
