import { base64url, fromBase64url } from "../base64.ts";
import type { Instant } from "../machine.ts";
import { type PeerId, parsePeerId, publicKeyOf } from "../peer-id.ts";
import type { Statement } from "../signed.ts";
import { encode } from "../wire/codec.ts";
import type { NodeIdentity } from "./crypto.ts";

/**
 * A member's word that another node key takes its place: how a node key is replaced. A PeerId is its key, so the heir is another
 * member; an issuer gives it a token on the terms of the one who names it, once for each, and revokes that one.
 *
 *     starling-heir-TOKEN:HEIR:TIME:SIGNATURE
 *
 * It is shown in the place of a join token, sealed for an issuer's desk, by the heir, which proves its own key there. The signature is by
 * the key that the token is bound to, over cluster, heir and time: who finds the words without the heir's key has nothing, and an heir
 * cannot be exchanged for another. The time bounds for how long they are worth something.
 */
const PREFIX = "starling-heir-";

/** How long the words count, ms, by the clocks of both: a few attempts at several issuers. */
export const HEIR_LIFE_MS = 600_000;

/** What the words say. Nothing is checked but their form. */
export interface HeirClaim {
  /** The member token of the one who names an heir; whose it is says its subject. */
  readonly token: string;
  readonly heir: PeerId;
  readonly at: Instant;
  readonly signature: Uint8Array;
}

/** Names `heir` in the place of `member`, whose token it is; the words. */
export function nameHeir(member: NodeIdentity, token: string, clusterId: string, heir: PeerId, now: Instant): string {
  const at = Math.floor(now);
  const signature = member.sign("starling/heir/1", bodyOf(clusterId, heir, at));
  return `${PREFIX}${token}:${heir}:${at}:${base64url(signature)}`;
}

/** What `credential` says; undefined when it is something else. Never throws. */
export function parseHeir(credential: string): HeirClaim | undefined {
  if (!credential.startsWith(PREFIX)) return undefined;
  const [token = "", name = "", time = "", proof = "", ...rest] = credential.slice(PREFIX.length).split(":");
  const heir = parsePeerId(name);
  const signature = fromBase64url(proof);
  if (heir === undefined || signature?.length !== 64 || !/^\d{1,15}$/.test(time) || rest.length > 0) return undefined;
  return { token, heir, at: Number(time), signature };
}

/** The statement to be checked: that `member` has said it. */
export function heirStatement({ heir, at, signature }: HeirClaim, clusterId: string, member: PeerId): Statement {
  return { signer: member, label: "starling/heir/1", body: bodyOf(clusterId, heir, at), signature };
}

function bodyOf(clusterId: string, heir: PeerId, at: Instant): Uint8Array {
  return encode([clusterId, publicKeyOf(heir), at]);
}
