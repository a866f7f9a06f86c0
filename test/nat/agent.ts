/** An agent of the lab: `starling up`, with streams of numbered messages that the lab can start and look at. */
import { Command } from "commander";
import type { Agent } from "../../src/agent.ts";
import { fail } from "../../src/cli/output.ts";
import { addUpFlags, readInvite, runAgent } from "../../src/cli/up.ts";
import type { ControlHandler } from "../../src/drivers/control.ts";
import { Numbers } from "./numbers.ts";

const command = addUpFlags(new Command("lab-agent")).action(async (flags: { inviteFile?: string }, self: Command) => {
  await runAgent(self, await readInvite(undefined, flags.inviteFile), { handlers });
});

function handlers(agent: Agent): readonly (readonly [string, ControlHandler])[] {
  const numbers = new Numbers(agent);
  return [
    ["lab.send", async ({ peer, everyMs }) => numbers.start(String(peer), Number(everyMs))],
    ["lab.finish", async () => numbers.finish()],
    ["lab.received", async () => numbers.received()],
  ];
}

try {
  await command.parseAsync();
} catch (error) {
  fail(error);
}
