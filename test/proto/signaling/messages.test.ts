import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { peerIdOf } from "../../../src/proto/peer-id.ts";
import { decodeClientMessage, encodeClientMessage } from "../../../src/proto/signaling/client-messages.ts";
import { signalingLimits as limits } from "../../../src/proto/signaling/limits.ts";
import {
  type ClientMessage,
  type IceGrant,
  REFUSALS,
  type RefusalCode,
  type ServerMessage,
} from "../../../src/proto/signaling/messages.ts";
import { decodeServerMessage, encodeServerMessage } from "../../../src/proto/signaling/server-messages.ts";
import { encode, type WireValue } from "../../../src/proto/wire/codec.ts";

const bytesOf = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((bytes) => new Uint8Array(bytes));
const upTo = (length: number, least = 0) =>
  fc.uint8Array({ minLength: least, maxLength: length }).map((bytes) => new Uint8Array(bytes));
const peer = bytesOf(32).map(peerIdOf);
const word = fc.string({ maxLength: 40 });
const time = fc.integer({ min: 0, max: 4_000_000_000_000 });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });

const clientMessage: fc.Arbitrary<Exclude<ClientMessage, { type: "foreign-hello" }>> = fc.oneof(
  fc.record({
    type: fc.constant("hello" as const),
    cluster: word,
    peer,
    instance: bytesOf(16),
    serverName: word,
  }),
  fc.record({
    type: fc.constant("login" as const),
    at: time,
    signature: bytesOf(64),
    token: word,
  }),
  fc.record({
    type: fc.constant("exchange" as const),
    kid: fc.string({ maxLength: 16 }),
    bytes: upTo(300, 1),
  }),
  fc.record({ type: fc.constant("desk" as const), desk: upTo(100, 1) }),
  fc.record({ type: fc.constant("answer" as const), id: u32, bytes: upTo(300, 1) }),
  fc.record({ type: fc.constant("present" as const), record: upTo(100, 1) }),
  fc.record({ type: fc.constant("introduce" as const), count: fc.integer({ min: 1, max: 16 }) }),
  fc.record({ type: fc.constant("signal" as const), to: peer, bytes: upTo(300), id: u32 }),
  fc.record({ type: fc.constant("renew" as const), token: word }),
  fc.record({ type: fc.constant("ice" as const) }),
  fc.record({ type: fc.constant("time" as const), id: u32 }),
  fc.record({ type: fc.constant("goodbye" as const) }),
);

const iceGrant: fc.Arbitrary<IceGrant> = fc.record(
  { urls: fc.array(word, { maxLength: 8 }), username: word, credential: word, expiresAt: time },
  { requiredKeys: ["urls"] },
);
const iceServers = fc.array(iceGrant, { maxLength: 8 });
const refusal = {
  code: fc.constantFrom(...(Object.keys(REFUSALS) as RefusalCode[])),
  detail: fc.stringMatching(/^[ -~]{0,60}$/),
};

const serverMessage: fc.Arbitrary<ServerMessage> = fc.oneof(
  fc.record({
    type: fc.constant("challenge" as const),
    version: fc.integer({ min: 1, max: 9 }),
    nonce: bytesOf(32),
    serverName: word,
    serverTime: time,
    desks: fc.array(upTo(100), { maxLength: 16 }),
  }),
  fc.record({
    type: fc.constant("welcome" as const),
    expiresAt: time,
    issuers: upTo(100),
    introductions: fc.array(upTo(60), { maxLength: 16 }),
    iceServers,
  }),
  fc.record({ type: fc.constant("exchanged" as const), bytes: upTo(300, 1) }),
  fc.record({ type: fc.constant("asked" as const), id: u32, bytes: upTo(300, 1) }),
  fc.record({ type: fc.constant("introductions" as const), records: fc.array(upTo(60), { maxLength: 16 }) }),
  fc.record({ type: fc.constant("signal" as const), from: peer, bytes: upTo(300) }),
  fc.record({
    type: fc.constant("undelivered" as const),
    to: peer,
    id: u32,
    reason: fc.constantFrom("absent" as const, "rate-limited" as const),
  }),
  fc.record({ type: fc.constant("renewed" as const), token: word, expiresAt: time, iceServers }),
  fc.record({ type: fc.constant("granted" as const), iceServers }),
  fc.record({ type: fc.constant("unrenewed" as const), ...refusal }),
  fc.record({ type: fc.constant("time" as const), id: u32, serverTime: time }),
  fc.record({ type: fc.constant("expiring" as const), expiresAt: time }),
  fc.record({
    type: fc.constant("fenced" as const),
    rival: fc.record({
      nonce: bytesOf(32),
      serverName: word,
      instance: bytesOf(16),
      at: time,
      signature: bytesOf(64),
    }),
  }),
  fc.record({ type: fc.constant("refused" as const), ...refusal }),
  fc.record({ type: fc.constant("going-away" as const), reconnectAfterMs: fc.nat() }),
);

describe("the signaling codec", () => {
  test("gives back every message of an agent", () => {
    fc.assert(
      fc.property(clientMessage, (message) => {
        expect(decodeClientMessage(encodeClientMessage(message))).toEqual(message);
      }),
    );
  });

  test("gives back every message of a server", () => {
    fc.assert(
      fc.property(serverMessage, (message) => {
        expect(decodeServerMessage(encodeServerMessage(message))).toEqual(message);
      }),
    );
  });

  test("never throws on arbitrary bytes, nor on damaged messages", () => {
    const damaged = fc
      .tuple(
        fc.oneof(clientMessage.map(encodeClientMessage), serverMessage.map(encodeServerMessage)),
        fc.nat(),
        fc.nat(255),
      )
      .map(([bytes, at, value]) => {
        bytes[at % bytes.length] = value;
        return bytes;
      });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), damaged), (bytes) => {
        decodeClientMessage(bytes);
        decodeServerMessage(bytes);
      }),
      { numRuns: 2_000 },
    );
  });

  test("writes exactly these arrays", () => {
    const key = new Uint8Array(32).fill(1);
    const instance = new Uint8Array(16).fill(2);
    const hello = { type: "hello", cluster: "c", peer: peerIdOf(key), instance, serverName: "s:1" } as const;
    expect(encodeClientMessage(hello)).toEqual(encode([1, [1], "c", key, instance, "s:1"]));
    const signal = { type: "signal", to: peerIdOf(key), bytes: new Uint8Array([7]), id: 3 } as const;
    expect(encodeClientMessage(signal)).toEqual(new Uint8Array([0x94, 5, 0xc4, 32, ...key, 0xc4, 1, 7, 3]));
    expect(encodeServerMessage({ type: "time", id: 1, serverTime: 5.4 })).toEqual(encode([70, 1, 5]));
  });

  test.each<[string, WireValue]>([
    ["no array", 1],
    ["an empty array", []],
    ["an unknown kind", [99]],
    ["a kind of the other direction", [67, new Uint8Array(32), new Uint8Array(1)]],
    ["an item too many", [8, 0]],
    ["an item too few", [3]],
    ["a fraction for a count", [4, 1.5]],
    ["no introductions asked for", [4, 0]],
    ["too many introductions asked for", [4, 17]],
    ["an empty record", [3, new Uint8Array(0)]],
    ["a record that is too large", [3, new Uint8Array(limits.recordBytes + 1)]],
    ["a record that is text", [3, "record"]],
    ["a recipient of 31 bytes", [5, new Uint8Array(31), new Uint8Array(1), 1]],
    ["a signal that is too large", [5, new Uint8Array(32), new Uint8Array(limits.signalBytes + 1), 1]],
    ["a negative id", [7, -1]],
    ["an unknown credential", [2, 1, new Uint8Array(64), 3, "t"]],
    ["a token that is too long", [6, "t".repeat(limits.showingLength + 1)]],
    ["no versions", [1, 1, "c", new Uint8Array(32), new Uint8Array(16), "s"]],
    ["a hello of version 1 with an item too many", [1, [1], "c", new Uint8Array(32), new Uint8Array(16), "s", 0]],
  ])("refuses %s from an agent", (_name, value) => {
    expect(decodeClientMessage(encode(value))).toEqual({ type: "malformed", fault: "shape" });
  });

  test("reads nothing but the versions of a hello in a later version", () => {
    expect(decodeClientMessage(encode([1, [2, 3], 7]))).toEqual({ type: "foreign-hello" });
    expect(decodeClientMessage(encode([1, [2, 1], "c", new Uint8Array(32), new Uint8Array(16), "s"])).type).toBe(
      "hello",
    );
  });

  test("refuses a depth bomb, a length bomb and too many items before decoding", () => {
    const deep = new Uint8Array(60_000).fill(0x91);
    expect(decodeClientMessage(deep)).toEqual({ type: "malformed", fault: "too-deep" });
    expect(decodeClientMessage(new Uint8Array([0xdd, 0xff, 0xff, 0xff, 0xff]))).toMatchObject({ type: "malformed" });
    expect(decodeClientMessage(new Uint8Array([0xdc, 0xff, 0, ...new Uint8Array(65_280)]))).toMatchObject({
      fault: "too-many",
    });
    expect(decodeClientMessage(new Uint8Array(limits.clientMessageBytes + 1))).toMatchObject({ fault: "oversize" });
    expect(decodeServerMessage(new Uint8Array(limits.serverMessageBytes + 1))).toMatchObject({ fault: "oversize" });
  });

  test("lets the largest honest messages through", () => {
    const signal = new Uint8Array(limits.signalBytes);
    const sent = encodeClientMessage({
      type: "signal",
      to: peerIdOf(new Uint8Array(32)),
      bytes: signal,
      id: 0xffff_ffff,
    });
    expect(sent.length).toBeLessThanOrEqual(limits.clientMessageBytes);
    expect(decodeClientMessage(sent).type).toBe("signal");
    const url = "u".repeat(limits.iceTextLength);
    const grant = { urls: Array(limits.iceUrls).fill(url), username: url, credential: url, expiresAt: 1 };
    const welcome = encodeServerMessage({
      type: "welcome",
      expiresAt: 1,
      issuers: new Uint8Array(limits.issuersBytes),
      introductions: Array(limits.introductions).fill(new Uint8Array(limits.recordBytes)),
      iceServers: Array(limits.iceServers).fill(grant),
    });
    expect(welcome.length).toBeLessThanOrEqual(limits.serverMessageBytes);
    expect(decodeServerMessage(welcome).type).toBe("welcome");
    const login = encodeClientMessage({
      type: "login",
      at: 4_000_000_000_000,
      signature: new Uint8Array(64),
      token: "t".repeat(limits.tokenLength),
    });
    expect(login.length).toBeLessThanOrEqual(limits.loginMessageBytes);
    const bytes = new Uint8Array(limits.exchangeBytes);
    const exchange = encodeClientMessage({ type: "exchange", kid: "k".repeat(limits.kidLength), bytes });
    expect(exchange.length).toBeLessThanOrEqual(limits.loginMessageBytes);
  });

  test("makes what a server says safe to print", () => {
    const detail = "\u001b[2Jgone \u202etxt\n";
    const bytes = encodeServerMessage({ type: "refused", code: "full", detail });
    expect(decodeServerMessage(bytes)).toEqual({
      type: "refused",
      code: "full",
      detail: "\ufffd[2Jgone \ufffdtxt\ufffd",
    });
  });
});
