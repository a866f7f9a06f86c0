import { base64url } from "../base64.ts";
import { concat, utf8 } from "../bytes.ts";
import { sha256 } from "../hash.ts";
import { type PeerId, publicKeyOf } from "../peer-id.ts";

/**
 * How a login at an identity provider is bound to a node key: the nonce of the login (OpenID Connect Core 1.0, section 3.1.2.1) is
 * a hash of cluster and key, and comes back in the signed ID token. Whoever gets hold of the token has no use for it.
 */

/** What an ID token is shown as at an issuer's desk. */
const PREFIX = "oidc.";

/** The nonce that a login for this node key and cluster must carry. */
export function oidcNonce(clusterId: string, peer: PeerId): string {
  return base64url(sha256(concat(utf8(`starling/oidc/1 ${clusterId} `), publicKeyOf(peer))));
}

/** The credential that an ID token is. */
export function oidcCredential(idToken: string): string {
  return PREFIX + idToken;
}

/** The ID token in a credential; undefined when it is of another kind. */
export function idTokenOf(credential: string): string | undefined {
  return credential.startsWith(PREFIX) ? credential.slice(PREFIX.length) : undefined;
}
