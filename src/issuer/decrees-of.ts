import { foundationOf } from "../proto/decrees/decree.ts";
import { DecreeSet } from "../proto/decrees/decree-set.ts";
import type { Instant } from "../proto/machine.ts";
import type { Cluster } from "../proto/trust/cluster.ts";
import type { Crypto } from "../proto/trust/crypto.ts";

/** The decrees that hold for a cluster: its own list of issuing keys, and those that were kept. Each is checked. */
export function decreesOf(
  { rootPublicKey, issuers }: Pick<Cluster, "rootPublicKey" | "issuers">,
  kept: readonly Uint8Array[],
  crypto: Pick<Crypto, "verifyAuthority">,
  now: Instant,
): DecreeSet {
  const decrees = new DecreeSet(rootPublicKey, crypto.verifyAuthority);
  for (const decree of foundationOf(issuers, rootPublicKey)) decrees.accept(decree, now);
  for (const decree of kept) decrees.offer(decree, now);
  return decrees;
}
