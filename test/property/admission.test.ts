import fc from "fast-check";
import { expect, test } from "vitest";
import { MAX_HELLO_BYTES } from "../../src/proto/limits.ts";
import { decodeLetter } from "../../src/proto/session/envelope.ts";
import { encodeHello, parseHello } from "../../src/proto/session/hello.ts";
import { decodeRefusal } from "../../src/proto/session/refusal.ts";
import { ANSWERER, DIALER, handshake, optionsOf, Side, type Tamper } from "../proto/admission/handshake.ts";

const side = fc.constantFrom("dialer", "answerer");

test("any single byte changed in any frame keeps both sides from being admitted", () => {
  fc.assert(
    fc.property(side, fc.nat(2), fc.nat(400), fc.integer({ min: 1, max: 255 }), (from, index, position, change) => {
      const tamper: Tamper = (sender, frame, at) => {
        if (sender !== from || at !== index) return [frame];
        const changed = frame.slice();
        const offset = position % changed.length;
        changed[offset] = (changed[offset] as number) ^ change;
        return [changed];
      };
      const verdicts = handshake({}, tamper);
      expect(verdicts).not.toEqual(["admitted", "admitted"]);
      // Only the very last word of a side may fail at the other end alone.
      if (index < 2) expect(verdicts).not.toContain("admitted");
    }),
    { numRuns: 400 },
  );
});

test("every byte of hello and proof counts", () => {
  const template = new Side(optionsOf("dialer"));
  template.input({ type: "open" });
  const lengths = [template.sent[0]?.length ?? 0, 97];
  for (const [index, length] of lengths.entries()) {
    for (let offset = 0; offset < length; offset++) {
      const verdicts = handshake({}, (sender, frame, at) => {
        if (sender !== "dialer" || at !== index) return [frame];
        const changed = frame.slice();
        changed[offset] = (changed[offset] as number) ^ 1;
        return [changed];
      });
      expect(verdicts, `byte ${offset} of frame ${index}`).not.toContain("admitted");
    }
  }
});

test("frames dropped, repeated, cut or joined never admit a side whose peer is not who it says", () => {
  const deed = fc.constantFrom("pass", "drop", "repeat", "cut");
  fc.assert(
    fc.property(fc.array(deed, { minLength: 6, maxLength: 6 }), (deeds) => {
      let turn = 0;
      let honest = true;
      const tamper: Tamper = (_, frame) => {
        const chosen = deeds[turn++ % deeds.length];
        if (chosen !== "pass") honest = false;
        if (chosen === "drop") return [];
        if (chosen === "repeat") return [frame, frame];
        if (chosen === "cut") return [frame.subarray(0, frame.length - 1)];
        return [frame];
      };
      const verdicts = handshake({}, tamper);
      if (honest) expect(verdicts).toEqual(["admitted", "admitted"]);
      else if (deeds.slice(0, 4).some((each) => each === "drop" || each === "cut")) {
        expect(verdicts).not.toEqual(["admitted", "admitted"]);
      }
    }),
  );
});

test("no bytes make admission throw, and no bytes get a stranger admitted", () => {
  const recorded = new Side(optionsOf("dialer"));
  recorded.input({ type: "open" });
  const hello = recorded.sent[0] as Uint8Array;
  const kinds = fc.tuple(fc.nat(0x11), fc.uint8Array({ maxLength: 200 }));
  const bytes = fc.oneof(
    kinds.map(([kind, rest]) => Uint8Array.of(kind, ...rest)),
    fc.constant(hello),
  );
  fc.assert(
    fc.property(fc.array(bytes, { maxLength: 6 }), (frames) => {
      const victim = new Side(optionsOf("answerer"));
      victim.input({ type: "open" });
      for (const frame of frames) victim.input({ type: "frame", bytes: frame });
      expect(victim.verdict).not.toBe("admitted");
    }),
  );
});

test("hellos read back as written and stay within their bound", () => {
  const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
  fc.assert(
    fc.property(
      bytes32,
      bytes32,
      fc.string({ maxLength: 1_000 }),
      fc.nat(4_294_967_295),
      fc.nat(1_000),
      (nonce, boxKey, token, epoch, span) => {
        const versions = { least: 1, most: 1 + span };
        const hello = { versions, id: DIALER.id, nonce, token: token.toWellFormed(), boxKey, epoch };
        const frame = encodeHello(hello);
        expect(frame.length).toBeLessThanOrEqual(MAX_HELLO_BYTES);
        expect(parseHello(frame, { least: 1, most: 1 })).toEqual({ ok: true, hello, version: 1 });
      },
    ),
  );
});

test("no bytes make the readers throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      parseHello(bytes, { least: 1, most: 1 });
      decodeRefusal(bytes);
      decodeLetter(bytes);
      expect(ANSWERER.id).toHaveLength(52);
    }),
    { numRuns: 1_000 },
  );
});
