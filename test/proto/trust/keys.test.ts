import { createHash, createHmac, randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { base64, fromBase64 } from "../../../src/proto/base64.ts";
import { base32, concat, utf8 } from "../../../src/proto/bytes.ts";
import { peerIdOf } from "../../../src/proto/peer-id.ts";
import { clusterIdOf, parseClusterId } from "../../../src/proto/trust/cluster-id.ts";
import { kidOf } from "../../../src/proto/trust/issuers.ts";
import { describeWeakness, keyWeakness, parseKey } from "../../../src/proto/trust/key-strength.ts";
import { placeOf } from "../../../src/proto/trust/place.ts";
import { CLOCK_LEEWAY_MS, fromSeconds, isTime } from "../../../src/proto/trust/times.ts";

const key = (fill: (index: number) => number): Uint8Array => Uint8Array.from({ length: 32 }, (_, index) => fill(index));

test.each([
  ["published", fromBase64("7RB0TPs+d/VuD3rL/7ZD2JEcpA14aNCBvLOPHwEBy9s=")],
  ["wrong-length", new Uint8Array(31)],
  ["wrong-length", randomBytes(64)],
  ["repeating", new Uint8Array(32)],
  ["repeating", key(() => 0xab)],
  ["repeating", key((index) => [1, 77, 200][index % 3] as number)],
  ["repeating", key((index) => ((index * 89 + (index % 16) * 7 * index) % 16 === 0 ? 1 : (index % 16) * 13))],
  ["sequence", key((index) => index)],
  ["sequence", key((index) => 255 - index * 3)],
  ["text", utf8("correct horse battery staple 42!")],
  ["text", utf8("0123456789abcdef0123456789abcdee")],
  ["low-entropy", key((index) => (index * index * 7 + (index >> 3) * 5) % 13)],
  ["low-entropy", key((index) => (index < 24 ? 0 : index * 29))],
] as const)("a key that is %s is refused", (weakness, weak) => {
  expect(keyWeakness(weak as Uint8Array)).toBe(weakness);
  expect(describeWeakness(weakness)).toMatch(/^(is|has|repeats) /);
});

test("random keys pass", () => {
  for (let run = 0; run < 5_000; run++) expect(keyWeakness(randomBytes(32))).toBeUndefined();
});

test("a key is parsed from canonical base64 only, and judged", () => {
  const random = new Uint8Array(randomBytes(32));
  expect(parseKey(base64(random))).toEqual(random);
  expect(parseKey(`${base64(random)} `)).toBe("wrong-length");
  expect(parseKey("7RB0TPs+d/VuD3rL/7ZD2JEcpA14aNCBvLOPHwEBy9s=")).toBe("published");
});

test("a cluster's id is 20 bytes of SHA-256 over a label and the root's public key", () => {
  const root = key((index) => index * 7);
  const digest = createHash("sha256").update("starling/cluster/1\0").update(root).digest();
  expect(clusterIdOf(root)).toBe(base32(digest.subarray(0, 20)));
  expect(clusterIdOf(root)).toMatch(/^[a-z2-7]{32}$/);
  expect(parseClusterId(clusterIdOf(root))).toBe(clusterIdOf(root));
  expect(parseClusterId(clusterIdOf(root).toUpperCase())).toBeUndefined();
  expect(parseClusterId(`${clusterIdOf(root)}a`)).toBeUndefined();
  expect(parseClusterId("")).toBeUndefined();
});

test("names of clusters and of issuing keys are not related, even for one key", () => {
  const both = key((index) => index * 11);
  expect(clusterIdOf(both).startsWith(kidOf(both))).toBe(false);
  expect(kidOf(both)).toMatch(/^[a-z2-7]{16}$/);
});

test("a place depends on the secret and the whole identity, and on nothing else", () => {
  const secret = key((index) => index * 5 + 1);
  const id = peerIdOf(key((index) => index));
  const expected = createHmac("sha256", secret).update(
    concat(
      utf8("starling/place/1\0"),
      key((index) => index),
    ),
  );
  expect(placeOf(secret, id)).toEqual(new Uint8Array(expected.digest().subarray(0, 16)));
  expect(
    placeOf(
      key((index) => index * 5),
      id,
    ),
  ).not.toEqual(placeOf(secret, id));
  expect(placeOf(secret, peerIdOf(key((index) => (index === 31 ? 0 : index))))).not.toEqual(placeOf(secret, id));
});

test("times outside 2020 to 2100 are no times", () => {
  expect([Date.UTC(2020, 0, 1), Date.UTC(2099, 11, 31)].every(isTime)).toBe(true);
  expect([0, -1, Date.UTC(2019, 11, 31), Date.UTC(2100, 0, 1), Number.NaN, Infinity].some(isTime)).toBe(false);
  expect(fromSeconds(1_800_000_000)).toBe(1_800_000_000_000);
  for (const bad of ["1800000000", 1.5, 1_800_000_000_000, -1, null, undefined, Number.MAX_VALUE]) {
    expect(fromSeconds(bad)).toBeUndefined();
  }
  expect(CLOCK_LEEWAY_MS).toBe(60_000);
});
