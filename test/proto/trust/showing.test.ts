import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MAX_TOKEN_LENGTH } from "../../../src/proto/limits.ts";
import { isShownBy, MAX_SHOWING_LENGTH, readShowing, type Showing, show } from "../../../src/proto/trust/showing.ts";
import { cluster, crypto, NOW } from "./cluster-lab.ts";

const { clusterId } = cluster;
const identity = crypto.nodeIdentity(crypto.generateNodeKey());
const refresh = crypto.authority(crypto.generateNodeKey());
const next = crypto.authority(crypto.generateNodeKey());
const successor = { nextKey: next.publicKey, at: NOW };
const read = (text: string): Showing => readShowing(text) as Showing;
const shown = (credential = "a.b.c", by: { refresh?: typeof refresh } = { refresh }) =>
  show(credential, successor, { clusterId, identity, refresh: by.refresh });
const holds = (text: string, key: Uint8Array | undefined, asker = identity.id, home: string = clusterId) =>
  isShownBy(asker, key, read(text), home, crypto);

describe("a credential that is shown", () => {
  test("is read back, with its next key and its time", () => {
    expect(read(shown())).toMatchObject({ credential: "a.b.c", proof: successor });
    expect(holds(shown(), refresh.publicKey)).toBe(true);
    expect(holds(shown("a.b.c", {}), undefined)).toBe(true);
  });

  test("of full size fits", () => {
    expect(shown("t".repeat(MAX_TOKEN_LENGTH)).length).toBeLessThanOrEqual(MAX_SHOWING_LENGTH);
    expect(readShowing("t".repeat(MAX_TOKEN_LENGTH + 1))).toBeUndefined();
  });

  test("without a next key is shown by nobody", () => {
    expect(read("a.b.c")).toEqual({ credential: "a.b.c", proof: undefined });
    expect(holds("a.b.c", undefined)).toBe(false);
  });

  test("counts for nobody else, in no other cluster, under no other key", () => {
    const other = crypto.authority(crypto.generateNodeKey());
    expect(holds(shown(), refresh.publicKey, crypto.nodeIdentity(crypto.generateNodeKey()).id)).toBe(false);
    expect(holds(shown(), refresh.publicKey, identity.id, "another")).toBe(false);
    expect(holds(shown(), other.publicKey)).toBe(false);
    expect(holds(shown("a.b.c", {}), refresh.publicKey)).toBe(false);
    expect(holds(shown(), undefined)).toBe(false);
  });

  test("does not take another credential, next key or time from whoever carries it", () => {
    const parts = shown().split("~");
    const foreign = shown("x.y.z").split("~");
    const later = show("a.b.c", { nextKey: refresh.publicKey, at: NOW + 1 }, { clusterId, identity, refresh }).split(
      "~",
    );
    expect(holds([foreign[0], ...parts.slice(1)].join("~"), refresh.publicKey)).toBe(false);
    expect(holds([parts[0], later[1], ...parts.slice(2)].join("~"), refresh.publicKey)).toBe(false);
    expect(holds([...parts.slice(0, 2), later[2], ...parts.slice(3)].join("~"), refresh.publicKey)).toBe(false);
    expect(holds(later.join("~"), refresh.publicKey)).toBe(true);
  });

  test("that is malformed is none, and no text makes the reader throw", () => {
    const [credential, key, time, signature] = shown().split("~") as [string, string, string, string];
    for (const text of [
      `${credential}~`,
      `${credential}~${key}`,
      `${credential}~${key}~${time}`,
      `${credential}~${key}~12~${signature}`,
      `${credential}~${key}~${time}~${signature}~`,
      `${credential}~${key.slice(1)}~${time}~${signature}`,
      `${shown()}~${signature}`,
    ])
      expect(readShowing(text)).toBeUndefined();
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => readShowing(text)?.credential !== null));
    fc.assert(
      fc.property(fc.array(fc.base64String(), { maxLength: 7 }), (texts) => {
        const showing = readShowing(texts.join("~"));
        return showing === undefined || !isShownBy(identity.id, refresh.publicKey, showing, clusterId, crypto);
      }),
    );
  });
});
