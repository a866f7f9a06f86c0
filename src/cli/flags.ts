/** Flags that several commands share, so that each has one name, one help text and one meaning. */
import { type Command, Option } from "commander";
import { callControl } from "../drivers/control.ts";
import { StarlingError } from "../errors.ts";
import type { IceServer } from "../proto/negotiation/rtc.ts";
import { resolveStateDirectory, type SettingFlags } from "./settings.ts";

/** `--state DIR`: which agent. */
export function addStateFlag(command: Command): Command {
  return command.option("--state <dir>", "state directory of the agent (default: $STARLING_STATE, else XDG)");
}

/** Every flag that sets an agent's option. */
export function addSettingFlags(command: Command): Command {
  return addStateFlag(command)
    .option("--config <file>", "configuration file (default: config.yaml in the state directory)")
    .option("--name <name>", "this agent's name (default: the host's)")
    .option("--label <key=value...>", "labels, gossiped to all members")
    .option("--signaling <url...>", "signaling servers (default: those of the invite)")
    .option("--signaling-ca <file>", "authorities (PEM) to trust for wss:// beside the system's")
    .option("--signaling-cert <file>", "our certificate (PEM) for servers that ask for one")
    .option("--signaling-key <file>", "its private key (PEM)")
    .addOption(new Option("--rtc <stack>", "WebRTC stack").choices(["auto", "native", "werift"]))
    .option("--loopback", "offer 127.0.0.1 as an address too (default: when signaling is on this machine)")
    .option("--metrics <address>", "answer Prometheus on host:port, /healthz and /readyz too (default: nowhere)")
    .option("--skip-interface <prefix...>", "do not offer addresses of these interfaces; none offers all")
    .option("--port-range <first-last>", "UDP ports for links, such as 50000-50100 (default: any)")
    .option("--announce <address...>", "addresses by which others reach this machine, behind port forwarding")
    .option("--local-names", "look up .local names in candidates of browsers on this network")
    .addOption(new Option("--store <kind>", "where values are kept").choices(["sqlite", "lmdb", "memory"]))
    .addOption(new Option("--log <level>", "log level").choices(["debug", "info", "warn", "error", "silent"]));
}

/** The setting flags given to `command` or a parent. */
export function flagsOf(command: Command): SettingFlags {
  return command.optsWithGlobals<SettingFlags>();
}

/** Asks the running agent that the command's `--state` names. */
export function ask(
  command: Command,
  name: string,
  parameters: Readonly<Record<string, unknown>> = {},
  options: { readonly onEvent?: (event: unknown) => void; readonly signal?: AbortSignal } = {},
): Promise<unknown> {
  return callControl(resolveStateDirectory(flagsOf(command).state), name, parameters, options);
}

/** STUN servers from `--stun`. */
export function iceServersOf(urls: readonly string[] | undefined): IceServer[] {
  return (urls ?? []).map((url) => {
    if (!/^stuns?:/.test(url)) throw new StarlingError("usage", `${url} is no STUN server; write stun:host:port`);
    return { urls: url };
  });
}
