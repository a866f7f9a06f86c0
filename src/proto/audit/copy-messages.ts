import { fromUtf8, utf8 } from "../bytes.ts";
import { decode, encode } from "../wire/codec.ts";
import { integer, text, tuple } from "../wire/shape.ts";
import { type AuditPosition, MAX_AUDIT_LINE_BYTES } from "./entry.ts";

/**
 * The protocol by which a member has its audit log kept by another: it opens a stream. The keeper says what it has of that log, sequence
 * and hash of the last line, 0 and zeros where that is nothing. Each message of the owner's is lines with a line break between them, that
 * line again before all others, and is answered by the number of the last one that is on the keeper's disk. The next follows the answer.
 * Whatever cannot be kept resets the stream.
 */
export const AUDIT_PROTOCOL = "starling/audit/1";

/** Lines in one message, bytes: one of the longest, or some hundred of the usual ones. */
export const MAX_AUDIT_BATCH_BYTES = 65_536;

export function encodeHave({ seq, hash }: AuditPosition): Uint8Array {
  return encode([seq, hash]);
}

/** The opposite of {@link encodeHave}; undefined for anything else. Never throws. */
export function decodeHave(message: Uint8Array): AuditPosition | undefined {
  const fields = fieldsOf(message, 2);
  const seq = integer(fields?.[0], 0);
  const hash = text(fields?.[1], 64);
  return seq === undefined || hash === undefined || !/^[0-9a-f]{64}$/.test(hash) ? undefined : { seq, hash };
}

export function encodeKept(seq: number): Uint8Array {
  return encode([seq]);
}

/** The opposite of {@link encodeKept}; undefined for anything else. Never throws. */
export function decodeKept(message: Uint8Array): number | undefined {
  return integer(fieldsOf(message, 1)?.[0], 1);
}

/** As many of `lines` as fit one message, the first in any case. */
export function batchOf(lines: readonly string[]): readonly string[] {
  let bytes = 0;
  let count = 0;
  for (const line of lines) {
    bytes += utf8(line).length + 1;
    if (count > 0 && bytes > MAX_AUDIT_BATCH_BYTES) break;
    count++;
  }
  return lines.slice(0, count);
}

export function encodeLines(lines: readonly string[]): Uint8Array {
  return utf8(lines.join("\n"));
}

/** The lines of a message; undefined for one that is too long, or no text. Never throws. */
export function decodeLines(message: Uint8Array): readonly string[] | undefined {
  if (message.length > MAX_AUDIT_BATCH_BYTES + MAX_AUDIT_LINE_BYTES) return undefined;
  return fromUtf8(message)?.split("\n");
}

function fieldsOf(message: Uint8Array, count: number) {
  const decoded = decode(message, { depth: 1, items: count + 1 });
  return decoded.ok ? tuple(decoded.value, count) : undefined;
}
