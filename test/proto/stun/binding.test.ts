import { describe, expect, test } from "vitest";
import { Attribute } from "../../../stun/proto/attributes.ts";
import { Method, parseMessage } from "../../../stun/proto/message.ts";
import { ALICE, Lab, LabClient, type LabPath } from "./lab.ts";
import { addressesOf, errorCode, type Fill, request, udpTransport } from "./requests.ts";

const at = (address: string, port: number) => ({ address, port });
const [OWN, PORT, ADDRESS, BOTH] = [
  at("9.0.0.1", 3_478),
  at("9.0.0.1", 3_479),
  at("9.0.0.2", 3_478),
  at("9.0.0.2", 3_479),
];
const DISCOVERY: LabPath = { name: "four", transport: "udp", discovery: [OWN, PORT, ADDRESS, BOTH] };

const change =
  (flags: number): Fill =>
  (writer) =>
    writer.u32(Attribute.changeRequest, flags);

describe("a Binding request", () => {
  test.each([
    ["5.5.5.5", 32],
    ["2a00::5", 44],
  ])("from %s is told its address in %d bytes", (address, length) => {
    const lab = new Lab();
    new LabClient(lab, 1_234, ALICE, lab.udp, address).send(request(Method.binding));
    const [sent] = lab.drain();
    expect(sent?.bytes.length).toBe(length);
    const answer = parseMessage(sent?.bytes ?? new Uint8Array());
    expect(answer && addressesOf(answer, Attribute.xorMappedAddress)).toEqual([{ address, port: 1_234 }]);
  });

  test("with a fingerprint is answered with one, with credentials as without", () => {
    const lab = new Lab();
    new LabClient(lab).send(request(Method.binding, (writer) => writer.fingerprint()));
    expect(lab.answer().hasFingerprint).toBe(true);
    new LabClient(lab).send(request(Method.binding, (writer) => writer.zeros(Attribute.username, 5)));
    expect(errorCode(lab.answer())).toBe(undefined);
    expect(lab.server.counters.bindings).toBe(2);
  });

  test("with an attribute that must be understood is told 420, with one that need not be is answered", () => {
    const lab = new Lab();
    new LabClient(lab).send(request(Method.binding, (writer) => writer.u32(0x0024, 1)));
    const answer = lab.answer();
    expect(errorCode(answer)).toBe(420);
    expect(answer.value(Attribute.unknownAttributes)).toEqual(Uint8Array.of(0, 0x24));
    new LabClient(lab).send(request(Method.binding, (writer) => writer.u32(0x8024, 1)));
    expect(errorCode(lab.answer())).toBe(undefined);
  });

  test("for another address is told 420 by a server that has none", () => {
    const lab = new Lab();
    for (const fill of [change(2), (writer) => writer.zeros(Attribute.padding, 100)] satisfies Fill[]) {
      new LabClient(lab).send(request(Method.binding, fill));
      expect(errorCode(lab.answer())).toBe(420);
    }
  });
});

describe("behaviour discovery", () => {
  test.each([
    ["the same address and port", 0, 0, OWN],
    ["the other port", 2, 1, PORT],
    ["the other address", 4, 2, ADDRESS],
    ["both other", 6, 3, BOTH],
  ])("is answered from %s", (_name, flags, via, origin) => {
    const lab = new Lab();
    new LabClient(lab, 1_000, ALICE, DISCOVERY).send(request(Method.binding, change(flags)));
    const [sent] = lab.sent;
    expect(sent?.to === "client" && sent.via).toBe(via);
    const answer = lab.answer();
    const plain = (type: number) => answer.value(type);
    expect(plain(Attribute.responseOrigin)).toEqual(plainAddress(origin));
    expect(plain(Attribute.otherAddress)).toEqual(plainAddress(BOTH));
    expect(addressesOf(answer, Attribute.xorMappedAddress)).toEqual([{ address: "5.5.5.5", port: 1_000 }]);
  });

  test("answers to another port of the same address when asked", () => {
    const lab = new Lab();
    const port: Fill = (writer) => writer.bytes(Attribute.responsePort, Uint8Array.of(0x12, 0x34, 0, 0));
    new LabClient(lab, 1_000, ALICE, DISCOVERY).send(request(Method.binding, port));
    expect(lab.drain().map(({ address, port }) => ({ address, port }))).toEqual([{ address: "5.5.5.5", port: 0x1234 }]);
  });

  test("pads no more than it was padded, nor more than a frame", () => {
    const lab = new Lab();
    const client = new LabClient(lab, 1_000, ALICE, DISCOVERY);
    for (const [asked, given] of [
      [100, 100],
      [1_500, 1_500],
      [9_000, 1_500],
    ] as const) {
      client.send(request(Method.binding, (writer) => writer.zeros(Attribute.padding, asked)));
      expect(lab.answer().value(Attribute.padding)?.length).toBe(given);
    }
  });

  test("refuses padding to another port, and broken wishes", () => {
    const lab = new Lab();
    const client = new LabClient(lab, 1_000, ALICE, DISCOVERY);
    for (const fill of [
      (writer) => writer.zeros(Attribute.padding, 64).zeros(Attribute.responsePort, 4),
      (writer) => writer.zeros(Attribute.changeRequest, 8),
      (writer) => writer.zeros(Attribute.responsePort, 2),
    ] satisfies Fill[]) {
      client.send(request(Method.binding, fill));
      expect(errorCode(lab.answer())).toBe(400);
    }
  });
});

describe("an address that may be forged", () => {
  test("gets challenges until its share of what they have in excess is used up, and others still get theirs", () => {
    const lab = new Lab({ limits: { amplification: { perSecond: 100, burst: 500 } } });
    const ask = (address: string) =>
      new LabClient(lab, 1, ALICE, lab.udp, address).send(request(Method.allocate, udpTransport));
    for (let count = 0; count < 20; count++) ask("5.5.5.5");
    const sent = lab.drain();
    const excess = sent.reduce((sum, { bytes }) => sum + bytes.length - 28, 0);
    expect(sent.length).toBeGreaterThan(3);
    expect(excess).toBeLessThanOrEqual(500);
    expect(lab.server.counters.answersWithheld).toBe(20 - sent.length);
    ask("5.5.5.6");
    expect(lab.drain().length).toBe(1);
    lab.advance(2_000);
    ask("5.5.5.5");
    expect(lab.drain().length).toBe(1);
  });

  test("gets no word that the protocol does not demand", () => {
    const lab = new Lab();
    new LabClient(lab).send(request(Method.allocate, udpTransport));
    const answer = lab.answer();
    expect(answer.value(Attribute.errorCode)?.length).toBe(4);
    // 20 header, 8 error, 16 realm, 40 nonce, 12 algorithms.
    expect(answer.bytes.length).toBe(96);
  });

  test("gets its bare address in any case", () => {
    const lab = new Lab({ limits: { amplification: { perSecond: 1, burst: 1 } } });
    for (let count = 0; count < 50; count++) new LabClient(lab).send(request(Method.binding));
    expect(lab.drain().length).toBe(50);
  });

  test("that has shown a nonce of its own, or came over a stream, is not counted", () => {
    const lab = new Lab({ limits: { amplification: { perSecond: 1, burst: 100 } } });
    const client = new LabClient(lab, 1, { name: "mallory", password: "x" });
    for (let count = 0; count < 20; count++) expect(client.code(Method.allocate, udpTransport)).toBe(401);
    const tcp: LabPath = { name: "tcp", transport: "tcp" };
    for (let count = 0; count < 20; count++)
      lab.packet(request(Method.allocate, udpTransport), { address: "5.5.5.6", port: 1 }, tcp);
    expect(lab.drain().length).toBe(20);
  });

  test("is remembered for a bounded number of addresses", () => {
    const lab = new Lab({ limits: { amplification: { perSecond: 1, burst: 100 }, sources: 2 } });
    const ask = (last: number) => new LabClient(lab, 1, ALICE, lab.udp, `5.5.5.${last}`).send(request(Method.allocate));
    for (const last of [1, 1, 2, 3, 1]) ask(last);
    expect(lab.drain().length).toBe(4);
  });
});

function plainAddress({ address, port }: { address: string; port: number }): Uint8Array {
  return Uint8Array.of(0, 1, port >> 8, port & 255, ...address.split(".").map(Number));
}
