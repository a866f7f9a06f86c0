import type { AuditLog } from "../audit.ts";
import { type KeptCopy, openAuditCopy } from "../drivers/state/audit-copies.ts";
import type { Logger } from "../options.ts";
import { decodeLines, encodeHave, encodeKept } from "../proto/audit/copy-messages.ts";
import { RecentMap } from "../proto/bounded.ts";
import type { Instant } from "../proto/machine.ts";
import type { Label } from "../proto/membership/record.ts";
import type { PeerId } from "../proto/peer-id.ts";
import { type Rate, TokenBucket } from "../proto/token-bucket.ts";
import type { Crypto } from "../proto/trust/crypto.ts";
import type { MeshStream } from "./stream.ts";

/** The label of a member that keeps copies; its token must grant `audit:keep`. */
export const AUDIT_LABEL = "starling.audit";
/** The folder of copies in its state directory. */
export const AUDIT_COPIES_FOLDER = "audit-copies";

/** `labels` with the one that says that this member keeps copies, in order. */
export function withAuditLabel(labels: readonly Label[]): readonly Label[] {
  const others = labels.filter(([key]) => key !== AUDIT_LABEL);
  return [...others, [AUDIT_LABEL, "keeper"] as const].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Lines of one owner: what a busy log writes ten times over, and a whole log within some minutes at the first time. A line costs a signature check. */
const LINES: Rate = { perSecond: 500, burst: 5_000 };
/** Owners whose rate is remembered: as many as have copies, twice. */
const MAX_RATES = 128;

/** Keeps copies of the audit logs of other members, and notices where one of them is not what it was. */
export class AuditKeeper {
  readonly #options: {
    readonly folder: string;
    readonly crypto: Crypto;
    readonly audit: Pick<AuditLog, "record">;
    readonly log: Logger;
    readonly now: () => Instant;
  };
  /** The stream that each owner uses, and the end of whoever was before it. */
  readonly #open = new Map<PeerId, { readonly stream: MeshStream; readonly over: Promise<void> }>();
  readonly #rates = new RecentMap<PeerId, TokenBucket>(MAX_RATES);
  #forks = 0;

  constructor(options: {
    readonly folder: string;
    readonly crypto: Crypto;
    readonly audit: Pick<AuditLog, "record">;
    readonly log: Logger;
    readonly now: () => Instant;
  }) {
    this.#options = options;
  }

  /** How often since the start a log was offered that is not the one whose copy is here. */
  get forks(): number {
    return this.#forks;
  }

  /** Serves one stream of the protocol; one of an owner at a time writes, the one that came last. */
  async serve(stream: MeshStream, from: PeerId): Promise<void> {
    const before = this.#open.get(from);
    before?.stream.reset();
    const over = (before?.over ?? Promise.resolve()).then(() => this.#keep(stream, from)).catch(() => stream.reset());
    const entry = { stream, over };
    this.#open.set(from, entry);
    await over;
    if (this.#open.get(from) === entry) this.#open.delete(from);
  }

  async #keep(stream: MeshStream, owner: PeerId): Promise<void> {
    const copy = await openAuditCopy({ ...this.#options, owner });
    if (copy === undefined) return this.#refuse(stream, owner, "too-many-owners");
    try {
      await stream.send(encodeHave(copy.last));
      for await (const message of stream) {
        const ruling = await this.#take(copy, owner, decodeLines(message));
        if (ruling !== "kept" && ruling !== "gap") return this.#refuse(stream, owner, ruling);
        if (ruling === "gap") this.#note(owner, ruling);
        await stream.send(encodeKept(copy.last.seq));
      }
      stream.end();
    } finally {
      await copy.close();
    }
  }

  async #take(copy: KeptCopy, owner: PeerId, lines: readonly string[] | undefined) {
    if (lines === undefined) return "malformed";
    const { now } = this.#options;
    const rate = this.#rates.get(owner) ?? new TokenBucket(LINES, now());
    this.#rates.set(owner, rate);
    const waitMs = (-1_000 * rate.spend(lines.length, LINES, now())) / LINES.perSecond;
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs).unref());
    return copy.take(lines);
  }

  #refuse(stream: MeshStream, owner: PeerId, reason: string): void {
    this.#note(owner, reason);
    stream.reset();
  }

  #note(owner: PeerId, reason: string): void {
    const { audit, log } = this.#options;
    audit.record({ action: "audit.copy", actor: owner, outcome: "failed", reason });
    if (reason === "forked") {
      this.#forks++;
      log.error("a member's audit log is not the one whose copy is kept: it was written anew, or put back", { owner });
    } else log.warn("a member's audit log is not kept as a whole", { owner, reason });
  }
}
