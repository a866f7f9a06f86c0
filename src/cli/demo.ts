import { type Command, Option } from "commander";
import { StarlingError } from "../errors.ts";
import { printJson, say, style } from "./output.ts";

interface DemoOptions {
  readonly nodes: string;
  readonly once?: boolean;
  readonly json?: boolean;
  readonly rtc: string;
}

/** `starling demo`: a live mesh of processes on this machine, or its scripted tour. */
export function demoCommand(program: Command): void {
  program
    .command("demo")
    .description("run a live mesh of processes on this machine")
    .option("-n, --nodes <n>", "agents to start", "5")
    .option("--once", "run the scripted tour and exit; 0 only if all of it held")
    .option("--json", "with --once: print a JSON summary with the time of each step")
    .addOption(new Option("--rtc <stack>", "WebRTC stack").choices(["auto", "native", "werift"]).default("auto"))
    .action(async (options: DemoOptions) => {
      const nodes = Number(options.nodes);
      if (!Number.isInteger(nodes) || nodes < 2 || nodes > 64) {
        throw new StarlingError("usage", "--nodes must be a number from 2 to 64");
      }
      if (!options.once) {
        const { liveDemo } = await import("../demo/screen.ts");
        return liveDemo({ nodes, rtc: options.rtc });
      }
      if (nodes < 3) throw new StarlingError("usage", "the tour needs at least 3 nodes: --nodes 3");
      const { tour } = await import("../demo/tour.ts");
      const summary = await tour({
        nodes,
        rtc: options.rtc,
        onStep: ({ ok, step, ms, detail }) => {
          const mark = ok ? style("green", "ok") : style("red", "FAILED");
          say(`${mark}  ${step}  (${ms} ms)${detail ? `: ${detail}` : ""}`);
        },
      });
      if (options.json) printJson(summary);
      if (!summary.ok) process.exitCode = 1;
    });
}
