import { AUDIT_BEGIN, type AuditHead, type AuditPosition, parseAuditLine } from "./entry.ts";

/** What is wrong with a log. */
export type AuditFault =
  /** A line that is none: cut off, or not written by this program. */
  | "malformed"
  /** Its signature is not the owner's: it was changed, or written by another. */
  | "forged"
  /** Lines before it are missing, or it was moved. */
  | "gap"
  /** The line before it is not the one that it followed. */
  | "broken-chain"
  /** The log begins later than its head says. */
  | "beginning-missing"
  /** The log ends before its head says, or with another line. */
  | "end-missing"
  /** There is no head, or the owner did not sign it. */
  | "head-invalid";

/** Follows a log line by line and says what does not fit. It trusts `isSigned` and nothing in the lines. */
export class AuditVerifier {
  readonly #isSigned: (body: string, signature: string) => boolean;
  readonly #head: AuditHead | undefined;
  #last: AuditPosition | undefined;
  #first: number | undefined;
  #headSeen = false;

  /** @param head the signed head; undefined when there is none that holds. */
  constructor(head: AuditHead | undefined, isSigned: (body: string, signature: string) => boolean) {
    this.#head = head;
    this.#isSigned = isSigned;
  }

  /** The last line that was read whole. */
  get last(): AuditPosition {
    return this.#last ?? AUDIT_BEGIN;
  }

  /** The first line that was read; undefined before it. */
  get first(): number | undefined {
    return this.#first;
  }

  /** Takes the next line; undefined when it fits. After a fault the chain goes on from this line, so that each is told once. */
  take(line: string): AuditFault | undefined {
    const link = parseAuditLine(line);
    if (link === undefined) return "malformed";
    if (!this.#isSigned(link.body, link.signature)) return "forged";
    const before = this.#last;
    this.#last = { seq: link.seq, hash: link.hash };
    this.#first ??= link.seq;
    if (link.seq === this.#head?.seq && link.hash === this.#head.hash) this.#headSeen = true;
    if (before === undefined) return this.#begins(link.seq, link.prev);
    if (link.seq !== before.seq + 1) return "gap";
    return link.prev === before.hash ? undefined : "broken-chain";
  }

  /** After the last line; undefined when the log is whole. */
  end(): AuditFault | undefined {
    if (this.#head === undefined) return "head-invalid";
    return this.#head.seq === 0 || this.#headSeen ? undefined : "end-missing";
  }

  #begins(seq: number, prev: string): AuditFault | undefined {
    if (this.#head !== undefined && seq !== this.#head.first) return "beginning-missing";
    return seq === 1 && prev !== AUDIT_BEGIN.hash ? "broken-chain" : undefined;
  }
}
