import { describe, expect, test } from "vitest";
import type { Endpoint } from "../../../stun/proto/address.ts";
import { Attribute } from "../../../stun/proto/attributes.ts";
import { MessageClass, Method, parseMessage } from "../../../stun/proto/message.ts";
import { ALICE, BOB, Lab, LabClient, type LabOptions, type LabPath, PEER, PEER_6, RELAY_4, type Sent } from "./lab.ts";
import {
  addressesOf,
  channelData,
  channelTo,
  errorCode,
  type Fill,
  message,
  peers,
  sendIndication,
} from "./requests.ts";

const PAYLOAD = Uint8Array.of(1, 2, 3, 4, 5);

function allocated(options: LabOptions = {}, path?: LabPath): { lab: Lab; client: LabClient } {
  const lab = new Lab(options);
  const client = new LabClient(lab, 1_000, ALICE, path ?? lab.udp);
  client.allocate((writer) => writer.bytes(Attribute.additionalAddressFamily, Uint8Array.of(2, 0, 0, 0)));
  return { lab, client };
}

const toPeer = (bytes: Uint8Array, { address, port }: Endpoint, relay = 1): Sent => ({
  to: "peer",
  relay,
  bytes,
  address,
  port,
});
const toClient = (bytes: Uint8Array, path = "udp"): Sent => ({
  to: "client",
  path,
  bytes,
  address: "5.5.5.5",
  port: 1_000,
  via: 0,
});

describe("with a permission", () => {
  test("a Send indication reaches the peer, and what it sends comes back as a Data indication", () => {
    const { lab, client } = allocated();
    expect(client.code(Method.createPermission, peers(PEER))).toBe(undefined);
    client.send(sendIndication(PEER, PAYLOAD));
    expect(lab.drain()).toEqual([toPeer(PAYLOAD, PEER)]);
    lab.peerPacket(1, PAYLOAD, PEER);
    const indication = lab.answer();
    expect([indication.cls, indication.method]).toEqual([MessageClass.indication, Method.data]);
    expect(addressesOf(indication, Attribute.xorPeerAddress)).toEqual([PEER]);
    expect(indication.value(Attribute.data)).toEqual(PAYLOAD);
  });

  test("every port of the host is reached and heard, and no other host", () => {
    const { lab, client } = allocated();
    client.ask(Method.createPermission, peers(PEER));
    const elsewhere = { ...PEER, port: 7 };
    client.send(sendIndication(elsewhere, PAYLOAD));
    expect(lab.drain()).toEqual([toPeer(PAYLOAD, elsewhere)]);
    lab.peerPacket(1, PAYLOAD, elsewhere);
    expect(lab.drain().length).toBe(1);
    const stranger = { ...PEER, address: "8.8.4.4" };
    client.send(sendIndication(stranger, PAYLOAD));
    lab.peerPacket(1, PAYLOAD, stranger);
    expect(lab.drain()).toEqual([]);
    expect(lab.server.counters.packetsWithoutPermission).toBe(2);
  });

  test("packets pass for five minutes, whatever is sent; a repeated request makes it five more", () => {
    const { lab, client } = allocated();
    client.ask(Method.createPermission, peers(PEER));
    lab.advance(299_000);
    lab.peerPacket(1, PAYLOAD, PEER);
    client.send(sendIndication(PEER, PAYLOAD));
    expect(lab.drain().length).toBe(2);
    client.ask(Method.createPermission, peers(PEER));
    lab.advance(299_000);
    lab.peerPacket(1, PAYLOAD, PEER);
    expect(lab.drain().length).toBe(1);
    lab.advance(1_000);
    lab.peerPacket(1, PAYLOAD, PEER);
    client.send(sendIndication(PEER, PAYLOAD));
    expect(lab.drain()).toEqual([]);
  });

  test("IPv6 peers are reached from the IPv6 address", () => {
    const { lab, client } = allocated();
    client.ask(Method.createPermission, peers(PEER, PEER_6));
    client.send(sendIndication(PEER_6, PAYLOAD));
    expect(lab.drain()).toEqual([toPeer(PAYLOAD, PEER_6, 2)]);
    lab.peerPacket(2, PAYLOAD, PEER_6);
    expect(addressesOf(lab.answer(), Attribute.xorPeerAddress)).toEqual([PEER_6]);
  });

  test("an empty payload is relayed as well", () => {
    const { lab, client } = allocated();
    client.ask(Method.createPermission, peers(PEER));
    client.send(sendIndication(PEER, new Uint8Array()));
    expect(lab.drain()).toEqual([toPeer(new Uint8Array(), PEER)]);
  });
});

describe("a channel", () => {
  test("carries both ways, with four bytes before the payload", () => {
    const { lab, client } = allocated();
    expect(client.code(Method.channelBind, channelTo(0x4000, PEER))).toBe(undefined);
    client.send(channelData(0x4000, PAYLOAD));
    expect(lab.drain()).toEqual([toPeer(PAYLOAD, PEER)]);
    lab.peerPacket(1, PAYLOAD, PEER);
    expect(lab.drain()).toEqual([toClient(Uint8Array.of(0x40, 0, 0, 5, 1, 2, 3, 4, 5))]);
  });

  test("is padded towards a stream, and may be padded by a datagram", () => {
    const tcp: LabPath = { name: "tcp", transport: "tcp" };
    const { lab, client } = allocated({}, tcp);
    client.ask(Method.channelBind, channelTo(0x4000, PEER));
    lab.peerPacket(1, PAYLOAD, PEER);
    expect(lab.drain()).toEqual([toClient(Uint8Array.of(0x40, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0), "tcp")]);
    const over = allocated();
    over.client.ask(Method.channelBind, channelTo(0x4000, PEER));
    over.client.send(Uint8Array.of(0x40, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0));
    expect(over.lab.drain()).toEqual([toPeer(PAYLOAD, PEER)]);
  });

  test("brings a permission along: other ports of the host come as indications", () => {
    const { lab, client } = allocated();
    client.ask(Method.channelBind, channelTo(0x4000, PEER));
    lab.peerPacket(1, PAYLOAD, { ...PEER, port: 7 });
    expect(parseMessage((lab.drain()[0] as Sent).bytes)?.method).toBe(Method.data);
  });

  test("lives for ten minutes, its permission for five, and a repeated request renews both", () => {
    const { lab, client } = allocated();
    client.ask(Method.channelBind, channelTo(0x4000, PEER));
    lab.advance(301_000);
    lab.peerPacket(1, PAYLOAD, PEER);
    expect(lab.drain()).toEqual([]);
    client.send(channelData(0x4000, PAYLOAD));
    expect(lab.drain().length).toBe(1);
    client.ask(Method.channelBind, channelTo(0x4000, PEER));
    client.ask(Method.refresh);
    lab.advance(299_000);
    lab.peerPacket(1, PAYLOAD, PEER);
    expect(lab.drain()).toEqual([toClient(Uint8Array.of(0x40, 0, 0, 5, 1, 2, 3, 4, 5))]);
    client.ask(Method.createPermission, peers(PEER));
    client.ask(Method.refresh);
    lab.advance(299_000);
    client.ask(Method.createPermission, peers(PEER));
    lab.advance(2_001);
    // The channel has ended and the permission has not.
    client.send(channelData(0x4000, PAYLOAD));
    expect(lab.drain()).toEqual([]);
    lab.peerPacket(1, PAYLOAD, PEER);
    expect(parseMessage((lab.drain()[0] as Sent).bytes)?.method).toBe(Method.data);
  });

  test("is for one peer, and a peer has one; when its time is over both are free", () => {
    const { lab, client } = allocated();
    const other = { ...PEER, port: 7 };
    client.ask(Method.channelBind, channelTo(0x4000, PEER));
    expect(client.code(Method.channelBind, channelTo(0x4000, other))).toBe(400);
    expect(client.code(Method.channelBind, channelTo(0x4001, PEER))).toBe(400);
    expect(client.code(Method.channelBind, channelTo(0x4001, other))).toBe(undefined);
    client.ask(Method.refresh, (writer) => writer.u32(Attribute.lifetime, 3_600));
    lab.advance(600_000);
    expect(client.code(Method.channelBind, channelTo(0x4001, PEER))).toBe(undefined);
    expect(client.code(Method.channelBind, channelTo(0x4000, other))).toBe(undefined);
    client.send(channelData(0x4001, PAYLOAD));
    client.send(channelData(0x4000, PAYLOAD));
    expect(lab.drain()).toEqual([toPeer(PAYLOAD, PEER), toPeer(PAYLOAD, other)]);
  });

  test.each([
    ["no number", peers(PEER)],
    ["no peer", (writer) => writer.u32(Attribute.channelNumber, 0x40000000)],
    ["a number below the range", channelTo(0x3fff, PEER)],
    ["a number above the range", channelTo(0x7fff, PEER)],
    ["port zero", channelTo(0x4000, { ...PEER, port: 0 })],
  ] satisfies [string, Fill][])("with %s is none", (_name, fill) => {
    expect(allocated().client.code(Method.channelBind, fill)).toBe(400);
  });

  test("that is not bound, or whose length is wrong, carries nothing and is not answered", () => {
    const { lab, client } = allocated();
    client.ask(Method.channelBind, channelTo(0x4000, PEER));
    for (const bytes of [
      channelData(0x4001, PAYLOAD),
      Uint8Array.of(0x40),
      Uint8Array.of(0x40, 0, 0),
      Uint8Array.of(0x40, 0, 0, 6, 1, 2, 3, 4, 5),
      Uint8Array.of(0x40, 0, 0, 1, 1, 2, 3, 4, 5),
      Uint8Array.of(0x80, 0, 0, 1, 1),
      Uint8Array.of(0xff),
      new Uint8Array(),
    ])
      client.send(bytes);
    new LabClient(lab, 1_001).send(channelData(0x4000, PAYLOAD));
    expect(lab.drain()).toEqual([]);
  });
});

describe("a peer that the policy refuses", () => {
  const REFUSED = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "1.2.3.4",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::127.0.0.1",
    "64:ff9b::8.8.8.8",
    "2002:7f00:1::",
    "fe80::1",
    "fd00::1",
    "ff02::1",
  ];
  test.each(REFUSED)("%s gets 403 for permission and channel, and no packet", (address) => {
    const { lab, client } = allocated();
    const peer = { address, port: 80 };
    expect(client.code(Method.createPermission, peers(peer))).toBe(403);
    expect(client.code(Method.channelBind, channelTo(0x4000, peer))).toBe(403);
    client.send(sendIndication(peer, PAYLOAD));
    client.send(channelData(0x4000, PAYLOAD));
    lab.peerPacket(1, PAYLOAD, peer);
    expect(lab.drain()).toEqual([]);
    expect(lab.server.counters.peersForbidden).toBe(2);
  });

  test("takes the others of its request with it", () => {
    const { lab, client } = allocated();
    expect(client.code(Method.createPermission, peers(PEER, { address: "10.0.0.1", port: 1 }))).toBe(403);
    client.send(sendIndication(PEER, PAYLOAD));
    expect(lab.drain()).toEqual([]);
  });

  test("is reached when it is allowed by name", () => {
    const { lab, client } = allocated({ allow: ["10.0.0.0/8"] });
    const peer = { address: "10.0.0.1", port: 80 };
    expect(client.code(Method.createPermission, peers(peer))).toBe(undefined);
    client.send(sendIndication(peer, PAYLOAD));
    expect(lab.drain()).toEqual([toPeer(PAYLOAD, peer)]);
  });
});

test("a family that the allocation lacks is told 443, a request without peers or with a broken one 400", () => {
  const lab = new Lab();
  const client = new LabClient(lab);
  client.allocate();
  expect(client.code(Method.createPermission, peers(PEER, PEER_6))).toBe(443);
  expect(client.code(Method.channelBind, channelTo(0x4000, PEER_6))).toBe(443);
  expect(client.code(Method.createPermission)).toBe(400);
  expect(client.code(Method.createPermission, (writer) => writer.zeros(Attribute.xorPeerAddress, 8))).toBe(400);
});

describe("two clients of one server", () => {
  /** Two allocations whose relayed addresses are 50,001 and 50,002 of an address that the policy refuses. */
  function neighbours() {
    const lab = new Lab();
    const [left, right] = [new LabClient(lab, 1), new LabClient(lab, 2, BOB)];
    left.allocate();
    right.allocate();
    return {
      lab,
      left,
      right,
      leftAt: { address: RELAY_4, port: 50_001 },
      rightAt: { address: RELAY_4, port: 50_002 },
    };
  }

  test("reach each other's relayed addresses without the network, though the address itself is closed", () => {
    const { lab, left, right, leftAt, rightAt } = neighbours();
    expect(left.code(Method.channelBind, channelTo(0x4000, rightAt))).toBe(undefined);
    left.send(channelData(0x4000, PAYLOAD));
    expect(lab.drain()).toEqual([]);
    expect(right.code(Method.channelBind, channelTo(0x4000, leftAt))).toBe(undefined);
    left.send(channelData(0x4000, PAYLOAD));
    right.send(channelData(0x4000, PAYLOAD));
    const packet = channelData(0x4000, PAYLOAD);
    expect(lab.drain().map((sent) => [sent.to, sent.port, sent.bytes])).toEqual([
      ["client", 2, packet],
      ["client", 1, packet],
    ]);
  });

  test("reach nothing else at that address", () => {
    const { lab, left, rightAt } = neighbours();
    expect(left.code(Method.channelBind, channelTo(0x4000, { ...rightAt, port: 3_478 }))).toBe(403);
    expect(left.code(Method.createPermission, peers({ ...rightAt, port: 22 }))).toBe(403);
    left.ask(Method.createPermission, peers(rightAt));
    left.send(sendIndication({ ...rightAt, port: 22 }, PAYLOAD));
    lab.peerPacket(1, PAYLOAD, { ...rightAt, port: 22 });
    expect(lab.drain().filter(({ to }) => to === "peer")).toEqual([]);
  });

  test("are cut off when one ends", () => {
    const { lab, left, right, leftAt, rightAt } = neighbours();
    left.ask(Method.channelBind, channelTo(0x4000, rightAt));
    right.ask(Method.channelBind, channelTo(0x4000, leftAt));
    right.ask(Method.refresh, (writer) => writer.u32(Attribute.lifetime, 0));
    left.send(channelData(0x4000, PAYLOAD));
    expect(lab.drain()).toEqual([]);
  });
});

describe("bounds", () => {
  const host = (index: number): Endpoint => ({ address: `8.8.${index >> 8}.${index & 255}`, port: 1 });

  test("of permissions: 508 beyond, all or nothing, and what has ended makes room", () => {
    const { lab, client } = allocated({ limits: { permissions: 3 } });
    expect(client.code(Method.createPermission, peers(host(1), host(2)))).toBe(undefined);
    expect(client.code(Method.createPermission, peers(host(3), host(4)))).toBe(508);
    expect(client.code(Method.createPermission, peers(host(1), host(2), host(3), host(3)))).toBe(undefined);
    expect(client.code(Method.channelBind, channelTo(0x4000, host(4)))).toBe(508);
    lab.advance(300_000);
    expect(client.code(Method.createPermission, peers(host(4), host(5), host(6)))).toBe(undefined);
  });

  test("of channels: 508 beyond, and what has ended makes room", () => {
    const { lab, client } = allocated({ limits: { channels: 2 } });
    client.ask(Method.refresh, (writer) => writer.u32(Attribute.lifetime, 3_600));
    expect(client.code(Method.channelBind, channelTo(0x4000, host(1)))).toBe(undefined);
    expect(client.code(Method.channelBind, channelTo(0x4001, host(2)))).toBe(undefined);
    expect(client.code(Method.channelBind, channelTo(0x4002, host(3)))).toBe(508);
    expect(client.code(Method.channelBind, channelTo(0x4001, host(2)))).toBe(undefined);
    lab.advance(600_000);
    expect(client.code(Method.channelBind, channelTo(0x4002, host(3)))).toBe(undefined);
  });

  test("of bandwidth: a user's packets beyond are dropped, both ways together, another's are not", () => {
    const { lab, client } = allocated({ limits: { userBandwidth: { perSecond: 1_000, burst: 1_000 } } });
    const bob = new LabClient(lab, 2_000, BOB);
    bob.allocate();
    for (const one of [client, bob]) one.ask(Method.channelBind, channelTo(0x4000, PEER));
    const [large, small] = [new Uint8Array(600), new Uint8Array(400)];
    client.send(channelData(0x4000, large));
    lab.peerPacket(1, large, PEER);
    lab.peerPacket(1, small, PEER);
    client.send(channelData(0x4000, small));
    expect(lab.drain().length).toBe(2);
    bob.send(channelData(0x4000, large));
    expect(lab.drain().length).toBe(1);
    expect(lab.server.counters.packetsOverBandwidth).toBe(2);
    lab.advance(400);
    client.send(channelData(0x4000, small));
    expect(lab.drain().length).toBe(1);
  });

  test("of bandwidth in all hold for everybody together", () => {
    const { lab, client } = allocated({ limits: { totalBandwidth: { perSecond: 1_000, burst: 1_000 } } });
    const bob = new LabClient(lab, 2_000, BOB);
    bob.allocate();
    for (const one of [client, bob]) one.ask(Method.channelBind, channelTo(0x4000, PEER));
    client.send(channelData(0x4000, new Uint8Array(700)));
    bob.send(channelData(0x4000, new Uint8Array(700)));
    expect(lab.drain().length).toBe(1);
  });

  test("of DONT-FRAGMENT: what does not fit into a frame is dropped, without it it is sent", () => {
    const { lab, client } = allocated();
    client.ask(Method.createPermission, peers(PEER));
    const whole: Fill = (writer) => writer.zeros(Attribute.dontFragment, 0);
    client.send(sendIndication(PEER, new Uint8Array(1_472), whole));
    client.send(sendIndication(PEER, new Uint8Array(1_473), whole));
    client.send(sendIndication(PEER, new Uint8Array(1_473)));
    expect(lab.drain().map(({ bytes }) => bytes.length)).toEqual([1_472, 1_473]);
    expect(lab.server.counters.packetsTooLarge).toBe(1);
  });
});

test("a Send indication that lacks a part, or has one that is not understood, is dropped in silence", () => {
  const { lab, client } = allocated();
  client.ask(Method.createPermission, peers(PEER));
  const indication = (fill: Fill) => message(MessageClass.indication, Method.send, fill);
  client.send(indication(peers(PEER)));
  client.send(indication((writer) => writer.bytes(Attribute.data, PAYLOAD)));
  client.send(sendIndication({ ...PEER, port: 0 }, PAYLOAD));
  client.send(sendIndication(PEER, PAYLOAD, (writer) => writer.u32(0x7777, 1)));
  expect(lab.drain()).toEqual([]);
  expect(lab.server.counters.malformed).toBe(4);
});

test("responses, indications that are no business of a server, and unknown methods are never answered", () => {
  const { lab, client } = allocated();
  for (const cls of [MessageClass.success, MessageClass.error]) {
    for (const method of [Method.binding, Method.allocate, Method.refresh, Method.channelBind])
      client.send(message(cls, method));
  }
  for (const method of [Method.binding, Method.data, Method.allocate])
    client.send(message(MessageClass.indication, method));
  for (const method of [0x000, 0x002, 0x00a, 0xfff]) client.send(message(MessageClass.request, method));
  expect(lab.drain()).toEqual([]);
  expect(lab.server.counters.ignored).toBe(15);
});

test("a peer's packet to a reserved port goes nowhere", () => {
  const lab = new Lab();
  const client = new LabClient(lab);
  client.allocate((writer) => writer.bytes(Attribute.evenPort, Uint8Array.of(0x80)));
  client.ask(Method.createPermission, peers(PEER));
  lab.peerPacket(2, PAYLOAD, PEER);
  expect(lab.drain()).toEqual([]);
});

test("what was relayed is counted, for the server and for the allocation", () => {
  const { lab, client } = allocated();
  client.ask(Method.channelBind, channelTo(0x4000, PEER));
  client.send(channelData(0x4000, PAYLOAD));
  lab.peerPacket(1, PAYLOAD, PEER);
  lab.peerPacket(1, PAYLOAD, PEER);
  lab.drain();
  expect(errorCode(client.ask(Method.refresh, (writer) => writer.u32(Attribute.lifetime, 0)))).toBe(undefined);
  expect(lab.outputs.at(-1)).toMatchObject({ bytesToPeers: 5, bytesToClient: 10 });
  const { packetsToPeers, bytesToPeers, packetsToClients, bytesToClients } = lab.server.counters;
  expect([packetsToPeers, bytesToPeers, packetsToClients, bytesToClients]).toEqual([1, 5, 2, 10]);
});
