import type { Command } from "commander";
import { addStateFlag, ask } from "./flags.ts";
import { formatMs, parseCount, parseDuration, print, printJson } from "./output.ts";

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
    .option("-c, --count <n>", "how many", "4")
    .option("-i, --interval <duration>", "time between two", "1s")
    .option("--timeout <duration>", "how long to wait for each answer", "5s")
    .option("--json", "print JSON")
    .action(async (peer: string, options: PingOptions, command: Command) => {
      const count = parseCount(options.count);
      const pongs: Pong[] = [];
      for (let sent = 0; sent < count; sent++) {
        if (sent > 0) await new Promise((resolve) => setTimeout(resolve, parseDuration(options.interval)));
        const pong = (await ask(command, "ping", { peer, timeoutMs: parseDuration(options.timeout) })) as Pong;
        pongs.push(pong);
        if (!options.json) print(`pong from ${pong.peer.slice(0, 8)} via ${pong.path} in ${formatMs(pong.rttMs)}`);
      }
      if (options.json) printJson(pongs);
    });
}

interface PingOptions {
  readonly count: string;
  readonly interval: string;
  readonly timeout: string;
  readonly json?: boolean;
}
