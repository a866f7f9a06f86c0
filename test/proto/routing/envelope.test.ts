import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { peerIdOf } from "../../../src/proto/peer-id.ts";
import {
  decodeRouting,
  type Envelope,
  encodeBody,
  encodeBounce,
  encodeEnvelope,
  TAG_BYTES,
} from "../../../src/proto/routing/envelope.ts";
import { MAX_CONTENT_BYTES, MAX_HOPS, MAX_ROUTING_MESSAGE_BYTES } from "../../../src/proto/routing/limits.ts";
import { encode } from "../../../src/proto/wire/codec.ts";
import { id, NOW } from "./world.ts";

const ENVELOPE: Envelope = {
  source: id(1),
  destination: id(2),
  id: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
  time: NOW,
  purpose: 3,
  contents: Uint8Array.of(9, 9),
};
const SIGNATURE = new Uint8Array(64).fill(5);

const SEARCH = { hops: 3, seenBy: Uint8Array.of(1, 2, 3, 4) };

const bytes = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length });

describe("the messages of routing", () => {
  test("what is encoded is decoded", () => {
    const envelopes = fc.record({
      source: bytes(32).map(peerIdOf),
      destination: bytes(32).map(peerIdOf),
      id: bytes(8),
      time: fc.nat(),
      purpose: fc.integer({ min: 0, max: 255 }),
      contents: fc.uint8Array({ maxLength: 300 }),
    });
    const searches = fc.record({
      hops: fc.integer({ min: 0, max: MAX_HOPS }),
      seenBy: fc.integer({ min: 0, max: MAX_HOPS }).chain((members) => bytes(members * TAG_BYTES)),
    });
    fc.assert(
      fc.property(envelopes, searches, (envelope, search) => {
        fc.pre(envelope.source !== envelope.destination);
        const { source, id } = envelope;
        const body = encodeBody(envelope);
        const decoded = decodeRouting(encodeEnvelope({ body, signature: SIGNATURE }, search));
        expect(plain(decoded)).toEqual(
          plain({ type: "envelope", search, envelope, sealed: { body, signature: SIGNATURE } }),
        );
        const bounce = decodeRouting(encodeBounce(source, id, search));
        expect(plain(bounce)).toEqual(plain({ type: "bounce", source, id, search }));
      }),
    );
  });

  test("arbitrary bytes never throw", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (noise) => void decodeRouting(noise)));
  });

  test("the largest contents fit the largest message, and one byte more is refused", () => {
    const body = encodeBody({ ...ENVELOPE, contents: new Uint8Array(MAX_CONTENT_BYTES) });
    const largest = encodeEnvelope(
      { body, signature: SIGNATURE },
      { hops: MAX_HOPS, seenBy: new Uint8Array(MAX_HOPS * TAG_BYTES) },
    );
    expect(largest.length).toBeLessThanOrEqual(MAX_ROUTING_MESSAGE_BYTES);
    expect(decodeRouting(largest)).toBeDefined();
    const larger = encodeBody({ ...ENVELOPE, contents: new Uint8Array(MAX_CONTENT_BYTES + 1) });
    expect(decodeRouting(encodeEnvelope({ body: larger, signature: SIGNATURE }, SEARCH))).toBeUndefined();
    expect(decodeRouting(new Uint8Array(MAX_ROUTING_MESSAGE_BYTES + 1))).toBeUndefined();
  });

  test("what no honest member sends is malformed", () => {
    const body = encodeBody(ENVELOPE);
    const key = new Uint8Array(32);
    const { hops, seenBy } = SEARCH;
    const sign = (envelope: Envelope): Uint8Array =>
      encodeEnvelope({ body: encodeBody(envelope), signature: SIGNATURE }, SEARCH);
    expect(decodeRouting(sign(ENVELOPE))).toBeDefined();
    const wrong = [
      encode([1, MAX_HOPS + 1, seenBy, body, SIGNATURE]),
      encode([1, -1, seenBy, body, SIGNATURE]),
      encode([1, hops, seenBy, body, SIGNATURE.slice(1)]),
      encode([1, hops, seenBy.slice(1), body, SIGNATURE]),
      encode([1, hops, new Uint8Array((MAX_HOPS + 1) * TAG_BYTES), body, SIGNATURE]),
      encode([1, hops, body, SIGNATURE]),
      encode([7, hops, seenBy, body, SIGNATURE]),
      encode([2, key, Uint8Array.of(1), hops, seenBy]),
      encode([2, key, ENVELOPE.id, MAX_HOPS + 1, seenBy]),
      sign({ ...ENVELOPE, destination: ENVELOPE.source }),
      sign({ ...ENVELOPE, purpose: 256 }),
      encodeEnvelope({ body: encode([2, key, key, ENVELOPE.id, NOW, 3, body]), signature: SIGNATURE }, SEARCH),
    ];
    for (const message of wrong) expect(decodeRouting(message)).toBeUndefined();
  });
});

/** Byte strings as lists: the decoder's are views, of a class of its own. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return [...value];
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]));
}
