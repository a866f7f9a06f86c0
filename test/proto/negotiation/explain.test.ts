import { describe, expect, test } from "vitest";
import { explain, type Standing } from "../../../src/proto/negotiation/explain.ts";

const side = (
  mapping: Standing["mapping"],
  filtering: Standing["filtering"],
  more: Partial<Standing> = {},
): Standing => ({ udp: "open", mapping, filtering, public: ["198.51.100.1"], failure: undefined, ...more });
const far = { public: ["203.0.113.1"] };
const PORT_RESTRICTED = side("endpoint-independent", "address-and-port-dependent");
const SYMMETRIC = side("address-and-port-dependent", "address-and-port-dependent", far);
const BLOCKED = side("unknown", "unknown", { udp: "blocked", public: [] });

describe("why two are linked as they are", () => {
  test("needs no words where the link is direct", () => {
    expect(explain("direct", BLOCKED, BLOCKED)).toEqual({ why: "The link is direct.", remedy: null });
  });

  test.each([
    [BLOCKED, SYMMETRIC, "on our side"],
    [SYMMETRIC, BLOCKED, "on their side"],
    [BLOCKED, BLOCKED, "on both sides"],
    [BLOCKED, undefined, "on our side"],
  ])("names the side whose UDP is blocked", (ours, theirs, where) => {
    const { why, remedy } = explain("turn", ours, theirs);
    expect(why).toBe(`UDP is blocked ${where}, so frames go through a relay.`);
    expect(remedy).toBe(`let UDP out of the network ${where}`);
  });

  test("names the NATs that cannot meet, and what would open one", () => {
    expect(explain("turn", SYMMETRIC, SYMMETRIC).why).toMatch(/^Both NATs change the port/);
    expect(explain("turn", PORT_RESTRICTED, SYMMETRIC).why).toMatch(/^Their NAT changes the port .* ours lets in only/);
    const { why, remedy } = explain("turn", SYMMETRIC, PORT_RESTRICTED);
    expect(why).toMatch(/^Our NAT changes the port .* theirs lets in only .*; frames go through a relay\.$/);
    expect(remedy).toContain("--announce");
  });

  test("tells two behind one NAT that it does not turn packets round", () => {
    const { why, remedy } = explain("turn", PORT_RESTRICTED, PORT_RESTRICTED);
    expect(why).toContain("behind the same NAT (198.51.100.1)");
    expect(remedy).toContain("hairpinning");
  });

  test("says that the theory allows more than there is, and where the last try ended", () => {
    const ours = { ...PORT_RESTRICTED, failure: "ice: timeout" };
    const { why, remedy } = explain("turn", ours, side("endpoint-independent", "address-dependent", far));
    expect(why).toContain("could be linked directly, and are not (the last try ended with ice: timeout)");
    expect(remedy).toContain("tried again within a minute");
  });

  test("admits what is not known", () => {
    const { why, remedy } = explain("routed", side("unknown", "unknown"), side("unknown", "unknown", far));
    expect(why).toContain("not known well enough to tell; frames go through other members");
    expect(remedy).toContain("two addresses");
  });

  test("says what there is to say when the member did not answer", () => {
    const open = side("none", "endpoint-independent");
    expect(explain("none", open, undefined).why).toBe(
      "The member did not answer, and our own side is open; there is no link.",
    );
    expect(explain("none", side("unknown", "unknown"), undefined).why).toContain("our own NAT is not known");
  });
});
