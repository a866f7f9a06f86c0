import type { Command } from "commander";
import { nodeCrypto } from "../drivers/crypto.ts";
import { openStateDirectory } from "../drivers/state-directory.ts";
import { peerIdOf } from "../proto/peer-id.ts";
import { addStateFlag, flagsOf } from "./flags.ts";
import { print, printJson } from "./output.ts";
import { resolveStateDirectory } from "./settings.ts";

/** `starling keygen`: makes this agent's node key ahead of its first start and prints its id, for `invite --for`. */
export function keygenCommand(program: Command): void {
  addStateFlag(
    program.command("keygen").description("make the node key of --state if there is none, and print its peer id"),
  )
    .option("--json", "print JSON")
    .action(async (options: { json?: boolean }, command: Command) => {
      const path = resolveStateDirectory(flagsOf(command).state);
      await using directory = await openStateDirectory(path, nodeCrypto());
      const id = peerIdOf(directory.nodeKey.publicKey);
      if (options.json) printJson({ id, stateDirectory: path });
      else print(id);
    });
}
