import { setTimeout as pause } from "node:timers/promises";
import { formatMs, style, table } from "../cli/output.ts";
import type { AgentStatus } from "../status.ts";
import { Fleet, type FleetNode } from "./fleet.ts";

const REFRESH_MS = 500;
const CLEAR = "\u001b[H\u001b[J";
const HIDE_CURSOR = "\u001b[?25l";
const SHOW_CURSOR = "\u001b[?25h";
const HELP =
  "up/down select   k kill or restart   f freeze or thaw   i isolate or rejoin   a add   w write   s stop signaling   q quit";

/**
 * The live view: one row for each node as it sees the cluster itself, redrawn in place on a terminal; elsewhere a plain
 * line whenever something changes. Ends on `q`, Ctrl-C or SIGTERM, and then stops everything it started.
 */
export async function liveDemo(options: { readonly nodes: number; readonly rtc: string }): Promise<void> {
  const terminal = process.stdout.isTTY === true && process.stdin.isTTY === true;
  const fleet = await Fleet.create(options);
  const finished = new AbortController();
  const view: View = { selected: 0, message: "starting", writes: 0 };
  const stop = (): void => finished.abort();
  process.once("SIGINT", stop);
  process.once("SIGTERM", stop);
  const abandon = (): void => fleet.killAll();
  process.once("exit", abandon);
  try {
    for (let count = 0; count < options.nodes; count++) await fleet.add();
    if (terminal) listenToKeys(fleet, view, stop);
    await draw(fleet, view, terminal, finished.signal);
  } finally {
    if (terminal) {
      process.stdin.setRawMode(false).pause();
      process.stdout.write(SHOW_CURSOR);
    }
    process.stderr.write("stopping…\n");
    await fleet.stop();
    process.removeListener("exit", abandon);
    process.removeListener("SIGINT", stop);
    process.removeListener("SIGTERM", stop);
  }
}

interface View {
  selected: number;
  message: string;
  writes: number;
}

async function draw(fleet: Fleet, view: View, terminal: boolean, signal: AbortSignal): Promise<void> {
  let last = "";
  if (terminal) process.stdout.write(HIDE_CURSOR);
  while (!signal.aborted) {
    const statuses = await Promise.all(fleet.nodes.map((node) => fleet.status(node)));
    const rows = fleet.nodes.map((node, index) => row(node, statuses[index]));
    if (terminal) {
      const marked = rows.map((cells, index) => [index === view.selected ? ">" : " ", ...cells]);
      process.stdout.write(`${CLEAR}${table(["", ...HEADINGS], marked)}\n\n${view.message}\n${style("dim", HELP)}\n`);
    } else {
      // Round-trip times change all the time: what is worth a line is everything else.
      const line = rows.map((cells) => cells.filter((_, column) => HEADINGS[column] !== "RTT").join(" ")).join(" | ");
      if (line !== last) process.stdout.write(`${line}\n`);
      last = line;
    }
    await pause(REFRESH_MS, undefined, { signal }).catch(() => undefined);
  }
}

const HEADINGS = ["NODE", "STATE", "ALIVE", "SUSPECT", "DOWN", "LINKS", "PATH", "RTT", "KEYS", "DIGEST"] as const;

function row(node: FleetNode, status: AgentStatus | undefined): string[] {
  const condition = node.frozen ? "frozen" : node.isolated ? "isolated" : undefined;
  if (!status)
    return [node.name, condition ?? (node.process ? "starting" : "killed"), "-", "-", "-", "-", "-", "-", "-", "-"];
  const count = (state: string): string => String(status.members.filter((member) => member.state === state).length);
  const keys = status.buckets.reduce((sum, bucket) => sum + bucket.keys, 0);
  const rtts = status.links.flatMap((link) => (link.rttMs === null ? [] : [link.rttMs])).sort((a, b) => a - b);
  const paths = [...new Set(status.links.map((link) => `${link.path}/${link.rtc}`))].join(",");
  return [
    node.name,
    condition ?? status.self.state,
    count("alive"),
    count("suspect"),
    count("down"),
    String(status.links.length),
    paths || "-",
    formatMs(rtts[Math.floor(rtts.length / 2)] ?? null),
    String(keys),
    status.buckets[0]?.digest.slice(0, 8) ?? "-",
  ];
}

function listenToKeys(fleet: Fleet, view: View, stop: () => void): void {
  process.stdin.setRawMode(true).resume().setEncoding("utf8");
  process.stdin.on("data", (data) => {
    const key = String(data);
    if (key === "q" || key === "\u0003") {
      stop();
      return;
    }
    act(fleet, view, key).then(
      (message) => {
        if (message !== undefined) view.message = message;
      },
      (error: unknown) => {
        view.message = error instanceof Error ? error.message : String(error);
      },
    );
  });
}

/** Does what `key` asks for; returns the line to show, or undefined where the key means nothing. */
async function act(fleet: Fleet, view: View, key: string): Promise<string | undefined> {
  const node = fleet.nodes[view.selected];
  if (!node) return undefined;
  switch (key) {
    case "\u001b[A":
      view.selected = Math.max(0, view.selected - 1);
      return undefined;
    case "\u001b[B":
      view.selected = Math.min(fleet.nodes.length - 1, view.selected + 1);
      return undefined;
    case "k":
      if (node.process) {
        await fleet.kill(node);
        return `${node.name} killed with SIGKILL: watch the others notice`;
      }
      fleet.start(node);
      return `${node.name} starts again under its own key`;
    case "f":
      fleet.freeze(node, !node.frozen);
      return node.frozen ? `${node.name} is frozen` : `${node.name} goes on and refutes its death`;
    case "i":
      await fleet.isolate(node, !node.isolated);
      return node.isolated ? `${node.name} is cut off: no frame in or out` : `${node.name} is back on the network`;
    case "a":
      return `${(await fleet.add()).name} joins`;
    case "w":
      view.writes++;
      await fleet.call(node, "kv.put", {
        bucket: "demo",
        key: `key-${view.writes}`,
        value: Buffer.from(node.name).toString("base64"),
      });
      return `${node.name} wrote key-${view.writes}`;
    case "s":
      await fleet.killSignaling();
      return "the signaling server is gone; the mesh goes on, but nobody new can join";
    default:
      return undefined;
  }
}
