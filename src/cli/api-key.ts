import { randomBytes } from "node:crypto";
import type { Command } from "commander";
import { readApiKeys, writeApiKeys } from "../drivers/state/api-keys.ts";
import { ensurePrivateFolder } from "../drivers/state/private-files.ts";
import { StarlingError } from "../errors.ts";
import { makeApiKey } from "../proto/trust/api-key.ts";
import { checkScopes } from "../proto/trust/scopes.ts";
import { addStateFlag, flagsOf } from "./flags.ts";
import { parseDuration, print, printJson, say, table } from "./output.ts";
import { resolveStateDirectory } from "./settings.ts";

interface CreateOptions {
  readonly name: string;
  readonly scope: readonly string[];
  readonly expires: string;
  readonly json?: boolean;
}

/** `starling apikey create | list | revoke`: secrets for programs, such as a Prometheus that scrapes from another machine. */
export function apiKeyCommand(program: Command): void {
  const apiKey = program.command("apikey").description("make and revoke keys for programs");

  addStateFlag(apiKey.command("create").description("print a key, once; only its hash is kept"))
    .requiredOption("--name <name>", "what it is for")
    .requiredOption("--scope <scope...>", "what it allows, for example metrics:read")
    .option("--expires <duration>", "how long it is good", "90d")
    .option("--json", "print JSON")
    .action(async (options: CreateOptions, command: Command) => {
      const state = stateOf(command);
      if (checkScopes(options.scope) === undefined)
        throw new StarlingError(
          "usage",
          `${options.scope.join(" ")} is no list of scopes; write for example metrics:read`,
        );
      if (options.name.length < 1 || options.name.length > 64)
        throw new StarlingError("usage", "a key's name has 1 to 64 characters");
      const createdAt = Date.now();
      const expiresAt = createdAt + parseDuration(options.expires);
      const terms = { name: options.name, scopes: options.scope, createdAt, expiresAt };
      const { key, record } = makeApiKey(new Uint8Array(randomBytes(42)), terms);
      await ensurePrivateFolder(state);
      await writeApiKeys(state, [...(await readApiKeys(state)).values(), record]);
      if (options.json) printJson({ key, id: record.id, expiresAt: new Date(expiresAt).toISOString() });
      else print(key);
      say("it is shown this once: keep it where its program finds it; programs that run take it within a few seconds");
    });

  addStateFlag(apiKey.command("list").description("list the keys; the secrets are not kept"))
    .option("--json", "print JSON")
    .action(async (options: { json?: boolean }, command: Command) => {
      const keys = [...(await readApiKeys(stateOf(command))).values()].map(
        ({ hash: _, createdAt, expiresAt, ...key }) => ({
          ...key,
          createdAt: new Date(createdAt).toISOString(),
          expiresAt: new Date(expiresAt).toISOString(),
          expired: expiresAt <= Date.now(),
        }),
      );
      if (options.json) printJson(keys);
      else {
        const cells = keys.map((key) => [
          key.id,
          key.name,
          key.scopes.join(" "),
          key.expired ? "expired" : key.expiresAt,
        ]);
        print(table(["ID", "NAME", "SCOPES", "EXPIRES"], cells));
      }
    });

  addStateFlag(
    apiKey.command("revoke <id>").description("forget a key: whoever holds it is refused from then on"),
  ).action(async (id: string, _options, command: Command) => {
    const state = stateOf(command);
    const keys = new Map(await readApiKeys(state));
    if (!keys.delete(id))
      throw new StarlingError("not-found", `there is no API key ${JSON.stringify(id)}; see: starling apikey list`);
    await writeApiKeys(state, keys.values());
  });
}

function stateOf(command: Command): string {
  return resolveStateDirectory(flagsOf(command).state);
}
