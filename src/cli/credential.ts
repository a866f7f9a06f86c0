import type { Command } from "commander";
import { showCertificate } from "../drivers/certificate-proof.ts";
import { nodeCrypto } from "../drivers/crypto.ts";
import { readClusterFiles } from "../drivers/state/cluster-files.ts";
import { openStateDirectory } from "../drivers/state-directory.ts";
import { StarlingError } from "../errors.ts";
import { type PeerId, peerIdOf } from "../proto/peer-id.ts";
import type { ClusterId } from "../proto/trust/cluster-id.ts";
import { parseInvite } from "../proto/trust/invite.ts";
import { oidcCredential, oidcNonce } from "../proto/trust/oidc.ts";
import { say } from "./output.ts";
import { readSecret } from "./secret.ts";

/** Flags of ways in that need no token in the invite. */
export interface CredentialFlags {
  readonly apiKeyFile?: string;
  readonly joinCert?: string;
  readonly joinKey?: string;
  readonly oidcIssuer?: string;
  readonly oidcClient?: string;
  readonly oidcScope?: string;
  readonly oidcBrowser?: boolean;
}

export function addCredentialFlags(command: Command): Command {
  return command
    .option(
      "--api-key-file <file>",
      "show an API key in the place of an invite's token; - for stdin (or $STARLING_API_KEY_FILE)",
    )
    .option("--join-cert <file>", "show this certificate (PEM) in the place of an invite's token")
    .option("--join-key <file>", "its private key (PEM), mode 0600; - for stdin (or $STARLING_JOIN_KEY_FILE)")
    .option("--oidc-issuer <url>", "log in at this OpenID Connect provider in the place of an invite's token")
    .option("--oidc-client <id>", "our client id there")
    .option("--oidc-scope <scope>", "what to ask for beyond openid (default: profile)")
    .option("--oidc-browser", "log in by a browser on this machine (default: on any device, by a code)");
}

/** What a newcomer shows in the place of a join token; undefined when the flags name nothing. Throws `usage`, `permission-denied`. */
export async function readCredential(
  flags: CredentialFlags,
  stateDirectory: string,
  invite: string | undefined,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { apiKeyFile, oidcIssuer, oidcClient } = flags;
  const apiKey = await readSecret("STARLING_API_KEY", apiKeyFile);
  if (apiKey !== undefined) return apiKey;
  if (flags.joinCert !== undefined) return readCertificate(flags.joinCert, flags.joinKey, stateDirectory, invite);
  if (oidcIssuer === undefined && oidcClient === undefined) return undefined;
  if (oidcIssuer === undefined || oidcClient === undefined)
    throw new StarlingError("usage", "--oidc-issuer and --oidc-client go together");
  const { clusterId, peer } = await newcomer(stateDirectory, invite);
  const nonce = oidcNonce(clusterId, peer);
  const { browserLogin, deviceLogin } = await import("../drivers/oidc-login.ts");
  const login = flags.oidcBrowser ? browserLogin : deviceLogin;
  const idToken = await login({
    issuer: oidcIssuer,
    clientId: oidcClient,
    nonce,
    signal,
    ...(flags.oidcScope !== undefined && { scope: flags.oidcScope }),
    prompt: (url, code) => say(`log in at ${url}${code === undefined ? "" : ` and confirm the code ${code}`}`),
  });
  return oidcCredential(idToken);
}

async function readCertificate(
  certFile: string,
  keyFile: string | undefined,
  stateDirectory: string,
  invite: string | undefined,
): Promise<string> {
  const key = await readSecret("STARLING_JOIN_KEY", keyFile);
  if (key === undefined) throw new StarlingError("usage", "--join-cert and --join-key go together");
  return showCertificate({ certFile, key, ...(await newcomer(stateDirectory, invite)), at: Date.now() });
}

/** Who joins, and where: what a login or a certificate is bound to. The node key is made now if there is none. */
async function newcomer(
  stateDirectory: string,
  invite: string | undefined,
): Promise<{ readonly clusterId: ClusterId; readonly peer: PeerId }> {
  const crypto = nodeCrypto();
  const parsed = invite === undefined ? undefined : parseInvite(invite);
  const cluster = parsed?.ok ? parsed.invite.cluster : await readClusterFiles(stateDirectory, crypto);
  if (cluster === undefined)
    throw new StarlingError("no-cluster", "this agent belongs to no cluster yet; give it an invite as well");
  await using directory = await openStateDirectory(stateDirectory, crypto);
  return { clusterId: cluster.clusterId, peer: peerIdOf(directory.nodeKey.publicKey) };
}
