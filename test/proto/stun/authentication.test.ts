import { describe, expect, test } from "vitest";
import { fromUtf8, utf8 } from "../../../src/proto/bytes.ts";
import { Attribute } from "../../../stun/proto/attributes.ts";
import { issueCredential } from "../../../stun/proto/credentials.ts";
import { type Integrity, isIntact, longTermKey, userhash } from "../../../stun/proto/integrity.ts";
import { Method, type StunMessage } from "../../../stun/proto/message.ts";
import { ALICE, BOB, Lab, LabClient, REALM, SECRET, START } from "./lab.ts";
import { errorCode, type Fill, request, signed, udpTransport } from "./requests.ts";

const OFFERED = Uint8Array.of(0, 2, 0, 0, 0, 1, 0, 0);

/** Sends a request with these credentials and returns the answer. */
function asks(client: LabClient, fill: Fill): StunMessage {
  client.send(
    request(Method.allocate, (writer) => {
      udpTransport(writer);
      fill(writer);
    }),
  );
  return client.lab.answer();
}

function key(algorithm: "md5" | "sha256", user = ALICE): Integrity["key"] {
  return longTermKey(user.name, REALM, user.password, algorithm);
}

describe("a client without credentials", () => {
  test("is told realm, nonce and algorithms, and nothing is kept for it", () => {
    const lab = new Lab();
    const client = new LabClient(lab);
    client.send(request(Method.allocate, udpTransport));
    const answer = lab.answer();
    expect(errorCode(answer)).toBe(401);
    expect(fromUtf8(answer.value(Attribute.realm) ?? new Uint8Array())).toBe(REALM);
    expect(fromUtf8(answer.value(Attribute.nonce) ?? new Uint8Array())).toMatch(/^obMatJos2wAAA[A-Za-z0-9+/]{20}$/);
    expect(answer.value(Attribute.passwordAlgorithms)).toEqual(OFFERED);
    expect(lab.server.allocations).toBe(0);
    expect(lab.outputs).toEqual([]);
  });

  test("is told so for every TURN method, also where there is nothing to refer to", () => {
    const lab = new Lab();
    for (const method of [Method.refresh, Method.createPermission, Method.channelBind]) {
      new LabClient(lab).send(request(method));
      expect(errorCode(lab.answer())).toBe(401);
    }
  });

  test("that signs but leaves out what belongs to it is told 400", () => {
    const lab = new Lab();
    const client = new LabClient(lab);
    const { nonce, integrity } = client.signature();
    const sign = { ...integrity };
    const name = utf8(ALICE.name);
    for (const fill of [
      (writer) => writer.integrity(sign),
      (writer) => writer.bytes(Attribute.username, name).bytes(Attribute.nonce, nonce).integrity(sign),
      (writer) => writer.bytes(Attribute.username, name).bytes(Attribute.realm, utf8(REALM)).integrity(sign),
      (writer) => writer.bytes(Attribute.realm, utf8(REALM)).bytes(Attribute.nonce, nonce).integrity(sign),
    ] satisfies Fill[])
      expect(errorCode(asks(client, fill))).toBe(400);
  });
});

describe("a nonce", () => {
  test("is good for an hour, then 438 brings another", () => {
    const lab = new Lab();
    const client = new LabClient(lab);
    client.signature();
    lab.advance(3_599_000);
    expect(client.code(Method.refresh)).toBe(437);
    lab.advance(2_000);
    const stale = client.ask(Method.refresh);
    expect(errorCode(stale)).toBe(438);
    expect(stale.value(Attribute.nonce)).not.toEqual(client.signature().nonce);
    expect(stale.integrity).toBe(0);
  });

  test("of another address, of another server or altered is stale", () => {
    const lab = new Lab();
    const client = new LabClient(lab);
    const own = client.signature();
    const elsewhere = new LabClient(lab, 1_000, ALICE, lab.udp, "5.5.5.6").signature();
    const altered = own.nonce.slice();
    // A feature bit taken out: the bid-down of RFC 8489.
    altered[9] = 65;
    const other = new LabClient(new Lab({ limits: {} })).signature().nonce.slice();
    other[20] = other[20] === 65 ? 66 : 65;
    for (const nonce of [elsewhere.nonce, altered, other, utf8("x"), new Uint8Array(33), own.nonce.subarray(0, 32)]) {
      client.send(signed(Method.allocate, { ...own, nonce }, udpTransport));
      expect(errorCode(lab.answer())).toBe(438);
    }
    expect(client.code(Method.refresh)).toBe(437);
  });

  test("is good for another port of the same address", () => {
    const lab = new Lab();
    const { nonce } = new LabClient(lab, 1_000).signature();
    const other = new LabClient(lab, 1_001);
    other.send(signed(Method.allocate, { ...other.signature(), nonce }, udpTransport));
    expect(errorCode(lab.answer())).toBe(undefined);
  });
});

describe("wrong credentials are told 401:", () => {
  test.each([
    ["an unknown user", { name: "mallory", password: "x" }],
    ["a wrong password", { ...ALICE, password: "Wonderland" }],
    ["another's password", { ...ALICE, password: BOB.password }],
    ["a time-limited name where there is no secret", { name: "9999999999:x", password: "y" }],
  ])("%s", (_name, user) => {
    const lab = new Lab();
    expect(new LabClient(lab, 1, user).code(Method.allocate, udpTransport)).toBe(401);
    expect(lab.server.counters.unauthenticated).toBe(1);
    expect(lab.server.allocations).toBe(0);
  });

  test("another realm", () => {
    const client = new LabClient(new Lab());
    const realm = "example.com";
    const integrity = { kind: "sha1", key: longTermKey(ALICE.name, realm, ALICE.password, "md5") } as const;
    client.send(signed(Method.allocate, { ...client.signature(), realm, integrity }, udpTransport));
    expect(errorCode(client.lab.answer())).toBe(401);
  });

  test("a name that is no UTF-8, or longer than the RFC allows", () => {
    const client = new LabClient(new Lab());
    const { nonce, integrity } = client.signature();
    for (const name of [Uint8Array.of(0xff, 0xfe), new Uint8Array(509).fill(97)]) {
      const answer = asks(client, (writer) =>
        writer
          .bytes(Attribute.username, name)
          .bytes(Attribute.realm, utf8(REALM))
          .bytes(Attribute.nonce, nonce)
          .integrity(integrity),
      );
      expect(errorCode(answer)).toBe(401);
    }
  });
});

describe("integrity", () => {
  const fill =
    (nonce: Uint8Array, extra: Fill): Fill =>
    (writer) => {
      writer
        .bytes(Attribute.username, utf8(ALICE.name))
        .bytes(Attribute.realm, utf8(REALM))
        .bytes(Attribute.nonce, nonce);
      extra(writer);
    };

  test("is answered in kind: SHA-1 for SHA-1, SHA-256 for SHA-256, with a fingerprint for a fingerprint", () => {
    const client = new LabClient(new Lab());
    const { nonce } = client.signature();
    for (const [kind, present, absent] of [
      ["sha1", "integrity", "integrity256"],
      ["sha256", "integrity256", "integrity"],
    ] as const) {
      const integrity: Integrity = { kind, key: key("md5") };
      client.send(
        request(
          Method.refresh,
          fill(nonce, (writer) => writer.integrity(integrity).fingerprint()),
        ),
      );
      const answer = client.lab.answer();
      expect(errorCode(answer)).toBe(437);
      expect(answer[present]).toBeGreaterThan(0);
      expect(answer[absent]).toBe(0);
      expect(answer.hasFingerprint).toBe(true);
      expect(isIntact(answer, integrity)).toBe(true);
    }
  });

  test("with both attributes is judged by SHA-256 alone", () => {
    const client = new LabClient(new Lab());
    const { nonce } = client.signature();
    const right: Integrity = { kind: "sha256", key: key("md5") };
    const wrong: Integrity = { kind: "sha256", key: key("md5", BOB) };
    const first: Integrity = { kind: "sha1", key: key("md5") };
    expect(
      errorCode(
        asks(
          client,
          fill(nonce, (writer) => writer.integrity(first).integrity(wrong)),
        ),
      ),
    ).toBe(401);
    expect(
      errorCode(
        asks(
          client,
          fill(nonce, (writer) => writer.integrity(first).integrity(right)),
        ),
      ),
    ).toBe(undefined);
  });

  test("with a SHA-256 key is chosen by PASSWORD-ALGORITHM, and both attributes of it are demanded and compared", () => {
    const client = new LabClient(new Lab());
    const { nonce } = client.signature();
    const sign: Integrity = { kind: "sha256", key: key("sha256") };
    const ask = (offered: Uint8Array | undefined, chosen: Uint8Array | undefined): number | undefined =>
      errorCode(
        asks(
          client,
          fill(nonce, (writer) => {
            if (offered) writer.bytes(Attribute.passwordAlgorithms, offered);
            if (chosen) writer.bytes(Attribute.passwordAlgorithm, chosen);
            writer.integrity(sign);
          }),
        ),
      );
    const sha256 = Uint8Array.of(0, 2, 0, 0);
    expect(ask(OFFERED, undefined)).toBe(400);
    expect(ask(undefined, sha256)).toBe(400);
    // Somebody on the way has taken SHA-256 out of what the server offered.
    expect(ask(Uint8Array.of(0, 1, 0, 0), Uint8Array.of(0, 1, 0, 0))).toBe(400);
    expect(ask(OFFERED, Uint8Array.of(0, 3, 0, 0))).toBe(400);
    expect(ask(OFFERED, Uint8Array.of(0, 2, 0, 1, 9, 0, 0, 0))).toBe(400);
    expect(ask(OFFERED, Uint8Array.of(0, 1, 0, 0))).toBe(401);
    expect(ask(undefined, undefined)).toBe(401);
    expect(ask(OFFERED, sha256)).toBe(undefined);
  });

  test("holds for a user who is named by hash", () => {
    const client = new LabClient(new Lab());
    const { nonce } = client.signature();
    const ask = (hash: Uint8Array): number | undefined =>
      errorCode(
        asks(client, (writer) =>
          writer
            .bytes(Attribute.userhash, hash)
            .bytes(Attribute.realm, utf8(REALM))
            .bytes(Attribute.nonce, nonce)
            .integrity({ kind: "sha256", key: key("md5") }),
        ),
      );
    expect(ask(userhash("mallory", REALM))).toBe(401);
    expect(ask(new Uint8Array(3))).toBe(401);
    expect(ask(userhash(ALICE.name, REALM))).toBe(undefined);
  });
});

describe("a time-limited credential", () => {
  const credentials = { users: [ALICE], secrets: ["another secret of the server", SECRET] };
  const issued = (name: string, lifeMs: number, secret = SECRET) => {
    const { username, password } = issueCredential(secret, name, lifeMs, START);
    return { name: username, password };
  };

  test("is what coturn's use-auth-secret makes", () => {
    // openssl dgst -sha1 -hmac "north" over "1700003600:alice", base64.
    expect(issueCredential("north", "alice", 3_600_000, START)).toEqual({
      username: "1700003600:alice",
      password: "wjwSXO2ch1B6VaLTLMy2Avn5O9o=",
      expiresAt: 1_700_003_600_000,
    });
  });

  test("is good until it ends, under any of the secrets", () => {
    for (const secret of credentials.secrets) {
      const lab = new Lab({ credentials });
      const client = new LabClient(lab, 1, issued("x", 600_000, secret));
      expect(errorCode(client.allocate())).toBe(undefined);
      lab.advance(599_000);
      expect(client.code(Method.refresh)).toBe(undefined);
      lab.advance(2_000);
      expect(client.code(Method.refresh)).toBe(401);
    }
  });

  test("under another secret, or with another end than was signed, is none", () => {
    const lab = new Lab({ credentials });
    expect(new LabClient(lab, 1, issued("x", 600_000, "foreign")).code(Method.allocate, udpTransport)).toBe(401);
    const longer = { ...issued("x", 600_000), name: "9999999999:x" };
    expect(new LabClient(lab, 1, longer).code(Method.allocate, udpTransport)).toBe(401);
  });

  test("may be exchanged for a later one of the same name, not for one of another name", () => {
    const lab = new Lab({ credentials });
    expect(errorCode(new LabClient(lab, 1, issued("x", 600_000)).allocate())).toBe(undefined);
    expect(new LabClient(lab, 1, issued("x", 900_000)).code(Method.refresh)).toBe(undefined);
    expect(new LabClient(lab, 1, issued("y", 900_000)).code(Method.refresh)).toBe(441);
    expect(new LabClient(lab, 1, ALICE).code(Method.refresh)).toBe(441);
  });

  test("needs no name", () => {
    expect(errorCode(new LabClient(new Lab({ credentials }), 1, issued("", 600_000)).allocate())).toBe(undefined);
  });

  test("turns off the offer of names by hash, which could not name everybody", () => {
    const nonce = fromUtf8(new LabClient(new Lab({ credentials }), 1, ALICE).signature().nonce);
    expect(nonce?.slice(0, 13)).toBe("obMatJos2gAAA");
  });
});
