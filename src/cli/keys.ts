import type { Command } from "commander";
import type { KeysOfMember } from "../agent/key-census.ts";
import { readStdin } from "../drivers/state/stdin.ts";
import { addStateFlag, ask } from "./flags.ts";
import { type ChangeOptions, changeKeys, show, summary } from "./key-change.ts";
import { rotateCommand } from "./keys-rotate.ts";
import { printJson, warn } from "./output.ts";
import { addSigningFlags } from "./signing-key.ts";

/** `starling keys list | install | use | remove`: the secrets that all members share; `rotate` is in `keys-rotate.ts`. */
export function keysCommand(program: Command): void {
  const keys = program.command("keys").description("show and change the keys of a cluster");

  addStateFlag(keys.command("list").description("which keys are in use, and by how many members"))
    .option("--json", "print JSON")
    .action(async (options: { json?: boolean }, command: Command) => {
      const members = (await ask(command, "keys.list")) as KeysOfMember[];
      if (options.json) printJson(summary(members));
      else show(members);
    });

  changeCommand(
    keys
      .command("install [key]")
      .description("add a gossip key (base64, - for stdin; default: a random one) everywhere"),
    async (argument) => {
      if (argument === undefined) return { what: "install" };
      if (argument !== "-")
        warn("a gossip key is a secret, and everybody on this machine can see command lines; prefer - and stdin");
      const key = argument === "-" ? (await readStdin()).toString("utf8").trim() : argument;
      return { what: "install", key };
    },
  );
  changeCommand(
    keys.command("use <name>").description("seal broadcasts under the gossip key of this name"),
    async (name) => ({
      what: "use",
      name,
    }),
  );
  changeCommand(
    keys.command("remove <name>").description("drop the gossip key of this name everywhere"),
    async (name) => ({
      what: "remove",
      name,
    }),
  );
  rotateCommand(keys);
}

function changeCommand(
  command: Command,
  changeOf: (argument: string | undefined) => Promise<Readonly<Record<string, unknown>>>,
): void {
  addSigningFlags(command)
    .option("--wait <duration>", "how long to wait until all members that are up have it", "30s")
    .option("--json", "print JSON")
    .action(async (...given: unknown[]) => {
      const self = given.at(-1) as Command;
      const options = given.at(-2) as ChangeOptions;
      const argument = given.length > 2 && typeof given[0] === "string" ? given[0] : undefined;
      await changeKeys(self, await changeOf(argument), options);
    });
}
