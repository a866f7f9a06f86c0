import type { RevocationTarget } from "../proto/decrees/revocation.ts";
import type { AgentCore } from "./core.ts";

/** What an agent counts, for benchmarks and metrics. */
export interface AgentCounters {
  /** Frames handed to the links that stand. */
  readonly framesSent: number;
  /** Misbehaviour of others since the start, by name. */
  readonly faults: Readonly<Record<string, number>>;
  /** Bytes that were given to links and are not acknowledged: queued, or on their way. */
  readonly waitingBytes: number;
  /** Revocations in force, by what they are of. */
  readonly revocations: Readonly<Record<RevocationTarget["of"], number>>;
  /** Bytes carried for other members since the start: over links, and by the relay in this agent. */
  readonly relayedBytes: { readonly routed: number; readonly turn: number };
  /** How often a member has offered another audit log than the one whose copy is kept here. */
  readonly auditForks: number;
}

/** Counts at this instant. */
export function countersOf({ connections, relayed, faults, prepared, government }: AgentCore): AgentCounters {
  let framesSent = 0;
  let waitingBytes = 0;
  for (const link of connections.links()) {
    framesSent += link.txFrames;
    waitingBytes += link.waitingBytes;
  }
  const revocations = prepared.trust.decrees.countRevocations();
  const turn = prepared.relaying?.server.counters();
  const relayedBytes = { routed: relayed.carriedBytes, turn: turn ? turn.bytesToPeers + turn.bytesToClients : 0 };
  const auditForks = government.keeper?.forks ?? 0;
  return { framesSent, faults: faults.counts(), waitingBytes, revocations, relayedBytes, auditForks };
}
