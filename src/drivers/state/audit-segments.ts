/** The files of an audit log and of its copies: segments of JSON lines, each named by the number of its first line. */
import { createReadStream } from "node:fs";
import { readdir, readFile, truncate } from "node:fs/promises";
import { createInterface } from "node:readline";
import { type AuditPosition, parseAuditLine } from "../../proto/audit/entry.ts";
import { fromBase64url } from "../../proto/base64.ts";
import { utf8 } from "../../proto/bytes.ts";
import type { PeerId } from "../../proto/peer-id.ts";
import type { Crypto } from "../../proto/trust/crypto.ts";
import { attempt } from "./private-files.ts";

const SEGMENT = /^\d{12}\.jsonl$/;

/** Whether `signature`, in base64url, is the signer's over a line. */
export type Signed = (body: string, signature: string) => boolean;

export function signedBy(signer: PeerId, crypto: Pick<Crypto, "verify">): Signed {
  return (body, signature) => {
    const bytes = fromBase64url(signature);
    if (bytes === undefined) return false;
    return crypto.verify({ signer, label: "starling/audit/1", body: utf8(body), signature: bytes });
  };
}

/** The name of the segment that begins with line `first`. */
export function segmentName(first: number): string {
  return `${String(first).padStart(12, "0")}.jsonl`;
}

/** The number of a segment's first line. */
export function firstOf(segment: string): number {
  return Number.parseInt(segment, 10);
}

/** The names of the segments in a folder, oldest first. Throws `state-unavailable`. */
export async function segmentsOf(folder: string): Promise<string[]> {
  const names = await attempt("read", folder, () => readdir(folder));
  return names.filter((name) => SEGMENT.test(name)).sort();
}

/**
 * The last line in a segment that its owner signed; undefined when there is none. A torn last line, which a crash left, is cut off.
 * Whatever else does not fit stays as it is, for `verifyAuditLog` to find: a damaged log must not keep an agent down.
 */
export async function lastLineOf(path: string, isSigned: Signed): Promise<AuditPosition | undefined> {
  const content = await attempt("read", path, () => readFile(path));
  const whole = content.lastIndexOf(10) + 1;
  if (whole < content.length) await attempt("write", path, () => truncate(path, whole));
  const lines = content.toString("utf8", 0, whole).split("\n");
  for (let line = lines.pop(); line !== undefined; line = lines.pop()) {
    const link = parseAuditLine(line);
    if (link !== undefined && isSigned(link.body, link.signature)) return { seq: link.seq, hash: link.hash };
  }
  return undefined;
}

export function linesOf(path: string): AsyncIterable<string> {
  return createInterface({ input: createReadStream(path, { encoding: "utf8" }), crlfDelay: 0 });
}
