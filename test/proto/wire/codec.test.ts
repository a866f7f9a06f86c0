import { Packr } from "msgpackr";
import { expect, test } from "vitest";
import { decode, encode, type WireValue } from "../../../src/proto/wire/codec.ts";

const library = new Packr({ useRecords: false, moreTypes: false, largeBigIntToFloat: true });
const limits = { depth: 3, items: 64 };

const values: readonly (readonly [string, WireValue])[] = [65_535, 65_536, 70_000, 200_000].flatMap((length) => [
  [`alone, ${length} bytes`, new Uint8Array(length).fill(3)],
  [`between others, ${length} bytes`, [1, "text", new Uint8Array(length).fill(3), [null, true], new Uint8Array(32)]],
  [`twice, ${length} bytes`, [new Uint8Array(length).fill(1), new Uint8Array(length).fill(2)]],
  [`inside, ${length} bytes`, [[new Uint8Array(length).fill(3)], -1]],
  [`in a long array, ${length} bytes`, [...new Array<number>(15).fill(1), new Uint8Array(length).fill(3)]],
]);

test.each(values)("a large byte string is laid out as msgpack has it: %s", (_, value) => {
  const encoded = encode(value);
  expect(Buffer.from(encoded).equals(library.pack(value))).toBe(true);
  expect(decode(encoded, limits)).toEqual({ ok: true, value });
  expect(encoded.byteLength).toBe(encoded.buffer.byteLength);
});
