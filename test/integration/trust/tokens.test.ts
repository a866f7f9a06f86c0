/** Goal: no token passes but those that an issuing key made for this cluster, purpose, node and time. */
import { createPublicKey } from "node:crypto";
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { createTokenSigner, createTokenVerifier } from "../../../src/drivers/tokens.ts";
import type { Issuer } from "../../../src/issuer/issuer.ts";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import type { Expectation, MemberClaims } from "../../../src/proto/trust/claims.ts";
import { kidOf } from "../../../src/proto/trust/issuers.ts";
import { freshCluster, freshKey, HOUR, type Lab, maced, NOW, opened, part, signed, stranger } from "./lab.ts";

const verifier = createTokenVerifier();
let lab: Lab;
let issuer: Issuer;
let alice: PeerId;
let token: string;
let claims: MemberClaims;
let joinToken: string;

beforeAll(async () => {
  lab = await freshCluster();
  issuer = await lab.issuer();
  alice = stranger();
  const issued = await issuer.issueMemberToken({ subject: alice }, NOW);
  const join = await issuer.issueJoinToken({}, NOW);
  if (!issued.ok || !join.ok) throw new Error("the lab issues no tokens");
  ({ token, claims } = issued);
  joinToken = join.token;
});

function expectation(change: Partial<Expectation> = {}): Expectation {
  return { issuers: lab.issuers, clusterId: lab.cluster.clusterId, now: NOW, ...change };
}

async function faultOf(text: string, change: Partial<Expectation> = {}): Promise<string> {
  const checked = await verifier.verifyMemberToken(text, expectation(change));
  return checked.ok ? "ok" : checked.fault;
}

const header = (): Record<string, unknown> => opened(token).header;

test("a member token holds for its subject, and says what was granted", async () => {
  const checked = await verifier.verifyMemberToken(token, expectation({ expectedSubject: alice }));
  expect(checked).toEqual({ ok: true, value: { ...claims, kid: issuer.kid } });
  expect(claims.expiresAt - NOW).toBe(24 * HOUR);
  expect(opened(token).header).toEqual({ alg: "EdDSA", kid: issuer.kid, typ: "JWT" });
  expect(opened(token).claims["iss"]).toBe(lab.cluster.clusterId);
});

test("it is judged anew at every check, also when its signature is remembered", async () => {
  expect(await faultOf(token)).toBe("ok");
  expect(await faultOf(token, { now: NOW + 25 * HOUR })).toBe("expired");
  expect(await faultOf(token, { now: NOW - HOUR })).toBe("not-yet-valid");
  expect(await faultOf(token, { expectedSubject: stranger() })).toBe("wrong-subject");
  expect(await faultOf(token, { requiredScope: "admin" })).toBe("missing-scope");
  const issuers = lab.issuers.issuers.map((entry) => ({ ...entry, scopes: ["mesh:join"] }));
  expect(await faultOf(token, { issuers: { version: 2, issuers } })).toBe("scope-above-ceiling");
  expect(await faultOf(token, { issuers: { version: 2, issuers: [] } })).toBe("unknown-issuer");
  // A list that gives the name of the key to another key: impossible by decoding, and refused all the same.
  const usurped = lab.issuers.issuers.map((entry) => ({ ...entry, publicKey: freshKey().publicKey }));
  expect(await faultOf(token, { issuers: { version: 2, issuers: usurped } })).toBe("bad-signature");
  expect(await faultOf(token)).toBe("ok");
});

test("a token of another cluster is refused, also if both clusters know the issuer", async () => {
  const other = await freshCluster();
  expect(await faultOf(token, { clusterId: other.cluster.clusterId })).toBe("wrong-cluster");
  const signer = await createTokenSigner(lab.issuingKey);
  const foreign = await signer.signMemberToken({ ...claims, cluster: other.cluster.clusterId });
  expect(await faultOf(foreign)).toBe("wrong-cluster");
});

test("a token by a key that is not in the list is refused, whatever kid it names", async () => {
  const key = freshKey();
  const own = await (await createTokenSigner(key)).signMemberToken(claims);
  expect(await faultOf(own)).toBe("unknown-issuer");
  expect(await faultOf(await signed(header(), opened(token).claims, key))).toBe("bad-signature");
  for (const kid of ["", "../issuing.key", "0", [issuer.kid], null, `${issuer.kid} `, issuer.kid.toUpperCase()]) {
    expect(await faultOf(await signed({ ...header(), kid }, opened(token).claims, lab.issuingKey))).toBe(
      "forbidden-header",
    );
  }
});

test("an unsigned token is refused", async () => {
  const unsigned = `${part({ ...header(), alg: "none" })}.${token.split(".")[1]}.`;
  expect(await faultOf(unsigned)).toBe("wrong-algorithm");
  expect(await faultOf(`${token.split(".").slice(0, 2).join(".")}.`)).toBe("malformed");
});

test("a MAC under the public key is refused, in whatever form the key is the secret", async () => {
  const { publicKey } = lab.issuingKey;
  const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), publicKey]);
  const pem = createPublicKey({ key: spki, format: "der", type: "spki" }).export({ format: "pem", type: "spki" });
  for (const secret of [publicKey, spki, pem.toString(), part(Buffer.from(publicKey).toString("latin1"))]) {
    expect(await faultOf(maced({ ...header(), alg: "HS256" }, opened(token).claims, secret))).toBe("wrong-algorithm");
    expect(await faultOf(maced(header(), opened(token).claims, secret))).not.toBe("ok");
  }
});

test("a key that the token brings along, or points at, is not looked at", async () => {
  const key = freshKey();
  const jwk = { kty: "OKP", crv: "Ed25519", x: Buffer.from(key.publicKey).toString("base64url") };
  for (const extra of [{ jwk }, { jku: "https://example.org" }, { x5u: "https://example.org" }, { x5c: ["AAAA"] }]) {
    const forged = await signed({ ...header(), ...extra }, opened(token).claims, key);
    expect(await faultOf(forged)).toMatch(/^forbidden-header$/);
    // Not even by the right key: an unusual header is refused as such.
    expect(await faultOf(await signed({ ...header(), ...extra }, opened(token).claims, lab.issuingKey))).toBe(
      "forbidden-header",
    );
  }
});

test("critical extensions are refused, not ignored", async () => {
  const critical = { ...header(), crit: ["b64"], b64: true };
  expect(await faultOf(await signed(critical, opened(token).claims, lab.issuingKey))).toBe("forbidden-header");
  // jose would not sign this one.
  const [, payload, signature] = token.split(".");
  expect(await faultOf(`${part({ ...header(), crit: ["x"] })}.${payload}.${signature}`)).toBe("forbidden-header");
});

test("a join token is no member token, nor the other way round, though one key signed both", async () => {
  expect(await faultOf(joinToken)).toBe("wrong-audience");
  const checked = await verifier.verifyJoinToken(token, expectation());
  expect(checked).toEqual({ ok: false, fault: "wrong-audience" });
  const hybrid = { ...opened(joinToken).claims, sub: alice, place: opened(token).claims["place"] };
  expect(await faultOf(await signed(header(), hybrid, lab.issuingKey))).toBe("wrong-audience");
});

test("claims with a key twice are refused, though a parser might take the second", async () => {
  const text = JSON.stringify(opened(token).claims).replace("{", `{"sub":"${stranger()}",`);
  const forged = `${part(header())}.${part(text)}.${token.split(".")[2]}`;
  expect(await faultOf(forged)).toBe("malformed");
});

test("a huge token, or one with a huge header, is refused before it is parsed", async () => {
  expect(await faultOf("x".repeat(1e6))).toBe("too-long");
  const huge = await signed({ ...header(), x: "x".repeat(500) }, opened(token).claims, lab.issuingKey);
  expect(await faultOf(huge)).toBe("forbidden-header");
});

test("every other text of a valid token is refused", async () => {
  const [head, payload, signature] = token.split(".") as [string, string, string];
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const last = alphabet.indexOf(signature.at(-1) as string);
  // The last character of 64 bytes carries 2 bits; three others decode to the same bytes for a careless reader.
  for (let spare = 1; spare < 16; spare++) {
    const alias = `${head}.${payload}.${signature.slice(0, -1)}${alphabet[last ^ spare]}`;
    expect(await faultOf(alias)).toBe("malformed");
  }
  for (const alias of [
    `${token}=`,
    `${token}\n`,
    ` ${token}`,
    token.replaceAll("_", "/").replaceAll("-", "+"),
    `${token}.`,
  ]) {
    if (alias !== token) expect(await faultOf(alias)).not.toBe("ok");
  }
});

test("a mutated token neither passes nor throws", async () => {
  const position = fc.nat({ max: token.length });
  const garbage = fc.string({ unit: fc.constantFrom(...'AZaz09-_=.{}" é'), maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(position, fc.nat({ max: 3 }), garbage, async (at, removed, inserted) => {
      const mutated = token.slice(0, at) + inserted + token.slice(at + removed);
      fc.pre(mutated !== token);
      expect(await faultOf(mutated)).not.toBe("ok");
      expect((await verifier.verifyJoinToken(mutated, expectation())).ok).toBe(false);
    }),
    { numRuns: 1_500 },
  );
});

test("claims that were changed under an old signature are refused", async () => {
  const changes = { sub: stranger(), exp: 1_999_999_999, scope: "*", role: "admin", place: "AAAAAAAAAAAAAAAAAAAAAA" };
  for (const [claim, value] of Object.entries(changes)) {
    const changed = part({ ...opened(token).claims, [claim]: value });
    const forged = `${token.split(".")[0]}.${changed}.${token.split(".")[2]}`;
    expect(await faultOf(forged)).not.toBe("ok");
  }
});

test("forged tokens do not push remembered ones out, and remembering one token admits no other", async () => {
  const counted = createTokenVerifier();
  expect((await counted.verifyMemberToken(token, expectation())).ok).toBe(true);
  const forged = await signed(header(), { ...opened(token).claims, scope: "*" }, freshKey());
  expect(await counted.verifyMemberToken(forged, expectation())).toEqual({ ok: false, fault: "bad-signature" });
  expect(await counted.verifyMemberToken(forged, expectation())).toEqual({ ok: false, fault: "bad-signature" });
});

test("the name of an issuing key is derived from the key", () => {
  expect(issuer.kid).toBe(kidOf(lab.issuingKey.publicKey));
});
