import { Membership } from "../../src/proto/membership/membership.ts";
import { encodePayload } from "../../src/proto/membership/messages.ts";
import { encodeRecord, type RecordShelf } from "../../src/proto/membership/record.ts";
import type { PeerId } from "../../src/proto/peer-id.ts";
import { SeededRandom } from "../../src/proto/random.ts";
import { EPOCH_MS } from "./epoch.ts";
import { profileOf, tokenOf } from "./mesh-node.ts";
import type { FakeSigner } from "./signer.ts";

/** How long everybody has known everybody when the world begins, ms: beyond all that is treated as young. */
const ACQUAINTED_MS = 3_600_000;

/**
 * A membership that knows everybody, as if all had been there for an hour: what a world of thousands begins with, when it
 * is not about how they find each other. It is told of each record as any member is, once instead of once for each node.
 */
export function founder(
  members: readonly { readonly index: number; readonly id: PeerId }[],
  signer: FakeSigner,
  shelf: RecordShelf,
): Membership {
  const now = EPOCH_MS - ACQUAINTED_MS;
  const records = members.map(({ index, id }) => {
    const { token } = tokenOf(id, signer);
    const body = encodeRecord(id, { ...profileOf(id, index, 1), boot: 1, incarnation: 0, status: "alive", token });
    return encodePayload("record", { body, signature: signer.sign(id, "starling/record/1", body) });
  });
  const self = (members[0] as { readonly id: PeerId }).id;
  const token = tokenOf(self, signer);
  const random = new SeededRandom(0);
  const membership = new Membership({ self, boot: 1, profile: profileOf(self, 0, 1), token, random, shelf }, now);
  const outputs = [
    ...membership.handle({ type: "introduced", standing: "present", records }, now),
    ...membership.handle({ type: "timeout" }, now),
  ];
  for (const output of outputs) {
    if (output.type === "sign") {
      const signature = signer.sign(self, output.label, output.body);
      membership.handle({ type: "signed", signature, resume: output.resume }, now);
    } else if (output.type === "verify" && output.token !== undefined) {
      const facts = signer.facts(output.token, now);
      if (facts !== undefined) membership.handle({ type: "verified", resume: output.resume, token: facts }, now);
    }
  }
  return membership;
}
