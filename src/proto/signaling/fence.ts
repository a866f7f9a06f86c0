import { assert } from "../assert.ts";
import type { PeerId } from "../peer-id.ts";
import type { Verify } from "../signed.ts";
import type { AgentRun } from "./client-events.ts";
import { clientLimits } from "./limits.ts";
import { loginStatement } from "./login.ts";
import type { LoginProof } from "./messages.ts";

/** What a client makes of the word that another session of its key has ended its own. */
export interface Fence {
  readonly detail: string;
  /** How long to stay away, ms. */
  readonly waitMs: number;
  /** What is to be checked before the agent stops for good; absent where it is its own run, which changes nothing but the wait. */
  readonly verify?: Verify<"fenced">;
}

/** Judges the login that is said to have ended our session; undefined for one from before we began, which says nothing. */
export function judgeFence(
  rival: LoginProof,
  { cluster, peer, run }: { readonly cluster: string; readonly peer: PeerId; readonly run: AgentRun },
): Fence | undefined {
  assert(rival.instance.length === run.instance.length, "all instances have one length");
  if (rival.instance.every((byte, index) => byte === run.instance[index])) {
    const detail = "another connection of this agent took our place: is one server listed twice?";
    return { detail, waitMs: clientLimits.duplicateMs };
  }
  if (rival.at < run.startedAt) return undefined;
  const detail = "another agent with this identity took our place";
  const statements = [loginStatement(cluster, peer, rival)];
  return {
    detail,
    waitMs: clientLimits.fencedMs,
    verify: { type: "verify", from: peer, statements, resume: "fenced" },
  };
}
