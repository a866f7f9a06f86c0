import { describe, expect, test } from "vitest";
import { addressBytes } from "../../../stun/proto/address.ts";
import { PeerPolicy, parseRange } from "../../../stun/proto/peer-policy.ts";

function policy(allow: readonly string[] = [], deny: readonly string[] = [], own: readonly string[] = []): PeerPolicy {
  const ranges = (texts: readonly string[]) =>
    texts.map((text) => parseRange(text) ?? { bytes: new Uint8Array(), bits: 0 });
  return new PeerPolicy(ranges(allow), ranges(deny), own);
}

const allows = (rules: PeerPolicy, address: string): boolean =>
  rules.allows(addressBytes(address) ?? new Uint8Array(4));

/** Each block by its first and last address, and every form in which IPv6 carries an IPv4 address. */
const REFUSED: readonly (readonly [string, ...string[]])[] = [
  ["this network", "0.0.0.0", "0.255.255.255"],
  ["loopback", "127.0.0.1", "127.255.255.255"],
  ["private, 10", "10.0.0.0", "10.255.255.255"],
  ["private, 172", "172.16.0.0", "172.31.255.255"],
  ["private, 192", "192.168.0.0", "192.168.255.255"],
  ["carrier-grade NAT", "100.64.0.0", "100.127.255.255"],
  ["link-local", "169.254.0.0", "169.254.255.255"],
  ["metadata of most clouds", "169.254.169.254"],
  ["metadata of one cloud, public by its number", "168.63.129.16"],
  ["metadata over carrier-grade NAT's range", "100.100.100.200"],
  ["protocol assignments", "192.0.0.0", "192.0.0.192"],
  ["documentation", "192.0.2.1", "198.51.100.1", "203.0.113.1"],
  ["benchmarks", "198.18.0.0", "198.19.255.255"],
  ["6to4 relays", "192.88.99.1"],
  ["multicast", "224.0.0.1", "239.255.255.255"],
  ["reserved", "240.0.0.1"],
  ["broadcast", "255.255.255.255"],
  ["IPv6 unspecified", "::"],
  ["IPv6 loopback", "::1"],
  ["IPv6 link-local", "fe80::1", "febf::1"],
  ["IPv6 site-local", "fec0::1"],
  ["IPv6 unique local", "fc00::1", "fdff::1", "fd00:ec2::254"],
  ["IPv6 multicast", "ff02::1", "ff0e::1"],
  ["IPv6 discard", "100::1"],
  ["IPv6 documentation", "2001:db8::1", "3fff::1"],
  ["IPv4-mapped", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:169.254.169.254"],
  ["IPv4-compatible", "::127.0.0.1", "::8.8.8.8"],
  ["translated", "::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8"],
  ["NAT64", "64:ff9b::127.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b::a9fe:a9fe"],
  ["NAT64 of a network's own", "64:ff9b:1::127.0.0.1", "64:ff9b:1:ffff::8.8.8.8"],
  ["6to4", "2002:7f00:1::1", "2002:808:808::1", "2002:a9fe:a9fe::"],
  ["Teredo", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
  ["ORCHID and benchmarks", "2001:10::1", "2001:20::1", "2001:2::1"],
  ["ISATAP", "2600::5efe:127.0.0.1", "2600::200:5efe:8.8.8.8"],
];

describe("without a word about it a relay does not reach", () => {
  test.each(REFUSED.map(([name, ...addresses]) => ({ name, addresses })))("$name", ({ addresses }) => {
    for (const address of addresses) expect(`${address} ${allows(policy(), address)}`).toBe(`${address} false`);
  });

  test("an address of its own host, though it is public", () => {
    const own = policy([], [], ["9.9.9.9", "2620:fe::9"]);
    expect(allows(own, "9.9.9.9")).toBe(false);
    expect(allows(own, "2620:fe::9")).toBe(false);
    own.owns(["9.9.9.10"]);
    expect(allows(own, "9.9.9.9")).toBe(true);
    expect(allows(own, "9.9.9.10")).toBe(false);
  });
});

test("it reaches what is public, and what lies just outside of what is not", () => {
  for (const address of [
    "8.8.8.8",
    "1.0.0.0",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.169.0.0",
    "198.20.0.0",
    "223.255.255.255",
    "2001:4860:4860::8888",
    "2003::1",
    "2a00::1",
  ])
    expect(`${address} ${allows(policy(), address)}`).toBe(`${address} true`);
});

describe("a range that is allowed", () => {
  test("opens just itself", () => {
    const local = policy(["127.0.0.0/8", "::1"]);
    expect(allows(local, "127.0.0.1")).toBe(true);
    expect(allows(local, "::1")).toBe(true);
    expect(allows(local, "10.0.0.1")).toBe(false);
    expect(allows(local, "::ffff:127.0.0.1")).toBe(false);
    expect(allows(local, "64:ff9b::127.0.0.1")).toBe(false);
  });

  test("of IPv6 does not open an IPv4 address that it carries", () => {
    for (const [range, closed, open] of [
      ["::/0", "::ffff:127.0.0.1", "fd00::1"],
      ["64:ff9b::/96", "64:ff9b::127.0.0.1", "64:ff9b::8.8.8.8"],
      ["2002::/16", "2002:7f00:1::1", "2002:808:808::1"],
      ["2001::/32", "2001:0:1:2:3:4:80ff:fffe", "2001:0:1:2:3:4:f7f7:f7f7"],
    ] as const) {
      expect(`${closed} ${allows(policy([range]), closed)}`).toBe(`${closed} false`);
      expect(`${open} ${allows(policy([range]), open)}`).toBe(`${open} true`);
    }
  });

  test("does not open what is denied by name", () => {
    expect(allows(policy(["10.0.0.0/8"], ["10.1.0.0/16"]), "10.1.2.3")).toBe(false);
    expect(allows(policy(["10.0.0.0/8"], ["10.1.0.0/16"]), "10.2.2.3")).toBe(true);
    expect(allows(policy([], ["8.8.8.8"]), "8.8.8.8")).toBe(false);
  });

  test("may be the host's own address", () => {
    expect(allows(policy(["9.9.9.9"], [], ["9.9.9.9"]), "9.9.9.9")).toBe(true);
  });
});

test("a range is an address with as many bits as count, and no others", () => {
  expect(parseRange("10.0.0.0/8")?.bits).toBe(8);
  expect(parseRange("fd00::/8")?.bits).toBe(8);
  expect(parseRange("1.2.3.4")?.bits).toBe(32);
  for (const text of [
    "10.0.0.1/8",
    "10.0.0.0/33",
    "10.0.0.0/",
    "10.0.0.0/-1",
    "10.0.0.0/8.0",
    "10/8",
    "",
    "/8",
    "::/129",
  ])
    expect(`${text} ${parseRange(text)}`).toBe(`${text} undefined`);
});
