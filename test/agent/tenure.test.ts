/** Goal: people hear of a token that nobody renews while there is time, once, with the reason; and not of one that was renewed. */
import { expect, test } from "vitest";
import { TokenExpiringEvent } from "../../src/agent/events.ts";
import type { RefreshKeys } from "../../src/agent/refresh-keys.ts";
import { Tenure } from "../../src/agent/tenure.ts";
import type { HeldToken, Trust } from "../../src/agent/trust.ts";
import type { StateDirectory } from "../../src/drivers/state-directory.ts";
import type { PeerId } from "../../src/proto/peer-id.ts";
import { SeededRandom } from "../../src/proto/random.ts";

const HOUR = 3_600_000;
const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

/** A token that lives a day. */
const tokenOf = (name: string, issuedAt = 0, lifeMs = 24 * HOUR): HeldToken => ({
  text: name,
  facts: {
    subject: "" as PeerId,
    issuedAt,
    expiresAt: issuedAt + lifeMs,
    scopes: ["mesh:join"],
    place: new Uint8Array(16),
  },
});

/** A tenure whose time passes when it is told to, and which renews by what `members` answers. */
function begin(members: () => { token: string } | { why: string }, lifeMs = 24 * HOUR) {
  let now = 0;
  let timers: { at: number; run: () => void }[] = [];
  const trust = {
    token: tokenOf("first", 0, lifeMs),
    isOutdated: false,
    holdToken: async (text: string) => {
      trust.token = tokenOf(text, now);
      return undefined;
    },
  };
  const events: TokenExpiringEvent[] = [];
  const tenure: Tenure = new Tenure({
    trust: trust as unknown as Trust,
    refresh: {
      owns: (text: string) => text !== "foreign",
      show: async (text: string) => text,
    } as unknown as RefreshKeys,
    state: { writeToken: async () => undefined } as unknown as StateDirectory,
    log: SILENT,
    random: new SeededRandom(1),
    now: () => now,
    later: (ms, run) => void timers.push({ at: now + Math.min(ms, 2 ** 31 - 1), run }),
    held: () => tenure.schedule(),
    face: { dispatchEvent: (event) => events.push(event as TokenExpiringEvent) > 0 },
    renewers: { here: async () => undefined, servers: () => false, members: async () => members() },
  });
  tenure.schedule();
  const until = async (at: number): Promise<void> => {
    for (;;) {
      timers.sort((a, b) => a.at - b.at);
      const due = timers[0];
      if (due === undefined || due.at > at) break;
      timers = timers.slice(1);
      now = due.at;
      due.run();
      for (let turn = 0; turn < 10; turn++) await Promise.resolve();
    }
    now = at;
  };
  return { tenure, until, events };
}

test("a token that nobody renews is told of at a quarter of its life, once, with the reason, and stands in the status", async () => {
  const { tenure, until, events } = begin(() => ({ why: "no member that holds an issuing key is known" }));
  await until(18 * HOUR - 1);
  expect(events).toEqual([]);
  expect(tenure.warning).toBeUndefined();
  await until(23 * HOUR);
  expect(events).toHaveLength(1);
  expect(events[0]).toBeInstanceOf(TokenExpiringEvent);
  expect(events[0]?.expiresAt).toEqual(new Date(24 * HOUR));
  expect(events[0]?.warning).toMatch(
    /ends at 1970-01-02.*no member that holds an issuing key is known.*start an issuer/,
  );
  expect(tenure.warning).toMatch(/ends at/);
  await until(25 * HOUR);
  expect(tenure.warning).toMatch(/ended at/);
  expect(events).toHaveLength(1);
});

test("a token that is renewed is told of by nobody, and one that is renewed late no more", async () => {
  let count = 0;
  const honest = begin(() => ({ token: `token-${++count}` }));
  await honest.until(10 * 24 * HOUR);
  expect(honest.events).toEqual([]);
  expect(count).toBeGreaterThan(15);
  let isThere = false;
  const late = begin(() => (isThere ? { token: "late" } : { why: "nobody" }));
  await late.until(19 * HOUR);
  expect(late.events).toHaveLength(1);
  isThere = true;
  await late.until(23 * HOUR);
  expect(late.tenure.warning).toBeUndefined();
  isThere = false;
  await late.until(60 * HOUR);
  expect(late.events).toHaveLength(2);
});

test("a short token and one that lives for a year are told of in time as well, and not before", async () => {
  for (const lifeMs of [60_000, HOUR, 366 * 24 * HOUR]) {
    const { tenure, until, events } = begin(() => ({ why: "nobody" }), lifeMs);
    await until(0.75 * lifeMs - 1);
    expect(events).toEqual([]);
    expect(tenure.warning).toBeUndefined();
    await until(0.76 * lifeMs);
    expect(events).toHaveLength(1);
    expect(tenure.warning).toContain("nobody");
  }
});

test("a token that names somebody else's refresh key is not taken into use, for it would be the last", async () => {
  const { tenure, events } = begin(() => ({ why: "nobody" }));
  expect(await tenure.hold("foreign")).toBe("foreign-refresh-key");
  expect(await tenure.hold("ours")).toBeUndefined();
  expect(events).toEqual([]);
});
