import { type FileHandle, open } from "node:fs/promises";
import { StarlingError } from "../../errors.ts";
import type { Instant } from "../../proto/machine.ts";
import { type PeerId, parsePeerId } from "../../proto/peer-id.ts";
import { corrupt, errorCode, readPrivate, writePrivate } from "./private-files.ts";

/**
 * What an issuer must not forget: which join token was exchanged by whom, and who was revoked.
 *
 * An append-only file, a line for each fact:
 *
 *     use JTI PEERID EXPIRES        expires: the join token's end, Unix ms; the line means nothing beyond
 *     revoke PEERID SINCE
 *
 * A fact counts in memory at once, so that concurrent requests cannot spend one use twice, and is *answered for* only once
 * it is on the disk: many waiting facts share one write and one fsync. A last line without its end was never answered for
 * and is cut off at the next start. After a write that failed nobody can say what is on the disk: the journal then
 * refuses until the process starts again.
 */

/** Exchanges remembered at a time, about 150 bytes each; beyond, join tokens are refused until some expire. */
const MAX_RECORDED_USES = 100_000;
/** Members that were revoked; as many as a cluster has members. */
const MAX_REVOKED = 20_000;
/** The file, bytes: every line of the above. */
const MAX_JOURNAL_BYTES = 128 * (MAX_RECORDED_USES + MAX_REVOKED);

/** How long after a join token's end its uses are remembered, ms: a clock that was set wrong for a day revives nothing. */
const FORGET_AFTER_MS = 24 * 3_600_000;

/** The answer to {@link UseJournal.use}. */
export type UseOutcome = "recorded" | "used-up" | "full";

interface JoinUses {
  readonly expiresAt: Instant;
  readonly subjects: Set<PeerId>;
}

/** Opens the journal at `path`, or begins one. The caller holds a lock on it. Throws `state-corrupt`. */
export async function openUseJournal(path: string, now: Instant): Promise<UseJournal> {
  const content = (await readPrivate(path, MAX_JOURNAL_BYTES)) ?? new Uint8Array(0);
  const whole = Buffer.from(content.subarray(0, content.lastIndexOf(10) + 1)).toString("utf8");
  const journal = new UseJournal(path);
  for (const line of whole.split("\n")) {
    if (line !== "" && !journal.recall(line)) throw corrupt(path, `the line ${JSON.stringify(line.slice(0, 64))}`);
  }
  await journal.begin(now);
  return journal;
}

/** See {@link openUseJournal}. */
export class UseJournal {
  readonly #path: string;
  readonly #uses = new Map<string, JoinUses>();
  readonly #revoked = new Map<PeerId, Instant>();
  #useCount = 0;
  #file: FileHandle | undefined;
  #failure: StarlingError | undefined;
  /** Uses were forgotten: the file is written anew instead of longer. */
  #outgrown = false;
  /** Lines that wait for the disk, and the write that will take them. */
  #waiting: string[] = [];
  #writing: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /**
   * Spends one use of a join token for `subject`; durable when it resolves. A subject that has spent one already spends no
   * other. Rejects with `state-unavailable` when the disk fails.
   */
  async use(
    join: { id: string; uses: number; expiresAt: Instant },
    subject: PeerId,
    now: Instant,
  ): Promise<UseOutcome> {
    const known = this.#uses.get(join.id);
    if (known?.subjects.has(subject)) {
      // The first request may still be on its way to the disk, and this one must not be answered before it.
      await this.#durable([]);
      return "recorded";
    }
    if ((known?.subjects.size ?? 0) >= join.uses) return "used-up";
    if (this.#useCount >= MAX_RECORDED_USES && !this.#forgetExpired(now)) return "full";
    this.#remember(join.id, subject, join.expiresAt);
    await this.#durable([useLine(join.id, subject, join.expiresAt)]);
    return "recorded";
  }

  /** Remembers that `subject` is no member from `since` on; durable when it resolves. The earliest `since` holds. */
  async revoke(subject: PeerId, since: Instant): Promise<void> {
    if (this.#revoked.size >= MAX_REVOKED && !this.#revoked.has(subject)) {
      throw new StarlingError(
        "limit-reached",
        `an issuer remembers ${MAX_REVOKED} revocations; renew the issuing keys`,
      );
    }
    const known = this.#revoked.get(subject);
    const isNews = known === undefined || since < known;
    if (isNews) this.#revoked.set(subject, since);
    await this.#durable(isNews ? [revokeLine(subject, since)] : []);
  }

  isRevoked(subject: PeerId): boolean {
    return this.#revoked.has(subject);
  }

  /** Takes in one line of the file; false when it is not one. Before {@link begin} only. */
  recall(line: string): boolean {
    const [kind, first = "", second = "", third, ...more] = line.split(" ");
    const at = Number(kind === "use" ? third : second);
    const subject = parsePeerId(kind === "use" ? second : first);
    if (more.length > 0 || subject === undefined || !Number.isSafeInteger(at)) return false;
    if (kind === "use" && /^[\w-]{22}$/.test(first)) this.#remember(first, subject, at);
    else if (kind === "revoke" && third === undefined) this.#revoked.set(subject, at);
    else return false;
    return true;
  }

  /** Writes the file anew without what has expired, and opens it for appending. */
  async begin(now: Instant): Promise<void> {
    this.#forgetExpired(now);
    await this.#rewrite();
  }

  /** Waits for what is on its way to the disk and closes the file. */
  async close(): Promise<void> {
    await this.#writing.catch(() => undefined);
    await this.#next?.catch(() => undefined);
    this.#failure ??= new StarlingError("closed", "the issuer has been closed");
    await this.#file?.close();
    this.#file = undefined;
  }

  #remember(id: string, subject: PeerId, expiresAt: Instant): void {
    let uses = this.#uses.get(id);
    if (uses === undefined) {
      uses = { expiresAt, subjects: new Set() };
      this.#uses.set(id, uses);
    }
    if (uses.subjects.has(subject)) return;
    uses.subjects.add(subject);
    this.#useCount++;
  }

  // An expired join token is refused by its own time; its uses need no remembering.
  #forgetExpired(now: Instant): boolean {
    const before = this.#useCount;
    for (const [id, { expiresAt, subjects }] of this.#uses) {
      if (expiresAt + FORGET_AFTER_MS > now) continue;
      this.#uses.delete(id);
      this.#useCount -= subjects.size;
    }
    this.#outgrown ||= this.#useCount < before;
    return this.#useCount < before;
  }

  // Every caller that comes while a write is under way shares the next one.
  #durable(lines: readonly string[]): Promise<void> {
    this.#waiting.push(...lines);
    this.#next ??= this.#writing
      .catch(() => undefined)
      .then(() => {
        this.#writing = this.#next ?? Promise.resolve();
        this.#next = undefined;
        return this.#flush();
      });
    return this.#next;
  }

  async #flush(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const lines = this.#waiting;
    this.#waiting = [];
    if (lines.length === 0) return;
    try {
      if (this.#outgrown) {
        await this.#rewrite();
        return;
      }
      await this.#file?.appendFile(lines.join(""));
      await this.#file?.datasync();
    } catch (cause) {
      const message = `cannot write ${this.#path} (${errorCode(cause)}); make room or mend the disk, then start the issuer again`;
      this.#failure = new StarlingError("state-unavailable", message, { cause });
      throw this.#failure;
    }
  }

  async #rewrite(): Promise<void> {
    const lines: string[] = [];
    for (const [id, { expiresAt, subjects }] of this.#uses) {
      for (const subject of subjects) lines.push(useLine(id, subject, expiresAt));
    }
    for (const [subject, since] of this.#revoked) lines.push(revokeLine(subject, since));
    this.#outgrown = false;
    await this.#file?.close();
    await writePrivate(this.#path, lines.join(""));
    this.#file = await open(this.#path, "a", 0o600);
  }
}

function useLine(id: string, subject: PeerId, expiresAt: Instant): string {
  return `use ${id} ${subject} ${expiresAt}\n`;
}

function revokeLine(subject: PeerId, since: Instant): string {
  return `revoke ${subject} ${Math.floor(since)}\n`;
}
