import type { Instant } from "../proto/machine.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { IssueFault } from "./mint.ts";

/**
 * A way to become a member without a token of this cluster: by an API key, by a login at an identity provider. What it takes
 * is shown at an issuer's desk in the place of a join token, sealed like one.
 */
export interface WayIn {
  /** What `credential` grants to `asker`; undefined: it is of another kind. Rejects when it cannot be judged at the moment. */
  admit(credential: string, asker: PeerId, now: Instant): Promise<Granted | undefined>;
}

/** What a credential grants, and to whom, or why nothing. */
export type Granted =
  | {
      readonly ok: true;
      readonly scopes: readonly string[];
      readonly role: string;
      /** Whom it was given to, for the audit log: `apikey:ID`, `oidc:SUBJECT`. */
      readonly who: string;
      /** It is worth one use, by whoever shows it first: its id (22 characters of base64url), and when it ends by itself. */
      readonly once?: { readonly id: string; readonly expiresAt: Instant };
      /** How long the token lives, ms. Default: as the issuer makes them. */
      readonly lifeMs?: number;
      /** The member in whose place it comes, which is revoked, and when that one said so by its own clock. */
      readonly replaces?: { readonly subject: PeerId; readonly at: Instant };
    }
  | { readonly ok: false; readonly fault: IssueFault };
