import { StarlingError } from "../../errors.ts";
import type { Instant } from "../../proto/machine.ts";
import { type PeerId, parsePeerId } from "../../proto/peer-id.ts";
import { type IssuedToken, IssuedTokens, MAX_BROKEN, MAX_FAMILIES } from "../../proto/trust/issued.ts";
import { DurableLines, readLines } from "./durable-lines.ts";
import { corrupt } from "./private-files.ts";

/**
 * What an issuer must not forget: which join token was exchanged by whom, which member token is the newest of its line and which
 * lines have ended, and who was revoked.
 *
 * An append-only file, a line for each fact:
 *
 *     use JTI PEERID EXPIRES        expires: the join token's end, Unix ms; the line means nothing beyond
 *     revoke PEERID SINCE
 *     token …, broken …             see `proto/trust/issued.ts`
 *
 * A fact counts in memory at once, so that concurrent requests cannot spend one use twice, and is *answered for* only once
 * it is on the disk (`durable-lines.ts`).
 */

/** Exchanges remembered at a time, about 150 bytes each; beyond, join tokens are refused until some expire. */
const MAX_RECORDED_USES = 100_000;
/** Members that were revoked; as many as a cluster has members. */
const MAX_REVOKED = 20_000;
/** The file, bytes: every line of the above, and tokens with all the scopes that they may have, twice before it is written anew. */
const MAX_JOURNAL_BYTES = 128 * (MAX_RECORDED_USES + MAX_REVOKED + MAX_BROKEN) + 2 * 2_048 * MAX_FAMILIES;

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
  const journal = await recallUseJournal(path);
  await journal.begin(now);
  return journal;
}

/** What the journal at `path` holds, to be looked at and not written to; its issuer may be running. Throws `state-corrupt`. */
export async function recallUseJournal(path: string): Promise<UseJournal> {
  const journal = new UseJournal(path);
  for (const line of await readLines(path, MAX_JOURNAL_BYTES)) {
    if (!journal.recall(line)) throw corrupt(path, `the line ${JSON.stringify(line.slice(0, 64))}`);
  }
  return journal;
}

/** See {@link openUseJournal}. */
export class UseJournal {
  /** The member tokens. Ask it; what changes goes through this journal. */
  readonly issued = new IssuedTokens();
  readonly #lines: DurableLines;
  readonly #uses = new Map<string, JoinUses>();
  readonly #revoked = new Map<PeerId, Instant>();
  #useCount = 0;

  constructor(path: string) {
    this.#lines = new DurableLines(path, () => this.#all());
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
      await this.#lines.append([]);
      return "recorded";
    }
    if ((known?.subjects.size ?? 0) >= join.uses) return "used-up";
    if (this.#useCount >= MAX_RECORDED_USES && !this.#forgetExpired(now)) return "full";
    this.#remember(join.id, subject, join.expiresAt);
    await this.#lines.append([useLine(join.id, subject, join.expiresAt)]);
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
    await this.#lines.append(isNews ? [revokeLine(subject, since)] : []);
  }

  isRevoked(subject: PeerId): boolean {
    return this.#revoked.has(subject);
  }

  /** How many have exchanged the join token of this id. */
  usesOf(id: string): number {
    return this.#uses.get(id)?.subjects.size ?? 0;
  }

  /** A member token was issued; durable when it resolves, and not to be given away before. */
  async remember(token: IssuedToken): Promise<void> {
    await this.#lines.append([this.issued.remember(token)]);
  }

  /** The family of tokens ends: nobody renews one of them. Durable when it resolves. `expiresAt`: of the newest. */
  async break(family: string, subject: PeerId, since: Instant, expiresAt: Instant): Promise<void> {
    await this.#lines.append([this.issued.break(family, subject, since, expiresAt)]);
  }

  /** Takes in one line of the file; false when it is not one. Before {@link begin} only. */
  recall(line: string): boolean {
    if (this.issued.recall(line)) return true;
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
    this.issued.forget(now);
    await this.#lines.begin();
  }

  /** Waits for what is on its way to the disk and closes the file. */
  close(): Promise<void> {
    return this.#lines.close();
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
    if (this.#useCount === before) return false;
    this.#lines.outgrow();
    return true;
  }

  *#all(): Generator<string> {
    for (const [id, { expiresAt, subjects }] of this.#uses) {
      for (const subject of subjects) yield useLine(id, subject, expiresAt);
    }
    for (const [subject, since] of this.#revoked) yield revokeLine(subject, since);
    yield* this.issued.lines();
  }
}

function useLine(id: string, subject: PeerId, expiresAt: Instant): string {
  return `use ${id} ${subject} ${expiresAt}`;
}

function revokeLine(subject: PeerId, since: Instant): string {
  return `revoke ${subject} ${Math.floor(since)}`;
}
