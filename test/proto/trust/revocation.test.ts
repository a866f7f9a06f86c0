import { expect, test } from "vitest";
import { peerIdOf } from "../../../src/proto/peer-id.ts";
import type { AuthorityLabel } from "../../../src/proto/signed.ts";
import { kidOf } from "../../../src/proto/trust/issuers.ts";
import {
  acceptRevocation,
  decodeSignedRevocation,
  encodeRevocation,
  encodeSignedRevocation,
  MAX_REVOCATION_BYTES,
} from "../../../src/proto/trust/revocation.ts";
import { crypto, entry, issuing, NOW } from "./cluster-lab.ts";

const subject = peerIdOf(new Uint8Array(32).fill(5));
const kid = kidOf(issuing.publicKey);
const list = (scopes: readonly string[]) => ({ version: 1, issuers: [entry({ scopes })] });
const signed = (revocation = { kid, subject, since: NOW }, label: AuthorityLabel = "starling/revocation/1") => {
  const body = encodeRevocation(revocation);
  return { body, signature: issuing.sign(label, body) };
};

test("the word of an issuing key that may revoke is accepted", () => {
  const accepted = acceptRevocation(signed(), list(["member:revoke"]), crypto.verifyAuthority);
  expect(accepted).toEqual({ kid, subject, since: NOW });
  const encoded = encodeSignedRevocation(signed());
  expect(encoded.length).toBeLessThanOrEqual(MAX_REVOCATION_BYTES);
  expect(decodeSignedRevocation(encoded)).toEqual(signed());
});

test("it is refused from a key that may not, that is not in the list, or that signed something else", () => {
  expect(acceptRevocation(signed(), list(["mesh:join"]), crypto.verifyAuthority)).toBeUndefined();
  const foreign = crypto.authority(crypto.randomBytes(32)).publicKey;
  const others = { version: 1, issuers: [entry({ publicKey: foreign })] };
  expect(acceptRevocation(signed(), others, crypto.verifyAuthority)).toBeUndefined();
  const mislabelled = signed(undefined, "starling/issuers/1");
  expect(acceptRevocation(mislabelled, list(["*"]), crypto.verifyAuthority)).toBeUndefined();
  const later = { ...signed(), body: encodeRevocation({ kid, subject, since: NOW + 1 }) };
  expect(acceptRevocation(later, list(["*"]), crypto.verifyAuthority)).toBeUndefined();
  const absurd = signed({ kid, subject, since: 5 });
  expect(acceptRevocation(absurd, list(["*"]), crypto.verifyAuthority)).toBeUndefined();
});

test("bytes that are no revocation are refused", () => {
  expect(decodeSignedRevocation(new Uint8Array(MAX_REVOCATION_BYTES + 1))).toBeUndefined();
  expect(decodeSignedRevocation(Uint8Array.of(0x92, 1, 2))).toBeUndefined();
  const empty = { body: new Uint8Array(0), signature: new Uint8Array(64) };
  expect(acceptRevocation(empty, list(["*"]), crypto.verifyAuthority)).toBeUndefined();
});
