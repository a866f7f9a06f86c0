import { type Instant, NOTHING } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { MAX_PROBES } from "./limits.ts";
import type { Link } from "./links.ts";
import type { Verdict } from "./probe-frames.ts";

/** A probe that is under way; its fields belong to the prober. */
export interface Probe {
  readonly target: PeerId;
  stage: "direct" | "urgent" | "errand" | "wide";
  readonly link: Link | undefined;
  readonly startedAt: Instant;
  readonly helpers: Helper[];
  /** Those for whom we probe. */
  readonly askers: { readonly peer: PeerId; readonly sequence: number }[];
  sequence: number;
  sentAt: Instant;
  dueAt: Instant;
  /** Wide: when our own second probe is overdue. */
  directUntil: Instant;
  /** Wide: the sequence of the routed probe; -1: none. */
  routedSequence: number;
  /** Wide: when the probe over the link is sent again; Infinity: it is not. */
  repeatAt: Instant;
  /** How often it has been sent again. */
  repeats: number;
  /** Wide: it has been given the time of a stall. */
  extended: boolean;
}

interface Helper {
  readonly peer: PeerId;
  readonly sequence: number;
  verdict: Verdict | "none";
}

/** A probe that nobody helps with or waits for yet. */
export function newProbe(
  target: PeerId,
  stage: Probe["stage"],
  link: Link | undefined,
  startedAt: Instant,
  dueAt: Instant,
): Probe {
  return {
    target,
    stage,
    link,
    startedAt,
    helpers: [],
    askers: [],
    sequence: 0,
    sentAt: 0,
    dueAt,
    directUntil: 0,
    routedSequence: -1,
    repeatAt: Number.POSITIVE_INFINITY,
    repeats: 0,
    extended: false,
  };
}

/**
 * The probes under way, one for each target at the most, in the order in which they began. At nearly all times there is one or none,
 * so they are a list: a map is rebuilt each time that it falls empty, which is after each answer.
 */
export class OpenProbes {
  #probes: Probe[] = [];

  get isFull(): boolean {
    return this.#probes.length >= MAX_PROBES;
  }

  of(target: PeerId): Probe | undefined {
    for (const probe of this.#probes) if (probe.target === target) return probe;
    return undefined;
  }

  all(): readonly Probe[] {
    return this.#probes;
  }

  /** In the place of the one for the same target, if there is one. */
  put(probe: Probe): void {
    const old = this.of(probe.target);
    if (old === undefined) this.#probes.push(probe);
    else this.#probes[this.#probes.indexOf(old)] = probe;
  }

  remove(target: PeerId): void {
    let kept = 0;
    for (const probe of this.#probes) if (probe.target !== target) this.#probes[kept++] = probe;
    while (this.#probes.length > kept) this.#probes.pop();
  }

  clear(): void {
    this.#probes = [];
  }

  /** When one of them is overdue or to be sent again; Infinity: never. */
  nextAt(): Instant {
    let next = Number.POSITIVE_INFINITY;
    for (const { dueAt, repeatAt } of this.#probes) next = Math.min(next, dueAt, repeatAt);
    return next;
  }

  /** Those for which it is time. */
  due(now: Instant): readonly Probe[] {
    if (this.nextAt() > now) return NOTHING;
    return this.#probes.filter(({ dueAt, repeatAt }) => dueAt <= now || repeatAt <= now);
  }
}
