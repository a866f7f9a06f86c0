/** The reference beside our own figures: Debian's `serf`, killed the same way. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Starts `nodes` serf agents on loopback and kills `kills` of them; ms until each of five survivors knew. */
export async function serfDetection(nodes: number, kills: number): Promise<number[]> {
  const agents: ChildProcess[] = [];
  const rpc = (index: number): string => `127.0.0.1:${17_400 + index}`;
  try {
    for (let index = 0; index < nodes; index++) {
      const flags = ["-node", `s${index}`, "-bind", `127.0.0.1:${17_000 + index}`, "-rpc-addr", rpc(index)];
      if (index > 0) flags.push("-join", "127.0.0.1:17000");
      agents.push(spawn("serf", ["agent", "-profile", "lan", ...flags], { stdio: "ignore" }));
      await pause(50);
    }
    await pause(15_000);
    const times: number[] = [];
    for (let kill = 0; kill < kills; kill++) {
      const index = nodes - 1 - kill;
      const killedAt = performance.now();
      agents[index]?.kill("SIGKILL");
      times.push(...(await Promise.all([0, 1, 2, 3, 4].map((viewer) => failed(rpc(viewer), `s${index}`, killedAt)))));
    }
    return times;
  } finally {
    for (const agent of agents) agent.kill("SIGKILL");
  }
}

async function failed(rpc: string, name: string, killedAt: number): Promise<number> {
  for (;;) {
    const { stdout } = await run("serf", [
      "members",
      "-rpc-addr",
      rpc,
      "-name",
      `^${name}$`,
      "-status",
      "failed",
    ]).catch(() => ({ stdout: "" }));
    if (stdout.includes(name)) return performance.now() - killedAt;
    if (performance.now() - killedAt > 60_000) return 60_000;
    await pause(100);
  }
}
