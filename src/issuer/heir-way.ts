import type { TokenVerifier } from "../drivers/tokens.ts";
import { base64url } from "../proto/base64.ts";
import { RecentMap } from "../proto/bounded.ts";
import { concat, utf8 } from "../proto/bytes.ts";
import { sha256 } from "../proto/hash.ts";
import { type PeerId, publicKeyOf } from "../proto/peer-id.ts";
import { TokenBucket } from "../proto/token-bucket.ts";
import { MAX_MEMBER_LIFE_MS, RENEWAL_GRACE_MS } from "../proto/trust/claims.ts";
import { HEIR_LIFE_MS, heirStatement, parseHeir } from "../proto/trust/heir.ts";
import type { IssuerOptions } from "./issuer.ts";
import type { Granted, WayIn } from "./ways-in.ts";

/**
 * Heirs of one issuer, at once and each ten minutes: a new key is a new place in the rings, and who could try thousands would choose its
 * neighbours; and each leaves a revocation behind, of which a signer may have 4,096.
 */
const HEIRS = { perSecond: 1 / 600, burst: 64 };
/** Members that have asked and cost nothing when they ask again. */
const MAX_ASKED = 1_024;

const USE_LABEL = utf8("starling/heir-use/1\0");

/** Admits the heir of a member (`proto/trust/heir.ts`) on the terms of the member's token, one for each member. */
export function heirWay(
  { clusterId, issuers, crypto }: Pick<IssuerOptions, "clusterId" | "issuers" | "crypto">,
  verifier: TokenVerifier,
  isRevoked: (token: { readonly subject: PeerId; readonly id: string; readonly kid: string }) => boolean,
): WayIn {
  const bucket = new TokenBucket(HEIRS, 0);
  const asked = new RecentMap<PeerId, true>(MAX_ASKED);
  return {
    async admit(credential, asker, now): Promise<Granted | undefined> {
      const claim = parseHeir(credential);
      if (claim === undefined) return undefined;
      if (claim.heir !== asker) return { ok: false, fault: "wrong-subject" };
      if (!(Math.abs(now - claim.at) < HEIR_LIFE_MS)) return { ok: false, fault: "expired" };
      const checked = await verifier.verifyMemberToken(claim.token, { issuers: issuers(), clusterId, now });
      if (!checked.ok) return checked;
      const { subject, scopes, role, issuedAt, expiresAt } = checked.value;
      if (subject === asker) return { ok: false, fault: "bad-request" };
      if (!crypto.verify(heirStatement(claim, clusterId, subject))) return { ok: false, fault: "bad-signature" };
      if (isRevoked(checked.value)) return { ok: false, fault: "revoked" };
      if (asked.get(subject) === undefined) {
        if (bucket.level(HEIRS, now) < 1) return { ok: false, fault: "journal-full" };
        bucket.spend(1, HEIRS, now);
        asked.set(subject, true);
      }
      const id = base64url(sha256(concat(USE_LABEL, publicKeyOf(subject))).subarray(0, 16));
      // Remembered as long as any token of the member could count.
      const once = { id, expiresAt: now + MAX_MEMBER_LIFE_MS + RENEWAL_GRACE_MS };
      return {
        ok: true,
        scopes,
        role,
        who: subject,
        once,
        lifeMs: expiresAt - issuedAt,
        replaces: { subject, at: claim.at },
      };
    },
  };
}
