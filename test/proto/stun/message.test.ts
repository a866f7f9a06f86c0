import { describe, expect, test } from "vitest";
import { fromUtf8, hex, utf8 } from "../../../src/proto/bytes.ts";
import { Attribute } from "../../../stun/proto/attributes.ts";
import { type Integrity, isIntact, longTermKey, shortTermKey, userhash } from "../../../stun/proto/integrity.ts";
import { MessageClass, Method, messageType, parseMessage, type StunMessage } from "../../../stun/proto/message.ts";
import { MessageWriter } from "../../../stun/proto/message-writer.ts";
import { addressesOf, request } from "./requests.ts";

function bytesOf(text: string): Uint8Array {
  const digits = text.replace(/\s/g, "");
  return Uint8Array.from({ length: digits.length / 2 }, (_, index) =>
    Number.parseInt(digits.slice(index * 2, index * 2 + 2), 16),
  );
}

function parsed(bytes: Uint8Array): StunMessage {
  const message = parseMessage(bytes);
  if (message === undefined) throw new Error("not a message");
  return message;
}

const textOf = (message: StunMessage, type: number): string | undefined => {
  const value = message.value(type);
  return value && fromUtf8(value);
};

/** RFC 5769, section 2; the password of the first three is short-term. */
const REQUEST = bytesOf(`000100582112a442b7e7a701bc34d686fa87dfae
  802200105354554e207465737420636c69656e74 002400046e0001ff 80290008932ff9b151263b36
  000600096576746a3a68367659202020 000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2 80280004e57a3bcf`);
const IPV4_RESPONSE = bytesOf(`0101003c2112a442b7e7a701bc34d686fa87dfae
  8022000b7465737420766563746f7220 002000080001a147e112a643
  000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7 80280004c07d4c96`);
const IPV6_RESPONSE = bytesOf(`010100482112a442b7e7a701bc34d686fa87dfae
  8022000b7465737420766563746f7220 002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9
  00080014a382954e4be67bf11784c97c8292c275bfe3ed41 80280004c8fb0b4c`);
const LONG_TERM = bytesOf(`000100602112a44278ad3433c6ad72c029da412e
  00060012e3839ee38388e383aae38383e382afe382b90000
  0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341
  0014000b6578616d706c652e6f726700 00080014f67024656dd64a3e02b8e0712e85c9a28ca89666`);
const SHORT: Integrity = { kind: "sha1", key: shortTermKey("VOkJxbRl1RmTxUk/WvJxBt") };
const MATRIX = "マトリックス";

/** RFC 8489, appendix B.1, as its verified erratum has it: with PASSWORD-ALGORITHM. */
const SHA256_REQUEST = bytesOf(`000100902112a44278ad3433c6ad72c029da412e
  001e00204a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704
  001500296f624d61744a6f73324141414366 2f2f3439396b39353464364f4c33346f4c39465354767936347341000000
  0014000b6578616d706c652e6f726700 001d000400020000
  001c0020b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65`);

describe("the vectors of RFC 5769", () => {
  test("the request of section 2.1 is read, intact and has the right fingerprint", () => {
    const message = parsed(REQUEST);
    expect([message.cls, message.method, message.hasFingerprint]).toEqual([MessageClass.request, Method.binding, true]);
    expect(textOf(message, 0x8022)).toBe("STUN test client");
    expect(textOf(message, Attribute.username)).toBe("evtj:h6vY");
    expect(isIntact(message, SHORT)).toBe(true);
    expect(isIntact(message, { kind: "sha1", key: shortTermKey("VOkJxbRl1RmTxUk/WvJxBT") })).toBe(false);
  });

  test("the responses of sections 2.2 and 2.3 are read, intact and carry the mapped address", () => {
    for (const [bytes, address] of [
      [IPV4_RESPONSE, "192.0.2.1"],
      [IPV6_RESPONSE, "2001:db8:1234:5678:11:2233:4455:6677"],
    ] as const) {
      const message = parsed(bytes);
      expect([message.cls, message.method]).toEqual([MessageClass.success, Method.binding]);
      expect(textOf(message, 0x8022)).toBe("test vector");
      expect(addressesOf(message, Attribute.xorMappedAddress)).toEqual([{ address, port: 32_853 }]);
      expect(isIntact(message, SHORT)).toBe(true);
    }
  });

  test("the request of section 2.4 is intact under the long-term key", () => {
    const message = parsed(LONG_TERM);
    expect(textOf(message, Attribute.username)).toBe(MATRIX);
    expect(textOf(message, Attribute.nonce)).toBe("f//499k954d6OL34oL9FSTvy64sA");
    const key = longTermKey(MATRIX, "example.org", "TheMatrIX", "md5");
    expect(isIntact(message, { kind: "sha1", key })).toBe(true);
  });

  test("a request with the same content is written byte for byte, long-term and with SHA-256", () => {
    const target = new Uint8Array(256);
    const plain = new MessageWriter(target, MessageClass.request, Method.binding, LONG_TERM)
      .bytes(Attribute.username, utf8(MATRIX))
      .bytes(Attribute.nonce, utf8("f//499k954d6OL34oL9FSTvy64sA"))
      .bytes(Attribute.realm, utf8("example.org"))
      .integrity({ kind: "sha1", key: longTermKey(MATRIX, "example.org", "TheMatrIX", "md5") });
    expect(hex(target.subarray(0, plain.finish()))).toBe(hex(LONG_TERM));
    const modern = new MessageWriter(target, MessageClass.request, Method.binding, SHA256_REQUEST)
      .bytes(Attribute.userhash, userhash(MATRIX, "example.org"))
      .bytes(Attribute.nonce, utf8("obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA"))
      .bytes(Attribute.realm, utf8("example.org"))
      .bytes(Attribute.passwordAlgorithm, Uint8Array.of(0, 2, 0, 0))
      .integrity({ kind: "sha256", key: longTermKey(MATRIX, "example.org", "TheMatrIX", "sha256") });
    expect(hex(target.subarray(0, modern.finish()))).toBe(hex(SHA256_REQUEST));
  });
});

test("the request of RFC 8489, appendix B.1, is intact under the SHA-256 key, and altered it is not", () => {
  const integrity: Integrity = { kind: "sha256", key: longTermKey(MATRIX, "example.org", "TheMatrIX", "sha256") };
  expect(isIntact(parsed(SHA256_REQUEST), integrity)).toBe(true);
  for (const at of [8, 30, 130, SHA256_REQUEST.length - 1]) {
    const altered = SHA256_REQUEST.slice();
    altered[at] = (altered[at] as number) ^ 1;
    const message = parseMessage(altered);
    expect(message !== undefined && isIntact(message, integrity)).toBe(false);
  }
});

test("class and method stand where RFC 8489 puts them", () => {
  expect(messageType(MessageClass.request, Method.binding)).toBe(0x0001);
  expect(messageType(MessageClass.indication, Method.send)).toBe(0x0016);
  expect(messageType(MessageClass.success, Method.allocate)).toBe(0x0103);
  expect(messageType(MessageClass.error, Method.channelBind)).toBe(0x0119);
  for (const cls of [0, 1, 2, 3]) {
    for (const method of [1, 3, 0x7f, 0xfff]) {
      const bytes = request(method);
      const type = messageType(cls, method);
      bytes[0] = type >> 8;
      bytes[1] = type & 0xff;
      expect([parsed(bytes).cls, parsed(bytes).method]).toEqual([cls, method]);
    }
  }
});

describe("what is not a message", () => {
  const whole = request(Method.binding, (writer) => writer.u32(0x8001, 7));
  const cases: readonly [string, Uint8Array][] = [
    ["nothing", new Uint8Array()],
    ["a header cut short", whole.slice(0, 19)],
    ["a body cut short", whole.slice(0, 24)],
    ["a byte too many", Uint8Array.of(...whole, 0)],
    ["four bytes too many", Uint8Array.of(...whole, 0, 0, 0, 0)],
    ["a wrong cookie", altered(whole, 4, 0x20)],
    ["a first bit that is set", altered(whole, 0, 0x40)],
    ["a length that is no multiple of four", altered(whole.slice(0, 27), 3, 7)],
    ["an attribute longer than the message", altered(whole, 23, 5)],
    ["an attribute header cut short", altered(Uint8Array.of(...request(Method.binding), 0, 0), 3, 2)],
    ["a fingerprint that is wrong", request(Method.binding, (writer) => writer.u32(Attribute.fingerprint, 1))],
    ["an attribute behind the fingerprint", request(Method.binding, (writer) => writer.fingerprint().u32(0x8001, 7))],
    ["an integrity of 16 bytes", request(Method.binding, (writer) => writer.zeros(Attribute.messageIntegrity, 16))],
    [
      "a SHA-256 integrity of 12",
      request(Method.binding, (writer) => writer.zeros(Attribute.messageIntegritySha256, 12)),
    ],
    [
      "a SHA-256 integrity of 18",
      request(Method.binding, (writer) => writer.zeros(Attribute.messageIntegritySha256, 18)),
    ],
    ["193 attributes", request(Method.binding, (writer) => repeat(193, () => writer.zeros(0x8001, 0)))],
  ];
  test.each(cases)("%s", (_name, bytes) => {
    expect(parseMessage(bytes)).toBe(undefined);
  });

  test("is told from what nearly is", () => {
    expect(parseMessage(whole)).toBeDefined();
    expect(parseMessage(request(Method.binding, (writer) => writer.fingerprint()))).toBeDefined();
    const many = request(Method.binding, (writer) => repeat(192, () => writer.zeros(0x8001, 0)));
    expect(parseMessage(many)).toBeDefined();
  });
});

test("an attribute behind the integrity does not exist, one behind which nothing stands does", () => {
  const integrity: Integrity = { kind: "sha1", key: shortTermKey("x") };
  const message = parsed(
    request(Method.allocate, (writer) =>
      writer.u32(Attribute.lifetime, 1).integrity(integrity).u32(Attribute.evenPort, 1).fingerprint(),
    ),
  );
  expect(message.find(Attribute.lifetime)).toBeGreaterThan(0);
  expect(message.find(Attribute.evenPort)).toBe(0);
  expect(message.unknown(new Set())).toEqual([Attribute.lifetime]);
  expect(isIntact(message, integrity)).toBe(true);
});

test("of attributes that occur twice the first counts", () => {
  const message = parsed(
    request(Method.allocate, (writer) => writer.u32(Attribute.lifetime, 1).u32(Attribute.lifetime, 2)),
  );
  expect(message.value(Attribute.lifetime)).toEqual(Uint8Array.of(0, 0, 0, 1));
});

test("a SHA-256 integrity may be cut to 16 bytes", () => {
  const integrity: Integrity = { kind: "sha256", key: shortTermKey("x") };
  const full = request(Method.allocate, (writer) => writer.zeros(Attribute.messageIntegritySha256, 16));
  const mac = integrity.key.mac("sha256", full.subarray(0, 20), full, 20);
  full.set(mac.subarray(0, 16), 24);
  expect(isIntact(parsed(full), integrity)).toBe(true);
  full[39] = (full[39] as number) ^ 1;
  expect(isIntact(parsed(full), integrity)).toBe(false);
});

function altered(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] = value;
  return copy;
}

function repeat(times: number, act: () => void): void {
  for (let count = 0; count < times; count++) act();
}
