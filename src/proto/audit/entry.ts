import { hex, utf8 } from "../bytes.ts";
import { sha256 } from "../hash.ts";

/**
 * The audit log's format: JSON lines in a chain.
 *
 * Each line carries `seq`, which counts from 1, `prev`, the SHA-256 of the line before it, and at its end `sig`, the signature of the
 * log's owner over all of the line before `sig`. A line that is changed fails its own signature, one that is removed or
 * moved breaks `seq` and `prev` of the next. What no chain shows is the loss of its end and of its beginning: for these the
 * owner signs a *head* after each write, which names the first line that is kept and the last that was written.
 *
 * Whoever holds the owner's key can write another history; a copy of the head elsewhere, or of the lines, shows that.
 */

/** What is audited: a closed list, so that a reader can know all of it. */
export const AUDIT_ACTIONS = [
  "audit.copy",
  "audit.open",
  "control.call",
  "decree.issuers",
  "decree.revocation",
  "decree.rotation",
  "decree.succession",
  "issuer.admit",
  "issuer.exchange",
  "issuer.renew",
  "link.admit",
  "node.heir",
  "signaling.login",
  "stream.open",
] as const;

export type AuditAction = (typeof AUDIT_ACTIONS)[number];

/** Something that was done, or tried. No field holds a secret: a token is named by its `jti`. */
export interface AuditEvent {
  readonly action: AuditAction;
  /** Who did it: a PeerId, `local` for the owner of the state directory, an address where nobody has proved an identity. */
  readonly actor: string;
  /** To whom or what: a PeerId, a bucket, a protocol, a control command. */
  readonly target?: string;
  /** The id (`jti`) of the token by which it was allowed, or that it made. */
  readonly token?: string;
  readonly outcome: "ok" | "denied" | "failed";
  /** Why not: a stable word. */
  readonly reason?: string;
}

/** Where a chain stands: the last line and its hash. */
export interface AuditPosition {
  readonly seq: number;
  /** SHA-256 of the last line, hex; 64 zeros before the first. */
  readonly hash: string;
}

/** Before the first line. */
export const AUDIT_BEGIN: AuditPosition = { seq: 0, hash: "0".repeat(64) };

/** Longest text in a field of an event, characters: what others send ends up in some. */
export const MAX_AUDIT_FIELD = 256;

/** Longest line, bytes: six fields of full size, escaped, and the rest. */
export const MAX_AUDIT_LINE_BYTES = 12_288;

/** Signs for the owner of a log; 86 characters of base64url. */
export type AuditSigner = (text: string) => string;

/**
 * The line of `event` that follows `position`, without its line break, and the position behind it. `at`: ISO 8601. `suppressed`:
 * how many events before it were not written.
 */
export function auditLine(
  event: AuditEvent,
  at: string,
  position: AuditPosition,
  suppressed: number,
  sign: AuditSigner,
): { readonly line: string; readonly position: AuditPosition } {
  const seq = position.seq + 1;
  const { action, actor, target, token, outcome, reason } = event;
  const body = JSON.stringify({
    seq,
    at,
    action,
    actor: cut(actor),
    ...(target !== undefined && { target: cut(target) }),
    ...(token !== undefined && { token: cut(token) }),
    outcome,
    ...(reason !== undefined && { reason: cut(reason) }),
    ...(suppressed > 0 && { suppressed }),
    prev: position.hash,
  });
  const line = `${body.slice(0, -1)},"sig":"${sign(body)}"}`;
  return { line, position: { seq, hash: hashOf(line) } };
}

/** What a line says of its place in the chain. */
export interface AuditLink extends AuditPosition {
  readonly prev: string;
  /** What the signature covers. */
  readonly body: string;
  readonly signature: string;
}

const SIGNATURE = /,"sig":"([\w-]{86})"\}$/;

/** Reads a line; undefined when it is none. Nothing is checked but its form. Never throws. */
export function parseAuditLine(line: string): AuditLink | undefined {
  const match = line.length <= MAX_AUDIT_LINE_BYTES ? SIGNATURE.exec(line) : null;
  if (match === null) return undefined;
  const body = `${line.slice(0, match.index)}}`;
  const fields = record(body);
  const seq = fields?.["seq"];
  const prev = fields?.["prev"];
  if (typeof seq !== "number" || typeof prev !== "string") return undefined;
  return { seq, prev, body, signature: match[1] as string, hash: hashOf(line) };
}

/** The owner's word about a whole log. */
export interface AuditHead extends AuditPosition {
  /** The first line that is kept: what is older was given up by retention. */
  readonly first: number;
}

/** The file of a head: one line. */
export function encodeAuditHead(head: AuditHead, sign: AuditSigner): string {
  const body = headBody(head);
  return `${body.slice(0, -1)},"sig":"${sign(body)}"}`;
}

/** Reads a head; undefined when it is none. Never throws. */
export function parseAuditHead(
  text: string,
): (AuditHead & { readonly body: string; readonly signature: string }) | undefined {
  const match = text.length <= MAX_AUDIT_LINE_BYTES ? SIGNATURE.exec(text) : null;
  if (match === null) return undefined;
  const body = `${text.slice(0, match.index)}}`;
  const fields = record(body);
  const { first, seq, hash } = fields ?? {};
  if (typeof first !== "number" || typeof seq !== "number" || typeof hash !== "string") return undefined;
  const head = { first, seq, hash };
  return headBody(head) === body ? { ...head, body, signature: match[1] as string } : undefined;
}

/** No line of a log begins so, and its signature is none for a head. */
function headBody({ first, seq, hash }: AuditHead): string {
  return JSON.stringify({ head: true, first, seq, hash });
}

function record(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function hashOf(line: string): string {
  return hex(sha256(utf8(line)));
}

function cut(text: string): string {
  return text.length <= MAX_AUDIT_FIELD ? text : `${text.slice(0, MAX_AUDIT_FIELD - 1)}…`;
}
