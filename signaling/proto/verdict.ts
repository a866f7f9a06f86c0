import type { PeerId } from "../../src/proto/peer-id.ts";
import { signalingLimits } from "../../src/proto/signaling/limits.ts";
import type { Admission, Refusal, Renewal } from "./events.ts";

/** The authority is trusted; its answers are checked all the same for what would break a session. */

const MISMATCH: Refusal = { ok: false, code: "token-mismatch", detail: "the token belongs to another key" };

const UNFIT: Refusal = {
  ok: false,
  code: "unavailable",
  detail: "the authority's answer is too large for its message",
};

/** The authority's answer, unless it names somebody else or does not fit into a message that agents accept. */
export function checked<Yes extends Admission | Renewal>(answer: Yes | Refusal, peer: PeerId): Yes | Refusal {
  if (!answer.ok) return answer;
  if (answer.subject !== peer) return MISMATCH;
  const token = "token" in answer ? answer.token : "";
  const issuersBytes = "issuers" in answer ? answer.issuers.length : 0;
  const fits = token.length <= signalingLimits.tokenLength && issuersBytes <= signalingLimits.issuersBytes;
  return fits ? answer : UNFIT;
}
