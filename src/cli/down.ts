import type { Command } from "commander";
import { addStateFlag, ask } from "./flags.ts";
import { say } from "./output.ts";

/** `starling down`: the running agent says goodbye, hands over what is queued, and stops. */
export function downCommand(program: Command): void {
  addStateFlag(program.command("down").description("leave the cluster and stop the running agent")).action(
    async (_options, command: Command) => {
      await ask(command, "down");
      say("left the cluster");
    },
  );
}
