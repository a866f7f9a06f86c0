import type { Command } from "commander";
import { nodeCrypto } from "../drivers/crypto.ts";
import { readStdin } from "../drivers/state/stdin.ts";
import { hasCluster } from "../drivers/state-directory.ts";
import { createTokenVerifier } from "../drivers/tokens.ts";
import { StarlingError } from "../errors.ts";
import { issuersOf } from "../issuer/mint.ts";
import { parsePeerId } from "../proto/peer-id.ts";
import { parseCompact } from "../proto/trust/compact-token.ts";
import { addStateFlag, ask, flagsOf } from "./flags.ts";
import { addIssuingFlags, openMintOf, readClusterOf, readDecreesOf, refused, scopesFor } from "./invite.ts";
import { parseDuration, print, printJson, say, warn } from "./output.ts";
import { revokeCommand } from "./revoke.ts";
import { resolveStateDirectory } from "./settings.ts";
import { tokenListCommand } from "./token-list.ts";

interface CreateOptions {
  readonly for?: string;
  readonly uses: string;
  readonly expires?: string;
  readonly scope?: readonly string[];
  readonly role?: string;
  readonly issuingKey?: string;
}

/** `starling token create | list | inspect | revoke | rotate`. */
export function tokenCommand(program: Command): void {
  const token = program.command("token").description("make, list, read, revoke and rotate tokens");

  addIssuingFlags(
    token.command("create").description("print a token alone; `starling invite` prints one with all the rest"),
  )
    .option("--for <peer>", "a member token for this node key; without it a join token")
    .option("--uses <n>", "how many agents may exchange a join token", "1")
    .option("--expires <duration>", "how long it is good (default: 1h, with --for 24h)")
    .action(async (options: CreateOptions, command: Command) => {
      const { mint } = await openMintOf(command, options.issuingKey);
      const scopes = scopesFor(command, options);
      const terms = {
        ...(scopes && { scopes }),
        ...(options.role !== undefined && { role: options.role }),
        ...(options.expires !== undefined && { lifeMs: parseDuration(options.expires) }),
      };
      const subject = options.for === undefined ? undefined : parsePeerId(options.for);
      if (options.for !== undefined && !subject) throw new StarlingError("usage", `${options.for} is not a peer id`);
      const issued = subject
        ? await mint.issueMemberToken({ ...terms, subject }, Date.now())
        : await mint.issueJoinToken({ ...terms, uses: Number(options.uses) }, Date.now());
      if (!issued.ok) throw refused(issued.fault);
      print(issued.token);
    });

  tokenListCommand(token);
  revokeCommand(token);

  addStateFlag(
    token
      .command("rotate")
      .description("renew the running agent's own token now, and the key that its next renewal needs with it"),
  )
    .option("--json", "print JSON")
    .action(async (options: { json?: boolean }, command: Command) => {
      const rotated = (await ask(command, "token.rotate")) as { id: string; expiresAt: string };
      if (options.json) printJson(rotated);
      else say(`the token in use is ${rotated.id}, good until ${rotated.expiresAt}`);
    });

  addStateFlag(
    token
      .command("inspect <token>")
      .description("print what a token (- for stdin) says, and whether it holds for the cluster of --state"),
  )
    .option("--json", "print JSON")
    .action(async (argument: string, options: { json?: boolean }, command: Command) => {
      if (argument !== "-")
        warn("a token is a secret, and everybody on this machine can see command lines; prefer - and stdin");
      const text = (argument === "-" ? (await readStdin()).toString("utf8") : argument).trim();
      const parsed = parseCompact(text);
      if (!parsed.ok)
        throw new StarlingError(
          "token-invalid",
          `this is not a token of Starling (${parsed.fault}); copy all of it, as \`starling token create\` printed it`,
        );
      const { kid, payload } = parsed.token;
      const verdict = await judge(text, payload, command);
      const description = { kid, ...payload, ...times(payload), verdict };
      if (options.json) printJson(description);
      else for (const [name, value] of Object.entries(description)) print(`${name}: ${String(value)}`);
    });
}

/** `valid`, why not (`revoked`: as far as the state directory knows), or `unchecked` where no cluster is at hand. */
async function judge(text: string, payload: Readonly<Record<string, unknown>>, command: Command): Promise<string> {
  if (!(await hasCluster(resolveStateDirectory(flagsOf(command).state))))
    return "unchecked: no cluster in the state directory";
  const cluster = await readClusterOf(command);
  const expected = { issuers: issuersOf(cluster, nodeCrypto()), clusterId: cluster.clusterId, now: Date.now() };
  const verifier = createTokenVerifier();
  const checked =
    "sub" in payload
      ? await verifier.verifyMemberToken(text, expected)
      : await verifier.verifyJoinToken(text, expected);
  if (!checked.ok) return checked.fault;
  return (await readDecreesOf(cluster, command)).voids(checked.value) ? "revoked" : "valid";
}

function times(payload: Readonly<Record<string, unknown>>): Record<string, string> {
  const readable: Record<string, string> = {};
  for (const [claim, name] of [
    ["iat", "issuedAt"],
    ["nbf", "notBefore"],
    ["exp", "expiresAt"],
  ] as const) {
    const seconds = payload[claim];
    if (typeof seconds === "number" && Number.isFinite(seconds))
      readable[name] = new Date(seconds * 1_000).toISOString();
  }
  return readable;
}
