import { join } from "node:path";
import type { Command } from "commander";
import { nodeCrypto } from "../drivers/crypto.ts";
import { readClusterFiles } from "../drivers/state/cluster-files.ts";
import { ISSUING_KEY_FILE } from "../drivers/state/create-cluster.ts";
import { DECREES_FILE, readDecreeFile } from "../drivers/state/decree-file.ts";
import { StarlingError } from "../errors.ts";
import { decreesOf } from "../issuer/decrees-of.ts";
import { issuersOf, type Mint } from "../issuer/mint.ts";
import { openRecordedMint } from "../issuer/recorded-mint.ts";
import type { DecreeSet } from "../proto/decrees/decree-set.ts";
import { parsePeerId } from "../proto/peer-id.ts";
import type { Cluster } from "../proto/trust/cluster.ts";
import { encodeInvite } from "../proto/trust/invite.ts";
import { BUILT_IN_ROLES, scopesOfRole } from "../proto/trust/roles.ts";
import { addStateFlag, flagsOf, iceServersOf } from "./flags.ts";
import { parseDuration, print, printJson, say } from "./output.ts";
import { ownRoles, readSettingsFile, resolveStateDirectory } from "./settings.ts";

interface InviteOptions {
  readonly for?: string;
  readonly withoutToken?: boolean;
  readonly uses: string;
  readonly expires?: string;
  readonly scope?: readonly string[];
  readonly role?: string;
  readonly issuingKey?: string;
  readonly signaling?: readonly string[];
  readonly stun?: readonly string[];
  readonly json?: boolean;
}

/** `starling invite`: one line of text with everything that a newcomer needs. */
export function inviteCommand(program: Command): void {
  addIssuingFlags(program.command("invite").description("print an invite: all that `starling up` needs to join"))
    .option("--for <peer>", "for this node key only: a member token, and no issuer need be online")
    .option("--without-token", "for newcomers with a way in of their own: an API key, a login")
    .option("--uses <n>", "how many agents may join by it", "1")
    .option("--expires <duration>", "how long it is good (default: 1h, with --for 24h)")
    .option("--signaling <url...>", "signaling servers it names (default: the cluster's)")
    .option("--stun <url...>", "STUN servers it names (default: the cluster's)")
    .option("--json", "print JSON")
    .action(async (options: InviteOptions, command: Command) => {
      if (options.withoutToken) {
        const invite = encodeInvite({ cluster: named(await readClusterOf(command), options), token: { kind: "none" } });
        if (options.json) printJson({ invite, kind: "none" });
        else print(invite);
        say(
          "it needs an API key or a login beside it. It holds the cluster key: a secret for as long as that key is in use",
        );
        return;
      }
      const { cluster, mint } = await openMintOf(command, options.issuingKey);
      const { text, kind, expiresAt } = await mintToken(mint, options, scopesFor(command, options));
      const invite = encodeInvite({ cluster: named(cluster, options), token: { kind, text } });
      const until = new Date(expiresAt).toISOString();
      if (options.json) printJson({ invite, kind, expiresAt: until, cluster: cluster.clusterId });
      else print(invite);
      const use = kind === "member" ? `for ${options.for}` : `for ${options.uses} agent(s)`;
      say(`good ${use} until ${until}. It holds the cluster key: a secret for as long as that key is in use`);
    });
}

/** The cluster with the servers that the flags name. */
function named(cluster: Cluster, { signaling, stun }: InviteOptions): Cluster {
  return { ...cluster, ...(signaling && { signaling }), ...(stun && { iceServers: iceServersOf(stun) }) };
}

/** Flags of every command that makes tokens. */
export function addIssuingFlags(command: Command): Command {
  return addStateFlag(command)
    .option("--issuing-key <file>", "issuing key (default: issuing.key in the state directory)")
    .option("--config <file>", "configuration file with a section roles (default: config.yaml in the state directory)")
    .option(
      "--scope <scope...>",
      "what it allows (default: what its role does; without one joining, and all buckets, streams and topics)",
    )
    .option(
      "--role <role>",
      "admin, developer, viewer, node, or one of the section roles of the configuration (default: member)",
    );
}

/** The cluster of the state directory and the mint of its issuing key. */
export async function openMintOf(
  command: Command,
  issuingKey: string | undefined,
): Promise<{ cluster: Cluster; mint: Mint }> {
  const crypto = nodeCrypto();
  const cluster = await readClusterOf(command);
  const issuers = issuersOf(cluster, crypto);
  const keyFile = issuingKey ?? join(resolveStateDirectory(flagsOf(command).state), ISSUING_KEY_FILE);
  return {
    cluster,
    mint: await openRecordedMint({ keyFile, clusterId: cluster.clusterId, issuers: () => issuers, crypto }),
  };
}

/** What `--scope`, or `--role` by the configuration, grants; undefined where the mint knows. Throws `usage` for a role that nobody knows. */
export function scopesFor(
  command: Command,
  { scope, role }: { readonly scope?: readonly string[]; readonly role?: string },
): readonly string[] | undefined {
  if (scope !== undefined || role === undefined || BUILT_IN_ROLES.has(role)) return scope;
  const { config, state } = flagsOf(command);
  const { file, values } = readSettingsFile(config, resolveStateDirectory(state));
  const own = ownRoles(values);
  const scopes = scopesOfRole(role, own);
  if (scopes !== undefined) return scopes;
  const known = [...BUILT_IN_ROLES.keys(), ...own.keys()].join(", ");
  const where = file === undefined ? "a configuration file (--config)" : file;
  throw new StarlingError(
    "usage",
    `there is no role ${JSON.stringify(role)}; known are ${known}. Say what it means in the section roles of ${where}, or name scopes with --scope`,
  );
}

/** The cluster of the state directory; throws `no-cluster` when there is none. */
export async function readClusterOf(command: Command): Promise<Cluster> {
  const stateDirectory = resolveStateDirectory(flagsOf(command).state);
  const crypto = nodeCrypto();
  const cluster = await readClusterFiles(stateDirectory, crypto);
  if (cluster) {
    // A server keeps what it hears as decrees only.
    return { ...cluster, issuers: (await readDecreesOf(cluster, command)).signedIssuers ?? cluster.issuers };
  }
  const hint = `${stateDirectory} holds no cluster; make one with: starling init --state ${stateDirectory}`;
  throw new StarlingError("no-cluster", hint);
}

/** What the cluster has decreed, as far as the state directory knows. */
export async function readDecreesOf(cluster: Cluster, command: Command): Promise<DecreeSet> {
  const kept = await readDecreeFile(join(resolveStateDirectory(flagsOf(command).state), DECREES_FILE));
  return decreesOf(cluster, kept, nodeCrypto(), Date.now());
}

async function mintToken(
  mint: Mint,
  options: InviteOptions,
  scopes: readonly string[] | undefined,
): Promise<{ text: string; kind: "join" | "member"; expiresAt: number }> {
  const terms = {
    ...(scopes && { scopes }),
    ...(options.role !== undefined && { role: options.role }),
    ...(options.expires !== undefined && { lifeMs: parseDuration(options.expires) }),
  };
  if (options.for !== undefined) {
    const subject = parsePeerId(options.for);
    if (!subject)
      throw new StarlingError("usage", `${options.for} is not a peer id: 52 letters, see \`starling keygen\``);
    const issued = await mint.issueMemberToken({ ...terms, subject }, Date.now());
    if (!issued.ok) throw refused(issued.fault);
    return { text: issued.token, kind: "member", expiresAt: issued.claims.expiresAt };
  }
  const issued = await mint.issueJoinToken({ ...terms, uses: Number(options.uses) }, Date.now());
  if (!issued.ok) throw refused(issued.fault);
  return { text: issued.token, kind: "join", expiresAt: issued.claims.expiresAt };
}

/** What to do about a token that the mint would not make. */
export function refused(fault: string): StarlingError {
  switch (fault) {
    case "bad-request":
      return new StarlingError(
        "usage",
        "uses must be 1 to 10000, --expires 1m to 7d (366d with --for), scopes and role well-formed",
      );
    case "scope-above-ceiling":
      return new StarlingError(
        "issuer-refused",
        "the issuing key may not grant these scopes; ask for fewer with --scope",
      );
    case "unknown-issuer":
      return new StarlingError("issuer-refused", "the cluster's list of issuers does not name this issuing key");
    default:
      return new StarlingError("issuer-refused", `the issuing key makes no such token: ${fault}`);
  }
}
