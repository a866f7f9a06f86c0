import fc from "fast-check";
import { expect, test } from "vitest";
import {
  acceptIssuers,
  decodeIssuers,
  decodeSignedIssuers,
  encodeIssuers,
  encodeSignedIssuers,
  type IssuerList,
  issuerOf,
  kidOf,
  supersedes,
} from "../../../src/proto/trust/issuers.ts";
import { encode } from "../../../src/proto/wire/codec.ts";
import { crypto, entry, issuing, NOW, root, signedList } from "./cluster-lab.ts";

const other = crypto.authority(crypto.randomBytes(32));
const accept = (signed: ReturnType<typeof signedList>, key = root.publicKey) =>
  acceptIssuers(signed, key, crypto.verifyAuthority);

test("a list that the root signed is accepted, and its keys are found by name", () => {
  const issuers = [entry(), entry({ publicKey: other.publicKey, scopes: ["mesh:join", "kv:read:*"] })];
  const list = accept(signedList(5, issuers));
  expect(list).toEqual({ version: 5, issuers });
  expect(issuerOf(list as IssuerList, kidOf(other.publicKey))?.scopes).toEqual(["mesh:join", "kv:read:*"]);
  expect(issuerOf(list as IssuerList, "aaaaaaaaaaaaaaaa")).toBeUndefined();
});

test("a list is refused under another root, with another body, or with a signature made for anything else", () => {
  const signed = signedList(1, [entry()]);
  expect(accept(signed, other.publicKey)).toBeUndefined();
  expect(accept({ ...signed, body: encodeIssuers({ version: 2, issuers: [entry()] }) })).toBeUndefined();
  expect(accept({ ...signed, signature: root.sign("starling/revocation/1", signed.body) })).toBeUndefined();
  expect(accept({ ...signed, signature: issuing.sign("starling/issuers/1", signed.body) })).toBeUndefined();
  // A node that used its key as a root's signs under labels that never meet the root's.
  const node = crypto.nodeIdentity(crypto.randomBytes(32));
  expect(accept({ ...signed, signature: node.sign("starling/record/1", signed.body) })).toBeUndefined();
});

const good = [issuing.publicKey, ["*"], NOW];
test.each([
  ["no entry", [1, []]],
  ["version 0", [0, [good]]],
  ["a fractional version", [1.5, [good]]],
  ["one key twice", [1, [good, good]]],
  [
    "17 entries",
    [1, Array.from({ length: 17 }, () => [crypto.authority(crypto.randomBytes(32)).publicKey, ["*"], NOW])],
  ],
  ["a key of small order", [1, [[new Uint8Array(32), ["*"], NOW]]]],
  ["a short key", [1, [[new Uint8Array(31), ["*"], NOW]]]],
  ["no scopes", [1, [[issuing.publicKey, [], NOW]]]],
  ["an ill-formed scope", [1, [[issuing.publicKey, ["kv:*:x"], NOW]]]],
  ["seconds for milliseconds", [1, [[issuing.publicKey, ["*"], NOW / 1_000]]]],
  ["an entry too long", [1, [[...good, 1]]]],
  ["a field too many", [1, [good], 1]],
  ["something else", "list"],
])("a list with %s is no list", (_, value) => {
  expect(decodeIssuers(encode([1, [good]]))).toBeDefined();
  expect(decodeIssuers(encode(value as never))).toBeUndefined();
});

test("the signed form survives its encoding", () => {
  const signed = signedList(1, [entry()]);
  expect(decodeSignedIssuers(encodeSignedIssuers(signed))).toEqual(signed);
  expect(decodeSignedIssuers(encodeSignedIssuers({ ...signed, signature: new Uint8Array(63) }))).toBeUndefined();
  expect(decodeSignedIssuers(encode([new Uint8Array(16_385), new Uint8Array(64)]))).toBeUndefined();
});

test("arbitrary bytes are refused without a throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expect(decodeSignedIssuers(bytes)).toBeUndefined();
      expect(decodeIssuers(bytes)).toBeUndefined();
    }),
  );
});

test("the higher version holds, and of two with one version the same one everywhere", () => {
  const list = (version: number, notAfter: number): IssuerList => ({ version, issuers: [entry({ notAfter })] });
  expect(supersedes(list(2, NOW), list(1, NOW))).toBe(true);
  expect(supersedes(list(1, NOW), list(2, NOW))).toBe(false);
  expect(supersedes(list(1, NOW), list(1, NOW))).toBe(false);
  expect(supersedes(list(1, NOW), list(1, NOW + 1))).not.toBe(supersedes(list(1, NOW + 1), list(1, NOW)));
});
