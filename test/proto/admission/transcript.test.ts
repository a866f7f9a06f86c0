import { hkdfSync } from "node:crypto";
import { expect, test } from "vitest";
import { hex, utf8 } from "../../../src/proto/bytes.ts";
import { admissionMacKey, type TranscriptSide, transcriptHash } from "../../../src/proto/session/transcript.ts";

const side = (byte: number): TranscriptSide => ({
  identity: new Uint8Array(32).fill(byte),
  nonce: new Uint8Array(32).fill(byte + 1),
  hello: new Uint8Array(100).fill(byte + 2),
  fingerprint: new Uint8Array(32).fill(byte + 3),
});
const [DIALER, ANSWERER] = [side(10), side(20)];

test("every part of the transcript counts, and so does who is the dialer", () => {
  const hashes = new Set([hex(transcriptHash("c", DIALER, ANSWERER)), hex(transcriptHash("d", DIALER, ANSWERER))]);
  hashes.add(hex(transcriptHash("c", ANSWERER, DIALER)));
  for (const part of ["identity", "nonce", "hello", "fingerprint"] as const) {
    const changed = new Uint8Array(DIALER[part].length).fill(99);
    hashes.add(hex(transcriptHash("c", { ...DIALER, [part]: changed }, ANSWERER)));
    hashes.add(hex(transcriptHash("c", DIALER, { ...ANSWERER, [part]: changed })));
  }
  expect(hashes.size).toBe(11);
});

test("a byte that moves from one part to the next makes another transcript", () => {
  const moved = (dialer: number, answerer: number): string =>
    hex(
      transcriptHash(
        "c",
        { ...DIALER, hello: new Uint8Array(dialer).fill(7) },
        { ...ANSWERER, hello: new Uint8Array(answerer).fill(7) },
      ),
    );
  expect(moved(100, 101)).not.toBe(moved(101, 100));
});

test("MAC keys are HKDF-SHA256 of the cluster key, one for each epoch", () => {
  const key = new Uint8Array(32).fill(3);
  const info = Uint8Array.of(...utf8("starling/admission-mac/1"), 0, 0, 1, 2);
  const expected = new Uint8Array(hkdfSync("sha256", key, new Uint8Array(0), info, 32));
  expect(admissionMacKey(key, 258)).toEqual(expected);
  expect(admissionMacKey(key, 259)).not.toEqual(expected);
});
