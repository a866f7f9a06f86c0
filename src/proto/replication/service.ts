import { earlier } from "../deadlines.ts";
import type { Instant } from "../machine.ts";
import { AWAY_PATIENCE_MS, SERVED_STEP_MS } from "./limits.ts";

/**
 * Whether this replica knows what has been deleted, and what to do where it does not.
 *
 * A deletion is remembered for its retention. Who was not in step with others for nearly as long (7/8 of it) has a *gap*: what
 * was deleted meanwhile may be forgotten everywhere, and is still here. Each replica tells its peers its *standing*: since when
 * it has been in service without a gap, and from when on its own gap is, if it has one.
 *
 * - A replica with a gap *follows* a peer that was in service all through it: it takes what it lacks, and parts with what
 *   the peer does not have and is older than the retention. What is younger stays and spreads: whatever has deleted it is
 *   remembered. Until then nobody takes anything of it by anti-entropy.
 * - A replica that meets nobody who was in service, a minute long, concludes that all were away. It *resumes* with what it
 *   has, merges with others that resume, and forgets no deletion before one retention from then on: for deletions the outage
 *   has taken no time. Should one turn up who was in service all the same, it still follows it.
 * - A replica without a past is in service since its birth, so nobody with a gap follows it; from whom it has got
 *   everything it inherits the standing.
 *
 * It believes what peers say of their standing: a member that lies makes one that was away part with values that are older than the
 * retention and nowhere else. What was written here in the gap is set aside and not lost.
 */

/** What a replica says of itself. */
export interface Standing {
  readonly since: Instant;
  /** Undefined: no gap. */
  readonly gapFrom: Instant | undefined;
  /** It has a gap and waits for somebody to follow. */
  readonly isAway: boolean;
}

/** How two replicas exchange: as equals, one after the other, or not yet. */
export type Relation = "equals" | "we-follow" | "they-follow" | "wait";

/** What outlives the process. */
export interface ServiceRecord {
  readonly servedAt: Instant;
  readonly since: Instant;
  readonly gapFrom: Instant | undefined;
  readonly heldUntil: Instant;
}

/** What the rest of the core does for it. */
export interface ServiceOwner {
  /** The shortest time for which deletions are remembered in any bucket, ms. */
  readonly retentionMs: () => number;
  /** Keeps all deletions until then, however old they are. */
  readonly hold: (until: Instant) => void;
  /** The standing has changed: peers are to be told, and it is to be stored. */
  readonly changed: (now: Instant) => void;
  /** It is to be stored again. */
  readonly touched: () => void;
  /** Whether anybody is linked. */
  readonly isLinked: () => boolean;
  /** Whether no other member is known, not even as down. */
  readonly isAlone: () => boolean;
  /** All were away, as it seems. */
  readonly resumed: (gapFrom: Instant) => void;
}

/** This replica's standing. */
export class Service {
  readonly #owner: ServiceOwner;
  #servedAt: Instant | undefined;
  #storedAt: Instant = 0;
  #since: Instant | undefined;
  #gapFrom: Instant | undefined;
  #heldUntil: Instant = 0;
  #isAway = false;
  #checkAt: Instant | undefined;
  #patientUntil: Instant | undefined;

  /** @param record what an earlier run has stored; undefined: there was none. */
  constructor(owner: ServiceOwner, record: ServiceRecord | undefined) {
    this.#owner = owner;
    if (record === undefined) return;
    this.#servedAt = record.servedAt;
    this.#since = record.since;
    this.#gapFrom = record.gapFrom;
    this.#heldUntil = record.heldUntil;
    if (record.heldUntil > 0) owner.hold(record.heldUntil);
  }

  /** Takes the first look; before anything else. */
  begin(now: Instant): void {
    if (this.#checkAt !== undefined) return;
    this.#servedAt ??= now;
    this.#since ??= now;
    this.#storedAt = now;
    this.#look(now);
  }

  get standing(): Standing {
    return { since: this.#since ?? 0, gapFrom: this.#gapFrom, isAway: this.#isAway };
  }

  get record(): ServiceRecord {
    const { since, gapFrom } = this.standing;
    return { servedAt: this.#servedAt ?? 0, since, gapFrom, heldUntil: this.#heldUntil };
  }

  /** How to exchange with a peer of that standing. */
  relation(peer: Standing): Relation {
    if (follows(this.standing, peer)) return "we-follow";
    if (follows(peer, this.standing)) return "they-follow";
    return this.#isAway || peer.isAway ? "wait" : "equals";
  }

  /** A peer has said what it is. */
  heard(peer: Standing, now: Instant): void {
    // Others have concluded already that all were away.
    if (this.#isAway && !peer.isAway && peer.gapFrom !== undefined) this.#resume(now);
  }

  /** An exchange with a peer of that standing has left nothing out. */
  served(peer: Standing, now: Instant): void {
    const relation = this.relation(peer);
    if (relation === "wait") return;
    this.#servedAt = now;
    if (relation === "we-follow") {
      this.#gapFrom = undefined;
      this.#isAway = false;
    }
    const isOlder = this.#gapFrom === undefined && peer.gapFrom === undefined && peer.since < (this.#since ?? now);
    if (isOlder) this.#since = peer.since;
    if (isOlder || relation === "we-follow") this.#owner.changed(now);
    else if (now - this.#storedAt >= SERVED_STEP_MS) this.#owner.touched();
  }

  /** The record has been stored. */
  stored(now: Instant): void {
    this.#storedAt = now;
  }

  deadline(): Instant | undefined {
    return earlier(this.#checkAt, this.#patientUntil);
  }

  timeout(now: Instant): void {
    if (this.#patientUntil !== undefined && this.#patientUntil <= now) {
      this.#patientUntil = undefined;
      if (this.#isAway && (this.#owner.isLinked() || this.#owner.isAlone())) this.#resume(now);
      else if (this.#isAway) this.#patientUntil = now + AWAY_PATIENCE_MS;
    }
    if (this.#checkAt !== undefined && this.#checkAt <= now) this.#check(now);
  }

  #check(now: Instant): void {
    // Whoever is the only one there is misses nothing.
    if (this.#gapFrom === undefined && this.#owner.isAlone()) this.#servedAt = now;
    this.#look(now);
  }

  #look(now: Instant): void {
    this.#checkAt = now + SERVED_STEP_MS;
    const retention = this.#owner.retentionMs();
    const servedAt = this.#servedAt ?? now;
    if (!this.#isAway && now - servedAt > (retention / 8) * 7) {
      this.#gapFrom ??= servedAt;
      this.#isAway = true;
      this.#patientUntil = now + AWAY_PATIENCE_MS;
      this.#owner.changed(now);
    }
    if (this.#isAway) this.#hold(now + retention);
    else if (this.#gapFrom !== undefined && this.#heldUntil <= now) {
      this.#gapFrom = undefined;
      this.#owner.changed(now);
    }
  }

  #resume(now: Instant): void {
    this.#isAway = false;
    this.#patientUntil = undefined;
    this.#since = now;
    this.#servedAt = now;
    this.#hold(now + this.#owner.retentionMs());
    this.#owner.resumed(this.#gapFrom ?? now);
    this.#owner.changed(now);
  }

  #hold(until: Instant): void {
    this.#heldUntil = Math.floor(until);
    this.#owner.hold(this.#heldUntil);
  }
}

/** Whether `peer` was in service all through the gap of `one`. */
function follows(one: Standing, peer: Standing): boolean {
  return one.gapFrom !== undefined && peer.gapFrom === undefined && peer.since <= one.gapFrom;
}
