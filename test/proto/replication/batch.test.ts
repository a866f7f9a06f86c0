import { expect, test } from "vitest";
import { hex, utf8 } from "../../../src/proto/bytes.ts";
import { sha256 } from "../../../src/proto/hash.ts";
import { publicKeyOf } from "../../../src/proto/peer-id.ts";
import {
  type Batch,
  batchBody,
  encodeParcel,
  entryBytes,
  mayWrite,
  type Parcel,
  parseParcel,
  proofBytes,
} from "../../../src/proto/replication/batch.ts";
import {
  compareVersions,
  type Entry,
  encodeKey,
  entryDigest,
  isBucketName,
} from "../../../src/proto/replication/entry.ts";
import { encode, type WireValue } from "../../../src/proto/wire/codec.ts";
import { makeBatch } from "./make.ts";
import { peerNumber } from "./world.ts";

const author = peerNumber(1);

test("the digest of an entry is SHA-256 over the documented layout", () => {
  const head = {
    bucket: "app",
    key: "ü",
    keyBytes: 2,
    clock: 3_686_400_000_000_001,
    deleted: false,
    size: 5,
    valueHash: sha256(utf8("hello")),
  };
  const layout = Buffer.concat([
    Buffer.from("starling/entry/1\0"),
    publicKeyOf(author),
    Buffer.from([3]),
    Buffer.from("app"),
    Buffer.from([0, 2]),
    Buffer.from("ü"),
    Buffer.from("000d18c2e2800001", "hex"),
    Buffer.from([0, 0, 0, 0, 5]),
    sha256(utf8("hello")),
  ]);
  expect(hex(entryDigest(publicKeyOf(author), head, utf8("ü")))).toBe(hex(sha256(layout)));
});

test("a batch is signed over author, token, clocks, acknowledgements and digests", () => {
  const digests = new Uint8Array(64).fill(7);
  const clocks = { first: 2_048, last: 4_097 };
  const header = { author, tokenHash: new Uint8Array(32).fill(3), ...clocks, acks: 258, isAtomic: false, digests };
  const start = `${hex(publicKeyOf(author))}${"03".repeat(32)}00000000000008000000000000001001`;
  expect(hex(batchBody(header))).toBe(`${start}01020002${"07".repeat(64)}`);
  expect(hex(batchBody({ ...header, isAtomic: true }))).toBe(`${start}01028002${"07".repeat(64)}`);
});

test("every entry proves itself with the whole batch's header and digests", () => {
  const { batch, entries } = makeBatch(1, [
    ["app", "a", "one"],
    ["app", "b", null],
    ["other", "c", ""],
  ]);
  for (const entry of entries) {
    const parcel = parseParcel(encodeParcel(batch, [entry])) as Parcel;
    expect(parcel.batch).toEqual(batch);
    expect(parcel.entries).toHaveLength(1);
    expect(parcel.entries[0]).toMatchObject({
      index: entry.index,
      path: entry.path,
      head: { bucket: entry.bucket, key: entry.key, clock: entry.clock, deleted: entry.deleted, size: entry.size },
    });
    expect(parcel.entries[0]?.value).toEqual(entry.value);
  }
});

test("a value above 48 KiB is announced by size and hash", () => {
  const { batch, entries } = makeBatch(1, [["app", "big", new Uint8Array(49_153)]]);
  const parcel = parseParcel(encodeParcel(batch, entries)) as Parcel;
  expect(parcel.entries[0]?.value).toBeUndefined();
  expect(parcel.entries[0]?.head.size).toBe(49_153);
  expect(encode(encodeParcel(batch, entries)).length).toBeLessThan(400);
});

test("no estimate of encoded size is too small", () => {
  for (const value of [null, "", "x".repeat(300), "x".repeat(49_152), new Uint8Array(49_153)]) {
    const { batch, entries } = makeBatch(1, [["b".repeat(64), "k".repeat(512), value]]);
    const estimate = proofBytes(batch) + entryBytes(entries[0] as Entry);
    expect(encode(encodeParcel(batch, entries)).length).toBeLessThanOrEqual(estimate);
  }
});

test("an entry that its author did not sign is refused", () => {
  const { batch, entries } = makeBatch(1, [["app", "a", "one"]]);
  const other = makeBatch(2, [["app", "a", "one"]]);
  expect(parseParcel(encodeParcel(batch, [{ ...(entries[0] as Entry), value: utf8("two") }]))).toBe("not-in-batch");
  expect(parseParcel(encodeParcel({ ...batch, author: other.batch.author }, entries))).toBe("not-in-batch");
  expect(parseParcel(encodeParcel({ ...batch, digests: other.batch.digests }, entries))).toBe("not-in-batch");
});

test.each([
  ["no entries", (batch: Batch, entries: readonly WireValue[]) => [wire(batch), entries.slice(1)]],
  ["more entries than digests", (batch, entries) => [wire(batch), [...entries, ...entries]]],
  ["half a digest", (batch, entries) => [replaced(wire(batch), 5, new Uint8Array(48)), entries]],
  ["65 digests", (batch, entries) => [replaced(wire(batch), 5, new Uint8Array(65 * 32)), entries]],
  ["a clock of zero", (batch, entries) => [replaced(wire(batch), 2, 0), entries]],
  ["a span over a second", (batch, entries) => [replaced(wire(batch), 3, 1_000 * 2_048 + 1), entries]],
  ["a short signature", (batch, entries) => [replaced(wire(batch), 6, new Uint8Array(63)), entries]],
  ["a bucket name in capitals", (batch, entries) => [wire(batch), [replaced(entries[0], 0, "App")]]],
  ["an empty key", (batch, entries) => [wire(batch), [replaced(entries[0], 1, "")]]],
  ["a key of 513 bytes", (batch, entries) => [wire(batch), [replaced(entries[0], 1, "k".repeat(513))]]],
  ["a key of 300 two-byte letters", (batch, entries) => [wire(batch), [replaced(entries[0], 1, "ü".repeat(300))]]],
  ["a clock outside the header's", (batch, entries) => [wire(batch), [replaced(entries[0], 2, 1)]]],
  ["a value over 48 KiB inside", (batch, entries) => [wire(batch), [replaced(entries[0], 3, new Uint8Array(49_153))]]],
  ["a text for a value", (batch, entries) => [wire(batch), [replaced(entries[0], 3, "one")]]],
] satisfies [string, (batch: Batch, entries: readonly WireValue[]) => WireValue][])(
  "%s is malformed",
  (_name, build) => {
    const { batch, entries } = makeBatch(1, [["app", "a", "one"]]);
    const [, list] = encodeParcel(batch, entries) as readonly WireValue[];
    expect(parseParcel([wire(batch), list as WireValue])).toHaveProperty("batch");
    expect(parseParcel(build(batch, list as readonly WireValue[]))).toBe("malformed");
  },
);

function wire(batch: Batch): readonly WireValue[] {
  const [head] = encodeParcel(batch, []) as readonly WireValue[];
  return head as readonly WireValue[];
}

function replaced(fields: WireValue | undefined, index: number, value: WireValue): WireValue {
  return (fields as readonly WireValue[]).map((field, at) => (at === index ? value : field));
}

test("bucket names and keys follow their rules", () => {
  for (const name of ["a", "0", "app.v1-x_y", "a".repeat(64)]) expect(isBucketName(name)).toBe(true);
  for (const name of ["", "-a", ".a", "A", "a b", "a/b", "ü", "a\n", "a".repeat(65)])
    expect(isBucketName(name)).toBe(false);
  expect(encodeKey("ü")).toEqual(utf8("ü"));
  for (const key of ["", "\ud800", "a\udc00b", "k".repeat(513), "ü".repeat(257)])
    expect(encodeKey(key)).toBeUndefined();
  expect(encodeKey("😀")).toHaveLength(4);
});

test("the scope names the bucket, or all of them", () => {
  expect(mayWrite(["kv:write:app"], "app", "key")).toBe(true);
  expect(mayWrite(["kv:write:*"], "app", "key")).toBe(true);
  expect(mayWrite(["kv:read:app", "kv:write:ap", "kv:write:app2", "kv:write"], "app", "key")).toBe(false);
});

test("the later clock wins, then the greater author, then the greater value hash", () => {
  const [low, high] = [1, 2].sort((a, b) => (peerNumber(a) < peerNumber(b) ? -1 : 1)) as [number, number];
  const version = (number: number, at: number, value: string): Entry =>
    makeBatch(number, [["app", "a", value]], at).entries[0] as Entry;
  expect(compareVersions(version(low, 2, "x"), version(high, 1, "y"))).toBeGreaterThan(0);
  expect(compareVersions(version(high, 1, "x"), version(low, 1, "y"))).toBeGreaterThan(0);
  const [less, more] = ["x", "y"].sort((a, b) => Buffer.compare(sha256(utf8(a)), sha256(utf8(b)))) as [string, string];
  expect(compareVersions(version(low, 1, more), version(low, 1, less))).toBeGreaterThan(0);
  expect(compareVersions(version(low, 1, less), version(low, 1, less))).toBe(0);
});
