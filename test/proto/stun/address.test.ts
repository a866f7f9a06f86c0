import { describe, expect, test } from "vitest";
import { addressBytes, addressText, canonicalAddress, endpointText } from "../../../stun/proto/address.ts";

describe("an address in text", () => {
  test.each([
    ["1.2.3.4", "1.2.3.4"],
    ["255.255.255.255", "255.255.255.255"],
    ["0.0.0.0", "0.0.0.0"],
    ["::", "::"],
    ["::1", "::1"],
    ["0:0:0:0:0:0:0:1", "::1"],
    ["2001:DB8::00a1", "2001:db8::a1"],
    ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
    ["1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"],
    ["1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"],
    ["0:0:1::", "0:0:1::"],
    ["fe80::1%eth0", "fe80::1"],
    ["::ffff:1.2.3.4", "::ffff:1.2.3.4"],
    ["::ffff:102:304", "::ffff:1.2.3.4"],
    ["::1.2.3.4", "::1.2.3.4"],
    ["64:ff9b::127.0.0.1", "64:ff9b::7f00:1"],
    ["1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"],
  ])("%s is %s", (text, canonical) => {
    expect(canonicalAddress(text)).toBe(canonical);
  });

  test.each([
    "",
    "1",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "01.2.3.4",
    "0x7f.0.0.1",
    "1.2.3.",
    "1..2.3",
    "1.2.3.4 ",
    "-1.2.3.4",
    ":",
    ":::",
    "1::2::3",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7::8",
    "12345::",
    "g::",
    "::ffff:1.2.3",
    "1:2:3:4:5:6:7:1.2.3.4",
    "::1.2.3.4:5",
    "localhost",
    "[::1]",
  ])("%j is none", (text) => {
    expect(addressBytes(text)).toBe(undefined);
  });

  test("stands in brackets before a port where it has colons", () => {
    expect(endpointText({ address: "::1", port: 7 })).toBe("[::1]:7");
    expect(endpointText({ address: "1.2.3.4", port: 7 })).toBe("1.2.3.4:7");
  });

  test("begins at any offset of its bytes", () => {
    expect(addressText(Uint8Array.of(9, 1, 2, 3, 4), 1, 4)).toBe("1.2.3.4");
  });
});
