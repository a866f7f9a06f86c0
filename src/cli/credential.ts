import type { Command } from "commander";
import { nodeCrypto } from "../drivers/crypto.ts";
import { readClusterFiles } from "../drivers/state/cluster-files.ts";
import { openStateDirectory } from "../drivers/state-directory.ts";
import { StarlingError } from "../errors.ts";
import { peerIdOf } from "../proto/peer-id.ts";
import { parseInvite } from "../proto/trust/invite.ts";
import { oidcCredential, oidcNonce } from "../proto/trust/oidc.ts";
import { say } from "./output.ts";
import { readSecret } from "./secret.ts";

/** Flags of ways in that need no token in the invite. */
export interface CredentialFlags {
  readonly apiKeyFile?: string;
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
  if (oidcIssuer === undefined && oidcClient === undefined) return undefined;
  if (oidcIssuer === undefined || oidcClient === undefined)
    throw new StarlingError("usage", "--oidc-issuer and --oidc-client go together");
  const nonce = await nonceOf(stateDirectory, invite);
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

/** A login is for this node key and cluster; the key is made now if there is none. */
async function nonceOf(stateDirectory: string, invite: string | undefined): Promise<string> {
  const crypto = nodeCrypto();
  const parsed = invite === undefined ? undefined : parseInvite(invite);
  const cluster = parsed?.ok ? parsed.invite.cluster : await readClusterFiles(stateDirectory, crypto);
  if (cluster === undefined)
    throw new StarlingError("no-cluster", "this agent belongs to no cluster yet; give it an invite as well");
  await using directory = await openStateDirectory(stateDirectory, crypto);
  return oidcNonce(cluster.clusterId, peerIdOf(directory.nodeKey.publicKey));
}
