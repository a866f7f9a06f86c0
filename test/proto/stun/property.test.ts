import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { addressBytes, addressText } from "../../../stun/proto/address.ts";
import { Attribute } from "../../../stun/proto/attributes.ts";
import { type Integrity, isIntact, shortTermKey } from "../../../stun/proto/integrity.ts";
import { MessageClass, parseMessage } from "../../../stun/proto/message.ts";
import { MessageWriter } from "../../../stun/proto/message-writer.ts";
import { StreamFramer } from "../../../stun/proto/stream-framer.ts";
import { fuzz } from "./fuzz.ts";
import { addressesOf } from "./requests.ts";

const attribute = fc.record({
  type: fc.integer({ min: 0, max: 0xffff }).filter((type) => ![0x0008, 0x001c, 0x8028].includes(type)),
  value: fc.uint8Array({ maxLength: 40 }),
});

test("a message is read as it was written", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 20, maxLength: 20 }),
      fc.integer({ min: 0, max: 3 }),
      fc.integer({ min: 0, max: 0xfff }),
      fc.array(attribute, { maxLength: 20 }),
      fc.constantFrom("sha1", "sha256", undefined),
      fc.boolean(),
      (header, cls, method, attributes, kind, fingerprint) => {
        const integrity: Integrity | undefined = kind && { kind, key: shortTermKey("key") };
        const target = new Uint8Array(2_048).fill(0xee);
        const writer = new MessageWriter(target, cls, method, header);
        for (const { type, value } of attributes) writer.bytes(type, value);
        if (integrity) writer.integrity(integrity);
        if (fingerprint) writer.fingerprint();
        const message = parseMessage(target.slice(0, writer.finish()));
        expect([message?.cls, message?.method, message?.hasFingerprint]).toEqual([cls, method, fingerprint]);
        if (integrity) expect(message && isIntact(message, integrity)).toBe(true);
        const first = new Map<number, Uint8Array>();
        for (const { type, value } of attributes) if (!first.has(type)) first.set(type, value);
        for (const [type, value] of first) expect(message?.value(type)).toEqual(value);
      },
    ),
    { numRuns: 300 },
  );
});

const addressValue = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
  // With the runs of zeros that its text cuts out.
  fc.array(fc.constantFrom(0, 0, 0, 1, 0xff), { minLength: 16, maxLength: 16 }).map((bytes) => Uint8Array.from(bytes)),
);

describe("an address", () => {
  test("is the same after text, and after an attribute", () => {
    fc.assert(
      fc.property(
        addressValue,
        fc.integer({ min: 0, max: 0xffff }),
        fc.uint8Array({ minLength: 20, maxLength: 20 }),
        (bytes, port, header) => {
          const text = addressText(bytes, 0, bytes.length === 4 ? 4 : 6);
          expect(addressBytes(text)).toEqual(bytes);
          const target = new Uint8Array(64);
          const writer = new MessageWriter(target, MessageClass.success, 1, header);
          writer.xorAddress(Attribute.xorMappedAddress, bytes, port);
          const message = parseMessage(target.slice(0, writer.finish()));
          expect(message && addressesOf(message, Attribute.xorMappedAddress)).toEqual([{ address: text, port }]);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  test("is read from any text without an exception", () => {
    const text = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(..."0123456789abcdef:.%"), maxLength: 40 }));
    fc.assert(
      fc.property(text, (line) => {
        const bytes = addressBytes(line);
        expect(bytes === undefined || bytes.length === 4 || bytes.length === 16).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });
});

test("arbitrary bytes are no message, or one whose attributes lie within it", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 0, max: 0xffff }), (bytes, type) => {
      const message = parseMessage(bytes);
      if (message === undefined) return;
      const at = message.find(type);
      expect(at + message.length(at || 4)).toBeLessThanOrEqual(bytes.length);
    }),
  );
});

test("a stream that is cut at any place gives the same packets, and arbitrary bytes no exception", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 400 }),
      fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 6 }),
      (bytes, cuts) => {
        const run = (chunks: readonly Uint8Array[]): string => {
          const framer = new StreamFramer();
          const packets: string[] = [];
          const fine = chunks.every((chunk) => framer.push(chunk, 4_096, (packet) => packets.push(`${packet}`)));
          return `${fine} ${packets.join("|")}`;
        };
        const at = [0, ...cuts.filter((cut) => cut <= bytes.length).sort((a, b) => a - b), bytes.length];
        expect(run(at.slice(1).map((end, index) => bytes.slice(at[index], end)))).toBe(run([bytes]));
      },
    ),
    { numRuns: 500 },
  );
});

describe("mutated packets", () => {
  test.each(["udp", "tcp", "tls"] as const)("over %s cause no exception and no answer that is not due", (transport) => {
    const report = fuzz(transport, 20_000, 11);
    expect(report.offences).toEqual([]);
    // The run is worth something: enough got through, and enough did not.
    expect(report.answers).toBeGreaterThan(500);
    expect(report.allocations).toBeLessThanOrEqual(9);
    expect(report.wellFormed).toBeLessThan(15_000);
  });
});
