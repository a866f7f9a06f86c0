import type { NetworkOptions } from "./network.ts";
import type { MessageInput, NodeFactory, Typed } from "./node.ts";

export interface WorldOptions<Command extends Typed, Event extends Typed> {
  /** How many nodes there are; none runs before `World.start`. */
  readonly nodes: number;
  readonly seed: number;
  readonly create: NodeFactory<Command, Event>;
  /** Sees every output that is not for the world: events and faults of the mesh. */
  readonly observe?: (index: number, event: Event, now: number) => void;
  /** Sees every message that is delivered, for counting. */
  readonly tap?: (message: MessageInput, to: number) => void;
  readonly network?: NetworkOptions;
  /** Whether there is a signaling server from the start. Default true. */
  readonly server?: boolean;
  /** Clocks of nodes differ from the world's by up to this when the world begins, ms. Default 0. */
  readonly clockSkewMs?: number;
  /** Clocks of nodes run faster or slower than the world's by up to this, constant per node, millionths. Default 0. */
  readonly clockDriftPpm?: number;
}

/** What has happened so far. */
export interface WorldStats {
  /** Inputs given to nodes, all kinds. */
  events: number;
  /** Messages that links have delivered, and what they took on the links with their frames. */
  messages: number;
  bytes: number;
  timeouts: number;
  /** Dials that nodes have begun. */
  dials: number;
  /** Statements and tokens that did not hold. */
  forgeries: number;
}
