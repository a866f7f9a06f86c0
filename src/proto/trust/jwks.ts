import { base64url } from "../base64.ts";
import type { TokenNames } from "../decrees/revoked.ts";
import type { Instant } from "../machine.ts";
import type { IssuerList } from "./issuers.ts";

/**
 * The issuing keys that count, as a JSON Web Key Set (RFC 7517, keys of RFC 8037): for programs that are no members and check a
 * member's token by a library of their own.
 *
 * Starling itself never reads one. Members go by the list that the root has signed; a key set is as good as the connection over which it
 * came, so whoever relies on one gets it from its own server over TLS. While one issuing key takes the place of another both are
 * in it. A key that was revoked or has ended is not. What no key set shows is that a single token or a member was revoked.
 */
interface JsonWebKeySet {
  readonly keys: readonly JsonWebKey[];
}

/** A public issuing key. */
interface JsonWebKey {
  readonly kty: "OKP";
  readonly crv: "Ed25519";
  /** The key, 32 bytes in base64url. */
  readonly x: string;
  /** As in the head of the tokens that it signs. */
  readonly kid: string;
  readonly use: "sig";
  readonly alg: "EdDSA";
}

/** The set of a list at `now`, in the list's order. `voids`: whether a key was revoked. */
export function keySetOf(list: IssuerList, voids: (token: TokenNames) => boolean, now: Instant): JsonWebKeySet {
  const inForce = list.issuers.filter(({ kid, notAfter }) => notAfter > now && !voids({ kid }));
  const keys = inForce.map(
    ({ kid, publicKey }): JsonWebKey => ({
      kty: "OKP",
      crv: "Ed25519",
      x: base64url(publicKey),
      kid,
      use: "sig",
      alg: "EdDSA",
    }),
  );
  return { keys };
}
