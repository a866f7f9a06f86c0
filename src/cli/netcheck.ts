import type { Command } from "commander";
import { netcheck } from "../agent/netcheck.ts";
import { systemClock } from "../drivers/clock.ts";
import { nodeCrypto } from "../drivers/crypto.ts";
import { systemRandom } from "../drivers/entropy.ts";
import { readClusterFiles } from "../drivers/state/cluster-files.ts";
import { StarlingError } from "../errors.ts";
import type { NetcheckReport } from "../netcheck.ts";
import { addSettingFlags, ask, flagsOf, iceServersOf } from "./flags.ts";
import { formatMs, print, printJson, say, style, table } from "./output.ts";
import { resolveSettings } from "./settings.ts";

interface NetcheckFlags {
  readonly stun?: readonly string[];
  readonly json?: boolean;
}

/** `starling netcheck`: what this machine's network is like, through the running agent or without one. */
export function netcheckCommand(program: Command): void {
  addSettingFlags(
    program.command("netcheck").description("find out what stands between this machine and others, and what it means"),
  )
    .option("--stun <url...>", "ask these STUN servers, and no agent")
    .option("--json", "print JSON")
    .action(async (options: NetcheckFlags, command: Command) => {
      const report = await reportFor(command, options);
      if (options.json) printJson(report);
      else for (const line of describeNetcheck(report)) print(line);
    });
}

/** By the running agent, which knows credentials and clocks; by the configuration where none runs or others are to be asked. */
async function reportFor(command: Command, { stun }: NetcheckFlags): Promise<NetcheckReport> {
  if (stun === undefined) {
    try {
      return (await ask(command, "netcheck")) as NetcheckReport;
    } catch (error) {
      if (!(error instanceof StarlingError) || error.code !== "not-running") throw error;
      say("no agent is running here: asking the configured servers");
    }
  }
  const { values, stateDirectory } = resolveSettings(flagsOf(command));
  const cluster = await readClusterFiles(stateDirectory, nodeCrypto()).catch(() => undefined);
  const named = values.iceServers.length > 0 ? values.iceServers : (cluster?.iceServers ?? []);
  return netcheck({
    iceServers: stun === undefined ? named : iceServersOf(stun),
    signaling: values.signaling.length > 0 ? values.signaling : (cluster?.signaling ?? []),
    random: systemRandom(),
    now: systemClock(),
  });
}

function describeNetcheck(report: NetcheckReport): string[] {
  const { udp, ipv4, ipv6, nat, servers, signaling, signs, meaning } = report;
  const family = ({ local, public: seen }: NetcheckReport["ipv4"]): string =>
    `${local.length > 0 ? local.join(", ") : "none"}${seen === null ? "" : `; seen as ${seen}`}`;
  const lines = [
    `UDP        ${udp}`,
    `IPv4       ${family(ipv4)}`,
    `IPv6       ${family(ipv6)}`,
    `mapping    ${nat.mapping}`,
    `filtering  ${nat.filtering}`,
    `NAT        ${nat.kind}`,
  ];
  if (servers.length > 0) {
    const rows = servers.map(({ url, transport, rttMs, relay, error }) => [
      url,
      transport,
      formatMs(rttMs),
      relay ?? "-",
      error ?? "ok",
    ]);
    lines.push("", table(["SERVER", "OVER", "RTT", "RELAY", ""], rows));
  }
  if (signaling.length > 0) {
    const rows = signaling.map(({ url, rttMs, skewMs, error }) => [
      url,
      formatMs(rttMs),
      formatSkew(skewMs),
      error ?? "ok",
    ]);
    lines.push("", table(["SIGNALING", "RTT", "CLOCK", ""], rows));
  }
  for (const sign of signs) lines.push("", `${style("yellow", "notice:")} ${sign}`);
  return [...lines, "", meaning];
}

function formatSkew(skewMs: number | null): string {
  if (skewMs === null) return "-";
  return skewMs === 0 ? "in step" : `${formatMs(Math.abs(skewMs))} ${skewMs > 0 ? "ahead of ours" : "behind ours"}`;
}
