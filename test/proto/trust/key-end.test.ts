import { expect, test } from "vitest";
import { KEY_NOTICE_MS, keyEndOf, keyEndWarning } from "../../../src/proto/trust/key-end.ts";

/** Goal: whoever can do something hears in time of an issuing key that ends, and nobody of one that has a successor. */

const DAY = 24 * 3_600_000;
const list = {
  version: 1,
  issuers: [
    { kid: "short", publicKey: new Uint8Array(32), scopes: ["*"], notAfter: 10 * DAY },
    { kid: "long", publicKey: new Uint8Array(32), scopes: ["*"], notAfter: 900 * DAY },
    { kid: "middle", publicKey: new Uint8Array(32), scopes: ["*"], notAfter: 300 * DAY },
  ],
};
const none = (): boolean => false;

test("a member that issues nothing looks at the key that counts the longest", () => {
  expect(keyEndOf(list, none, undefined)).toEqual({ kid: "long", endsAt: 900 * DAY });
  expect(keyEndOf(list, ({ kid }) => kid === "long", undefined)).toEqual({ kid: "middle", endsAt: 300 * DAY });
});

test("an issuer looks at its own key, though others outlive it, unless that is revoked or out of the list", () => {
  expect(keyEndOf(list, none, "short")).toEqual({ kid: "short", endsAt: 10 * DAY });
  expect(keyEndOf(list, ({ kid }) => kid === "short", "short")).toEqual({ kid: "long", endsAt: 900 * DAY });
  expect(keyEndOf(list, none, "elsewhere")).toEqual({ kid: "long", endsAt: 900 * DAY });
});

test("where all keys are revoked there is none to speak of", () => {
  expect(keyEndOf(list, () => true, "short")).toBeUndefined();
});

test("an end is spoken of from a month before it, and after it in other words", () => {
  const end = { kid: "short", endsAt: 100 * DAY };
  expect(keyEndWarning(end, end.endsAt - KEY_NOTICE_MS - 1, "THEN")).toBeUndefined();
  expect(keyEndWarning(end, end.endsAt - KEY_NOTICE_MS, "THEN")).toMatch(/short ends at THEN.*rotate --what issuing/);
  expect(keyEndWarning(end, end.endsAt, "THEN")).toMatch(/short has ended at THEN/);
});
