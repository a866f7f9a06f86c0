import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AuditCopy } from "../../../src/proto/audit/copy.ts";
import {
  batchOf,
  decodeHave,
  decodeKept,
  decodeLines,
  encodeHave,
  encodeKept,
  encodeLines,
  MAX_AUDIT_BATCH_BYTES,
} from "../../../src/proto/audit/copy-messages.ts";
import { AUDIT_BEGIN, type AuditPosition, auditLine } from "../../../src/proto/audit/entry.ts";

/** Goal: a copy of a log only ever grows, by what its owner signed and in the order in which that was written. */

const sign = (text: string): string => createHash("sha512").update(text).digest("base64url");
const isSigned = (body: string, signature: string): boolean => sign(body) === signature;
const AT = "2026-01-01T00:00:00.000Z";

/** A log of so many lines from `position` on; `what` makes two of them differ. */
function history(count: number, what: string, position: AuditPosition = AUDIT_BEGIN): readonly string[] {
  const lines: string[] = [];
  for (let at = position; lines.length < count; ) {
    const made = auditLine({ action: "control.call", actor: what, outcome: "ok" }, AT, at, 0, sign);
    lines.push(made.line);
    at = made.position;
  }
  return lines;
}

function copyOf(lines: readonly string[]): AuditCopy {
  const copy = new AuditCopy(AUDIT_BEGIN, isSigned);
  for (const line of lines) expect(copy.take(line)).toBe("kept");
  return copy;
}

describe("the copy of an audit log", () => {
  const ours = history(6, "ours");

  test("takes line after line, and goes on after a restart where it was", () => {
    const { last } = copyOf(ours.slice(0, 4));
    expect(last.seq).toBe(4);
    const again = new AuditCopy(last, isSigned);
    expect(ours.slice(3).map((line) => again.take(line))).toEqual(["known", "kept", "kept"]);
    expect(again.last.seq).toBe(6);
  });

  test("takes a log that it meets for the first time from wherever that begins, and then shows what is left out", () => {
    const copy = new AuditCopy(AUDIT_BEGIN, isSigned);
    expect(copy.take(ours[2] as string)).toBe("kept");
    expect(copy.take(ours[4] as string)).toBe("gap");
    expect(copy.last.seq).toBe(5);
  });

  test("takes nothing of another history by the same hand, wherever that parts from it", () => {
    const copy = copyOf(ours.slice(0, 4));
    const before = copy.last;
    for (const line of history(6, "theirs")) expect(copy.take(line)).toBe(/"seq":6\b/.test(line) ? "gap" : "forked");
    const again = copyOf(ours.slice(0, 4));
    // The same up to the third line, another one from there.
    const parted = history(3, "theirs", copyOf(ours.slice(0, 3)).last);
    expect(parted.slice(0, 2).map((line) => again.take(line))).toEqual(["forked", "forked"]);
    expect(again.take(ours[2] as string)).toBe("forked");
    expect(again.last).toEqual(before);
  });

  test("takes nothing that its owner has not signed, or that is no line", () => {
    const copy = copyOf(ours.slice(0, 2));
    const next = ours[2] as string;
    expect(copy.take(next.replace("ours", "eves"))).toBe("forged");
    expect(copy.take(next.slice(0, -1))).toBe("malformed");
    expect(copy.take("")).toBe("malformed");
    expect(copy.take(next)).toBe("kept");
  });
});

describe("what owner and keeper say", () => {
  test("is read as it was written", () => {
    const { last } = copyOf(history(3, "x"));
    expect(decodeHave(encodeHave(last))).toEqual(last);
    expect(decodeHave(encodeHave(AUDIT_BEGIN))).toEqual(AUDIT_BEGIN);
    expect(decodeKept(encodeKept(7))).toBe(7);
    const lines = history(3, "ü");
    expect(decodeLines(encodeLines(lines))).toEqual(lines);
  });

  test("is no more than a message takes, and at least a line", () => {
    const long = "x".repeat(MAX_AUDIT_BATCH_BYTES);
    expect(batchOf([long, "a"])).toEqual([long]);
    expect(batchOf(["a", "b", long])).toEqual(["a", "b"]);
    expect(batchOf([])).toEqual([]);
    expect(decodeLines(new Uint8Array(2 * MAX_AUDIT_BATCH_BYTES))).toBeUndefined();
  });

  test("makes nobody throw, whatever bytes it is", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        decodeHave(bytes);
        decodeKept(bytes);
        for (const line of decodeLines(bytes) ?? []) new AuditCopy(AUDIT_BEGIN, () => true).take(line);
      }),
    );
  });
});
