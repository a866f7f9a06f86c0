/**
 * One suite for every implementation of {@link Crypto}, and one that holds them against each other and against tweetnacl:
 * an agent on Node and one in a browser must accept exactly the same bytes.
 */
import fc from "fast-check";
import nacl from "tweetnacl";
import { describe, expect, test } from "vitest";
import { issuerVerifierAside, nodeCrypto, verifyAside } from "../../../src/drivers/crypto.ts";
import { portableCrypto } from "../../../src/drivers/crypto-portable.ts";
import { concat, fromBase32, hex, utf8 } from "../../../src/proto/bytes.ts";
import { peerIdOf } from "../../../src/proto/peer-id.ts";
import { type Statement, signedBytes } from "../../../src/proto/signed.ts";

const implementations = [nodeCrypto(), portableCrypto()];
const [node, portable] = implementations as [ReturnType<typeof nodeCrypto>, ReturnType<typeof portableCrypto>];
const fromHex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"));
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
const EMPTY = new Uint8Array(0);

function littleEndian(value: bigint): Uint8Array {
  return Uint8Array.from({ length: 32 }, (_, index) => Number((value >> BigInt(index * 8)) & 255n));
}

function toBigInt(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

describe.each(implementations)("crypto by $name", (crypto) => {
  const seed = new Uint8Array(32).fill(0x42);
  const body = utf8("a body");
  const statementBy = (signerSeed: Uint8Array): Statement => {
    const identity = crypto.nodeIdentity(signerSeed);
    const signature = identity.sign("starling/record/1", body);
    return { signer: identity.id, label: "starling/record/1", body, signature };
  };

  test("an identity is tweetnacl's key of the same seed", () => {
    const pair = nacl.sign.keyPair.fromSeed(seed);
    expect(crypto.nodeIdentity(seed).id).toBe(peerIdOf(pair.publicKey));
    expect(crypto.authority(seed).publicKey).toEqual(pair.publicKey);
    const expected = nacl.sign.detached(signedBytes("starling/login/1", body), pair.secretKey);
    expect(hex(crypto.nodeIdentity(seed).sign("starling/login/1", body))).toBe(hex(expected));
  });

  test("generated keys differ, and are seeds", () => {
    const [a, b] = [crypto.generateNodeKey(), crypto.generateNodeKey()];
    expect([a.length, b.length]).toEqual([32, 32]);
    expect(hex(a)).not.toBe(hex(b));
    expect(crypto.randomBytes(7)).toHaveLength(7);
    expect(() => crypto.nodeIdentity(new Uint8Array(31))).toThrow("32 bytes");
    expect(() => crypto.authority(new Uint8Array(64))).toThrow("32 bytes");
  });

  test("a statement is verified under its own signer, label and body only", () => {
    const statement = statementBy(seed);
    expect(crypto.verify(statement)).toBe(true);
    expect(crypto.verify(statement)).toBe(true);
    expect(crypto.verify({ ...statement, label: "starling/login/1" })).toBe(false);
    expect(crypto.verify({ ...statement, body: utf8("another body") })).toBe(false);
    expect(crypto.verify({ ...statement, signer: crypto.nodeIdentity(crypto.generateNodeKey()).id })).toBe(false);
    expect(crypto.verify({ ...statement, signature: EMPTY })).toBe(false);
    expect(crypto.verify({ ...statement, signature: new Uint8Array(64) })).toBe(false);
    expect(crypto.verify({ ...statement, signature: concat(statement.signature, EMPTY, new Uint8Array(1)) })).toBe(
      false,
    );
  });

  test("a signature with s + L for s, which the plain equation accepts, is refused", () => {
    const statement = statementBy(seed);
    const s = toBigInt(statement.signature.subarray(32));
    const malleable = concat(statement.signature.subarray(0, 32), littleEndian(s + ORDER));
    expect(crypto.verify({ ...statement, signature: malleable })).toBe(false);
  });

  test("a key of small order verifies nothing, though the equation would hold", () => {
    // Under the identity as public key, R = s·B holds for every message: s = 0, R = identity.
    const identityPoint = concat(Uint8Array.of(1), new Uint8Array(31));
    const signature = concat(identityPoint, new Uint8Array(32));
    expect(nacl.sign.detached.verify(signedBytes("starling/record/1", body), signature, identityPoint)).toBe(true);
    expect(crypto.verify({ signer: peerIdOf(identityPoint), label: "starling/record/1", body, signature })).toBe(false);
    expect(crypto.verifyAuthority(identityPoint, "starling/issuers/1", body, signature)).toBe(false);
    // The same point with y + p for y.
    const alias = fromHex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
    expect(crypto.verify({ signer: peerIdOf(alias), label: "starling/record/1", body, signature })).toBe(false);
  });

  test("a key that is no point of the curve verifies nothing", () => {
    const signature = statementBy(seed).signature;
    for (let low = 2; low < 40; low++) {
      const signer = peerIdOf(concat(Uint8Array.of(low), new Uint8Array(31)));
      expect(crypto.verify({ signer, label: "starling/record/1", body, signature })).toBe(false);
    }
  });

  test("an authority signs under labels that no node signs under", () => {
    const authority = crypto.authority(seed);
    const signature = authority.sign("starling/issuers/1", body);
    expect(crypto.verifyAuthority(authority.publicKey, "starling/issuers/1", body, signature)).toBe(true);
    expect(crypto.verifyAuthority(authority.publicKey, "starling/revocation/1", body, signature)).toBe(false);
    expect(crypto.verifyAuthority(authority.publicKey, "starling/issuers/1", EMPTY, signature)).toBe(false);
    expect(crypto.verifyAuthority(EMPTY, "starling/issuers/1", body, signature)).toBe(false);
    expect(crypto.verify({ ...statementBy(seed), signature })).toBe(false);
  });

  test("two pairs have one secret in common, whoever computes it, and no third", () => {
    const [alice, bob, eve] = [crypto.boxKeyPair(), crypto.boxKeyPair(), crypto.boxKeyPair()];
    const shared = crypto.agree(bob.publicKey, alice.secretKey);
    expect(shared).toHaveLength(32);
    expect(crypto.agree(alice.publicKey, bob.secretKey)).toEqual(shared);
    expect(crypto.agree(alice.publicKey, eve.secretKey)).not.toEqual(shared);
    expect(crypto.agree(new Uint8Array(32), alice.secretKey)).toBeUndefined();
    expect(crypto.agree(new Uint8Array(31), alice.secretKey)).toBeUndefined();
  });

  test("only the recipient opens what was sealed, and knows the sender", () => {
    const [alice, bob, eve] = [crypto.boxKeyPair(), crypto.boxKeyPair(), crypto.boxKeyPair()];
    const sealed = crypto.seal(body, bob.publicKey, alice.secretKey) as Uint8Array;
    expect(sealed).toHaveLength(body.length + 40);
    expect(crypto.open(sealed, alice.publicKey, bob.secretKey)).toEqual(body);
    expect(crypto.open(sealed, alice.publicKey, eve.secretKey)).toBeUndefined();
    expect(crypto.open(sealed, eve.publicKey, bob.secretKey)).toBeUndefined();
    for (const index of [0, 23, 24, 40, sealed.length - 1]) {
      const altered = sealed.slice();
      altered[index] = (altered[index] as number) ^ 1;
      expect(crypto.open(altered, alice.publicKey, bob.secretKey)).toBeUndefined();
    }
    for (const length of [0, 1, 24, 39, sealed.length - 1]) {
      expect(crypto.open(sealed.subarray(0, length), alice.publicKey, bob.secretKey)).toBeUndefined();
    }
    expect(hex(crypto.seal(body, bob.publicKey, alice.secretKey) as Uint8Array)).not.toBe(hex(sealed));
  });

  test("nothing is sealed to, or opened from, a key that gives everybody the same secret", () => {
    const { secretKey } = crypto.boxKeyPair();
    const smallOrder = [
      new Uint8Array(32),
      concat(Uint8Array.of(1), new Uint8Array(31)),
      fromHex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
      fromHex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    ];
    for (const key of [...smallOrder, EMPTY, new Uint8Array(33)]) {
      expect(crypto.seal(body, key, secretKey)).toBeUndefined();
      expect(crypto.open(new Uint8Array(80), key, secretKey)).toBeUndefined();
    }
  });

  test("results are plain byte arrays that own their memory", () => {
    const results = [crypto.randomBytes(8), crypto.authority(seed).publicKey, statementBy(seed).signature];
    for (const result of results) {
      expect(Object.getPrototypeOf(result)).toBe(Uint8Array.prototype);
      expect(result.buffer.byteLength).toBe(result.length);
    }
  });

  test("bytes from outside never make it throw", () => {
    const bytes = fc.uint8Array({ maxLength: 90 });
    const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
    const { secretKey } = crypto.boxKeyPair();
    fc.assert(
      fc.property(key, bytes, bytes, (publicKey, signature, message) => {
        expect(
          crypto.verify({ signer: peerIdOf(publicKey), label: "starling/record/1", body: message, signature }),
        ).toBe(false);
        expect(crypto.verifyAuthority(signature, "starling/issuers/1", message, signature)).toBe(false);
        expect(crypto.open(message, publicKey, secretKey)).toBeUndefined();
      }),
      { numRuns: crypto.name === "node" ? 300 : 30 },
    );
  });
});

test("a check on another thread has the same outcome as one on this", async () => {
  const body = utf8("a body");
  const key = node.authority(new Uint8Array(32).fill(0x42));
  const signature = key.sign("starling/issuers/1", body);
  const message = signedBytes("starling/issuers/1", body);
  const point = (hexadecimal: string): Uint8Array => concat(fromHex(hexadecimal), new Uint8Array(31));
  const malleable = concat(signature.subarray(0, 32), littleEndian(toBigInt(signature.subarray(32)) + ORDER));
  const spoiled: readonly [Uint8Array, Uint8Array, Uint8Array][] = [
    [key.publicKey, EMPTY, signature],
    [key.publicKey, message, EMPTY],
    [key.publicKey, message, malleable],
    [EMPTY, message, signature],
    [new Uint8Array(32).fill(0xff), message, signature],
    // A point of small order, under which a signature of zeros holds for whatever is signed.
    [point("01"), message, concat(point("01"), new Uint8Array(32))],
  ];
  const verifiers = [verifyAside, issuerVerifierAside()];
  for (const verify of verifiers) {
    expect(await verify(key.publicKey, message, signature)).toBe(true);
    for (const statement of spoiled) expect(await verify(...statement)).toBe(false);
    expect(await verify(key.publicKey, message, signature)).toBe(true);
  }
});

describe("both implementations", () => {
  const body = utf8("a body");

  test("make the same keys and signatures", () => {
    for (let run = 0; run < 20; run++) {
      const seed = node.generateNodeKey();
      expect(portable.nodeIdentity(seed).id).toBe(node.nodeIdentity(seed).id);
      const signatures = implementations.map((crypto) => hex(crypto.nodeIdentity(seed).sign("starling/batch/1", seed)));
      expect(signatures[0]).toBe(signatures[1]);
    }
  });

  test("open each other's boxes, and those of nacl.box", () => {
    const alice = node.boxKeyPair();
    const bob = portable.boxKeyPair();
    expect(nacl.box.keyPair.fromSecretKey(alice.secretKey).publicKey).toEqual(alice.publicKey);
    const byNode = node.seal(body, bob.publicKey, alice.secretKey) as Uint8Array;
    expect(portable.open(byNode, alice.publicKey, bob.secretKey)).toEqual(body);
    expect(nacl.box.open(byNode.subarray(24), byNode.subarray(0, 24), alice.publicKey, bob.secretKey)).toEqual(body);
    const byPortable = portable.seal(body, alice.publicKey, bob.secretKey) as Uint8Array;
    expect(node.open(byPortable, bob.publicKey, alice.secretKey)).toEqual(body);
    const byNacl = concat(
      byNode.subarray(0, 24),
      nacl.box(body, byNode.subarray(0, 24), alice.publicKey, bob.secretKey),
    );
    for (const crypto of implementations) expect(crypto.open(byNacl, bob.publicKey, alice.secretKey)).toEqual(body);
  });

  test("agree on damaged signatures and damaged keys", () => {
    const seed = node.generateNodeKey();
    const { id, sign } = node.nodeIdentity(seed);
    const signature = sign("starling/record/1", body);
    const publicKey = fromBase32(id) as Uint8Array;
    for (let bit = 0; bit < 96; bit++) {
      const damaged = concat(publicKey, signature);
      damaged[bit] = (damaged[bit] as number) ^ (1 << (bit % 8));
      const statement = {
        signer: peerIdOf(damaged.subarray(0, 32)),
        label: "starling/record/1" as const,
        body,
        signature: damaged.slice(32),
      };
      expect([node.verify(statement), portable.verify(statement)]).toEqual([false, false]);
    }
  });
});
