import { RecentMap } from "../bounded.ts";
import type { Instant } from "../machine.ts";
import { Outputs } from "../outputs.ts";
import type { PeerId } from "../peer-id.ts";
import type { Random } from "../random.ts";
import { Lane } from "../streams/lanes.ts";
import { type Rate, TokenBucket } from "../token-bucket.ts";
import type { MemberEvent, MembershipFault, MembershipOutput, Source } from "./effects.ts";
import { MAX_METERED } from "./limits.ts";
import type { Links } from "./links.ts";
import type { LocalHealth } from "./local-health.ts";
import type { RecordShelf } from "./record.ts";
import type { MemberState, MemberTable } from "./table.ts";

/** What the parts of the membership machine share. */
export interface Context {
  readonly self: PeerId;
  readonly random: Random;
  readonly table: MemberTable;
  readonly links: Links;
  readonly health: LocalHealth;
  readonly shelf: RecordShelf;
  readonly out: Outbox;
  /** Whether `route` outputs are carried out. */
  readonly routing: boolean;
}

/** The outputs of one input, in order, and the counts of all. */
export class Outbox {
  readonly #items = new Outputs<MembershipOutput>();
  readonly counts = { frames: 0, broadcasts: 0, checks: 0, faults: new Map<MembershipFault, number>() };

  push(output: MembershipOutput): void {
    if (output.type === "verify") this.counts.checks++;
    this.#items.push(output);
  }

  probe(peer: PeerId, bytes: Uint8Array): void {
    this.counts.frames++;
    this.#items.push({ type: "send", peer, lane: Lane.probe, bytes });
  }

  send(peer: PeerId, bytes: Uint8Array): void {
    this.counts.frames++;
    this.#items.push({ type: "send", peer, lane: Lane.gossip, bytes });
  }

  route(to: PeerId, bytes: Uint8Array): void {
    this.counts.frames++;
    this.#items.push({ type: "route", to, bytes });
  }

  broadcast(bytes: Uint8Array): void {
    this.counts.broadcasts++;
    this.#items.push({ type: "broadcast", bytes });
  }

  /** Answers for a broadcast payload; nothing for what came otherwise. */
  verdict(source: Source, verdict: "accept" | "reject" | "ignore"): void {
    if (source.via === "broadcast") this.#items.push({ type: "verdict", id: source.id, verdict });
  }

  fault(fault: MembershipFault, peer?: PeerId): void {
    this.counts.faults.set(fault, (this.counts.faults.get(fault) ?? 0) + 1);
    this.#items.push(peer === undefined ? { type: "fault", fault } : { type: "fault", peer, fault });
  }

  take(): readonly MembershipOutput[] {
    return this.#items.take();
  }
}

/** Changes a member's state and says so. Nothing happens when it is in that state. */
export function move(
  context: Context,
  id: PeerId,
  state: MemberState,
  cause: MemberEvent["cause"],
  now: Instant,
): void {
  const member = context.table.get(id);
  if (member === undefined || member.state === state) return;
  const previous = member.state;
  context.table.move(id, state, now);
  announce(context, state === "alive" ? "up" : state, id, previous, cause);
}

/** Says that a member has changed. */
export function announce(
  context: Context,
  event: MemberEvent["event"],
  peer: PeerId,
  previous: MemberState | undefined,
  cause: MemberEvent["cause"],
): void {
  const member = context.table.get(peer);
  if (member !== undefined) context.out.push({ type: "event", event, peer, record: member.record, previous, cause });
}

/** One rate for each of many peers; those heard of longest ago are forgotten and start afresh. */
export class Meter {
  readonly #rate: Rate;
  readonly #buckets = new RecentMap<PeerId, TokenBucket>(MAX_METERED);

  constructor(rate: Rate) {
    this.#rate = rate;
  }

  /** Whether `peer` may spend one more. */
  admits(peer: PeerId, now: Instant): boolean {
    let bucket = this.#buckets.get(peer);
    if (bucket === undefined) {
      bucket = new TokenBucket(this.#rate, now);
      this.#buckets.set(peer, bucket);
    }
    return bucket.spend(1, this.#rate, now) >= 0;
  }
}
