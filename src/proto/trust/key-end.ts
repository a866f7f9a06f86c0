import type { TokenNames } from "../decrees/revoked.ts";
import type { Instant } from "../machine.ts";
import { type IssuerList, type IssuingKey, issuerOf } from "./issuers.ts";

/**
 * The end of issuing keys, as somebody should see it coming: tokens are cut at the end of the key that they are by, so that a cluster whose last
 * key has ended stands still within a day and only its root can help.
 *
 * Whoever issues looks at its own key. Everybody else looks at the last of those that count: that a key ends which has a
 * successor is as it should be, and is no news.
 */

/**
 * How long before its end an issuing key is spoken of, ms: a month, in which somebody who holds the root comes by. Keys live for
 * five years (`create-cluster.ts`).
 */
export const KEY_NOTICE_MS = 30 * 24 * 3_600_000;

/** An issuing key and its end. */
export interface KeyEnd {
  readonly kid: string;
  readonly endsAt: Instant;
}

/**
 * The key whose end matters: `own`, the key of an issuer in this process, while that counts, else the one of the list that counts the
 * longest; undefined where all are revoked.
 */
export function keyEndOf(
  list: IssuerList,
  voids: (token: TokenNames) => boolean,
  own: string | undefined,
): KeyEnd | undefined {
  const mine = own === undefined ? undefined : issuerOf(list, own);
  const counting = (mine === undefined ? list.issuers : [mine, ...list.issuers]).filter(({ kid }) => !voids({ kid }));
  const last = counting.reduce<IssuingKey | undefined>(
    (last, key) => (last === undefined || (last !== mine && key.notAfter > last.notAfter) ? key : last),
    undefined,
  );
  return last && { kid: last.kid, endsAt: last.notAfter };
}

/** What is to be said of such an end at `now`, for people; undefined while it is far. `endText`: the end as people write it. */
export function keyEndWarning({ kid, endsAt }: KeyEnd, now: Instant, endText: string): string | undefined {
  if (endsAt - now > KEY_NOTICE_MS) return undefined;
  const what = endsAt > now ? `ends at ${endText}: tokens end with it` : `has ended at ${endText}: it makes no tokens`;
  return `the issuing key ${kid} ${what}; replace it, with the root key at hand: starling keys rotate --what issuing`;
}
