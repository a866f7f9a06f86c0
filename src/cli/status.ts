import type { Command } from "commander";
import type { AgentStatus } from "../status.ts";
import { addStateFlag, ask } from "./flags.ts";
import { formatMs, print, printJson, style, table } from "./output.ts";

/** `starling status`: the running agent, its servers, members, links and buckets. */
export function statusCommand(program: Command): void {
  addStateFlag(program.command("status").description("show the running agent, its members, links and buckets"))
    .option("--json", "print JSON")
    .action(async (options: { json?: boolean }, command: Command) => {
      const status = (await ask(command, "status")) as AgentStatus;
      if (options.json) printJson(status);
      else for (const line of describeStatus(status)) print(line);
    });
}

/** `starling members`: the membership list alone. */
export function membersCommand(program: Command): void {
  addStateFlag(program.command("members").description("list the members of the cluster"))
    .option("--json", "print JSON")
    .action(async (options: { json?: boolean }, command: Command) => {
      const { members } = (await ask(command, "status")) as AgentStatus;
      if (options.json) printJson(members);
      else print(membersTable(members));
    });
}

function describeStatus(status: AgentStatus): string[] {
  const { self, signaling, members, links, buckets, warnings } = status;
  const lines = [
    ...warnings.map(({ message }) => `${style("yellow", "warning:")} ${message}`),
    `${style("bold", self.name)}  ${self.id}`,
    `cluster ${self.cluster.slice(0, 12)}  ${self.state}  version ${self.version}  token until ${self.tokenExpiresAt ?? "-"}`,
    "",
    ...signaling.map(
      (server) => `signaling ${server.url}  ${server.state}${server.lastError ? `  ${server.lastError}` : ""}`,
    ),
    "",
    membersTable(members),
  ];
  if (links.length > 0) {
    const rows = links.map((link) => [
      link.peer.slice(0, 8),
      link.path,
      link.rtc,
      link.signaledBy,
      formatMs(link.rttMs),
      String(link.txBytes),
      String(link.rxBytes),
      formatMs(link.sinceMs),
    ]);
    lines.push("", table(["LINK", "PATH", "RTC", "SIGNALED BY", "RTT", "SENT", "RECEIVED", "UP"], rows));
  }
  if (buckets.length > 0) {
    const rows = buckets.map((bucket) => [
      bucket.name,
      String(bucket.keys),
      String(bucket.bytes),
      bucket.digest.slice(0, 12),
      String(bucket.replicas),
    ]);
    lines.push("", table(["BUCKET", "KEYS", "BYTES", "DIGEST", "REPLICAS"], rows));
  }
  return lines;
}

const STATE_COLOURS = { alive: "green", suspect: "yellow", down: "red", left: "dim" } as const;

function membersTable(members: AgentStatus["members"]): string {
  const rows = members.map((member) => [
    member.name,
    member.id.slice(0, 8),
    member.state,
    member.path,
    formatMs(member.rttMs),
    formatMs(member.lastSeenMs),
    Object.entries(member.labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(","),
  ]);
  const text = table(["NAME", "ID", "STATE", "PATH", "RTT", "LAST SEEN", "LABELS"], rows);
  return text.replace(/ (alive|suspect|down|left) /g, (word, state: keyof typeof STATE_COLOURS) =>
    word.replace(state, style(STATE_COLOURS[state], state)),
  );
}
