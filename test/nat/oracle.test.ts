import { expect, test } from "vitest";
import { type Behaviour, type Expectation, expectedPath } from "./behaviour.ts";
import { NAT_TYPES, type NatName } from "./nat-types.ts";

const behaviourOf = (name: NatName): Behaviour => NAT_TYPES[name].behaviour;

// The upper triangle of the matrix, written down by hand from RFC 4787 and RFC 5128.
const NAMES = [
  "none",
  "full-cone",
  "restricted",
  "port-restricted",
  "symmetric",
  "carrier-grade",
  "early-inbound",
  "udp-blocked",
] as const;
const ROWS: Readonly<Record<NatName, string>> = {
  none: "DDDDDDDR",
  "full-cone": "DDDDDDDR",
  restricted: "DDDDDDDR",
  "port-restricted": "DDDDRDER",
  symmetric: "DDDRRRRR",
  "carrier-grade": "DDDDRDER",
  "early-inbound": "DDDERE" + "ER",
  "udp-blocked": "RRRRRRRR",
};
const WORDS: Readonly<Record<string, Expectation>> = { D: "direct", R: "relayed", E: "either" };

test.each(NAMES)("what is possible between %s and every other type is what the textbooks say", (row) => {
  const found = NAMES.map((column) => expectedPath(behaviourOf(row), behaviourOf(column)));
  expect(found).toEqual([...ROWS[row]].map((letter) => WORDS[letter]));
});

test("the oracle does not depend on who comes first", () => {
  for (const one of NAMES)
    for (const other of NAMES)
      expect(expectedPath(behaviourOf(one), behaviourOf(other))).toBe(
        expectedPath(behaviourOf(other), behaviourOf(one)),
      );
});

test("a mapping that changes with the peer is of no use even where its filter asks for the address only", () => {
  const base = { udp: true, breaksWhenEarly: false } as const;
  const one: Behaviour = { ...base, mapping: "address-dependent", filtering: "address-dependent" };
  const symmetric: Behaviour = { ...base, mapping: "address-and-port-dependent", filtering: "address-dependent" };
  expect(expectedPath(one, symmetric)).toBe("relayed");
  expect(expectedPath(one, { ...symmetric, filtering: "endpoint-independent" })).toBe("direct");
});
