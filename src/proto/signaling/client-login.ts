import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Sign } from "../signed.ts";
import type { AgentRun, Attempt, Challenge, LoginResume } from "./client-events.ts";
import { loginBody } from "./login.ts";

/** The effect that signs an agent's answer to `challenge`. */
export function signLogin(
  { cluster, peer, run }: { readonly cluster: string; readonly peer: PeerId; readonly run: AgentRun },
  { nonce, serverName }: Challenge,
  attempt: Attempt,
  now: Instant,
): Sign<LoginResume> {
  const at = Math.round(now);
  const body = loginBody(cluster, peer, { nonce, serverName, instance: run.instance, at });
  return { type: "sign", label: "starling/login/1", body, resume: { attempt, at } };
}
