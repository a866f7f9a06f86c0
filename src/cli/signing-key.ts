import { join, resolve } from "node:path";
import type { Command } from "commander";
import { ISSUING_KEY_FILE } from "../drivers/state/create-cluster.ts";
import { exists } from "../drivers/state/private-files.ts";
import { addStateFlag, flagsOf } from "./flags.ts";
import { resolveStateDirectory } from "./settings.ts";

/** With which key a decree is signed. */
export interface SigningKeyOptions {
  readonly issuingKey?: string;
  readonly rootKey?: string;
}

/** Flags of every command that signs a decree. */
export function addSigningFlags(command: Command): Command {
  return addStateFlag(command)
    .option(
      "--issuing-key <file>",
      "sign with this issuing key (default: issuing.key in the state directory, if it is there)",
    )
    .option("--root-key <file>", "sign with the root key");
}

/** The file of the key to sign with; undefined where only the running agent can have one. */
export async function signingKeyFile(command: Command, options: SigningKeyOptions): Promise<string | undefined> {
  const named = options.rootKey ?? options.issuingKey;
  if (named !== undefined) return resolve(named);
  const own = join(resolveStateDirectory(flagsOf(command).state), ISSUING_KEY_FILE);
  return (await exists(own)) ? resolve(own) : undefined;
}
