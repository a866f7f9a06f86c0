import { RecentMap } from "../bounded.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Accusations } from "./accusations.ts";
import { type Context, Meter } from "./context.ts";
import type { Source } from "./effects.ts";
import { type Entry, type Named, packEntries, packNamed } from "./entries.ts";
import {
  BUMP_SPACING_MS,
  CLAIM_AGE_MS,
  CLAIM_RATE,
  MAX_METERED,
  MAX_NOTICE,
  MAX_PENDING_NOTICES,
  NOTICE_DELAY_MS,
  NOTICE_RATE,
  NOTICE_SPACING_MS,
} from "./limits.ts";
import { encodeClaims, encodeNotice } from "./messages.ts";
import type { Prober } from "./probe.ts";
import type { SelfRecord } from "./self-record.ts";
import { isThere, type Member, MemberTable } from "./table.ts";

/**
 * When two members disagree whether a third is there.
 *
 * After a partition, a sleep or a lost broadcast one side holds a member for down that the other holds for alive, under
 * the same record. Neither is believed. The one that holds it for alive broadcasts a *notice* that names it, and holds
 * it under suspicion for somewhat longer than for a sole accuser. If the member lives, it finds itself in the notice and signs a
 * newer record, which convinces both sides and whoever else is in doubt. If it does not, it goes down.
 *
 * So a liar who claims that somebody is down costs that somebody a signature, at a bounded rate, and a liar who claims
 * that somebody is alive achieves nothing: from down only the member's own word brings it back.
 */
export class Disputes {
  readonly #context: Context;
  readonly #accusations: Accusations;
  readonly #prober: Prober;
  readonly #own: SelfRecord;
  readonly #claimants = new Meter(CLAIM_RATE);
  readonly #messengers = new Meter(NOTICE_RATE);
  /** Named in a notice of ours lately. */
  readonly #noticed = new RecentMap<PeerId, Instant>(MAX_METERED);
  /** To be named in the next. */
  #pending = new Set<PeerId>();
  #noticeAt: Instant | undefined;

  constructor(context: Context, accusations: Accusations, prober: Prober, own: SelfRecord) {
    this.#context = context;
    this.#accusations = accusations;
    this.#prober = prober;
    this.#own = own;
  }

  deadline(): Instant | undefined {
    return this.#noticeAt;
  }

  /** `from` holds the member of `entry` for down, and we hold it for alive under the same record. */
  claimed(from: PeerId, entry: Entry, now: Instant): void {
    const { self, table } = this.#context;
    if (entry.id === self) {
      this.#own.bump(entry.boot, entry.incarnation, now);
      return;
    }
    const member = table.get(entry.id);
    if (member === undefined || !isThere(member.state) || !isSame(member, entry)) return;
    if (entry.ageSeconds * 1_000 < CLAIM_AGE_MS || this.#accusations.cases.of(entry.id) !== undefined) return;
    // No suspicion without a notice: its subject must hear of it to answer.
    if (this.#claimants.admits(from, now) && this.#notice(entry.id, now)) this.#accusations.claimed(member, now);
  }

  /** A notice that reached us. */
  noticed(named: readonly Named[], source: Source, now: Instant): void {
    const { self, table, out } = this.#context;
    if (source.via !== "broadcast") {
      // Notices are for everybody: nobody tells one to us alone.
      out.fault("malformed", source.via === "link" ? source.from : undefined);
      return;
    }
    if (!this.#messengers.admits(source.from, now)) {
      out.fault("flood");
      out.verdict(source, "ignore");
      return;
    }
    out.verdict(source, "accept");
    for (const { id, boot, incarnation } of named) {
      if (id === self) {
        this.#own.bump(boot, incarnation, now);
        continue;
      }
      // Two who meet the same claim need not both speak of it; and its observers had better look.
      this.#noticed.set(id, now);
      const member = table.get(id);
      if (member?.state === "alive" && table.mayAccuse(self, id, now)) this.#prober.investigate(id, now);
    }
  }

  /** Something came over a link from a member that we hold for down: it lives, and must say so itself. */
  remind(member: Member, now: Instant): void {
    const { links, out } = this.#context;
    const link = links.of(member.record.id);
    if (link === undefined || member.lapsed || now - link.remindedAt < BUMP_SPACING_MS) return;
    link.remindedAt = now;
    out.send(member.record.id, encodeClaims(packEntries([MemberTable.entryOf(member, now)])));
  }

  timeout(now: Instant): void {
    if (this.#noticeAt === undefined || this.#noticeAt > now) return;
    const { table, out } = this.#context;
    const named: Member["record"][] = [];
    for (const id of this.#pending) {
      this.#pending.delete(id);
      const member = table.get(id);
      if (member !== undefined && isThere(member.state)) named.push(member.record);
      if (named.length === MAX_NOTICE) break;
    }
    if (named.length > 0) out.broadcast(encodeNotice(packNamed(named)));
    this.#noticeAt = this.#pending.size > 0 ? now + NOTICE_DELAY_MS : undefined;
  }

  /** False when the member has been named lately, or too many wait to be. */
  #notice(id: PeerId, now: Instant): boolean {
    const last = this.#noticed.get(id);
    if (last !== undefined && now - last < NOTICE_SPACING_MS) return false;
    if (this.#pending.size >= MAX_PENDING_NOTICES) return false;
    this.#noticed.set(id, now);
    this.#pending.add(id);
    this.#noticeAt ??= now + NOTICE_DELAY_MS;
    return true;
  }
}

/** Whether an entry is of the record that we hold. */
function isSame({ record }: Member, entry: Entry): boolean {
  return record.boot === entry.boot && record.incarnation === entry.incarnation;
}
