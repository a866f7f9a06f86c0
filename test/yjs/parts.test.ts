/** The pieces of the Yjs provider, without a mesh. */
import { expect, test } from "vitest";
import { Awareness, encodeAwarenessUpdate } from "y-protocols/awareness";
import { applyUpdate, Doc, encodeStateAsUpdate } from "yjs";
import type { PeerId } from "../../src/index.ts";
import { GuardedDocument } from "../../src/yjs/guarded-document.ts";
import { COMPACT_FROM_BYTES, MAX_CLIENTS_OF_A_MEMBER } from "../../src/yjs/limits.ts";
import { Part } from "../../src/yjs/part.ts";
import { Presence } from "../../src/yjs/presence.ts";

const ALICE = "a".repeat(52) as PeerId;
const BOB = "b".repeat(52) as PeerId;

test("a part of much that was deleted is compacted to what the document is, and still brings a new one to the same", () => {
  const doc = new Doc();
  const part = new Part(doc);
  let edits = 0;
  doc.on("update", (update: Uint8Array) => {
    edits += update.length;
    part.edited(update);
  });
  let largest = 0;
  let stored = new Uint8Array();
  for (let round = 0; round < 400; round++) {
    const body = doc.getText("body");
    body.insert(0, `round ${round} `.repeat(40));
    if (body.length > 4_000) body.delete(0, body.length - 100);
    stored = new Uint8Array(part.take());
    largest = Math.max(largest, stored.length);
  }
  expect(edits).toBeGreaterThan(8 * COMPACT_FROM_BYTES);
  expect(largest).toBeLessThan(3 * COMPACT_FROM_BYTES);
  const copy = new Doc();
  applyUpdate(copy, stored);
  expect(copy.getText("body").toString()).toBe(doc.getText("body").toString());
});

test("a part goes on from what was stored, and is the whole document when what others had is lost", () => {
  const before = new Doc();
  before.getText("body").insert(0, "stored");
  const doc = new Doc();
  applyUpdate(doc, encodeStateAsUpdate(before));
  const part = new Part(doc);
  part.stored(encodeStateAsUpdate(before));
  expect(part.isDue).toBe(false);
  doc.on("update", (update: Uint8Array) => part.edited(update));
  doc.getText("body").insert(6, " and more");
  const copy = new Doc();
  applyUpdate(copy, part.take());
  expect(copy.getText("body").toString()).toBe("stored and more");
  const other = new Doc();
  other.getText("other").insert(0, "of another");
  doc.off("update", () => undefined);
  applyUpdate(doc, encodeStateAsUpdate(other));
  part.beWhole();
  expect(part.isDue).toBe(true);
  const whole = new Doc();
  applyUpdate(whole, part.take());
  expect(whole.getText("other").toString()).toBe("of another");
});

test("an update with any byte changed is refused or harmless: the document goes on, and in step with one that never saw it", () => {
  const author = new Doc();
  author.getText("body").insert(0, "hello");
  author.getMap("map").set("key", [1, { deep: true }]);
  const update = encodeStateAsUpdate(author);
  let refused = 0;
  for (let at = 0; at < update.length; at++) {
    for (const change of [1, 0x80, 0xff]) {
      const guarded = new GuardedDocument(new Doc());
      guarded.doc.getText("body").insert(0, "mine");
      guarded.edited(encodeStateAsUpdate(guarded.doc));
      const bad = update.slice();
      bad[at] = (bad[at] as number) ^ change;
      const before = encodeStateAsUpdate(guarded.doc);
      if (!guarded.take(bad, "other")) {
        refused++;
        expect(encodeStateAsUpdate(guarded.doc)).toEqual(before);
      }
      const more = new Doc();
      more.getText("later").insert(0, "x");
      expect(guarded.take(encodeStateAsUpdate(more), "other")).toBe(true);
      expect(guarded.doc.getText("later").toString()).toBe("x");
    }
  }
  expect(refused).toBeGreaterThan(update.length / 4);
});

test("only what the store lacks is beyond it", () => {
  const doc = new Doc();
  doc.getText("body").insert(0, "offline");
  const guarded = new GuardedDocument(doc);
  const beyond = guarded.beyond();
  const copy = new Doc();
  applyUpdate(copy, beyond ?? new Uint8Array([0, 0]));
  expect(copy.getText("body").toString()).toBe("offline");
  expect(guarded.beyond()).toBeUndefined();
  doc.getText("body").delete(0, 3);
  expect(guarded.beyond()).toBeDefined();
});

/** Presence as somebody would tell it whose client has this number. */
function told(clientID: number, state: Record<string, unknown> | null): Uint8Array {
  const doc = new Doc();
  doc.clientID = clientID;
  const awareness = new Awareness(doc);
  awareness.setLocalState(state);
  const update = encodeAwarenessUpdate(awareness, [clientID]);
  awareness.destroy();
  return update;
}

test("nobody speaks for a client of another member, or for ours, or for clients without end", () => {
  const awareness = new Awareness(new Doc());
  const presence = new Presence(awareness, () => true);
  expect(presence.take(told(1, { name: "alice" }), ALICE)).toBe(true);
  expect(presence.take(told(1, { name: "not alice" }), BOB)).toBe(false);
  expect(presence.take(told(awareness.clientID, { name: "not me" }), BOB)).toBe(false);
  expect(presence.take(Uint8Array.of(3, 1, 2), BOB)).toBe(false);
  expect(awareness.getStates().get(1)).toEqual({ name: "alice" });
  for (let client = 2; client <= MAX_CLIENTS_OF_A_MEMBER; client++)
    expect(presence.take(told(client, {}), ALICE)).toBe(true);
  expect(presence.take(told(100, {}), ALICE)).toBe(false);
  presence.gone(ALICE);
  expect([...awareness.getStates().keys()]).toEqual([awareness.clientID]);
  expect(presence.take(told(1, { name: "bob" }), BOB)).toBe(true);
  presence.destroy();
  awareness.destroy();
});
