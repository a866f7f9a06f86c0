import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { utf8 } from "../../../src/proto/bytes.ts";
import { publicKeyOf } from "../../../src/proto/peer-id.ts";
import { acceptDesk, type Desk, encodeDesk, MAX_DESK_BYTES } from "../../../src/proto/trust/desk.ts";
import {
  MAX_ANSWER_BYTES,
  MAX_REQUEST_BYTES,
  openAnswer,
  openRequest,
  sealAnswer,
  sealRequest,
} from "../../../src/proto/trust/exchange.ts";
import { type IssuerList, kidOf } from "../../../src/proto/trust/issuers.ts";
import { decode, encode } from "../../../src/proto/wire/codec.ts";
import { cluster, crypto, entry, issuing, NOW, root } from "./cluster-lab.ts";

const { clusterId } = cluster;
const list: IssuerList = { version: 1, issuers: [entry()] };
const deskBox = crypto.boxKeyPair();
const holder = crypto.nodeIdentity(crypto.generateNodeKey()).id;
const desk: Desk = { kid: kidOf(issuing.publicKey), holder, boxKey: deskBox.publicKey };
const asker = { identity: crypto.nodeIdentity(crypto.generateNodeKey()), box: crypto.boxKeyPair(), clusterId };
const accept = (encoded: Uint8Array, issuers = list, now = NOW) =>
  acceptDesk(encoded, issuers, now, crypto.verifyAuthority);
const request = (token = "a join token") => sealRequest(crypto, asker, desk, token) as Uint8Array;

describe("a desk", () => {
  test("is accepted under its issuing key, with or without a holder", () => {
    expect(accept(encodeDesk(desk, issuing))).toEqual(desk);
    const ofServer = { ...desk, holder: undefined };
    expect(accept(encodeDesk(ofServer, issuing))).toEqual(ofServer);
    expect(encodeDesk(desk, issuing).length).toBeLessThanOrEqual(MAX_DESK_BYTES);
  });

  test("that a server makes up, alters, or takes from a key that has ended or was withdrawn is refused", () => {
    const encoded = encodeDesk(desk, issuing);
    expect(accept(encodeDesk(desk, root))).toBeUndefined();
    const forger = crypto.authority(crypto.generateNodeKey());
    expect(accept(encodeDesk(desk, forger))).toBeUndefined();
    expect(accept(encodeDesk({ ...desk, kid: kidOf(forger.publicKey) }, forger))).toBeUndefined();
    expect(accept(encoded, { version: 2, issuers: [entry({ notAfter: NOW })] })).toBeUndefined();
    expect(accept(encoded, { version: 2, issuers: [entry({ publicKey: forger.publicKey })] })).toBeUndefined();
    for (let at = 0; at < encoded.length; at++) {
      const altered = encoded.slice();
      altered[at] = (altered[at] as number) ^ 1;
      expect(accept(altered)).toBeUndefined();
    }
  });

  test("is never made of other bytes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 250 }), (bytes) => accept(bytes) === undefined));
  });
});

describe("an exchange", () => {
  test("carries a token of full size to the desk and an answer of full size back", () => {
    const token = "t".repeat(4_096);
    const sealed = request(token);
    expect(sealed.length).toBeLessThanOrEqual(MAX_REQUEST_BYTES);
    const opened = openRequest(crypto, deskBox, clusterId, sealed);
    expect(opened).toMatchObject({ asker: asker.identity.id, token, replyKey: asker.box.publicKey });
    expect(opened && crypto.verify(opened.statement)).toBe(true);
    const answer = sealAnswer(crypto, deskBox, asker.box.publicKey, { ok: true, token }) as Uint8Array;
    expect(answer.length).toBeLessThanOrEqual(MAX_ANSWER_BYTES);
    expect(openAnswer(crypto, asker.box, desk.boxKey, answer)).toEqual({ ok: true, token });
    const no = { ok: false, code: "token-used", detail: "\u001b[2Jused up" } as const;
    const refusal = sealAnswer(crypto, deskBox, asker.box.publicKey, no) as Uint8Array;
    expect(openAnswer(crypto, asker.box, desk.boxKey, refusal)).toEqual({ ...no, detail: "\ufffd[2Jused up" });
  });

  test("shows its carrier neither token nor asker, and no two requests are alike", () => {
    const sealed = request("a join token");
    const text = Buffer.from(sealed).toString("latin1");
    expect(text).not.toContain("a join token");
    expect(text).not.toContain(Buffer.from(publicKeyOf(asker.identity.id)).toString("latin1"));
    expect(request("a join token")).not.toEqual(sealed);
  });

  test("opens at no other desk, in no other cluster, and not when it was altered", () => {
    const sealed = request();
    expect(openRequest(crypto, crypto.boxKeyPair(), clusterId, sealed)).toBeUndefined();
    expect(openRequest(crypto, deskBox, "another cluster", sealed)).toBeUndefined();
    for (let at = 0; at < sealed.length; at += 7) {
      const altered = sealed.slice();
      altered[at] = (altered[at] as number) ^ 1;
      expect(openRequest(crypto, deskBox, clusterId, altered)).toBeUndefined();
    }
  });

  test("that one desk took in is worth nothing when its holder passes it on to another as its own", () => {
    // The holder of a desk can read what was sealed for it, and seal that again for the next.
    const other = crypto.boxKeyPair();
    const body = encode([clusterId, publicKeyOf(asker.identity.id), deskBox.publicKey, deskBox.publicKey, "token"]);
    const inner = encode([body, asker.identity.sign("starling/exchange/1", body)]);
    const again = crypto.seal(inner, other.publicKey, deskBox.secretKey) as Uint8Array;
    const passed = new Uint8Array([...deskBox.publicKey, ...again]);
    expect(openRequest(crypto, other, clusterId, passed)).toBeUndefined();
  });

  test("whose reply key is not the one that the asker signed is refused", () => {
    const thief = crypto.boxKeyPair();
    const body = encode([clusterId, publicKeyOf(asker.identity.id), asker.box.publicKey, desk.boxKey, "token"]);
    const inner = encode([body, asker.identity.sign("starling/exchange/1", body)]);
    const sealed = crypto.seal(inner, desk.boxKey, thief.secretKey) as Uint8Array;
    expect(openRequest(crypto, deskBox, clusterId, new Uint8Array([...thief.publicKey, ...sealed]))).toBeUndefined();
  });

  test("whose signature is another's shows when that is checked", () => {
    const liar = crypto.nodeIdentity(crypto.generateNodeKey());
    const body = encode([clusterId, publicKeyOf(asker.identity.id), asker.box.publicKey, desk.boxKey, "token"]);
    const inner = encode([body, liar.sign("starling/exchange/1", body)]);
    const sealed = crypto.seal(inner, desk.boxKey, asker.box.secretKey) as Uint8Array;
    const opened = openRequest(crypto, deskBox, clusterId, new Uint8Array([...asker.box.publicKey, ...sealed]));
    expect(opened && crypto.verify(opened.statement)).toBe(false);
  });

  test("an answer opens for nobody else, and from no other desk", () => {
    const answer = sealAnswer(crypto, deskBox, asker.box.publicKey, { ok: true, token: "t" }) as Uint8Array;
    expect(openAnswer(crypto, crypto.boxKeyPair(), desk.boxKey, answer)).toBeUndefined();
    expect(openAnswer(crypto, asker.box, crypto.boxKeyPair().publicKey, answer)).toBeUndefined();
    const odd = crypto.seal(encode([0, "no such code", ""]), asker.box.publicKey, deskBox.secretKey) as Uint8Array;
    expect(openAnswer(crypto, asker.box, desk.boxKey, odd)).toBeUndefined();
  });

  test("bytes from outside never make it throw, sealed well or not", () => {
    const { box } = asker;
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
        expect(openRequest(crypto, deskBox, clusterId, bytes)).toBeUndefined();
        expect(openAnswer(crypto, box, desk.boxKey, bytes)).toBeUndefined();
        const well = crypto.seal(bytes, desk.boxKey, box.secretKey) as Uint8Array;
        expect(openRequest(crypto, deskBox, clusterId, new Uint8Array([...box.publicKey, ...well]))).toBeUndefined();
        const back = crypto.seal(bytes, box.publicKey, deskBox.secretKey) as Uint8Array;
        if (!decode(bytes, { depth: 1, items: 4 }).ok)
          expect(openAnswer(crypto, box, desk.boxKey, back)).toBeUndefined();
      }),
      { numRuns: 60 },
    );
    expect(openRequest(crypto, deskBox, clusterId, utf8("x".repeat(5_000)))).toBeUndefined();
  });
});
