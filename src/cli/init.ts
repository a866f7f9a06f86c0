import type { Command } from "commander";
import { nodeCrypto } from "../drivers/crypto.ts";
import { createCluster } from "../drivers/state/create-cluster.ts";
import { addStateFlag, flagsOf, iceServersOf } from "./flags.ts";
import { printJson, say } from "./output.ts";
import { resolveStateDirectory } from "./settings.ts";

/** Where a signaling server listens unless told otherwise, and where a new cluster expects it. */
export const DEFAULT_SIGNALING_PORT = 7700;

interface InitOptions {
  readonly name?: string;
  readonly signaling?: readonly string[];
  readonly stun?: readonly string[];
  readonly json?: boolean;
}

/** `starling init`: makes the keys of a new cluster. */
export function initCommand(program: Command): void {
  addStateFlag(program.command("init").description("make a new cluster: its root, issuing, cluster and gossip keys"))
    .option("--name <name>", "the cluster's name, for people")
    .option(
      "--signaling <url...>",
      `signaling servers that invites name (default: ws://127.0.0.1:${DEFAULT_SIGNALING_PORT})`,
    )
    .option("--stun <url...>", "STUN servers that invites name, such as stun:192.0.2.10:3478")
    .option("--json", "print JSON")
    .action(async (options: InitOptions, command: Command) => {
      const stateDirectory = resolveStateDirectory(flagsOf(command).state);
      const created = await createCluster(
        stateDirectory,
        {
          ...(options.name !== undefined && { name: options.name }),
          signaling: options.signaling ?? [`ws://127.0.0.1:${DEFAULT_SIGNALING_PORT}`],
          iceServers: iceServersOf(options.stun),
        },
        nodeCrypto(),
      );
      const { cluster, rootKeyFile, issuingKeyFile, advice } = created;
      if (options.json) {
        printJson({
          cluster: cluster.clusterId,
          name: cluster.name,
          signaling: cluster.signaling,
          rootKeyFile,
          issuingKeyFile,
        });
      }
      say(`cluster ${cluster.clusterId} is made in ${stateDirectory}`);
      for (const line of advice) say(line);
      say("next: starling signal   starts its front door;   starling invite   prints an invite for the first member");
    });
}
