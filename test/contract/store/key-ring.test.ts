import { expect, test } from "vitest";
import { openKeyRing } from "../../../src/drivers/store/key-ring.ts";
import { MAX_RING_KEYS, MAX_SCRYPT_COST } from "../../../src/drivers/store/limits.ts";
import { base64 } from "../../../src/proto/base64.ts";
import { secretFile } from "./stores.ts";

/** Cheap, so that tests are quick. */
const sealed = { passphrase: "correct horse", scryptCost: 1_024 };

function text(file: { readonly bytes: Uint8Array | undefined }): string {
  return new TextDecoder().decode(file.bytes);
}

test.each([{}, sealed])("a ring has one random key at first, and the same again when opened (%j)", async (options) => {
  const file = secretFile();
  const ring = await openKeyRing(file, options);
  expect(ring.keys).toHaveLength(1);
  expect(ring.keys[0]).toHaveLength(32);
  expect((await openKeyRing(file, options)).keys).toEqual(ring.keys);
  expect((await openKeyRing(secretFile(), options)).keys).not.toEqual(ring.keys);
});

test.each([{}, sealed])(
  "a new key comes first and is kept before it is used; the older ones go when told (%j)",
  async (options) => {
    const file = secretFile();
    const ring = await openKeyRing(file, options);
    const [first] = ring.keys;
    await ring.add();
    expect(ring.keys).toHaveLength(2);
    expect(ring.keys[1]).toEqual(first);
    expect((await openKeyRing(file, options)).keys).toEqual(ring.keys);
    const newest = ring.keys[0];
    await ring.retire();
    expect(ring.keys).toEqual([newest]);
    expect((await openKeyRing(file, options)).keys).toEqual([newest]);
  },
);

test("a key that cannot be kept is not used", async () => {
  const file = secretFile();
  const ring = await openKeyRing(file);
  const keys = ring.keys;
  file.write = () => Promise.reject(new Error("no room"));
  await expect(ring.add()).rejects.toThrow("no room");
  expect(ring.keys).toEqual(keys);
});

test("a ring under a passphrase does not show its keys, and opens with that passphrase alone", async () => {
  const file = secretFile();
  const ring = await openKeyRing(file, sealed);
  expect(text(file)).not.toContain(base64(ring.keys[0] ?? new Uint8Array(0)));
  await expect(openKeyRing(file, { ...sealed, passphrase: "wrong horse" })).rejects.toMatchObject({
    code: "permission-denied",
  });
  await expect(openKeyRing(file)).rejects.toMatchObject({ code: "permission-denied" });
  const plain = secretFile();
  await openKeyRing(plain);
  await expect(openKeyRing(plain, sealed)).rejects.toMatchObject({ code: "permission-denied" });
});

test("the cost of the passphrase comes from the file, and a cost beyond the bound is not believed", async () => {
  const file = secretFile();
  const ring = await openKeyRing(file, sealed);
  expect((await openKeyRing(file, { passphrase: sealed.passphrase })).keys).toEqual(ring.keys);
  for (const cost of [MAX_SCRYPT_COST * 2, 1_025, 0, -1, 512]) {
    const damaged = secretFile();
    damaged.bytes = new TextEncoder().encode(text(file).replace("1024", `${cost}`));
    await expect(openKeyRing(damaged, sealed)).rejects.toMatchObject({ code: "state-corrupt" });
  }
  const cheaper = secretFile();
  cheaper.bytes = new TextEncoder().encode(text(file).replace("1024", "2048"));
  await expect(openKeyRing(cheaper, sealed)).rejects.toMatchObject({ code: "permission-denied" });
});

test.each([
  "",
  "{}",
  "not JSON",
  `{"starling":"key ring 2","keys":["${base64(new Uint8Array(32))}"]}`,
  `{"starling":"key ring 1","keys":[]}`,
  `{"starling":"key ring 1","keys":["AAAA"]}`,
  `{"starling":"key ring 1","keys":["AAAA"],"more":1}`,
  " ".repeat(10_000),
])("a damaged ring is said to be damaged (%#)", async (content) => {
  const file = secretFile();
  file.bytes = new TextEncoder().encode(content);
  await expect(openKeyRing(file)).rejects.toMatchObject({ code: "state-corrupt" });
});

test("a key that is not random is refused", async () => {
  const file = secretFile();
  file.bytes = new TextEncoder().encode(`{"starling":"key ring 1","keys":["${base64(new Uint8Array(32))}"]}`);
  await expect(openKeyRing(file)).rejects.toMatchObject({ code: "weak-key" });
});

test("rotations that never end are refused at a bound", async () => {
  const ring = await openKeyRing(secretFile());
  while (ring.keys.length < MAX_RING_KEYS) await ring.add();
  await expect(ring.add()).rejects.toMatchObject({ code: "limit-reached" });
});
