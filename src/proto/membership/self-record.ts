import type { Instant } from "../machine.ts";
import type { TokenFacts } from "../signed.ts";
import { announce, type Context } from "./context.ts";
import type { MemberToken } from "./effects.ts";
import { BUMP_SPACING_MS } from "./limits.ts";
import { encodePayload } from "./messages.ts";
import { encodeRecord, type MemberProfile, type MemberRecord, type RecordDraft, readRecord } from "./record.ts";

/**
 * Our own record: the only one that we sign.
 *
 * Every change is a record of the next incarnation. One signature is asked for at a time; changes that come meanwhile go
 * into the next. A new incarnation without a change is a *bump*: the answer to somebody who holds us for down.
 */
export class SelfRecord {
  readonly #context: Context;
  readonly #boot: number;
  #profile: MemberProfile;
  #token: MemberToken;
  #status: "alive" | "left" = "alive";
  #incarnation = 0;
  /** What is signed: nothing yet, or the last record; with or without another on its way. */
  #signing: "no" | "yes" | "stale" = "no";
  #bumpedAt: Instant = Number.NEGATIVE_INFINITY;
  #bumpAt: Instant | undefined;
  #superseded = 0;

  constructor(context: Context, boot: number, profile: MemberProfile, token: MemberToken) {
    this.#context = context;
    this.#boot = boot;
    this.#profile = profile;
    this.#token = token;
  }

  get boot(): number {
    return this.#boot;
  }

  /** The incarnation of the last record that was signed. */
  get incarnation(): number {
    return this.#context.table.get(this.#context.self)?.record.incarnation ?? 0;
  }

  get hasLeft(): boolean {
    return this.#status === "left";
  }

  /** Asks for the first signature, unless the list that we began with has it. */
  begin(): void {
    const known = this.#context.table.get(this.#context.self)?.record;
    if (known?.boot === this.#boot) this.#incarnation = known.incarnation;
    else this.#sign();
  }

  update(profile: Partial<MemberProfile>, token: MemberToken | undefined): void {
    this.#profile = { ...this.#profile, ...profile };
    if (token !== undefined) this.#token = token;
    this.#next();
  }

  leave(): void {
    if (this.#status === "left") return;
    this.#status = "left";
    this.#next();
  }

  /** When a bump that came too soon after another is due. */
  deadline(): Instant | undefined {
    return this.#bumpAt;
  }

  timeout(now: Instant): void {
    if (this.#bumpAt === undefined || now < this.#bumpAt) return;
    this.#bumpAt = undefined;
    this.#bumpedAt = now;
    this.#next();
  }

  /** Somebody holds us for down under a record of this version: a newer one proves the contrary. */
  bump(boot: number, incarnation: number, now: Instant): void {
    if (boot !== this.#boot || incarnation !== this.incarnation || this.#signing !== "no") return;
    if (this.#status === "left") return;
    this.#bumpAt ??= Math.max(now, this.#bumpedAt + BUMP_SPACING_MS);
    this.timeout(now);
  }

  /** A record that carries our own signature and is newer than what we have signed. */
  met(record: MemberRecord, now: Instant): void {
    if (record.boot > this.#boot) {
      if (record.boot <= this.#superseded) return;
      this.#superseded = record.boot;
      this.#context.out.push({ type: "superseded", boot: record.boot });
    } else if (record.boot === this.#boot && record.incarnation >= this.#incarnation) {
      // A copy of us, or of our state, runs elsewhere. Signaling lets one of the two live; until then we are heard.
      this.#incarnation = record.incarnation;
      this.#bumpAt ??= Math.max(now, this.#bumpedAt + BUMP_SPACING_MS);
      this.timeout(now);
    }
  }

  /** Our record, signed: it is news. */
  signed(draft: RecordDraft, body: Uint8Array, signature: Uint8Array, facts: TokenFacts, now: Instant): void {
    const { table, links, out, self } = this.#context;
    const record = readRecord(body, signature);
    const stale = this.#signing === "stale";
    this.#signing = "no";
    if (record !== undefined) {
      const previous = table.get(self)?.state;
      table.put(record, facts, draft.status, now, now);
      announce(
        this.#context,
        draft.status === "left" ? "left" : previous === undefined ? "up" : "updated",
        self,
        previous,
        "record",
      );
      // Of a start, the first links tell by their exchanges: a thousand who start at once do not flood.
      if (previous !== undefined || links.size > 0) out.broadcast(encodePayload("record", record));
    }
    if (stale) this.#next();
  }

  #next(): void {
    if (this.#signing !== "no") {
      this.#signing = "stale";
      return;
    }
    // Whatever the reason for a new record, it is newer than what somebody holds for down.
    this.#bumpAt = undefined;
    this.#incarnation++;
    this.#sign();
  }

  #sign(): void {
    const { self, out } = this.#context;
    const draft: RecordDraft = {
      ...this.#profile,
      boot: this.#boot,
      incarnation: this.#incarnation,
      status: this.#status,
      token: this.#token.token,
    };
    const body = encodeRecord(self, draft);
    this.#signing = "yes";
    out.push({
      type: "sign",
      label: "starling/record/1",
      body,
      resume: { of: "own-record", draft, facts: this.#token.facts, body },
    });
  }
}
