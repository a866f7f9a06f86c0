import type { MeshInput } from "../proto/mesh.ts";
import type { DialFailure } from "../proto/negotiation/outcome.ts";
import type { PeerId } from "../proto/peer-id.ts";

/** What a dial that came to nothing says to the mesh; undefined: nothing, for we ended it ourselves. */
export function dialOutcome(peer: PeerId, { stage, reason }: DialFailure): MeshInput | undefined {
  if (reason === "aborted" || reason === "closing") return undefined;
  if (reason === "peer-busy" || reason === "peer-refused" || stage === "admission")
    return { type: "dial-refused", peer };
  return { type: "dial-failed", peer, reason: stage === "signaling" ? "absent" : "no-path" };
}
