/**
 * The audit log on the disk: segments of JSON lines and a signed head, all of mode 0600, in a folder of their own.
 *
 *     audit/000000000001.jsonl   the lines from that number on; a new segment begins when one is full
 *     audit/head                 the owner's word about the first line kept and the last written
 *
 * Lines that are recorded while the disk is busy are written, synced and covered by a head together. A crash between the two leaves
 * signed lines behind the head, which the next start takes into the chain.
 */
import { type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type AuditReport, type KeptAuditLog, MAX_REPORTED_FAULTS } from "../../audit.ts";
import type { Logger } from "../../options.ts";
import {
  AUDIT_BEGIN,
  type AuditEvent,
  type AuditHead,
  type AuditPosition,
  type AuditSigner,
  auditLine,
  encodeAuditHead,
  MAX_AUDIT_LINE_BYTES,
  parseAuditHead,
} from "../../proto/audit/entry.ts";
import { type AuditFault, AuditVerifier } from "../../proto/audit/verifier.ts";
import { base64url } from "../../proto/base64.ts";
import { utf8 } from "../../proto/bytes.ts";
import type { PeerId } from "../../proto/peer-id.ts";
import { type Rate, TokenBucket } from "../../proto/token-bucket.ts";
import type { Crypto, NodeIdentity } from "../../proto/trust/crypto.ts";
import { firstOf, lastLineOf, linesOf, type Signed, segmentName, segmentsOf, signedBy } from "./audit-segments.ts";
import { attempt, ensurePrivateFolder, readPrivateText, writePrivate } from "./private-files.ts";

/** A full segment, bytes: some 40,000 lines. */
const SEGMENT_BYTES = 16 * 1_048_576;
/** Segments kept: a quarter of a gigabyte at most. */
const SEGMENTS = 16;
/** Between two writes, ms: a burst of lines costs the disk one sync, and a crash takes a quarter of a second at most. */
const GATHER_MS = 250;
/** Lines that wait for the disk; further ones are counted and left out. */
const MAX_WAITING = 4_096;
/** Denials written down: who floods the log with them gets a count. What succeeds is always written. */
const DENIALS: Rate = { perSecond: 20, burst: 500 };

const HEAD_FILE = "head";
/** The newest lines, which are handed to whoever keeps copies without being read back: some minutes of a busy log. */
const RECENT = 1_024;
/** Lines in one portion that is read back. */
const PORTION = 512;

/** How much of a log is kept. */
export interface AuditRetention {
  /** Default 16 MiB. */
  readonly segmentBytes?: number;
  /** The current one included. Default 16. */
  readonly segments?: number;
}

/** Opens the log in `folder`, or begins one. The caller holds a lock on it. Throws `state-unavailable`. */
export async function openAuditLog(options: {
  readonly folder: string;
  readonly owner: NodeIdentity;
  readonly crypto: Crypto;
  readonly now: () => number;
  readonly log: Logger;
  readonly retention?: AuditRetention;
}): Promise<KeptAuditLog> {
  const { folder, owner, crypto } = options;
  await ensurePrivateFolder(folder);
  const sign: AuditSigner = (text) => base64url(owner.sign("starling/audit/1", utf8(text)));
  const segments = await segmentsOf(folder);
  const isSigned = signedBy(owner.id, crypto);
  const head = await readHead(folder, isSigned);
  const last = segments.at(-1);
  const found = last === undefined ? undefined : await lastLineOf(join(folder, last), isSigned);
  const position = found ?? head ?? AUDIT_BEGIN;
  const first = head?.first ?? 1;
  const audit = new DiskAuditLog({ ...options, sign, segments, first, position });
  audit.record({ action: "audit.open", actor: owner.id, outcome: "ok" });
  return audit;
}

type Options = Parameters<typeof openAuditLog>[0];

class DiskAuditLog implements KeptAuditLog {
  readonly #options: Options;
  readonly #sign: AuditSigner;
  readonly #segments: string[];
  readonly #denials: TokenBucket;
  #first: number;
  #position: AuditPosition;
  #file: FileHandle | undefined;
  #fileBytes = 0;
  #waiting: string[] = [];
  #durable: number;
  /** The newest lines on the disk, up to `#durable`. */
  #recent: string[] = [];
  #suppressed = 0;
  #writing: Promise<void> | undefined;
  /** The log closes: what waits is written at once. */
  readonly #hurry = Promise.withResolvers<void>();
  #state: "open" | "failed" | "closed" = "open";

  constructor(
    options: Options & {
      readonly sign: AuditSigner;
      readonly segments: readonly string[];
      readonly first: number;
      readonly position: AuditPosition;
    },
  ) {
    this.#options = options;
    this.#sign = options.sign;
    this.#segments = [...options.segments];
    this.#first = options.first;
    this.#position = options.position;
    this.#durable = options.position.seq;
    this.#denials = new TokenBucket(DENIALS, options.now());
  }

  record(event: AuditEvent): void {
    const isFlood = event.outcome === "denied" && this.#denials.spend(1, DENIALS, this.#options.now()) < 0;
    if (this.#state !== "open" || isFlood || this.#waiting.length >= MAX_WAITING) {
      this.#suppressed++;
      return;
    }
    const at = new Date(this.#options.now()).toISOString();
    const { line, position } = auditLine(event, at, this.#position, this.#suppressed, this.#sign);
    this.#suppressed = 0;
    this.#position = position;
    this.#waiting.push(`${line}\n`);
    this.#writing ??= this.#write();
  }

  get durable(): number {
    return this.#durable;
  }

  async *read(from: number): AsyncGenerator<readonly string[]> {
    const end = this.#durable;
    if (from > end) return;
    const recentFrom = end - this.#recent.length + 1;
    if (from >= recentFrom) yield this.#recent.slice(from - recentFrom);
    else yield* this.#readBack(from, end);
  }

  async *#readBack(from: number, end: number): AsyncGenerator<readonly string[]> {
    let portion: string[] = [];
    // A copy: while it is read, the oldest may go.
    const segments = [...this.#segments];
    for (const [index, name] of segments.entries()) {
      const next = segments[index + 1];
      if (next !== undefined && firstOf(next) <= from) continue;
      let number = firstOf(name);
      for await (const line of linesOf(join(this.#options.folder, name))) {
        if (number > end) break;
        if (number++ >= from) portion.push(line);
        if (portion.length < PORTION) continue;
        yield portion;
        portion = [];
      }
    }
    if (portion.length > 0) yield portion;
  }

  async close(): Promise<void> {
    if (this.#state === "open") this.#state = "closed";
    this.#hurry.resolve();
    await this.#writing;
    await this.#file?.close();
    this.#file = undefined;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Writes until nothing waits. Never rejects: the log must not take the agent down, and must not hide its own failure. */
  async #write(): Promise<void> {
    try {
      while (this.#waiting.length > 0) {
        await this.#flush();
        if (this.#state === "open")
          await Promise.race([this.#hurry.promise, delay(GATHER_MS, undefined, { ref: false })]);
      }
    } catch (error) {
      this.#state = "failed";
      this.#waiting = [];
      this.#options.log.error("the audit log cannot be written: nothing is audited any more", {
        error: error instanceof Error ? error.message : String(error),
      });
    } finally {
      this.#writing = undefined;
    }
  }

  async #flush(): Promise<void> {
    const lines = this.#waiting.splice(0);
    const { seq, hash } = this.#position;
    const { folder, retention = {} } = this.#options;
    const { segmentBytes = SEGMENT_BYTES, segments = SEGMENTS } = retention;
    if (this.#file === undefined || this.#fileBytes >= segmentBytes) await this.#begin(seq - lines.length + 1);
    const bytes = Buffer.from(lines.join(""));
    await attempt("write", folder, async () => {
      await this.#file?.appendFile(bytes);
      await this.#file?.datasync();
    });
    this.#fileBytes += bytes.length;
    const old = this.#segments.splice(0, Math.max(0, this.#segments.length - segments));
    if (old.length > 0) this.#first = firstOf(this.#segments[0] as string);
    await writePrivate(join(folder, HEAD_FILE), `${encodeAuditHead({ first: this.#first, seq, hash }, this.#sign)}\n`);
    this.#durable = seq;
    this.#recent.push(...lines.map((line) => line.slice(0, -1)));
    this.#recent.splice(0, this.#recent.length - RECENT);
    for (const name of old) await rm(join(folder, name), { force: true });
  }

  /** Goes on in the last segment if that has room, else begins one with line `seq`. */
  async #begin(seq: number): Promise<void> {
    await this.#file?.close();
    const { folder, retention } = this.#options;
    const last = this.#file === undefined ? this.#segments.at(-1) : undefined;
    const name = last ?? segmentName(seq);
    this.#file = await attempt("write", folder, () => open(join(folder, name), "a", 0o600));
    this.#fileBytes = (await this.#file.stat()).size;
    if (last === undefined) this.#segments.push(name);
    else if (this.#fileBytes >= (retention?.segmentBytes ?? SEGMENT_BYTES)) await this.#begin(seq);
  }
}

/** Reads the log in `folder`, or a copy of one, which has no head, and says what does not fit. Throws `state-unavailable`. */
export async function verifyAuditLog(
  folder: string,
  signer: PeerId,
  crypto: Crypto,
  { isCopy = false }: { readonly isCopy?: boolean } = {},
): Promise<AuditReport> {
  const isSigned = signedBy(signer, crypto);
  const verifier = new AuditVerifier(isCopy ? undefined : await readHead(folder, isSigned), isSigned);
  const faults: { file: string; line: number; fault: AuditFault }[] = [];
  const found = (file: string, line: number, fault: AuditFault | undefined): void => {
    if (fault !== undefined && faults.length < MAX_REPORTED_FAULTS) faults.push({ file, line, fault });
  };
  let lines = 0;
  for (const name of await segmentsOf(folder)) {
    let number = 0;
    for await (const line of linesOf(join(folder, name))) {
      lines++;
      found(name, ++number, verifier.take(line));
    }
  }
  if (!isCopy) found(HEAD_FILE, 1, verifier.end());
  return { ok: faults.length === 0, signer, lines, first: verifier.first ?? 0, last: verifier.last.seq, faults };
}

async function readHead(folder: string, isSigned: Signed): Promise<AuditHead | undefined> {
  const text = await readPrivateText(join(folder, HEAD_FILE), MAX_AUDIT_LINE_BYTES);
  const head = text === undefined ? undefined : parseAuditHead(text);
  return head !== undefined && isSigned(head.body, head.signature) ? head : undefined;
}
