import { RecentMap } from "../bounded.ts";
import type { Instant } from "../machine.ts";
import { MAX_ANNOUNCERS, MAX_MISSING, MAX_MISSING_PER_NEIGHBOUR, MISSING_FOR_MS } from "./limits.ts";
import type { Announcement, MessageId } from "./messages.ts";
import type { Neighbour } from "./neighbour.ts";

/** A neighbour that announced an id. */
export interface Announcer {
  readonly neighbour: Neighbour;
  /** When its copy would have been here, had it pushed instead of announcing. */
  readonly pushedAt: Instant;
}

/** An id that was announced and has not arrived. */
export interface Absence {
  readonly id: MessageId;
  readonly since: Instant;
  readonly announcers: Announcer[];
  /** How many of the announcers have been asked for it. */
  asked: number;
  /** When the next announcer is asked; infinite when none is left. */
  dueAt: Instant;
}

/** Old absences only cost memory, so they are looked for this often. */
const SWEEP_INTERVAL_MS = 1_000;

/**
 * The ids that were announced and have not arrived, who announced them, and when to ask whom.
 *
 * Bounded three ways: in all, per neighbour (so that one that announces what does not exist only fills its own share),
 * and in announcers per id. What falls out is left to the anti-entropy of the payload's owner.
 */
export class Missing {
  readonly #absences = new RecentMap<MessageId, Absence>(MAX_MISSING);
  /** Not later than the earliest `dueAt`: an arrival leaves it, and the next look corrects it. */
  #next: Instant = Number.POSITIVE_INFINITY;
  #sweepAt: Instant = 0;

  get size(): number {
    return this.#absences.size;
  }

  /** When to look for due ids; undefined when nothing is waited for. */
  deadline(): Instant | undefined {
    return this.#absences.size === 0 || this.#next === Number.POSITIVE_INFINITY ? undefined : this.#next;
  }

  /** Records that `neighbour` has `announcement.id`, which is to be asked for after `patienceMs` unless it arrives. */
  announced(neighbour: Neighbour, announcement: Announcement, patienceMs: number, now: Instant): void {
    if (neighbour.owed >= MAX_MISSING_PER_NEIGHBOUR) return;
    const { id, ageMs } = announcement;
    const known = this.#absences.get(id);
    if (known === undefined) {
      const announcers = [{ neighbour, pushedAt: now - ageMs }];
      neighbour.owed++;
      this.#makeRoom(now);
      this.#absences.set(id, { id, since: now, announcers, asked: 0, dueAt: now + patienceMs });
      this.#dueBy(now + patienceMs);
      return;
    }
    for (const announcer of known.announcers) if (announcer.neighbour === neighbour) return;
    if (known.announcers.length >= MAX_ANNOUNCERS && !dropDeadAnnouncer(known)) return;
    known.announcers.push({ neighbour, pushedAt: now - ageMs });
    neighbour.owed++;
    // All the others have been asked in vain: there is nothing to be patient about.
    if (known.dueAt === Number.POSITIVE_INFINITY) {
      known.dueAt = now;
      this.#dueBy(now);
    }
  }

  /** The id has arrived (or was published here): returns what was known of its absence. */
  arrived(id: MessageId): Absence | undefined {
    const absence = this.#absences.get(id);
    if (absence !== undefined) this.#forget(absence);
    return absence;
  }

  /** The announcers to ask now, each with the ids to ask it for. */
  due(now: Instant): Map<Neighbour, MessageId[]> {
    const asks = new Map<Neighbour, MessageId[]>();
    if (now < this.#next) return asks;
    this.#next = Number.POSITIVE_INFINITY;
    for (const [, absence] of this.#absences.entries()) {
      if (absence.dueAt <= now) {
        const announcer = nextAnnouncer(absence);
        if (announcer === undefined) {
          absence.dueAt = Number.POSITIVE_INFINITY;
          continue;
        }
        absence.dueAt = now + answerTimeMs(announcer.neighbour);
        const ids = asks.get(announcer.neighbour);
        if (ids === undefined) asks.set(announcer.neighbour, [absence.id]);
        else ids.push(absence.id);
      }
      this.#dueBy(absence.dueAt);
    }
    return asks;
  }

  #dueBy(at: Instant): void {
    if (at < this.#next) this.#next = at;
  }

  #makeRoom(now: Instant): void {
    if (this.#absences.size < MAX_MISSING && now < this.#sweepAt) return;
    this.#sweepAt = now + SWEEP_INTERVAL_MS;
    for (const [, oldest] of this.#absences.entries()) {
      if (this.#absences.size < MAX_MISSING && now - oldest.since < MISSING_FOR_MS) return;
      this.#forget(oldest);
    }
  }

  #forget(absence: Absence): void {
    this.#absences.delete(absence.id);
    for (const announcer of absence.announcers) announcer.neighbour.owed--;
  }
}

function nextAnnouncer(absence: Absence): Announcer | undefined {
  while (absence.asked < absence.announcers.length) {
    const announcer = absence.announcers[absence.asked++] as Announcer;
    if (announcer.neighbour.up) return announcer;
  }
  return undefined;
}

/** Makes room for an announcer by forgetting one whose link is gone; false when all are up. */
function dropDeadAnnouncer(absence: Absence): boolean {
  const dead = absence.announcers.findIndex((announcer) => !announcer.neighbour.up);
  if (dead < 0) return false;
  absence.announcers.splice(dead, 1);
  if (dead < absence.asked) absence.asked--;
  return true;
}

/** How long a graft may take: two round trips for the queues on the way, 100 ms for the answerer. */
function answerTimeMs(neighbour: Neighbour): number {
  return 100 + 2 * neighbour.rttMs;
}
