import { below, fraction, type Random, shuffle } from "../../src/proto/random.ts";
import type { Typed } from "./node.ts";
import type { World } from "./world.ts";

/** One thing that goes wrong, or right again. */
export type Fault =
  | { readonly type: "crash" | "restart" | "freeze" | "thaw"; readonly node: number }
  /** By node, the group that it is in; groups cannot reach each other. */
  | { readonly type: "partition"; readonly groups: readonly number[] }
  /** What `from` sends to `to` is lost; the other way works. */
  | { readonly type: "block"; readonly from: number; readonly to: number }
  /** Partitions, blocks, deafness and losses of lines are over. */
  | { readonly type: "heal" }
  /** Share of all packets that is lost in addition. */
  | { readonly type: "loss"; readonly share: number }
  /** Share of the packets of one node that is lost in addition. */
  | { readonly type: "line-loss"; readonly node: number; readonly share: number }
  /** Share of what one node sends that is lost in addition. */
  | { readonly type: "egress-loss"; readonly node: number; readonly share: number }
  /** A node receives nothing; what it sends arrives. */
  | { readonly type: "deaf"; readonly node: number; readonly deaf: boolean }
  /** All latencies times this. */
  | { readonly type: "stretch"; readonly factor: number }
  | { readonly type: "signaling"; readonly up: boolean }
  /** Share of dials that fail. */
  | { readonly type: "dial-failure"; readonly share: number }
  /** One side closes the link, if there is one. */
  | { readonly type: "disconnect"; readonly a: number; readonly b: number };

export interface TimedFault {
  /** Since the begin of the schedule, ms. */
  readonly atMs: number;
  readonly fault: Fault;
}

const KINDS = [
  "crash",
  "reboot",
  "freeze",
  "partition",
  "one-way",
  "loss",
  "line-loss",
  "slow",
  "signaling",
  "dials",
  "resets",
] as const;

/** Drawn from a stream of their own: seeds that were kept before they existed draw the rest as they did. */
const LATER_KINDS = ["deaf", "egress-loss"] as const;

/** What a schedule may contain. `crash` is for good; a reboot ends, as does everything else. */
export type FaultKind = (typeof KINDS)[number] | (typeof LATER_KINDS)[number];

export interface ScheduleOptions {
  readonly nodes: number;
  /** How long faults happen, ms. */
  readonly forMs: number;
  /** What may happen; everything by default. */
  readonly kinds?: readonly FaultKind[];
  /** How long one fault lasts at most, ms. Default 40,000: longer than a link lives. */
  readonly longestMs?: number;
  /** Share of the nodes that may crash for good. Default 0.2. */
  readonly mortality?: number;
  /** Faults of one kind, crashes apart. Default 4. */
  readonly most?: number;
}

export interface Schedule {
  /** The mix that was drawn. */
  readonly kinds: readonly FaultKind[];
  /** In the order of their times. */
  readonly faults: readonly TimedFault[];
}

/**
 * Draws a schedule of faults, each with its own mix of kinds (swarm testing: Groce and others, 2012), because all kinds at
 * once hide what one kind alone would show. At its end everything works again, except for the nodes that crashed for good.
 */
export function drawSchedule(random: Random, options: ScheduleOptions): Schedule {
  const { nodes, forMs } = options;
  const faults: TimedFault[] = [];
  const kinds: FaultKind[] = [];
  const indices = Array.from({ length: nodes }, (_, index) => index);
  for (const [group, source] of [
    [KINDS, random],
    [LATER_KINDS, random.fork("later kinds")],
  ] as const) {
    const drawn = (group as readonly FaultKind[]).filter(
      (kind) => (options.kinds?.includes(kind) ?? true) && below(source, 2) === 0,
    );
    // A node that one fault crashes or freezes is left alone by the others.
    const untouched = shuffle(source, [...indices]);
    for (const kind of drawn) faults.push(...drawFaults(kind, untouched, source, options));
    kinds.push(...drawn);
  }
  faults.push({ atMs: forMs, fault: HEAL });
  // The sort is stable: faults of one instant stay in the order in which they were drawn.
  return { kinds, faults: faults.sort((a, b) => a.atMs - b.atMs) };
}

/** The faults of one kind. */
function drawFaults(kind: FaultKind, untouched: number[], random: Random, options: ScheduleOptions): TimedFault[] {
  const { nodes, forMs } = options;
  const faults: TimedFault[] = [];
  const longestMs = Math.min(options.longestMs ?? 40_000, forMs);
  const processes = kind === "crash" || kind === "reboot" || kind === "freeze";
  const most = kind === "crash" ? Math.max(1, Math.floor(nodes * (options.mortality ?? 0.2))) : (options.most ?? 4);
  const times = 1 + below(random, most);
  // Half of the time all crashes come at once, as when a power line fails.
  const together = kind === "crash" && below(random, 2) === 0 ? Math.floor(forMs * fraction(random)) : undefined;
  for (let time = 0; time < times; time++) {
    const node = processes ? untouched.pop() : below(random, nodes);
    if (node === undefined) break;
    const lastsMs = 1 + Math.floor(longestMs * fraction(random));
    const atMs = together ?? Math.floor((forMs - lastsMs) * fraction(random));
    const [begin, end] = drawFault(kind, node, nodes, random);
    faults.push({ atMs, fault: begin });
    if (end !== undefined) faults.push({ atMs: atMs + lastsMs, fault: end });
  }
  return faults;
}

const HEAL: Fault = { type: "heal" };

/** A fault of this kind at `node`, and what ends it. */
function drawFault(kind: FaultKind, node: number, nodes: number, random: Random): [Fault, Fault | undefined] {
  switch (kind) {
    case "crash":
      return [{ type: "crash", node }, undefined];
    case "reboot":
      return [
        { type: "crash", node },
        { type: "restart", node },
      ];
    case "freeze":
      return [
        { type: "freeze", node },
        { type: "thaw", node },
      ];
    case "partition": {
      const groups = 2 + below(random, 2);
      return [{ type: "partition", groups: Array.from({ length: nodes }, () => below(random, groups)) }, HEAL];
    }
    case "one-way":
      return [{ type: "block", from: node, to: below(random, nodes) }, HEAL];
    case "loss":
      return [
        { type: "loss", share: 0.1 * fraction(random) },
        { type: "loss", share: 0 },
      ];
    case "line-loss":
      return [
        { type: "line-loss", node, share: 0.5 * fraction(random) },
        { type: "line-loss", node, share: 0 },
      ];
    case "egress-loss":
      return [
        { type: "egress-loss", node, share: 0.8 * fraction(random) },
        { type: "egress-loss", node, share: 0 },
      ];
    case "deaf":
      return [
        { type: "deaf", node, deaf: true },
        { type: "deaf", node, deaf: false },
      ];
    case "slow":
      return [
        { type: "stretch", factor: 1 + 9 * fraction(random) },
        { type: "stretch", factor: 1 },
      ];
    case "signaling":
      return [
        { type: "signaling", up: false },
        { type: "signaling", up: true },
      ];
    case "dials":
      return [
        { type: "dial-failure", share: fraction(random) },
        { type: "dial-failure", share: 0 },
      ];
    case "resets":
      return [{ type: "disconnect", a: node, b: below(random, nodes) }, undefined];
  }
}

/** Lets `fault` happen in `world` now. */
export function applyFault<Command extends Typed, Event extends Typed>(
  world: World<Command, Event>,
  fault: Fault,
): void {
  switch (fault.type) {
    case "crash":
      world.crash(fault.node);
      break;
    case "restart":
      world.start(fault.node);
      break;
    case "freeze":
      world.freeze(fault.node);
      break;
    case "thaw":
      world.thaw(fault.node);
      break;
    case "partition":
      world.change((network) => network.setGroups(fault.groups));
      break;
    case "block":
      world.change((network) => network.setBlocked(fault.from, fault.to, true));
      break;
    case "heal":
      world.change((network) => network.heal());
      break;
    case "loss":
      world.change((network) => network.setAddedLoss(fault.share));
      break;
    case "line-loss":
      world.change((network) => network.setLineLoss(fault.node, fault.share));
      break;
    case "egress-loss":
      world.change((network) => network.setEgressLoss(fault.node, fault.share));
      break;
    case "deaf":
      world.change((network) => network.setDeaf(fault.node, fault.deaf));
      break;
    case "stretch":
      world.change((network) => network.setStretch(fault.factor));
      break;
    case "signaling":
      world.signaling.server.set(fault.up);
      break;
    case "dial-failure":
      world.dialFailure = fault.share;
      break;
    case "disconnect":
      world.disconnect(fault.a, fault.b);
      break;
  }
}

/** Has the world carry out `schedule`, beginning now. */
export function plan<Command extends Typed, Event extends Typed>(
  world: World<Command, Event>,
  schedule: Schedule,
): void {
  for (const { atMs, fault } of schedule.faults) world.after(atMs, () => applyFault(world, fault));
}
