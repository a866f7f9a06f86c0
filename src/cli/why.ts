import type { Command } from "commander";
import type { PathAccount, WhyReport } from "../why.ts";
import { addStateFlag, ask } from "./flags.ts";
import { formatMs, print, printJson, table } from "./output.ts";

/** `starling why PEER`: what stands between the two, from what both know. */
export function whyCommand(program: Command): void {
  addStateFlag(
    program
      .command("why <peer>")
      .description("say why the path to a member is what it is, and what would make it direct"),
  )
    .option("--json", "print JSON")
    .action(async (peer: string, options: { json?: boolean }, command: Command) => {
      const report = (await ask(command, "why", { peer })) as WhyReport;
      if (options.json) printJson(report);
      else for (const line of describeWhy(report)) print(line);
    });
}

function describeWhy({ peer, path, rtc, ours, theirs, theirError, why, remedy }: WhyReport): string[] {
  const rows = [sideRow("here", ours), ...(theirs === null ? [] : [sideRow("there", theirs)])];
  const lines = [
    `${peer.slice(0, 8)}  ${path}${rtc === null ? "" : `  ${rtc}`}`,
    "",
    table(["SIDE", "UDP", "NAT", "MAPPING", "FILTERING", "SEEN AS", "RELAY"], rows),
  ];
  if (theirError !== null) lines.push("", `the other side did not answer: ${theirError}`);
  for (const [title, account] of [
    ["tried here", ours],
    ["tried there", theirs],
  ] as const) {
    if (account === null || account.rounds.length === 0) continue;
    lines.push("", `${title}, ${formatMs(account.sinceMs)} ago:`, roundsTable(account));
  }
  lines.push("", why);
  if (remedy !== null) lines.push(`To make it direct: ${remedy}.`);
  return lines;
}

function sideRow(side: string, { udp, nat, mapping, filtering, public: seen, relay }: PathAccount): string[] {
  return [side, udp, nat, mapping, filtering, seen.join(", ") || "-", relay ? "yes" : "no"];
}

function roundsTable({ rounds }: PathAccount): string {
  const rows = rounds.map(({ role, rung, tookMs, local, remote, failure }) => [
    role,
    rung,
    formatMs(tookMs),
    kinds(local),
    kinds(remote),
    failure ?? "linked",
  ]);
  return table(["ROLE", "RUNG", "TOOK", "OFFERED", "GOT", "OUTCOME"], rows);
}

/** `2 host, 1 srflx`. */
function kinds(candidates: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const candidate of candidates) {
    const kind = candidate.split(" ", 1)[0] ?? "";
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return Array.from(counts, ([kind, count]) => `${count} ${kind}`).join(", ") || "-";
}
