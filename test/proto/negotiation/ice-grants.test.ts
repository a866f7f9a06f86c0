import { expect, test } from "vitest";
import { IceGrants, MAX_GRANT_SOURCES } from "../../../src/proto/negotiation/ice-grants.ts";

const named = [{ urls: "stun:mine.example" }];
const turn = (host: string, expiresAt?: number) => ({
  urls: `turn:${host}`,
  username: "me",
  credential: "hush",
  ...(expiresAt !== undefined && { expiresAt }),
});

test("what is granted is offered behind what the operator named, and a later grant takes the place of an earlier one", () => {
  const grants = new IceGrants(named);
  expect(grants.handle({ type: "granted", source: "a", servers: [turn("one", 1_000)] }, 0)).toEqual([
    { type: "offer", servers: [...named, turn("one", 1_000)] },
  ]);
  grants.handle({ type: "granted", source: "b", servers: [{ urls: "stun:two" }] }, 0);
  expect(grants.handle({ type: "granted", source: "a", servers: [turn("three", 2_000)] }, 500)).toEqual([
    { type: "offer", servers: [...named, { urls: "stun:two" }, turn("three", 2_000)] },
  ]);
});

test("a grant is asked for again at 70 percent of its life, and every 15 s until it comes", () => {
  const grants = new IceGrants([]);
  grants.handle({ type: "granted", source: "a", servers: [turn("one", 3_610_000), turn("two", 9_000_000)] }, 10_000);
  expect(grants.deadline()).toBe(2_530_000);
  expect(grants.handle({ type: "timeout" }, 2_530_000)).toEqual([{ type: "ask", source: "a" }]);
  expect(grants.deadline()).toBe(2_545_000);
  expect(grants.handle({ type: "timeout" }, 2_545_000)).toEqual([{ type: "ask", source: "a" }]);
  grants.handle({ type: "granted", source: "a", servers: [turn("one", 6_145_000)] }, 2_545_000);
  expect(grants.deadline()).toBe(5_065_000);
});

test("what has ended is no longer offered, nor asked for", () => {
  const grants = new IceGrants(named);
  grants.handle({ type: "granted", source: "a", servers: [turn("one", 10_000)] }, 0);
  grants.handle({ type: "timeout" }, 7_000);
  expect(grants.deadline()).toBe(10_000);
  expect(grants.handle({ type: "timeout" }, 10_000)).toEqual([{ type: "offer", servers: named }]);
  expect(grants.deadline()).toBeUndefined();
});

test("servers without a credential hold without end, and what has ended on the way is passed over", () => {
  const grants = new IceGrants([]);
  const servers = [{ urls: "stun:two" }, turn("late", 5)];
  expect(grants.handle({ type: "granted", source: "a", servers }, 5)).toEqual([
    { type: "offer", servers: [{ urls: "stun:two" }] },
  ]);
  expect(grants.deadline()).toBeUndefined();
});

test("a source that withdraws is heard once", () => {
  const grants = new IceGrants([]);
  grants.handle({ type: "granted", source: "a", servers: [turn("one", 1_000)] }, 0);
  expect(grants.handle({ type: "withdrawn", source: "a" }, 1)).toEqual([{ type: "offer", servers: [] }]);
  expect(grants.handle({ type: "withdrawn", source: "a" }, 2)).toEqual([]);
});

test("sixteen sources are remembered, the latest ones", () => {
  const grants = new IceGrants([]);
  for (let index = 0; index <= MAX_GRANT_SOURCES; index++)
    grants.handle({ type: "granted", source: `${index}`, servers: [{ urls: `stun:${index}` }] }, 0);
  const [offer] = grants.handle({ type: "withdrawn", source: "1" }, 0);
  expect(offer?.type === "offer" && offer.servers.map(({ urls }) => urls)).toEqual(
    Array.from({ length: 15 }, (_, index) => `stun:${index + 2}`),
  );
});
