import { RecentMap } from "./bounded.ts";
import type { DecreeSet } from "./decrees/decree-set.ts";
import type { TokenNames } from "./decrees/revoked.ts";
import type { Membership } from "./membership/membership.ts";
import { scopesOf } from "./membership/standing.ts";
import type { MeshOptions } from "./mesh-effects.ts";
import type { Voids } from "./replication/judgement.ts";
import { Replication } from "./replication/replication.ts";
import { isAlone, storersAmong } from "./storers.ts";
import { parseMemberClaims } from "./trust/claims.ts";
import { parseCompact } from "./trust/compact-token.ts";

/** Tokens whose names are remembered: those of a busy cluster's authors of some days. */
const MAX_NAMED_TOKENS = 4_096;

/** A member's replica of all buckets, with what it must know of members and decrees: tokens, what these grant, who stores, who is revoked. */
export function replicaOf({ self, random, restoration, rule }: MeshOptions, membership: Membership): Replication {
  return new Replication({
    self,
    random: random.fork("replication"),
    tokenOf: (member) => membership.member(member)?.record.token,
    scopesOf: (member) => scopesOf(membership, member),
    storers: () => storersAmong(membership.members()),
    isAlone: () => isAlone(membership.members(), self),
    ...(rule && { voids: voidsOf(rule.decrees) }),
    ...(restoration && { restoration }),
  });
}

/** By the decrees in force; a token is named by its `jti`, its line and the key that signed it. */
function voidsOf(decrees: DecreeSet): Voids {
  const names = new RecentMap<string, TokenNames>(MAX_NAMED_TOKENS);
  return (subject, token, at) => {
    if (!decrees.revokesAny) return false;
    let named = names.get(token);
    if (named === undefined) {
      named = namesOf(token);
      names.set(token, named);
    }
    return decrees.voids({ ...named, subject }, at);
  };
}

function namesOf(token: string): TokenNames {
  const parsed = parseCompact(token);
  if (!parsed.ok) return {};
  const { kid, payload } = parsed.token;
  const claims = parseMemberClaims(payload);
  if (!claims.ok) return { kid };
  const { id, lineage } = claims.value;
  return lineage === undefined ? { kid, id } : { kid, id, lineage };
}
