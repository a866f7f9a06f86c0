import { describe, expect, test } from "vitest";
import type { CandidateSummary } from "../../../src/proto/negotiation/rtc.ts";
import { isStranded, Surroundings } from "../../../src/proto/session/surroundings.ts";

const REMOTE: CandidateSummary = { kind: "host", address: "192.0.2.9:1" };
const over = (kind: CandidateSummary["kind"], address: string) => ({ local: { kind, address }, remote: REMOTE });

/** What is found when these addresses are seen one after the other. */
function looks(...seen: readonly (readonly string[])[]) {
  const surroundings = new Surroundings();
  return seen.map((addresses, index) => surroundings.look(addresses, index * 2_000));
}

describe("the surroundings of this machine", () => {
  test("are what they are at the first look", () => {
    expect(looks(["127.0.0.1", "192.0.2.1"])[0]).toMatchObject({ moved: false, lost: false, woke: false });
  });

  test("change when an address comes or goes", () => {
    const found = looks(["a"], ["a"], ["a", "b"], ["b"], []).map(({ moved, lost }) => [moved, lost]);
    expect(found).toEqual([
      [false, false],
      [false, false],
      [true, false],
      [true, true],
      [true, true],
    ]);
  });

  test("tell a sleep from a busy event loop", () => {
    const surroundings = new Surroundings();
    const woke = [0, 2_000, 8_900, 15_901].map((now) => surroundings.look(["a"], now).woke);
    expect(woke).toEqual([false, false, false, true]);
  });
});

describe("a link is stranded", () => {
  const [, gone] = looks(["127.0.0.1", "192.0.2.1", "2001:db8::1"], ["127.0.0.1", "198.51.100.1"]);
  const [, more] = looks(["127.0.0.1", "192.0.2.1"], ["127.0.0.1", "192.0.2.1", "198.51.100.1"]);
  if (gone === undefined || more === undefined) throw new Error("no looks");

  test("when the address that it uses is gone", () => {
    expect(isStranded(over("host", "192.0.2.1:5000"), gone)).toBe(true);
    expect(isStranded(over("host", "[2001:db8::1]:5000"), gone)).toBe(true);
    expect(isStranded(over("host", "127.0.0.1:5000"), gone)).toBe(false);
    expect(isStranded(over("host", "192.0.2.1:5000"), more)).toBe(false);
  });

  test("when any address is gone and nobody knows which one it uses", () => {
    for (const pair of [
      over("srflx", "203.0.113.1:1"),
      over("prflx", "203.0.113.1:1"),
      over("relay", "203.0.113.2:1"),
    ]) {
      expect(isStranded(pair, gone)).toBe(true);
      expect(isStranded(pair, more)).toBe(false);
    }
    expect(isStranded(undefined, gone)).toBe(true);
    expect(isStranded(undefined, more)).toBe(false);
  });
});
