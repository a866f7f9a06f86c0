import type { SignalingKeys } from "../drivers/signaling.ts";
import type { Instant } from "../proto/machine.ts";
import type { Cluster } from "../proto/trust/cluster.ts";
import { parseCompact } from "../proto/trust/compact-token.ts";
import { acceptDesk, type Desk } from "../proto/trust/desk.ts";
import { type ExchangeAnswer, openAnswer, sealRequest } from "../proto/trust/exchange.ts";
import { member } from "./credential.ts";
import type { RefreshKeys } from "./refresh-keys.ts";
import type { Trust } from "./trust.ts";

/** Who asks: an agent, or the heir of one. */
export type Asker = Pick<Trust, "id" | "crypto" | "identity" | "box" | "issuers"> & {
  readonly cluster: Pick<Cluster, "clusterId">;
};

/**
 * Chooses among the desks that a signaling server names, and seals a request for one; what to do about it when there is none.
 * A join token goes to the desk of the key that made it and to no other; a member token that has expired, and what is no token of the
 * cluster (an API key, a login), to any.
 * `heard`: is given what the desk answers.
 */
export async function askDesk(
  { trust, refresh }: { readonly trust: Asker; readonly refresh: Pick<RefreshKeys, "show"> },
  token: string,
  encoded: readonly Uint8Array[],
  now: Instant,
  heard: (answer: ExchangeAnswer) => void = () => undefined,
): Promise<Awaited<ReturnType<SignalingKeys["askDesk"]>>> {
  const { crypto, identity, box, cluster, issuers } = trust;
  const compact = parseCompact(token);
  const kid = compact.ok ? compact.token.kid : "";
  const isJoin = compact.ok && !("sub" in compact.token.payload);
  const desks: Desk[] = [];
  for (const bytes of encoded) {
    const desk = acceptDesk(bytes, issuers, now, crypto.verifyAuthority);
    if (desk !== undefined) desks.push(desk);
  }
  const desk = desks.find((candidate) => candidate.kid === kid) ?? (isJoin ? undefined : desks[0]);
  if (desk === undefined) return `no issuer can be asked at this server; ${issuerAdvice(trust.id)}`;
  const request = sealRequest(crypto, { identity, box, clusterId: cluster.clusterId }, desk, await refresh.show(token));
  if (request === undefined) return "the issuer's key is unusable; start the issuer again";
  return {
    kid: desk.kid,
    request,
    open: (sealed) => {
      const answer = openAnswer(crypto, box, desk.boxKey, sealed);
      if (answer !== undefined) heard(answer);
      if (answer === undefined || !answer.ok) return answer;
      const held = member(answer.token);
      return { ok: true, token: answer.token, expiresAt: held.kind === "member" ? held.expiresAt : 0 };
    },
  };
}

/** What to do where no issuer can be reached. */
export function issuerAdvice(id: string): string {
  return (
    "start one (`starling signal --issuing-key FILE`, or a member with `starling up --issuing-key FILE`), " +
    `or ask for an invite that needs none: starling invite --for ${id}`
  );
}
