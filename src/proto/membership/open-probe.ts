import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
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
