import { RecentMap } from "../bounded.ts";
import { equalBytes } from "../bytes.ts";
import type { RevocationTarget } from "../decrees/revocation.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { TokenFacts } from "../signed.ts";
import { CLOCK_LEEWAY_MS } from "../trust/times.ts";
import type { Accusations } from "./accusations.ts";
import { announce, type Context, Meter } from "./context.ts";
import type { MembershipResume, Source, Standing } from "./effects.ts";
import { MAX_REVOKED, RECORD_RATE, SUBJECT_RATE } from "./limits.ts";
import { compareRecords, type MemberRecord, recordStatement } from "./record.ts";
import type { SelfRecord } from "./self-record.ts";
import type { MemberState } from "./table.ts";

/**
 * Records of others: which are worth a check, and what a good one changes.
 *
 * A record counts when its subject's signature and the token in it are good: nobody can invent a member. An older record
 * than ours has no effect, so nobody can bring one back either. A newer one replaces ours; it makes a member that is
 * down come back, ends what is open against it when it tells of a new start, and takes it out when it says `left`. What
 * the bringer of a record says of its subject (`Standing`) counts only for members that we have never heard of.
 */
export class Records {
  readonly #context: Context;
  readonly #accusations: Accusations;
  readonly #own: SelfRecord;
  readonly #bringers = new Meter(RECORD_RATE);
  readonly #subjects = new Meter(SUBJECT_RATE);
  readonly #revoked = new RecentMap<PeerId, true>(MAX_REVOKED);

  constructor(context: Context, accusations: Accusations, own: SelfRecord) {
    this.#context = context;
    this.#accusations = accusations;
    this.#own = own;
  }

  /**
   * A record, not yet verified. `asked`: we asked for it, so it does not count against its bringer. True when it is
   * worth a check, which is then under way.
   */
  offered(record: MemberRecord, standing: Standing, source: Source, asked: boolean, now: Instant): boolean {
    const { table, out, self } = this.#context;
    const held = table.get(record.id)?.record;
    const order = held === undefined ? 1 : compareRecords(record, held);
    if (held !== undefined && order === 0) {
      // Ed25519 signatures of honest signers are unique: another one for the same body is a forgery to be passed on.
      const same = held === record || equalBytes(held.signature, record.signature);
      out.verdict(source, same ? "accept" : "reject");
    } else if (this.#revoked.has(record.id)) {
      out.fault("not-a-member");
      out.verdict(source, "ignore");
    } else if (order < 0) {
      out.fault("stale");
      out.verdict(source, "ignore");
    } else if (!asked && source.via !== "introduction" && !this.#bringers.admits(source.from, now)) {
      // Its bringer passes on what others sign, as much as there is.
      out.fault("flood");
      out.verdict(source, "ignore");
    } else {
      const resume: MembershipResume = { of: "record", record, source, standing };
      const from = source.via === "introduction" ? self : source.from;
      out.push({ type: "verify", from, statements: [recordStatement(record)], token: record.token, resume });
      return true;
    }
    return false;
  }

  /** A record whose signature and token are good. True when it is news. */
  verified(record: MemberRecord, facts: TokenFacts, standing: Standing, source: Source, now: Instant): boolean {
    const { table, out, self } = this.#context;
    const member = table.get(record.id);
    const order = member === undefined ? 1 : compareRecords(record, member.record);
    const expired = facts.expiresAt + CLOCK_LEEWAY_MS <= now;
    if (order <= 0 || expired || this.#revoked.has(record.id)) {
      out.verdict(source, order === 0 ? "accept" : "ignore");
      return false;
    }
    if (record.id === self) {
      out.verdict(source, "accept");
      this.#own.met(record, now);
      return false;
    }
    if (member !== undefined && !this.#subjects.admits(record.id, now)) {
      out.fault("flood", record.id);
      out.verdict(source, "ignore");
      return false;
    }
    out.verdict(source, "accept");
    return this.#apply(record, facts, standing, now);
  }

  /** A member is out for good, or a token counts no more. */
  revoke(target: RevocationTarget, now: Instant): void {
    if (target.of === "member") {
      this.#outlaw(target.peer);
      return;
    }
    const held = [...this.#context.table.all()].filter(({ facts }) =>
      target.of === "token" ? isNamed(facts, target.id) : facts.kid === target.kid,
    );
    for (const { record } of held) this.#lapse(record.id, "revoked", now);
  }

  /** What the clock alone does: tokens expire, and members that have been gone for long are forgotten. */
  timeout(now: Instant): void {
    const { table, self } = this.#context;
    if (table.dueAt > now) return;
    const { lapsed, forgotten } = table.due(now);
    for (const { record } of lapsed) if (record.id !== self) this.#lapse(record.id, "expired", now);
    for (const { record } of forgotten) if (record.id !== self) table.remove(record.id);
  }

  #outlaw(id: PeerId): void {
    const { table, out } = this.#context;
    this.#revoked.set(id, true);
    const member = table.get(id);
    if (member === undefined) return;
    this.#accusations.close(id);
    const { record, state } = member;
    table.remove(id);
    out.push({ type: "event", event: "down", peer: id, record, previous: state, cause: "revoked" });
  }

  /** The token in a member's record does not count any more: it is down until it shows another. */
  #lapse(id: PeerId, cause: "expired" | "revoked", now: Instant): void {
    const { table, self } = this.#context;
    const state = table.get(id)?.state;
    if (state === undefined || id === self) return;
    this.#accusations.close(id);
    table.lapse(id, now);
    if (state !== "down") announce(this.#context, "down", id, state, cause);
  }

  #apply(record: MemberRecord, facts: TokenFacts, standing: Standing, now: Instant): boolean {
    const { table, links } = this.#context;
    const { id, boot, status } = record;
    const before = table.get(id);
    const previous = before?.state;
    const restarted = before === undefined || boot > before.record.boot;
    if (restarted || status === "left") this.#accusations.close(id);
    let state: MemberState = "alive";
    if (status === "left") state = "left";
    else if (before === undefined && !standing.there) state = "down";
    else if (previous === "suspect" && !restarted) state = "suspect";
    let since = before !== undefined && state === previous ? before.since : now;
    if (before === undefined && !standing.there) since = now - standing.ageMs;
    if (!table.put(record, facts, state, since, now)) {
      this.#context.out.fault("table-full");
      return false;
    }
    // A link to somebody unknown can only be one to the start that it has just told us of.
    if (before === undefined && links.has(id)) table.proven(id, boot);
    if (state === previous) announce(this.#context, state === "left" ? "left" : "updated", id, previous, "record");
    else if (state === "alive") announce(this.#context, "up", id, previous, "record");
    else if (state === "left" && previous !== undefined) announce(this.#context, "left", id, previous, "record");
    if (!restarted) this.#accusations.renewed(id, now);
    return true;
  }
}

/** By its own id, or by that of the first token of its line. */
function isNamed({ id, lineage }: TokenFacts, name: string): boolean {
  return id === name || lineage?.family === name;
}
