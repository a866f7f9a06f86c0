import { describe, expect, test } from "vitest";
import { nodeRowCipher } from "../../../src/drivers/store/cipher-node.ts";
import { portableRowCipher } from "../../../src/drivers/store/cipher-portable.ts";
import { keyIdOf, RowKey } from "../../../src/drivers/store/envelope.ts";
import { hex, utf8 } from "../../../src/proto/bytes.ts";
import { valueFor } from "./stores.ts";

const ciphers = {
  node: nodeRowCipher(),
  webcrypto: portableRowCipher(),
  "no webcrypto": portableRowCipher(false),
} as const;
const names = Object.keys(ciphers) as (keyof typeof ciphers)[];

describe.each(names)("the cipher of rows: %s", (name) => {
  const cipher = ciphers[name];

  test("is XAES-256-GCM: the vectors of its specification", async () => {
    const nonce = utf8("ABCDEFGHIJKLMNOPQRSTUVWX");
    const seal = async (fill: number, associated: string): Promise<string> =>
      hex(
        await cipher
          .aead(new Uint8Array(32).fill(fill))
          .seal(nonce, [utf8("XAES-256-"), utf8("GCM")], utf8(associated)),
      );
    expect(await seal(1, "")).toBe("ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271");
    expect(await seal(3, "c2sp.org/XAES-256-GCM")).toBe("986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d");
  });

  test.each([0, 1, 4_095, 4_096, 70_000, 1_048_577, 2_500_000])(
    "opens what every other has sealed, %d bytes",
    async (length) => {
      const secret = valueFor(9, 32);
      const key = new RowKey(secret, cipher);
      const value = valueFor(3, length);
      for (const other of names) {
        const theirs = new RowKey(secret, ciphers[other]);
        const address = theirs.address(7, utf8("name"));
        expect(key.address(7, utf8("name"))).toEqual(address);
        const content = await key.open(address, await theirs.seal(address, utf8("name"), value));
        expect(content?.name).toBe("name");
        expect(Buffer.from(content?.value ?? []).equals(value)).toBe(true);
      }
    },
  );

  test("opens no envelope in which one bit was changed, cut, or that stands at another address", async () => {
    const key = new RowKey(valueFor(1, 32), cipher);
    const address = key.address(1, utf8("a"));
    const envelope = await key.seal(address, utf8("a"), valueFor(1, 10));
    for (let bit = 0; bit < envelope.length * 8; bit++) {
      const changed = envelope.slice();
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(await key.open(address, changed)).toBeUndefined();
    }
    for (let length = 0; length < envelope.length; length++) {
      expect(await key.open(address, envelope.subarray(0, length))).toBeUndefined();
    }
    expect(await key.open(key.address(1, utf8("b")), envelope)).toBeUndefined();
    expect(await key.open(key.address(2, utf8("a")), envelope)).toBeUndefined();
    expect(await new RowKey(valueFor(2, 32), cipher).open(address, envelope)).toBeUndefined();
    expect((await key.open(address, envelope))?.value).toEqual(valueFor(1, 10));
  });

  test("never seals twice to the same bytes, and names its key", async () => {
    const key = new RowKey(valueFor(1, 32), cipher);
    const address = key.address(1, utf8("a"));
    const envelopes = await Promise.all(Array.from({ length: 500 }, () => key.seal(address, utf8("a"), valueFor(1))));
    expect(new Set(envelopes.map(hex)).size).toBe(500);
    expect(new Set(envelopes.map((envelope) => hex(envelope.subarray(5, 29)))).size).toBe(500);
    for (const envelope of envelopes) expect(keyIdOf(envelope)).toEqual(key.id);
    expect(keyIdOf(new Uint8Array(100))).toBeUndefined();
  });
});
