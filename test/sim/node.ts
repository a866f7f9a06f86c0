import type { Instant } from "../../src/proto/machine.ts";
import type { PeerId } from "../../src/proto/peer-id.ts";
import type { Random } from "../../src/proto/random.ts";
import type { Sign, Signature, Verified, Verify } from "../../src/proto/signed.ts";
import type { Lane } from "../../src/proto/streams/lanes.ts";

/**
 * What the world and a node say to each other. They are the inputs and outputs of the agent's mesh machine, so the same
 * machine runs in both; a node may have further inputs (`Command`) and outputs (`Event`) that the world only passes on.
 */

/** Why a link ended, as its side sees it. */
export type LinkDownReason =
  /** This side dropped it. */
  | "dropped"
  /** The other side closed it, and its notice arrived. */
  | "closed"
  /** Nothing got through for as long as a connection lives. */
  | "stalled"
  /** More was queued than a link may hold. */
  | "overflow"
  /** The peer came with a newer link. */
  | "replaced";

export interface MessageInput {
  readonly type: "message";
  readonly peer: PeerId;
  readonly lane: Lane;
  readonly bytes: Uint8Array;
}

/** What the world tells a node. */
export type SimInput =
  | { readonly type: "link-up"; readonly peer: PeerId; readonly rttMs: number }
  | {
      readonly type: "link-down";
      readonly peer: PeerId;
      readonly reason: LinkDownReason;
      /** One side ended it in good order. */
      readonly deliberate: boolean;
    }
  /** A dial ended without a link. `no-path`: both tried in vain; `absent`: the peer never answered. */
  | { readonly type: "dial-failed"; readonly peer: PeerId; readonly reason: "no-path" | "absent" }
  | MessageInput
  /** `peer` wishes that we dial it. */
  | { readonly type: "asked"; readonly peer: PeerId }
  /** What a few members presented of themselves: after each login at the signaling server, and the answer to `introduce`. */
  | { readonly type: "introduced"; readonly standing: "present"; readonly records: readonly Uint8Array[] }
  | Verified<unknown>
  /** The answer to `verify` when something in it does not hold. */
  | { readonly type: "rejected"; readonly from: PeerId; readonly resume: unknown }
  | Signature<unknown>
  | { readonly type: "timeout" };

/** What a node asks of the world. */
export type SimOutput =
  | { readonly type: "send"; readonly peer: PeerId; readonly lane: Lane; readonly bytes: Uint8Array }
  /** Make a link to `peer`; answered by `link-up` or `dial-failed`; nothing follows when there is a link or a dial. */
  | { readonly type: "dial"; readonly peer: PeerId }
  /** Have `peer` dial us. */
  | { readonly type: "ask"; readonly peer: PeerId }
  /** End the link to `peer` at once. */
  | { readonly type: "drop"; readonly peer: PeerId; readonly reason: string }
  /** What the signaling server may tell others of us; kept, and presented again after each login. */
  | { readonly type: "present"; readonly record: Uint8Array }
  /** Ask the signaling server for some members. */
  | { readonly type: "introduce" }
  /** Find out whether it is there, and ask for some; `unlessReady`: only if it does not seem to be. */
  | { readonly type: "nudge"; readonly unlessReady: boolean }
  | Verify<unknown>
  | Sign<unknown>;

/** Everything that has a `type`: the least that commands and events are. */
export interface Typed {
  readonly type: string;
}

/** A node: a machine over the world's inputs and outputs and its own. */
export interface SimNode<Command extends Typed = never, Event extends Typed = never> {
  handle(input: SimInput | Command, now: Instant): readonly (SimOutput | Event)[];
  deadline(): Instant | undefined;
}

/** What a node is made of. */
export interface NodeContext {
  readonly index: number;
  readonly id: PeerId;
  /** 1 for the first start, one more for each restart. */
  readonly boot: number;
  /** Its own stream; another for each boot. */
  readonly random: Random;
  /** The node's clock at its start. */
  readonly now: Instant;
  /** What outlives a crash: empty at the first start. */
  readonly disk: Map<string, unknown>;
}

/** Makes the machine of a node, at its start and at every restart. */
export type NodeFactory<Command extends Typed, Event extends Typed> = (context: NodeContext) => SimNode<Command, Event>;
