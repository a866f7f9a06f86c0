import { describe, expect, test } from "vitest";
import { canLinkDirectly, type NatFacts, natKind, natMeaning } from "../../../src/proto/negotiation/nat-verdict.ts";

const facts = (
  mapping: NatFacts["mapping"],
  filtering: NatFacts["filtering"],
  udp: NatFacts["udp"] = "open",
): NatFacts => ({
  udp,
  mapping,
  filtering,
});
const OPEN = facts("none", "endpoint-independent");
const FULL_CONE = facts("endpoint-independent", "endpoint-independent");
const RESTRICTED = facts("endpoint-independent", "address-dependent");
const PORT_RESTRICTED = facts("endpoint-independent", "address-and-port-dependent");
const SYMMETRIC = facts("address-and-port-dependent", "address-and-port-dependent");
const BLOCKED = facts("unknown", "unknown", "blocked");
const UNSEEN = facts("unknown", "unknown");

test.each([
  [OPEN, "open"],
  [facts("none", "address-dependent"), "easy"],
  [facts("none", "unknown"), "easy"],
  [FULL_CONE, "easy"],
  [PORT_RESTRICTED, "easy"],
  [SYMMETRIC, "hard"],
  [facts("address-dependent", "unknown"), "hard"],
  [facts("endpoint-dependent", "unknown"), "hard"],
  [BLOCKED, "blocked"],
  [UNSEEN, "unknown"],
  [facts("unknown", "unknown", "unknown"), "unknown"],
] as const)("%o is %s", (given, kind) => {
  expect(natKind(given)).toBe(kind);
});

describe("whether two can be linked directly", () => {
  const names = { OPEN, FULL_CONE, RESTRICTED, PORT_RESTRICTED, SYMMETRIC, BLOCKED };
  /** As measured with both stacks: only these pairs need a relay. */
  const relayed = new Set(["PORT_RESTRICTED SYMMETRIC", "SYMMETRIC PORT_RESTRICTED", "SYMMETRIC SYMMETRIC"]);
  for (const [one, left] of Object.entries(names)) {
    for (const [other, right] of Object.entries(names)) {
      const expected = one !== "BLOCKED" && other !== "BLOCKED" && !relayed.has(`${one} ${other}`);
      test(`${one} and ${other}: ${expected}`, () => {
        expect(canLinkDirectly(left, right)).toBe(expected);
      });
    }
  }

  test("is not known where what a NAT does is not, unless the other side decides it", () => {
    expect(canLinkDirectly(UNSEEN, PORT_RESTRICTED)).toBeUndefined();
    expect(canLinkDirectly(SYMMETRIC, facts("endpoint-independent", "unknown"))).toBeUndefined();
    expect([canLinkDirectly(UNSEEN, OPEN), canLinkDirectly(UNSEEN, BLOCKED)]).toEqual([true, false]);
  });
});

test.each([
  [facts("unknown", "unknown", "unknown"), "none", "name one in iceServers"],
  [UNSEEN, "udp", "two addresses"],
  [BLOCKED, "stream", "over TCP or TLS"],
  [BLOCKED, "none", "same network"],
  [OPEN, "none", "everybody"],
  [RESTRICTED, "none", "everybody whose UDP passes"],
  [PORT_RESTRICTED, "udp", "hard NAT; those go through the relay"],
  [PORT_RESTRICTED, "none", "no TURN server answers"],
  [SYMMETRIC, "udp", "A hard NAT"],
] as const)("what %o means with a relay over %s is said in a sentence", (given, relay, words) => {
  expect(natMeaning(given, relay)).toContain(words);
});
