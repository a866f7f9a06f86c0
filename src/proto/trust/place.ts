import { concat, utf8 } from "../bytes.ts";
import { hmac, sha256 } from "../hash.ts";
import { type PeerId, publicKeyOf } from "../peer-id.ts";

/**
 * A member's *place*: 16 bytes that decide where it stands in the rings, together with its PeerId.
 *
 * HMAC-SHA256 under a secret that the cluster's issuers share, over the PeerId. Every issuer gives a key the same place
 * at every renewal, so nobody moves; and nobody knows the place of a key before an issuer has admitted it, so nobody
 * chooses its neighbours by trying keys. The place is no secret once it is given: it stands in the token.
 */

/** A place, bytes. */
export const PLACE_BYTES = 16;

const LABEL = utf8("starling/place/1\0");

/** The place of `id`, 16 bytes. `secret`: 32 bytes, shared by all issuers of the cluster. */
export function placeOf(secret: Uint8Array, id: PeerId): Uint8Array {
  return hmac(sha256, secret, concat(LABEL, publicKeyOf(id))).slice(0, PLACE_BYTES);
}
