import { AUDIT_BEGIN, type AuditPosition, parseAuditLine } from "./entry.ts";

/**
 * What came of a line that a member sent of its audit log.
 * - `kept`: it follows the last one.
 * - `known`: it is the last one, said again: whoever begins so shows that it goes on with the same log.
 * - `gap`: it is kept, and lines before it never came: their owner had given them up, or leaves them out.
 * - `forked`: its owner has signed another history than the one that was kept; nothing of it is taken.
 */
export type CopyRuling = "kept" | "known" | "gap" | "forked" | "forged" | "malformed";

/**
 * A copy of another member's audit log, as a keeper takes it: only ever longer. Whoever has stolen the owner's key can write another
 * history, and no chain shows that to whoever sees that history alone; here its first line does not follow the last one that was kept.
 */
export class AuditCopy {
  readonly #isSigned: (body: string, signature: string) => boolean;
  #last: AuditPosition;

  /** @param last the last line that was kept; {@link AUDIT_BEGIN} before the first. @param isSigned by the log's owner. */
  constructor(last: AuditPosition, isSigned: (body: string, signature: string) => boolean) {
    this.#last = last;
    this.#isSigned = isSigned;
  }

  get last(): AuditPosition {
    return this.#last;
  }

  /** Takes the next line; what it answers other than `kept` and `gap` changes nothing. Never throws. */
  take(line: string): CopyRuling {
    const link = parseAuditLine(line);
    if (link === undefined) return "malformed";
    if (!this.#isSigned(link.body, link.signature)) return "forged";
    const { seq, hash } = this.#last;
    if (link.seq === seq && link.hash === hash) return "known";
    if (link.seq <= seq || (link.seq === seq + 1 && link.prev !== hash)) return "forked";
    this.#last = { seq: link.seq, hash: link.hash };
    // Of a log that is met for the first time the beginning may be gone.
    return link.seq === seq + 1 || seq === AUDIT_BEGIN.seq ? "kept" : "gap";
  }
}
