import { expect, test } from "vitest";
import { nodeCrypto } from "../../../src/drivers/crypto.ts";
import { gossipSeal } from "../../../src/drivers/gossip-seal.ts";
import { Topic } from "../../../src/proto/gossip/messages.ts";
import { Keychain, SEAL_AFTER_MS } from "../../../src/proto/trust/keychain.ts";

const NOW = 1_800_000_000_000;
const random = (): Uint8Array => nodeCrypto().randomBytes(32);
const keychain = (...keyring: Uint8Array[]): Keychain =>
  new Keychain({ clusterKeys: [{ epoch: 1, key: random() }], keyring });
const payload = new TextEncoder().encode("the plan for tonight");

test("opens for whoever has the key, and for nobody else; one changed bit is found", () => {
  const [key, other] = [random(), random()];
  const ours = gossipSeal(keychain(key));
  const sealed = ours.seal(Topic.application, payload, NOW);
  expect(Buffer.from(sealed).includes("plan")).toBe(false);
  expect(gossipSeal(keychain(other, key)).open(Topic.application, sealed)).toEqual(payload);
  expect(gossipSeal(keychain(other)).open(Topic.application, sealed)).toBe("unknown-key");
  expect(ours.open(Topic.membership, sealed)).toBe("forged");
  for (let at = 4; at < sealed.length; at++) {
    const altered = sealed.slice();
    altered[at] = (altered[at] as number) ^ 1;
    expect(ours.open(Topic.application, altered)).toBe("forged");
  }
  for (const length of [0, 3, 43]) expect(ours.open(Topic.application, sealed.subarray(0, length))).toBe("forged");
});

test("equal payloads seal to equal bytes, so that two who say the same make one broadcast; others share nothing", () => {
  const key = random();
  const [one, another] = [gossipSeal(keychain(key)), gossipSeal(keychain(key))];
  const sealed = one.seal(Topic.membership, payload, NOW);
  expect(another.seal(Topic.membership, payload, NOW)).toEqual(sealed);
  const next = one.seal(Topic.membership, payload.slice(1), NOW);
  expect(next.subarray(4, 28)).not.toEqual(sealed.subarray(4, 28));
});

test("a new key seals only once it has had time to reach everybody, and the one before opens as long as it is in the ring", () => {
  const [before, after] = [random(), random()];
  const chain = keychain(before);
  const seal = gossipSeal(chain);
  const old = seal.seal(Topic.membership, payload, NOW);
  chain.adopt({ ...chain.secrets, epoch: 2, keyring: [after, before] }, NOW);
  expect(seal.seal(Topic.membership, payload, NOW + SEAL_AFTER_MS - 1)).toEqual(old);
  expect(seal.seal(Topic.membership, payload, NOW + SEAL_AFTER_MS)).not.toEqual(old);
  expect(seal.open(Topic.membership, old)).toEqual(payload);
  chain.adopt({ ...chain.secrets, epoch: 3, keyring: [after] }, NOW + SEAL_AFTER_MS);
  expect(seal.open(Topic.membership, old)).toBe("unknown-key");
});
