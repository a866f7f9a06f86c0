import type { PeerId } from "../../src/proto/peer-id.ts";
import type { Clock } from "./clock.ts";
import type { End } from "./links.ts";
import type { SimInput, SimNode, Typed } from "./node.ts";

/** `idle` before the first start; `crashed` also after an orderly stop. */
export type MemberState = "idle" | "running" | "frozen" | "crashed";

/** A node's place in the world: what stays when its process ends, and the process while it runs. */
export interface Member<Command extends Typed, Event extends Typed> {
  readonly index: number;
  readonly id: PeerId;
  readonly clock: Clock;
  readonly disk: Map<string, unknown>;
  /** Its side of every link that it believes to be up. */
  readonly ends: Map<PeerId, End>;
  readonly dialing: Set<PeerId>;
  state: MemberState;
  boot: number;
  node: SimNode<Command, Event> | undefined;
  /** What came while it was frozen. */
  inbox: (SimInput | Command)[];
  /** Messages handed to links in all its lives. */
  messagesSent: number;
  /** How many time-outs it has had at one instant. */
  timeoutAt: number;
  timeoutsAtOnce: number;
}

export function newMember<Command extends Typed, Event extends Typed>(
  index: number,
  id: PeerId,
  clock: Clock,
): Member<Command, Event> {
  return {
    index,
    id,
    clock,
    disk: new Map(),
    ends: new Map(),
    dialing: new Set(),
    state: "idle",
    boot: 0,
    node: undefined,
    inbox: [],
    messagesSent: 0,
    timeoutAt: 0,
    timeoutsAtOnce: 0,
  };
}
