import { describe, expect, test } from "vitest";
import { hex } from "../../../src/proto/bytes.ts";
import {
  type Entry,
  packEntries,
  packNamed,
  unpackEntries,
  unpackNamed,
} from "../../../src/proto/membership/entries.ts";
import { packPrefixes, prefixesIn } from "../../../src/proto/membership/heads.ts";
import * as messages from "../../../src/proto/membership/messages.ts";
import * as probes from "../../../src/proto/membership/probe-frames.ts";
import { RecordShelf } from "../../../src/proto/membership/record.ts";
import { encodeSuspicion, readRefutation, readSuspicion } from "../../../src/proto/membership/statements.ts";
import { publicKeyOf } from "../../../src/proto/peer-id.ts";
import { encode } from "../../../src/proto/wire/codec.ts";
import { id, record, refutation, SIGNATURE, suspicion } from "./fixtures.ts";

const shelf = new RecordShelf();

const entry: Entry = {
  id: id(1),
  key: publicKeyOf(id(1)),
  boot: 3,
  incarnation: 0xffff_ffff,
  status: "alive",
  down: true,
  fingerprint: [0xffff_ffff, 1],
  ageSeconds: 60,
};

describe("probe frames", () => {
  test("are five bytes: the kind and a sequence that comes back", () => {
    expect(hex(probes.encodeProbe("probe", 0xfedcba98))).toBe("01fedcba98");
    expect(hex(probes.encodeProbe("answer", 1))).toBe("0200000001");
    expect(probes.decodeProbeFrame(probes.encodeProbe("probe", 0xfedcba98))).toEqual({
      type: "probe",
      sequence: 0xfedcba98,
    });
    expect(probes.decodeProbeFrame(probes.encodeProbe("answer", 1))).toEqual({ type: "answer", sequence: 1 });
  });

  test("of an indirect probe name its target and its outcome", () => {
    const request = probes.encodeRequest(7, id(1));
    expect(request.length).toBe(37);
    expect(probes.decodeProbeFrame(request)).toEqual({ type: "request", sequence: 7, target: id(1) });
    for (const verdict of ["reached", "silent", "no-link"] as const)
      expect(probes.decodeProbeFrame(probes.encodeReport(7, verdict))).toEqual({
        type: "report",
        sequence: 7,
        verdict,
      });
  });

  test.each(["", "01000000", "010000000100", "0300000001", "04000000010300", "040000000103", "0500000001"])(
    "%j is malformed",
    (text) => {
      const bytes = Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
      expect(probes.decodeProbeFrame(bytes)).toBeUndefined();
    },
  );
});

describe("packed lists", () => {
  test("of entries take 53 bytes each and come back", () => {
    const gone: Entry = { ...entry, status: "left", down: false };
    const here: Entry = { ...entry, down: false, ageSeconds: 0 };
    const packed = packEntries([entry, gone, here]);
    expect(packed.length).toBe(3 * 53);
    expect(unpackEntries(packed)).toEqual([entry, gone, here]);
  });

  test("of members come back", () => {
    const key = publicKeyOf(id(2));
    expect(unpackNamed(packNamed([{ id: id(2), key, boot: 1, incarnation: 2 }]))).toEqual([
      { id: id(2), boot: 1, incarnation: 2 },
    ]);
  });

  test("cut short, of unknown standing or of start 0 are malformed", () => {
    const packed = packEntries([entry]);
    expect(unpackEntries(packed.subarray(1))).toBeUndefined();
    expect(unpackEntries(packed.with(40, 3))).toBeUndefined();
    expect(unpackEntries(packEntries([{ ...entry, boot: 0 }]))).toBeUndefined();
    expect(unpackNamed(new Uint8Array(41))).toBeUndefined();
  });
});

test("messages on a link come back as they were sent", () => {
  const root = new Uint8Array(8).fill(1);
  const sums = new Uint8Array(512).fill(2);
  const mask = new Uint8Array(8).fill(3);
  const carried = { record: record(id(1)), down: true, ageSeconds: 9 };
  const read = (bytes: Uint8Array) => messages.decodeMessage(bytes, shelf);
  expect(read(messages.encodeDigest(root, 9))).toEqual({ type: "digest", root, size: 9 });
  expect(read(messages.encodeSums(sums, 9))).toEqual({ type: "sums", sums, size: 9 });
  const heads = new Uint8Array(24).fill(4);
  expect(read(messages.encodeHeads(mask, heads))).toEqual({ type: "heads", mask, heads });
  expect(read(messages.encodeHeads(mask, heads.subarray(1)))).toBeUndefined();
  expect(read(messages.encodeEntries(packEntries([entry])))).toEqual({ type: "entries", entries: [entry] });
  expect(read(messages.encodeRecords([carried], true))).toEqual({ type: "records", records: [carried], more: true });
  const prefixes = packPrefixes([0xfedc_ba98, 7]);
  expect(read(messages.encodeWant(prefixes))).toEqual({ type: "want", prefixes });
  expect([...prefixesIn(prefixes)]).toEqual([0xfedc_ba98, 7]);
  expect(read(messages.encodeWant(prefixes.subarray(1)))).toBeUndefined();
  expect(read(messages.encodeClaims(packEntries([entry])))).toEqual({ type: "claims", entries: [entry] });
  const payload = messages.encodePayload("suspicion", suspicion(id(1), id(2)));
  expect(read(messages.encodeTell(payload))).toEqual({
    type: "tell",
    payload: { type: "suspicion", suspicion: suspicion(id(1), id(2)) },
  });
});

test("broadcast payloads come back as they were sent", () => {
  const read = (bytes: Uint8Array) => messages.decodePayload(bytes, shelf);
  const member = record(id(1));
  expect(read(messages.encodePayload("record", member))).toEqual({ type: "record", record: member });
  const answer = refutation(id(1));
  expect(read(messages.encodePayload("refutation", answer))).toEqual({ type: "refutation", refutation: answer });
  const named = { id: id(1), key: publicKeyOf(id(1)), boot: 1, incarnation: 5 };
  expect(read(messages.encodeNotice(packNamed([named])))).toEqual({
    type: "notice",
    named: [{ id: id(1), boot: 1, incarnation: 5 }],
  });
});

test.each([
  ["of an unknown kind", encode([63])],
  ["of broadcast's kinds", encode([64, new Uint8Array(8)])],
  ["with a root of the wrong length", encode([1, new Uint8Array(7), 1])],
  ["with an item too many", encode([1, new Uint8Array(8), 1, 1])],
  ["with sums of the wrong length", encode([2, new Uint8Array(504), 1])],
  ["with records of the wrong shape", encode([4, [[new Uint8Array(1), SIGNATURE, 1, 0]], false])],
  ["with beginnings of keys cut short", encode([5, new Uint8Array(33)])],
  ["with a payload that is none", encode([6, new Uint8Array(3)])],
  ["that is empty", new Uint8Array(0)],
])("a message %s is malformed", (_, bytes) => {
  expect(messages.decodeMessage(bytes, shelf)).toBeUndefined();
});

test("a notice that names more than 64 members is malformed", () => {
  const named = Array.from({ length: 65 }, () => ({ id: id(1), key: publicKeyOf(id(1)), boot: 1, incarnation: 0 }));
  expect(messages.decodePayload(messages.encodeNotice(packNamed(named)), shelf)).toBeUndefined();
});

test("a suspicion of oneself, of start 0 or with a short id is malformed", () => {
  const good = new Uint8Array(16);
  expect(readSuspicion(encodeSuspicion(good, id(1), id(1), 1, 0), SIGNATURE)).toBeUndefined();
  expect(readSuspicion(encodeSuspicion(good, id(1), id(2), 0, 0), SIGNATURE)).toBeUndefined();
  expect(readSuspicion(encodeSuspicion(good.subarray(1), id(1), id(2), 1, 0), SIGNATURE)).toBeUndefined();
  expect(readSuspicion(encodeSuspicion(good, id(1), id(2), 1, 0), new Uint8Array(32))).toBeUndefined();
  expect(readRefutation(encodeSuspicion(good, id(1), id(2), 1, 0), SIGNATURE)).toBeUndefined();
});
