import { describe, expect, test } from "vitest";
import { AssertionFailure } from "../../../src/proto/assert.ts";
import { hex } from "../../../src/proto/bytes.ts";
import { compareRecords, encodeRecord, RecordShelf, readRecord } from "../../../src/proto/membership/record.ts";
import { publicKeyOf } from "../../../src/proto/peer-id.ts";
import { encode, type WireValue } from "../../../src/proto/wire/codec.ts";
import { DRAFT, id, record, SIGNATURE } from "./fixtures.ts";

const fields = [
  1,
  publicKeyOf(id(1)),
  1,
  0,
  0,
  "node",
  [["zone", "a"]],
  1,
  2,
  DRAFT.exchangeKey,
  100,
  "a.b.c",
] as const;

/** The body with one field replaced. */
function body(field: number, value: WireValue): Uint8Array {
  return encode(fields.map((item, index) => (index === field ? value : item)));
}

test("a record comes back from its bytes as it was", () => {
  const { body: bytes, signature, fingerprint, id: subject, key, ...rest } = record(id(1));
  expect(rest).toEqual(DRAFT);
  expect(subject).toBe(id(1));
  expect(key).toEqual(publicKeyOf(id(1)));
  expect(signature).toEqual(SIGNATURE);
  expect(hex(bytes)).toBe(hex(encode(fields)));
  expect(fingerprint.every((word) => word >= 0 && word <= 0xffff_ffff)).toBe(true);
});

test("a record of a later version with further fields is read", () => {
  expect(readRecord(encode([...fields, "more"]), SIGNATURE)?.name).toBe("node");
});

test("a record does not keep alive the frame that it came in", () => {
  const frame = new Uint8Array(10_000);
  const bytes = encode(fields);
  frame.set(bytes, 100);
  const read = readRecord(frame.subarray(100, 100 + bytes.length), SIGNATURE);
  expect(read?.body.buffer.byteLength).toBeLessThan(1_000);
  expect(read?.exchangeKey.buffer.byteLength).toBeLessThan(1_000);
});

describe("a record is refused", () => {
  test.each([
    ["of another layout", body(0, 2)],
    ["with a short key", body(1, new Uint8Array(31))],
    ["of start 0", body(2, 0)],
    ["of an incarnation beyond 32 bits", body(3, 2 ** 32)],
    ["with a fractional incarnation", body(3, 0.5)],
    ["of unknown status", body(4, 2)],
    ["with a name too long", body(5, "n".repeat(65))],
    [
      "with labels out of order",
      body(6, [
        ["b", ""],
        ["a", ""],
      ]),
    ],
    [
      "with a label twice",
      body(6, [
        ["a", "1"],
        ["a", "2"],
      ]),
    ],
    ["with a label too long", body(6, [["a", "x".repeat(129)]])],
    [
      "with too many labels",
      body(
        6,
        Array.from({ length: 33 }, (_, index) => [String(index + 10), ""]),
      ),
    ],
    ["with versions the wrong way round", body(8, 0)],
    ["with an exchange key of the wrong length", body(9, new Uint8Array(33))],
    ["with a capacity too large", body(10, 65_536)],
    ["with a token too long", body(11, "t".repeat(4_097))],
    ["with a field missing", encode(fields.slice(0, 11))],
    ["that is no array", encode("record")],
    ["that is not msgpack", new Uint8Array([0xc1])],
  ])("%s", (_, bytes) => {
    expect(readRecord(bytes, SIGNATURE)).toBeUndefined();
  });

  test("with a signature of the wrong length", () => {
    expect(readRecord(encode(fields), new Uint8Array(63))).toBeUndefined();
  });

  test("above 8 KiB, and its author's program is at fault", () => {
    const labels = Array.from({ length: 32 }, (_, index) => [`key ${index + 10}`, "é".repeat(128)] as const);
    expect(() => encodeRecord(id(1), { ...DRAFT, labels, token: "t".repeat(4_096) })).toThrow(AssertionFailure);
  });
});

test("a later start wins, then a later incarnation, then leaving", () => {
  const ascending = [
    record(id(1)),
    record(id(1), { status: "left" }),
    record(id(1), { incarnation: 1 }),
    record(id(1), { incarnation: 2, status: "left" }),
    record(id(1), { boot: 2 }),
    record(id(1), { boot: 2, incarnation: 1 }),
  ];
  for (const [low, older] of ascending.entries()) {
    for (const [high, newer] of ascending.entries()) {
      expect(Math.sign(compareRecords(newer, older))).toBe(Math.sign(high - low));
    }
  }
});

test("two records that a broken member signs for one incarnation are ordered alike by everybody", () => {
  const [one, other] = [record(id(1), { name: "one" }), record(id(1), { name: "other" })];
  expect(compareRecords(one, other)).not.toBe(0);
  expect(Math.sign(compareRecords(one, other))).toBe(-Math.sign(compareRecords(other, one)));
});

test("a shelf gives one object for equal bytes, and another for another signature", () => {
  const shelf = new RecordShelf();
  const bytes = encode(fields);
  const first = shelf.read(bytes, SIGNATURE);
  expect(shelf.read(bytes.slice(), SIGNATURE.slice())).toBe(first);
  expect(shelf.read(bytes, new Uint8Array(64))).not.toBe(first);
  expect(shelf.read(new Uint8Array([0xc1]), SIGNATURE)).toBeUndefined();
});
