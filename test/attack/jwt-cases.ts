import { createHmac, createPublicKey } from "node:crypto";
import { CompactSign, importJWK } from "jose";
import type { PeerId } from "../../src/proto/peer-id.ts";
import type { SigningKey } from "../../src/proto/trust/crypto.ts";
import { crypto, type Field } from "./field.ts";

/** Tokens that hold for nobody, each with the word by which the server refuses it. */

interface Valid {
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: Readonly<Record<string, unknown>>;
  readonly text: string;
}

interface JwtCase {
  readonly name: string;
  readonly code: string;
  readonly make: (valid: Valid, field: Field) => string | Promise<string>;
}

const part = (value: unknown): string =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

async function signed(header: object, claims: unknown, key: SigningKey): Promise<string> {
  const encode = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64url");
  const jwk = { kty: "OKP", crv: "Ed25519", d: encode(key.seed), x: encode(key.publicKey) };
  const input = `${part(header)}.${part(claims)}`;
  // jose signs no header that it does not understand: it signs the usual one, and the parts are put together by hand.
  const signer = crypto.authority(key.seed);
  const privateKey = await importJWK(jwk, "EdDSA");
  if ((header as { alg?: unknown }).alg === "EdDSA" && !("crit" in header))
    return new CompactSign(Buffer.from(typeof claims === "string" ? claims : JSON.stringify(claims)))
      .setProtectedHeader(header as { alg: string })
      .sign(privateKey);
  return `${input}.${encode(signer.sign("starling/desk/1", Buffer.from(input)))}`;
}

function maced(header: object, claims: object, secret: Uint8Array | string): string {
  const input = `${part(header)}.${part(claims)}`;
  return `${input}.${createHmac("sha256", secret).update(input).digest("base64url")}`;
}

const withHeader =
  (change: Readonly<Record<string, unknown>>): JwtCase["make"] =>
  ({ header, claims }, field) =>
    signed({ ...header, ...change }, claims, field.issuingKey);

/** Signed by the cluster's own issuing key, as if that had gone wrong: nothing but the claim is at fault. */
const withClaims =
  (change: (claims: Readonly<Record<string, unknown>>) => unknown): JwtCase["make"] =>
  ({ header, claims }, field) =>
    signed(header, change(claims), field.issuingKey);

const without = (claim: string): JwtCase["make"] => withClaims(({ [claim]: _, ...rest }) => rest);

const spki = (field: Field): Buffer =>
  Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), field.issuingKey.publicKey]);

/** The group's order, little-endian: adding it to a signature's scalar gives another text for the same signature. */
const ORDER = 0x1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3edn;

function withOrderAdded(signature: Buffer): Buffer {
  let scalar = 0n;
  for (let index = 63; index >= 32; index--) scalar = (scalar << 8n) | BigInt(signature[index] as number);
  scalar += ORDER;
  const other = Buffer.from(signature);
  for (let index = 32; index < 64; index++, scalar >>= 8n) other[index] = Number(scalar & 0xffn);
  return other;
}

function resigned({ text }: Valid, change: (signature: string) => string): string {
  const [head, payload, signature = ""] = text.split(".");
  return `${head}.${payload}.${change(signature)}`;
}

const stranger = (): SigningKey => {
  const seed = crypto.randomBytes(32);
  return { seed, publicKey: crypto.authority(seed).publicKey };
};

const nowSeconds = (): number => Math.floor(Date.now() / 1_000);
const INVALID = "token-invalid";

export const JWT_CASES: readonly JwtCase[] = [
  {
    name: "alg none, no signature",
    code: INVALID,
    make: ({ header, claims }) => `${part({ ...header, alg: "none" })}.${part(claims)}.`,
  },
  {
    name: "alg none, 64 zero bytes",
    code: INVALID,
    make: ({ header, claims }) =>
      `${part({ ...header, alg: "none" })}.${part(claims)}.${Buffer.alloc(64).toString("base64url")}`,
  },
  { name: "alg NONE under a good signature", code: INVALID, make: withHeader({ alg: "NONE" }) },
  {
    name: "HS256 keyed with the public key",
    code: INVALID,
    make: ({ header, claims }, field) => maced({ ...header, alg: "HS256" }, claims, field.issuingKey.publicKey),
  },
  {
    name: "HS256 keyed with the public key as PEM",
    code: INVALID,
    make: ({ header, claims }, field) =>
      maced(
        { ...header, alg: "HS256" },
        claims,
        createPublicKey({ key: spki(field), format: "der", type: "spki" })
          .export({ format: "pem", type: "spki" })
          .toString(),
      ),
  },
  {
    name: "EdDSA in the header, a MAC for a signature",
    code: INVALID,
    make: ({ header, claims }, field) => maced(header, claims, field.issuingKey.publicKey),
  },
  { name: "ES256 in the header", code: INVALID, make: withHeader({ alg: "ES256" }) },
  { name: "an array of algorithms", code: INVALID, make: withHeader({ alg: ["EdDSA", "none"] }) },
  {
    name: "an embedded key and its own signature",
    code: INVALID,
    make: ({ header, claims }) => {
      const key = stranger();
      return signed(
        { ...header, jwk: { kty: "OKP", crv: "Ed25519", x: Buffer.from(key.publicKey).toString("base64url") } },
        claims,
        key,
      );
    },
  },
  { name: "a jku", code: INVALID, make: withHeader({ jku: "https://evil.example/keys" }) },
  { name: "an x5u", code: INVALID, make: withHeader({ x5u: "https://evil.example/cert" }) },
  { name: "an x5c", code: INVALID, make: withHeader({ x5c: ["AAAA"] }) },
  { name: "a kid that is a path", code: INVALID, make: withHeader({ kid: "../../issuing.key" }) },
  { name: "a kid that is an object", code: INVALID, make: withHeader({ kid: { $ne: null } }) },
  {
    name: "no kid",
    code: INVALID,
    make: ({ header: { kid: _, ...header }, claims }, field) => signed(header, claims, field.issuingKey),
  },
  { name: "the kid of a key that no root has named", code: INVALID, make: withHeader({ kid: "aaaaaaaaaaaaaaaa" }) },
  {
    name: "our kid over another key's signature",
    code: INVALID,
    make: ({ header, claims }) => signed(header, claims, stranger()),
  },
  { name: "crit with an unknown extension", code: INVALID, make: withHeader({ crit: ["x"], x: true }) },
  { name: "crit b64 false", code: INVALID, make: withHeader({ crit: ["b64"], b64: false }) },
  { name: "another typ", code: INVALID, make: withHeader({ typ: "at+jwt" }) },
  { name: "no exp", code: INVALID, make: without("exp") },
  { name: "exp as text", code: INVALID, make: withClaims((claims) => ({ ...claims, exp: String(claims["exp"]) })) },
  { name: "exp at 1e300", code: INVALID, make: withClaims((claims) => ({ ...claims, exp: 1e300 })) },
  { name: "a negative exp", code: INVALID, make: withClaims((claims) => ({ ...claims, exp: -1 })) },
  {
    name: "exp in fractions of a second",
    code: INVALID,
    make: withClaims((claims) => ({ ...claims, exp: Number(claims["exp"]) + 0.5 })),
  },
  { name: "no iat", code: INVALID, make: without("iat") },
  { name: "no nbf", code: INVALID, make: without("nbf") },
  {
    name: "a life of a hundred years",
    code: INVALID,
    make: withClaims((claims) => ({ ...claims, exp: nowSeconds() + 3_155_760_000 })),
  },
  {
    name: "an end before its begin",
    code: INVALID,
    make: withClaims((claims) => ({
      ...claims,
      iat: nowSeconds() + 7_200,
      nbf: nowSeconds() + 7_200,
      exp: nowSeconds() + 3_600,
    })),
  },
  {
    name: "an end two minutes ago",
    code: "token-expired",
    make: withClaims((claims) => ({
      ...claims,
      iat: nowSeconds() - 3_600,
      nbf: nowSeconds() - 3_600,
      exp: nowSeconds() - 120,
    })),
  },
  {
    name: "a begin in an hour",
    code: "token-not-yet-valid",
    make: withClaims((claims) => ({
      ...claims,
      iat: nowSeconds() + 3_600,
      nbf: nowSeconds() + 3_600,
      exp: nowSeconds() + 7_200,
    })),
  },
  {
    name: "the audience of a join token",
    code: INVALID,
    make: withClaims((claims) => ({ ...claims, aud: "starling/join/1" })),
  },
  {
    name: "an array of audiences",
    code: INVALID,
    make: withClaims((claims) => ({ ...claims, aud: [claims["aud"], "x"] })),
  },
  {
    name: "another cluster",
    code: "cluster-unknown",
    make: withClaims((claims) => ({ ...claims, iss: "a".repeat(32) })),
  },
  {
    name: "another subject",
    code: "token-mismatch",
    make: withClaims((claims) => ({ ...claims, sub: crypto.nodeIdentity(crypto.generateNodeKey()).id })),
  },
  { name: "no subject", code: INVALID, make: without("sub") },
  { name: "an empty scope", code: INVALID, make: withClaims((claims) => ({ ...claims, scope: "" })) },
  {
    name: "everything but mesh:join",
    code: "not-permitted",
    make: withClaims((claims) => ({ ...claims, scope: "kv:* admin" })),
  },
  {
    name: "a claim twice",
    code: INVALID,
    make: ({ header, claims }, field) =>
      signed(header, JSON.stringify(claims).replace("{", '{"scope":"*",'), field.issuingKey),
  },
  { name: "claims that are an array", code: INVALID, make: withClaims((claims) => [claims]) },
  { name: "claims that are null", code: INVALID, make: withClaims(() => null) },
  {
    name: "claims that poison a prototype",
    code: INVALID,
    make: ({ header, claims }, field) =>
      signed(
        header,
        JSON.stringify({ ...claims, exp: -1 }).replace("{", '{"__proto__":{"exp":9999999999},'),
        field.issuingKey,
      ),
  },
  {
    name: "a signature with the order added to its scalar",
    code: INVALID,
    make: (valid) =>
      resigned(valid, (signature) => withOrderAdded(Buffer.from(signature, "base64url")).toString("base64url")),
  },
  {
    name: "a signature with spare bits set",
    code: INVALID,
    make: (valid) => resigned(valid, (signature) => signature.slice(0, -1) + (signature.endsWith("A") ? "B" : "_")),
  },
  { name: "padding", code: INVALID, make: (valid) => `${valid.text}==` },
  { name: "white space", code: INVALID, make: (valid) => valid.text.replace(".", ". ") },
  { name: "a truncated signature", code: INVALID, make: (valid) => valid.text.slice(0, -2) },
  { name: "five parts, as an encrypted token has", code: INVALID, make: (valid) => `${valid.text}.AAAA.AAAA` },
  { name: "4,097 characters", code: "malformed", make: (valid) => valid.text.padEnd(4_097, "A") },
  {
    name: "a join token",
    code: INVALID,
    make: async (_valid, field) => {
      const issued = await field.mint.issueJoinToken({}, Date.now());
      return issued.ok ? issued.token : "";
    },
  },
];

/** The bad token of a case for `subject`. */
export async function badToken(attack: JwtCase, field: Field, subject: PeerId): Promise<string> {
  const text = await field.token(subject);
  const [header, claims] = text
    .split(".")
    .slice(0, 2)
    .map((encoded) => JSON.parse(Buffer.from(encoded, "base64url").toString()));
  return attack.make({ header, claims, text }, field);
}
