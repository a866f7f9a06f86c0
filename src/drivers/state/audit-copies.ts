/**
 * Copies of other members' audit logs, on the disk of a keeper: in a folder for each owner, segments as in the log itself. They are written at
 * their end and nowhere else. What is more than a week old makes room for what comes; what is younger is pushed out by nothing, so that whoever
 * has stolen an owner's key does not get rid of its history by writing much.
 */
import { type FileHandle, open, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { AuditCopy, type CopyRuling } from "../../proto/audit/copy.ts";
import { AUDIT_BEGIN } from "../../proto/audit/entry.ts";
import type { PeerId } from "../../proto/peer-id.ts";
import type { Crypto } from "../../proto/trust/crypto.ts";
import { lastLineOf, segmentName, segmentsOf, signedBy } from "./audit-segments.ts";
import { attempt, ensurePrivateFolder } from "./private-files.ts";

/** A full segment, bytes, and how many are kept of one owner: 32 MiB, some 80,000 lines. */
const SEGMENT_BYTES = 4 * 1_048_576;
const SEGMENTS = 8;
/** What came within this time is not given up, ms. */
const KEPT_MS = 7 * 24 * 3_600_000;
/** Owners whose logs are kept: 2 GiB at most. */
const MAX_OWNERS = 64;

/** How much of each log is kept. */
export interface CopyRetention {
  /** Default 4 MiB. */
  readonly segmentBytes?: number;
  /** Default 8. */
  readonly segments?: number;
}

/** The copy of one member's log. */
export interface KeptCopy {
  readonly last: AuditCopy["last"];
  /**
   * Takes lines; on the disk when it resolves. Behind the first that is refused none is taken. `full`: there is no room, and what is there is
   * too young to go. Rejects with `state-unavailable`.
   */
  take(lines: readonly string[]): Promise<CopyRuling | "full">;
  close(): Promise<void>;
}

/** Opens the copy of `owner` in `folder`, or begins one; undefined when those of as many others are kept as may be. */
export async function openAuditCopy(options: {
  readonly folder: string;
  readonly owner: PeerId;
  readonly crypto: Pick<Crypto, "verify">;
  readonly now: () => number;
  readonly retention?: CopyRetention;
}): Promise<KeptCopy | undefined> {
  await ensurePrivateFolder(options.folder);
  const folder = join(options.folder, options.owner);
  const owners = await attempt("read", options.folder, () => readdir(options.folder));
  if (!owners.includes(options.owner) && owners.length >= MAX_OWNERS) return undefined;
  await ensurePrivateFolder(folder);
  const isSigned = signedBy(options.owner, options.crypto);
  const segments = await segmentsOf(folder);
  const newest = segments.at(-1);
  const last = newest === undefined ? undefined : await lastLineOf(join(folder, newest), isSigned);
  return new DiskCopy(folder, segments, new AuditCopy(last ?? AUDIT_BEGIN, isSigned), options);
}

class DiskCopy implements KeptCopy {
  readonly #folder: string;
  readonly #segments: string[];
  readonly #copy: AuditCopy;
  readonly #options: { readonly now: () => number; readonly retention?: CopyRetention };
  #file: FileHandle | undefined;
  #fileBytes = 0;

  constructor(
    folder: string,
    segments: string[],
    copy: AuditCopy,
    options: { readonly now: () => number; readonly retention?: CopyRetention },
  ) {
    this.#folder = folder;
    this.#segments = segments;
    this.#copy = copy;
    this.#options = options;
  }

  get last(): AuditCopy["last"] {
    return this.#copy.last;
  }

  async take(lines: readonly string[]): Promise<CopyRuling | "full"> {
    if (!(await this.#hasRoom())) return "full";
    const kept: string[] = [];
    let ruling: CopyRuling = "kept";
    for (const line of lines) {
      const taken = this.#copy.take(line);
      if (taken === "known") continue;
      if (taken !== "kept") ruling = taken;
      if (taken !== "kept" && taken !== "gap") break;
      kept.push(`${line}\n`);
    }
    if (kept.length > 0) await this.#append(Buffer.from(kept.join("")));
    return ruling;
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }

  async #append(bytes: Buffer): Promise<void> {
    await attempt("write", this.#folder, async () => {
      await this.#file?.appendFile(bytes);
      await this.#file?.datasync();
    });
    this.#fileBytes += bytes.length;
  }

  /** A segment with room is open, when it resolves with true. */
  async #hasRoom(): Promise<boolean> {
    const { segmentBytes = SEGMENT_BYTES, segments = SEGMENTS } = this.#options.retention ?? {};
    const newest = this.#segments.at(-1);
    if (this.#file === undefined && newest !== undefined) await this.#open(newest);
    if (this.#file !== undefined && this.#fileBytes < segmentBytes) return true;
    while (this.#segments.length >= segments) if (!(await this.#giveUpOldest())) return false;
    await this.close();
    const name = segmentName(this.#copy.last.seq + 1);
    this.#segments.push(name);
    await this.#open(name);
    return true;
  }

  async #giveUpOldest(): Promise<boolean> {
    const path = join(this.#folder, this.#segments[0] as string);
    const { mtimeMs } = await attempt("read", path, () => stat(path));
    if (mtimeMs > this.#options.now() - KEPT_MS) return false;
    await rm(path, { force: true });
    this.#segments.shift();
    return true;
  }

  async #open(name: string): Promise<void> {
    const path = join(this.#folder, name);
    this.#file = await attempt("write", path, () => open(path, "a", 0o600));
    this.#fileBytes = (await this.#file.stat()).size;
  }
}
