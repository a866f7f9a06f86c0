import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  chooseRelays,
  decodeRelayGrant,
  encodeRelayGrant,
  RELAY_LABEL,
  type RelayCandidate,
} from "../../../src/proto/negotiation/relays.ts";
import { type PeerId, peerIdOf } from "../../../src/proto/peer-id.ts";
import { encode } from "../../../src/proto/wire/codec.ts";

const id = (number: number): PeerId => peerIdOf(new Uint8Array(32).fill(number));
const relay = (number: number, more: Partial<RelayCandidate> = {}): RelayCandidate => ({
  id: id(number),
  isAlive: true,
  labels: { [RELAY_LABEL]: "192.0.2.1:3478" },
  scopes: ["mesh:join", "relay"],
  ...more,
});

describe("which relays a member uses", () => {
  test("are two of those that may, the same whatever the order", () => {
    const members = [1, 2, 3, 4, 5].map((number) => relay(number));
    const chosen = chooseRelays(id(9), members);
    expect(chosen).toHaveLength(2);
    expect(chooseRelays(id(9), [...members].reverse())).toEqual(chosen);
    expect(chosen[0]?.address).toBe("192.0.2.1:3478");
  });

  test.each([
    ["itself", relay(9)],
    ["one that is down", relay(1, { isAlive: false })],
    ["one that does not say so", relay(1, { labels: {} })],
    ["one whose token does not let it", relay(1, { scopes: ["mesh:join", "stream:*"] })],
  ])("are never %s", (_, candidate) => {
    expect(chooseRelays(id(9), [candidate])).toEqual([]);
  });

  test("are those of a token that allows everything too", () => {
    expect(chooseRelays(id(9), [relay(1, { scopes: ["*"] })])).toHaveLength(1);
  });

  test("are spread over all, and stay when another one goes that was not used", () => {
    const members = Array.from({ length: 8 }, (_, index) => relay(index + 1));
    const load = new Map<PeerId, number>();
    for (let self = 20; self < 220; self++) {
      for (const { id: chosen } of chooseRelays(id(self), members)) load.set(chosen, (load.get(chosen) ?? 0) + 1);
    }
    expect(load.size).toBe(8);
    expect(Math.max(...load.values())).toBeLessThan(100);
    const before = chooseRelays(id(20), members);
    const unused = members.find((member) => !before.some((chosen) => chosen.id === member.id));
    expect(
      chooseRelays(
        id(20),
        members.filter((member) => member !== unused),
      ),
    ).toEqual(before);
  });
});

describe("a relay's grant", () => {
  const grant = {
    urls: ["stun:192.0.2.1:3478", "turn:192.0.2.1:3478?transport=tcp"],
    username: "99:me",
    credential: "hush",
    expiresAt: 99_000,
  };

  test("reads back as it was written, also over IPv6", () => {
    expect(decodeRelayGrant(encodeRelayGrant(grant), "192.0.2.1:3478")).toEqual(grant);
    const six = { ...grant, urls: ["turn:[2001:db8::1]:3478"] };
    expect(decodeRelayGrant(encodeRelayGrant(six), "[2001:db8::1]:3478")).toEqual(six);
  });

  test.each([
    ["names another address than its record", { ...grant, urls: [...grant.urls, "turn:10.0.0.1:3478"] }],
    ["names another port", { ...grant, urls: ["turn:192.0.2.1:22?transport=tcp"] }],
    ["names no server", { ...grant, urls: [] }],
    ["has no credential", { ...grant, credential: "" }],
    ["never ends", { ...grant, expiresAt: 0 }],
  ])("is refused when it %s", (_, given) => {
    expect(decodeRelayGrant(encodeRelayGrant(given), "192.0.2.1:3478")).toBeUndefined();
  });

  test("is nothing else, and never makes its reader throw", () => {
    for (const value of [null, [1], [2, grant.urls, "u", "c", 1], [1, "turn:192.0.2.1:3478", "u", "c", 1]])
      expect(decodeRelayGrant(encode(value), "192.0.2.1:3478")).toBeUndefined();
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void decodeRelayGrant(bytes, "192.0.2.1:3478")));
  });
});
