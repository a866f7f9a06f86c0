import type { Command } from "commander";
import { StarlingError } from "../errors.ts";
import { addStateFlag, ask } from "./flags.ts";
import { formatMs, parseCount, parseDuration, print, printJson } from "./output.ts";

const COUNT = 4;
/** A minute at the usual pace. */
const COUNT_UNTIL_DIRECT = 60;

interface Pong {
  readonly peer: string;
  readonly rttMs: number;
  readonly path: string;
}

/** `starling ping PEER`: the round trip through the mesh, over the link that carries everything else. */
export function pingCommand(program: Command): void {
  addStateFlag(
    program.command("ping <peer>").description("measure the round trip to a member, by id, id prefix or name"),
  )
    .option("-c, --count <n>", `how many (default: ${COUNT}; ${COUNT_UNTIL_DIRECT} with --until-direct)`)
    .option("-i, --interval <duration>", "time between two", "1s")
    .option("--timeout <duration>", "how long to wait for each answer", "5s")
    .option("--until-direct", "stop at the first answer on a direct path; exit 1 when none comes")
    .option("--json", "print JSON")
    .action(async (peer: string, options: PingOptions, command: Command) => {
      const wanted = options.untilDirect ? COUNT_UNTIL_DIRECT : COUNT;
      const count = options.count === undefined ? wanted : parseCount(options.count);
      const pongs: Pong[] = [];
      for (let sent = 0; sent < count; sent++) {
        if (sent > 0) await new Promise((resolve) => setTimeout(resolve, parseDuration(options.interval)));
        const pong = (await ask(command, "ping", { peer, timeoutMs: parseDuration(options.timeout) })) as Pong;
        pongs.push(pong);
        if (!options.json) print(`pong from ${pong.peer.slice(0, 8)} via ${pong.path} in ${formatMs(pong.rttMs)}`);
        if (options.untilDirect && pong.path === "direct") break;
      }
      if (options.json) printJson(pongs);
      if (options.untilDirect && pongs.at(-1)?.path !== "direct") {
        const hint = `no direct path after ${count} pings; starling why ${peer} says what stands between`;
        throw new StarlingError("timeout", hint);
      }
    });
}

interface PingOptions {
  readonly count?: string;
  readonly untilDirect?: boolean;
  readonly interval: string;
  readonly timeout: string;
  readonly json?: boolean;
}
