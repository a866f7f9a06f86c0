import { StarlingError } from "../errors.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { SignalingStatus } from "../status.ts";
import { issuerAdvice } from "./ask-desk.ts";

/** How long a first join may take unless told otherwise, ms: a server that restarts is back by then. */
export const FIRST_JOIN_MS = 60_000;

/** Why a first join has come to nothing in time, as the signaling servers stand. */
export function joinFailure(servers: readonly SignalingStatus[], lacksIssuer: boolean, id: PeerId): StarlingError {
  const heard = servers.map(({ url, lastError }) => `${url}: ${lastError ?? "no answer"}`).join("; ");
  if (lacksIssuer) {
    return new StarlingError("issuer-unreachable", `no issuer could be reached for the token; ${issuerAdvice(id)}`);
  }
  if (servers.length === 0) {
    const message = "no signaling server is known; name one with --signaling, or ask for an invite that does";
    return new StarlingError("signaling-unreachable", message);
  }
  const message = `no signaling server could be reached in time (${heard}); start it, or name another with --signaling`;
  return new StarlingError("signaling-unreachable", message);
}
