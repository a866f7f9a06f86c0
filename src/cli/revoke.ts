import { join } from "node:path";
import type { Command } from "commander";
import { nodeCrypto } from "../drivers/crypto.ts";
import { DECREES_FILE, readDecreeFile, writeDecreeFile } from "../drivers/state/decree-file.ts";
import { readSigningKeyFile } from "../drivers/state/key-file.ts";
import { acquireLock, LOCK_FILE } from "../drivers/state/lock.ts";
import { StarlingError } from "../errors.ts";
import { decreesOf } from "../issuer/decrees-of.ts";
import { signDecree } from "../proto/decrees/decree.ts";
import { encodeRevocation, MAX_TOKEN_MATTERS_MS, parseTarget } from "../proto/decrees/revocation.ts";
import { ask, flagsOf } from "./flags.ts";
import { readClusterOf } from "./invite.ts";
import { printJson, say, warn } from "./output.ts";
import { resolveStateDirectory } from "./settings.ts";
import { addSigningFlags, type SigningKeyOptions, signingKeyFile } from "./signing-key.ts";

interface RevokeOptions extends SigningKeyOptions {
  readonly rekey: boolean;
  readonly json?: boolean;
}

/** `starling token revoke TARGET`: through the running agent, or into its state directory, from where it spreads at the next start. */
export function revokeCommand(token: Command): void {
  addSigningFlags(
    token
      .command("revoke <target>")
      .description("revoke a member (id, id prefix or name), a token (jti) or an issuing key (kid), for good"),
  )
    .option(
      "--no-rekey",
      "keep the cluster's keys; by default a revoked member costs everybody else a new epoch of them",
    )
    .option("--json", "print JSON")
    .action(async (target: string, options: RevokeOptions, command: Command) => {
      const keyFile = await signingKeyFile(command, options);
      const request = { target, ...(keyFile && { keyFile }), ...(!options.rekey && { rekey: false }) };
      const answer = await ask(command, "token.revoke", request).catch((error: unknown) => {
        if (error instanceof StarlingError && error.code === "not-running") return undefined;
        throw error;
      });
      const result = (answer ?? (await revokeOffline(command, target, keyFile))) as Revoked;
      if (options.json) printJson({ ...result, online: answer !== undefined });
      else say(`${result.target} ${result.revoked ? "is revoked" : "was revoked already"}`);
      if (answer === undefined) {
        warn(
          "no agent runs here: it counts, and spreads, from the next start of an agent or a server on this state directory",
        );
      }
    });
}

interface Revoked {
  readonly target: string;
  readonly revoked: boolean;
}

async function revokeOffline(command: Command, text: string, keyFile: string | undefined): Promise<Revoked> {
  const target = parseTarget(text);
  if (target === undefined) {
    throw new StarlingError("usage", `without a running agent ${text} names nobody: write the whole id, jti or kid`);
  }
  const crypto = nodeCrypto();
  const key = keyFile === undefined ? undefined : await readSigningKeyFile(keyFile, crypto);
  if (key === undefined) {
    throw new StarlingError("not-found", "there is no key to sign with; name one with --issuing-key or --root-key");
  }
  const cluster = await readClusterOf(command);
  const folder = resolveStateDirectory(flagsOf(command).state);
  const lock = await acquireLock(join(folder, LOCK_FILE));
  try {
    const path = join(folder, DECREES_FILE);
    const since = Date.now();
    const decrees = decreesOf(cluster, await readDecreeFile(path), crypto, since);
    const until = target.of === "token" ? since + MAX_TOKEN_MATTERS_MS : 0;
    const body = encodeRevocation({ target, since, until });
    const { outcome } = decrees.accept(signDecree("revocation", body, crypto.authority(key.seed)), since);
    if (outcome === "unentitled") {
      throw new StarlingError(
        "issuer-refused",
        "the cluster's list of issuers does not let this key revoke that; use the root key",
      );
    }
    await writeDecreeFile(
      path,
      Array.from(decrees.encoded(), ({ bytes }) => bytes),
    );
    return { target: text, revoked: outcome === "news" };
  } finally {
    await lock.release();
  }
}
