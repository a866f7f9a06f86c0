/** One agent of the demonstration: `starling up` with a stack that can be cut off from the world. */
import { Command } from "commander";
import { chooseStack } from "../agent/stacks.ts";
import type { Agent } from "../agent.ts";
import { fail } from "../cli/output.ts";
import { addUpFlags, readInvite, runAgent } from "../cli/up.ts";
import type { ControlHandler } from "../drivers/control.ts";
import { IsolatingStack } from "./isolating-stack.ts";

interface NodeFlags {
  readonly rtc?: "auto" | "native" | "werift";
  readonly inviteFile?: string;
}

const command = addUpFlags(new Command("demo-node")).action(async (flags: NodeFlags, self: Command) => {
  const stack = new IsolatingStack(await chooseStack(flags.rtc ?? "auto"));
  await runAgent(self, await readInvite(undefined, flags.inviteFile), {
    rtc: stack,
    handlers: (agent) => demoHandlers(agent, stack),
  });
});

function demoHandlers(agent: Agent, stack: IsolatingStack): readonly (readonly [string, ControlHandler])[] {
  let downs = 0;
  agent.addEventListener("memberdown", () => downs++);
  return [
    [
      "demo.isolate",
      async (parameters) => {
        stack.isolated = parameters["isolated"] === true;
      },
    ],
    ["demo.counters", async () => ({ ...agent.counters(), downs })],
    ["demo.awaitDown", (parameters, _emit, signal) => memberDown(agent, String(parameters["name"]), signal)],
  ];
}

/** Resolves when the member of this name is next declared down. */
function memberDown(agent: Agent, name: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    agent.addEventListener(
      "memberdown",
      (event) => {
        if (event.member.name === name) resolve();
      },
      { signal },
    );
  });
}

try {
  await command.parseAsync();
} catch (error) {
  fail(error);
}
