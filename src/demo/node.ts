/** One agent of the demonstration: `starling up` with a stack that can be cut off from the world. */
import { Command } from "commander";
import { fail } from "../cli/output.ts";
import { addUpFlags, readInvite, runAgent } from "../cli/up.ts";
import { chooseStack } from "../agent/stacks.ts";
import { IsolatingStack } from "./isolating-stack.ts";

interface NodeFlags {
  readonly rtc?: "auto" | "native" | "werift";
  readonly inviteFile?: string;
}

const command = addUpFlags(new Command("demo-node")).action(async (flags: NodeFlags, self: Command) => {
  const stack = new IsolatingStack(await chooseStack(flags.rtc ?? "auto"));
  await runAgent(self, await readInvite(undefined, flags.inviteFile), {
    rtc: stack,
    handlers: [
      [
        "demo.isolate",
        async (parameters) => {
          stack.isolated = parameters["isolated"] === true;
        },
      ],
    ],
  });
});

try {
  await command.parseAsync();
} catch (error) {
  fail(error);
}
