import { join } from "node:path";
import { ISSUING_KEY_FILE } from "../drivers/state/create-cluster.ts";
import { exists } from "../drivers/state/private-files.ts";
import type { StateDirectory } from "../drivers/state-directory.ts";
import { StarlingError } from "../errors.ts";
import type { Mint } from "../issuer/mint.ts";
import { openRecordedMint } from "../issuer/recorded-mint.ts";
import type { Instant } from "../proto/machine.ts";
import type { HeldCredential } from "../proto/signaling/client-events.ts";
import { parseMemberClaims, RENEWAL_GRACE_MS, type TokenFault } from "../proto/trust/claims.ts";
import type { Cluster } from "../proto/trust/cluster.ts";
import { parseCompact } from "../proto/trust/compact-token.ts";
import type { Crypto } from "../proto/trust/crypto.ts";
import { describeInviteFault, type Invite, parseInvite } from "../proto/trust/invite.ts";
import { acceptIssuers, supersedes } from "../proto/trust/issuers.ts";
import type { RefreshKeys } from "./refresh-keys.ts";
import type { Trust } from "./trust.ts";

/** What is wrong with a token that a server may put right: by a renewal, by its clock, by a newer list of issuers. */
const TIME_WILL_TELL: ReadonlySet<TokenFault> = new Set([
  "expired",
  "issuer-expired",
  "not-yet-valid",
  "unknown-issuer",
]);

/** Parses what a person pasted; throws `invite-invalid` that says what is wrong with it. */
export function readInvite(text: string): Invite {
  const parsed = parseInvite(text);
  if (!parsed.ok) throw new StarlingError("invite-invalid", describeInviteFault(parsed.fault));
  return parsed.invite;
}

/**
 * The cluster that this agent belongs to: that of the state directory, else of the invite, which is then kept. Throws
 * `no-cluster` without either, `usage` when the two are of different clusters.
 */
export async function settleCluster(
  state: StateDirectory,
  invite: Invite | undefined,
  crypto: Crypto,
): Promise<Cluster> {
  const known = await state.readCluster();
  if (!invite) {
    if (known) return known;
    throw new StarlingError(
      "no-cluster",
      "this agent belongs to no cluster yet; give it an invite: starling up --invite-file FILE",
    );
  }
  if (known && known.clusterId !== invite.cluster.clusterId) {
    const message = `the invite is for another cluster than the one in ${state.path}; use another directory with --state`;
    throw new StarlingError("usage", message);
  }
  // What is known may be newer than the invite, and the invite newer than what is known: each part by its own count.
  const cluster = known
    ? withNewerIssuers(withNewerKeys(known, invite.cluster), invite.cluster, crypto)
    : invite.cluster;
  if (cluster !== known) await state.writeCluster(cluster);
  return cluster;
}

function withNewerKeys(known: Cluster, invited: Cluster): Cluster {
  const epoch = (cluster: Cluster): number => cluster.clusterKeys[0]?.epoch ?? 0;
  if (epoch(invited) <= epoch(known)) return known;
  return {
    ...known,
    clusterKeys: [...invited.clusterKeys, ...known.clusterKeys].slice(0, 4),
    keyring: invited.keyring,
  };
}

/** With the invite's list of issuing keys, if the root has signed it and it takes the place of the one that is known. */
function withNewerIssuers(known: Cluster, invited: Cluster, crypto: Crypto): Cluster {
  const accepted = (cluster: Cluster) => acceptIssuers(cluster.issuers, known.rootPublicKey, crypto.verifyAuthority);
  const [ours, theirs] = [accepted(known), accepted(invited)];
  if (!ours || !theirs) return known;
  // A later root's list holds, whatever its version.
  const later = (invited.issuers.heirs?.length ?? 0) - (known.issuers.heirs?.length ?? 0);
  return later > 0 || (later === 0 && supersedes(theirs, ours)) ? { ...known, issuers: invited.issuers } : known;
}

/**
 * What the agent can show at its start, best first: the token that it kept, if that is valid or buys a renewal; the
 * invite's; a token of its own making where it holds an issuing key. Throws `token-invalid` for an invite whose token is nobody's
 * or another's, `token-expired` when there is none.
 */
export async function settleCredential(options: {
  readonly state: StateDirectory;
  readonly trust: Trust;
  readonly crypto: Crypto;
  readonly invite: Invite | undefined;
  /** What the newcomer shows in the place of a join token: an API key, a login. */
  readonly credential: string | undefined;
  /** The issuing key that this agent was told to use; else that of its state directory, if one is there. */
  readonly mint: Mint | undefined;
  readonly refresh: RefreshKeys;
  readonly now: Instant;
}): Promise<HeldCredential> {
  const { state, trust, crypto, invite, now } = options;
  const kept = (await state.readToken())?.trim();
  if (kept !== undefined && kept !== "" && (await trust.holdToken(kept)) === undefined) return member(kept);
  if (invite?.token.kind === "member") {
    const fault = await trust.holdToken(invite.token.text);
    if (fault === undefined) {
      await state.writeToken(invite.token.text);
      return member(invite.token.text);
    }
    if (fault === "wrong-subject") {
      const message = `the invite was made for another node than ${trust.id}; ask for one with: starling invite --for ${trust.id}`;
      throw new StarlingError("token-invalid", message);
    }
    if (!TIME_WILL_TELL.has(fault)) {
      throw new StarlingError(
        "token-invalid",
        `the token in the invite does not hold (${fault}); ask for a new invite`,
      );
    }
  }
  const mint = options.mint ?? (await ownMint(state, trust, crypto));
  const minted = mint && (await mintOwn(mint, state, trust, options.refresh, now));
  if (minted !== undefined) return member(minted);
  if (kept !== undefined && renewable(kept, trust, now)) return member(kept);
  if (options.credential !== undefined) return { kind: "join", token: options.credential };
  if (invite?.token.kind === "none") {
    const message =
      "the invite holds no token: show an API key with --api-key-file, a certificate with --join-cert and --join-key, or log in with --oidc-issuer and --oidc-client";
    throw new StarlingError("token-expired", message);
  }
  if (invite)
    return invite.token.kind === "join" ? { kind: "join", token: invite.token.text } : member(invite.token.text);
  const why =
    kept === undefined ? "this agent has no token" : "this agent's token has expired or is not valid any more";
  throw new StarlingError(
    "token-expired",
    `${why}; ask for an invite and give it with: starling up --invite-file FILE`,
  );
}

/** The issuing key that the founder's machine has in its state directory. */
async function ownMint(state: StateDirectory, trust: Trust, crypto: Crypto): Promise<Mint | undefined> {
  const keyFile = join(state.path, ISSUING_KEY_FILE);
  if (!(await exists(keyFile))) return undefined;
  const { clusterId } = trust.cluster;
  return openRecordedMint({ keyFile, clusterId, issuers: () => trust.issuers, crypto });
}

/** Whoever holds an issuing key needs no invite: it makes its own token. */
async function mintOwn(
  mint: Mint,
  state: StateDirectory,
  trust: Trust,
  refresh: RefreshKeys,
  now: Instant,
): Promise<string | undefined> {
  const issued = await mint.issueMemberToken({ subject: trust.id, refreshKey: refresh.first }, now);
  if (!issued.ok || (await trust.holdToken(issued.token)) !== undefined) return undefined;
  await state.writeToken(issued.token);
  return issued.token;
}

function renewable(token: string, trust: Trust, now: Instant): boolean {
  const claims = claimsOf(token);
  return claims !== undefined && claims.subject === trust.id && now < claims.expiresAt + RENEWAL_GRACE_MS;
}

/** A member token as a credential; its own word about its end is enough to choose how to show it. */
export function member(token: string): HeldCredential {
  return { kind: "member", token, expiresAt: claimsOf(token)?.expiresAt ?? 0 };
}

function claimsOf(token: string) {
  const compact = parseCompact(token);
  const claims = compact.ok ? parseMemberClaims(compact.token.payload) : undefined;
  return claims?.ok ? claims.value : undefined;
}
