import { describe, expect, test } from "vitest";
import { graver, type Lineage, ruleRenewal } from "../../../src/proto/trust/lineage.ts";

const NOW = 1_900_000_000_000;
const key = (fill: number): Uint8Array => new Uint8Array(32).fill(fill);
const at = (generation: number, refreshKey: Uint8Array | undefined, issuedAt = NOW): Lineage => ({
  family: "AAAAAAAAAAAAAAAAAAAAAA",
  generation,
  refreshKey,
  issuedAt,
});

describe("a token shown for a renewal", () => {
  test("of which nothing is known, or only older ones, is the next of its line", () => {
    const successor = { nextKey: key(6), at: NOW };
    expect(ruleRenewal(undefined, at(5, key(5)), successor)).toBe("next");
    expect(ruleRenewal(at(4, key(4)), at(5, key(5)), successor)).toBe("next");
    expect(ruleRenewal(at(5, key(5)), at(5, key(5)), successor)).toBe("next");
    expect(ruleRenewal(at(0, undefined), at(0, undefined), successor)).toBe("next");
  });

  test("with the same next key as before is answered again, whenever that may be", () => {
    for (const time of [NOW - 1e9, NOW, NOW + 1e9]) {
      expect(ruleRenewal(at(6, key(6)), at(5, key(5)), { nextKey: key(6), at: time })).toBe("again");
    }
  });

  test("with another next key, signed after the first was answered, was stolen", () => {
    const known = at(6, key(6));
    expect(ruleRenewal(known, at(5, key(5)), { nextKey: key(66), at: NOW + 60_001 })).toBe("reused");
    expect(ruleRenewal(known, at(5, key(5)), { nextKey: key(66), at: NOW + 60_000 })).toBe("stale");
  });

  test("that is older was stolen if it was signed later, and is late or replayed if it was not", () => {
    const known = at(9, key(9));
    expect(ruleRenewal(known, at(5, key(5)), { nextKey: key(6), at: NOW + 60_001 })).toBe("reused");
    expect(ruleRenewal(known, at(5, key(5)), { nextKey: key(6), at: NOW - 1 })).toBe("stale");
    expect(ruleRenewal(known, at(7, key(7)), { nextKey: key(9), at: NOW })).toBe("stale");
  });

  test("beside another of the same generation under another key proves that there are two", () => {
    expect(ruleRenewal(at(5, key(5)), at(5, key(55)), { nextKey: key(6), at: NOW - 1e9 })).toBe("reused");
    expect(ruleRenewal(at(0, key(5)), at(0, undefined), { nextKey: key(6), at: NOW - 1e9 })).toBe("reused");
  });

  test("is ruled on by the graver of two", () => {
    expect(graver("next", "reused")).toBe("reused");
    expect(graver("stale", "again")).toBe("stale");
    expect(graver("again", "next")).toBe("again");
  });
});
