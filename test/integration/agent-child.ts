import { type AgentOptions, createAgent } from "../../src/index.ts";

/**
 * A process that runs an agent and then has nothing more to do: `agent-child.ts INVITE FOLDER STACK VERB`. It joins, waits
 * for a link, ends the agent by VERB (`dispose` or `leave`) and writes what is still open, and the time, to standard output.
 * It never calls `process.exit`.
 */
const [invite = "", stateDirectory = "", rtc, verb] = process.argv.slice(2);
const agent = await createAgent({
  invite,
  stateDirectory,
  name: "child",
  rtc: rtc as NonNullable<AgentOptions["rtc"]>,
});
if (agent.status().links.length === 0) {
  await new Promise((resolve) => agent.addEventListener("linkup", resolve, { once: true }));
}
if (verb === "leave") await agent.leave();
else await agent[Symbol.asyncDispose]();
// Standard streams are no handles of ours, a request for a file is done or nearly, and timers show in how long the exit takes.
const passing = /^(PipeWrap|TTYWrap|Immediate|FSReqCallback|FSReqPromise|Timeout)$/;
const open = process.getActiveResourcesInfo().filter((name) => !passing.test(name));
process.stdout.write(JSON.stringify({ at: Date.now(), open }));
