import { join } from "node:path";
import { Command } from "commander";
import type { Agent } from "../../src/agent.ts";
import { fail } from "../../src/cli/output.ts";
import { addUpFlags, readInvite, runAgent } from "../../src/cli/up.ts";
import { type ControlHandler, serveControl } from "../../src/drivers/control.ts";
import { Numbers } from "./numbers.ts";

/**
 * An agent of the lab: `starling up`, with streams of numbered messages that the lab can start and look at, by a control socket of their
 * own (`lab` in the state directory): they are no commands of the product.
 */

const command = addUpFlags(new Command("lab-agent")).action(
  async ({ inviteFile, state }: { readonly inviteFile: string; readonly state: string }, self: Command) => {
    const handlers = (agent: Agent) => {
      void serve(agent, join(state, "lab"));
      return [];
    };
    await runAgent(self, await readInvite(undefined, inviteFile), { handlers });
  },
);

async function serve(agent: Agent, folder: string): Promise<void> {
  const numbers = new Numbers(agent);
  const handlers: readonly (readonly [string, ControlHandler])[] = [
    ["send", async ({ peer, everyMs }) => numbers.start(String(peer), Number(everyMs))],
    ["finish", async () => numbers.finish()],
    ["received", async () => numbers.received()],
  ];
  const control = await serveControl(folder, new Map(handlers));
  await agent.closed;
  await control.close();
}

try {
  await command.parseAsync();
} catch (error) {
  fail(error);
}
