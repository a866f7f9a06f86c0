import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  AUDIT_BEGIN,
  type AuditEvent,
  type AuditHead,
  type AuditPosition,
  auditLine,
  encodeAuditHead,
  MAX_AUDIT_LINE_BYTES,
  parseAuditHead,
} from "../../../src/proto/audit/entry.ts";
import { type AuditFault, AuditVerifier } from "../../../src/proto/audit/verifier.ts";

/** A signature that only this test makes: 86 characters that depend on the text. */
function sign(text: string): string {
  return createHash("sha512").update(text).digest("base64url");
}

const AT = "2026-01-01T00:00:00.000Z";
const EVENT: AuditEvent = { action: "signaling.login", actor: "192.0.2.1", outcome: "denied", reason: "token-expired" };

function write(count: number): { lines: string[]; head: AuditHead } {
  const lines: string[] = [];
  let position: AuditPosition = AUDIT_BEGIN;
  for (let index = 0; index < count; index++) {
    const made = auditLine({ ...EVENT, target: `member ${index}` }, AT, position, 0, sign);
    lines.push(made.line);
    position = made.position;
  }
  return { lines, head: { first: 1, ...position } };
}

function verify(lines: readonly string[], head: AuditHead | undefined): (AuditFault | undefined)[] {
  const verifier = new AuditVerifier(head, (body, signature) => sign(body) === signature);
  return [...lines.map((line) => verifier.take(line)), verifier.end()].filter((fault) => fault !== undefined);
}

describe("an audit log", () => {
  test("is a line of JSON for each event, and holds as it was written", () => {
    const { lines, head } = write(3);
    expect(JSON.parse(lines[1] as string)).toMatchObject({ seq: 2, at: AT, ...EVENT, target: "member 1" });
    expect(verify(lines, head)).toEqual([]);
  });

  test("shows each removed line", () => {
    const { lines, head } = write(6);
    for (let index = 0; index < 6; index++) {
      expect(verify(lines.toSpliced(index, 1), head), `line ${index + 1}`).toHaveLength(1);
    }
  });

  test("shows each changed line, in whatever place it is changed", () => {
    const { lines, head } = write(2);
    const [first = "", second = ""] = lines;
    for (let at = 0; at < first.length; at++) {
      const other = first[at] === "x" ? "y" : "x";
      expect(verify([first.slice(0, at) + other + first.slice(at + 1), second], head)).not.toEqual([]);
    }
  });

  test("shows two lines that changed places", () => {
    const { lines, head } = write(6);
    for (let index = 0; index < 5; index++) {
      const [a = "", b = ""] = lines.slice(index, index + 2);
      expect(verify(lines.toSpliced(index, 2, b, a), head)).not.toEqual([]);
    }
  });

  test("shows a line that was written a second time, with another text, under the owner's signature", () => {
    const { lines, head } = write(3);
    const again = auditLine(EVENT, AT, { seq: 1, hash: JSON.parse(lines[1] as string).prev }, 0, sign);
    expect(verify([lines[0] as string, again.line, lines[2] as string], head)).toEqual(["broken-chain"]);
  });

  test("shows a missing end, and a missing beginning", () => {
    const { lines, head } = write(5);
    expect(verify(lines.slice(0, 3), head)).toEqual(["end-missing"]);
    expect(verify(lines.slice(2), head)).toEqual(["beginning-missing"]);
    expect(verify([], head)).toEqual(["end-missing"]);
    expect(verify(lines.slice(2), { ...head, first: 3 })).toEqual([]);
  });

  test("goes on behind its head after a crash", () => {
    const { lines } = write(5);
    expect(verify(lines, write(3).head)).toEqual([]);
    expect(verify(lines, undefined)).toEqual(["head-invalid"]);
  });

  test("keeps what others say within a line, and apart from the fields", () => {
    const actor = `"}\n{"seq":9,"sig":"${"x".repeat(86)}"}\u2028`.repeat(40);
    const { line } = auditLine({ ...EVENT, actor, target: actor, reason: actor }, AT, AUDIT_BEGIN, 7, sign);
    expect(line).not.toContain("\n");
    expect(line.length).toBeLessThan(MAX_AUDIT_LINE_BYTES);
    expect(JSON.parse(line)).toMatchObject({ seq: 1, outcome: "denied", suppressed: 7 });
    expect(verify([line], undefined)).toEqual(["head-invalid"]);
  });
});

describe("the head of an audit log", () => {
  test("is read as it was written", () => {
    const { head } = write(2);
    expect(parseAuditHead(encodeAuditHead(head, sign))).toMatchObject(head);
  });

  test("is no line of a log, and no line is a head", () => {
    const { lines, head } = write(1);
    expect(verify([encodeAuditHead(head, sign)], head)).toContain("malformed");
    expect(parseAuditHead(lines[0] as string)).toBeUndefined();
    for (const text of ["", "{", "null", '{"head":true}', `1,"sig":"${"x".repeat(86)}"}`])
      expect(parseAuditHead(text)).toBeUndefined();
  });
});
