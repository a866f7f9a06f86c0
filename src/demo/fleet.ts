import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { getCompileCacheDir } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { callControl } from "../drivers/control.ts";
import { StarlingError } from "../errors.ts";
import type { AgentStatus } from "../status.ts";

/**
 * A cluster of processes on this machine: one signaling server and any number of agents, started with the very commands
 * that a person would type, each agent in a state directory of its own below one temporary folder.
 */
export interface FleetNode {
  readonly name: string;
  readonly stateDirectory: string;
  process: ChildProcess | undefined;
  frozen: boolean;
  isolated: boolean;
}

// In a clone the sources run as they are; in an installed package the compiled files do.
const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
const cli = fileURLToPath(new URL(`../cli/main.${extension}`, import.meta.url));
const nodeProgram = fileURLToPath(new URL(`./node.${extension}`, import.meta.url));

/** How long a process may take to stop after SIGTERM before it is killed. */
const STOP_GRACE_MS = 8_000;

export class Fleet {
  readonly directory: string;
  readonly nodes: FleetNode[] = [];
  readonly #rtc: string;
  #signaling: ChildProcess | undefined;

  private constructor(directory: string, rtc: string) {
    this.directory = directory;
    this.#rtc = rtc;
  }

  /** Makes a cluster in a fresh temporary folder, starts its signaling server and writes an invite for `nodes` agents. */
  static async create(options: { readonly nodes: number; readonly rtc: string }): Promise<Fleet> {
    const fleet = new Fleet(await mkdtemp(join(tmpdir(), "starling-demo-")), options.rtc);
    try {
      const port = await fleet.#startSignaling();
      const invite = await fleet.#run(
        "invite",
        "--uses",
        String(options.nodes + 64),
        "--signaling",
        `ws://127.0.0.1:${port}`,
      );
      await writeFile(join(fleet.directory, "invite"), invite, { mode: 0o600 });
      return fleet;
    } catch (error) {
      await fleet.stop();
      throw error;
    }
  }

  /** Adds one node and starts it. */
  async add(): Promise<FleetNode> {
    const name = `node-${this.nodes.length + 1}`;
    const stateDirectory = join(this.directory, name);
    await mkdir(stateDirectory, { mode: 0o700 });
    const node: FleetNode = { name, stateDirectory, process: undefined, frozen: false, isolated: false };
    this.nodes.push(node);
    this.start(node);
    return node;
  }

  /** Starts the process of a node that is not running. */
  start(node: FleetNode): void {
    const flags = ["--state", node.stateDirectory, "--name", node.name, "--rtc", this.#rtc, "--log", "warn"];
    node.process = this.#spawn([nodeProgram, ...flags, "--invite-file", join(this.directory, "invite")]);
    node.frozen = false;
    node.isolated = false;
  }

  /** SIGKILL; resolves when the process is gone. */
  async kill(node: FleetNode): Promise<void> {
    await end(node.process, "SIGKILL");
    node.process = undefined;
  }

  /** Stops the process in its tracks, or lets it go on. */
  freeze(node: FleetNode, frozen: boolean): void {
    node.process?.kill(frozen ? "SIGSTOP" : "SIGCONT");
    node.frozen = frozen;
  }

  /** Cuts the node off from all others, or plugs it in again. */
  async isolate(node: FleetNode, isolated: boolean): Promise<void> {
    await callControl(node.stateDirectory, "demo.isolate", { isolated });
    node.isolated = isolated;
  }

  async killSignaling(): Promise<void> {
    await end(this.#signaling, "SIGKILL");
    this.#signaling = undefined;
  }

  /** The node's own view; undefined while it does not answer. */
  async status(node: FleetNode): Promise<AgentStatus | undefined> {
    if (!node.process || node.frozen) return undefined;
    return callControl(node.stateDirectory, "status", {}, { signal: AbortSignal.timeout(2_000) }).then(
      (status) => status as AgentStatus,
      () => undefined,
    );
  }

  call(node: FleetNode, command: string, parameters: Readonly<Record<string, unknown>>): Promise<unknown> {
    return callControl(node.stateDirectory, command, parameters);
  }

  /** Stops every process, removes every file. Returns the pids that had to be killed. */
  async stop(): Promise<number[]> {
    const stubborn: number[] = [];
    const processes = [...this.nodes.map((node) => node.process), this.#signaling];
    for (const node of this.nodes) if (node.frozen) node.process?.kill("SIGCONT");
    await Promise.all(
      processes.map(async (child) => {
        if (!(await end(child, "SIGTERM", STOP_GRACE_MS)) && child?.pid !== undefined) {
          stubborn.push(child.pid);
          await end(child, "SIGKILL");
        }
      }),
    );
    await rm(this.directory, { recursive: true, force: true });
    return stubborn;
  }

  /** Kills every process without waiting: for the moment before this process dies. */
  killAll(): void {
    for (const child of [...this.nodes.map((node) => node.process), this.#signaling]) child?.kill("SIGKILL");
  }

  async #startSignaling(): Promise<number> {
    await this.#run("init", "--name", "demo");
    const child = this.#spawn([cli, "signal", "--state", this.#clusterDirectory, "--listen", "127.0.0.1:0", "--json"]);
    this.#signaling = child;
    const line = await firstLine(child);
    const { port } = JSON.parse(line) as { port: number };
    return port;
  }

  get #clusterDirectory(): string {
    return join(this.directory, "cluster");
  }

  /** Runs one command to its end and returns what it printed. */
  async #run(command: string, ...rest: string[]): Promise<string> {
    const child = this.#spawn([cli, command, "--state", this.#clusterDirectory, ...rest]);
    let output = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
    if (code !== 0) throw new StarlingError("internal", `starling ${command} ended with exit code ${code}`);
    return output.trim();
  }

  #spawn(command: readonly string[]): ChildProcess {
    // The agents' own words go to our stderr: in the table view they would tear the picture.
    return spawn(process.execPath, command, {
      stdio: ["ignore", "pipe", process.stdout.isTTY ? "ignore" : "inherit"],
      env: { ...process.env, NODE_COMPILE_CACHE: getCompileCacheDir() ?? process.env["NODE_COMPILE_CACHE"] },
    });
  }
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      const newline = text.indexOf("\n");
      if (newline >= 0) resolve(text.slice(0, newline));
    });
    child.once("exit", (code) =>
      reject(new StarlingError("internal", `the signaling server ended with exit code ${code}`)),
    );
  });
}

/** Signals a process and waits for its end; false if it still runs after `withinMs`. */
async function end(child: ChildProcess | undefined, signal: NodeJS.Signals, withinMs = 5_000): Promise<boolean> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return true;
  return new Promise((resolve) => {
    const impatience = setTimeout(() => resolve(false), withinMs);
    child.once("exit", () => {
      clearTimeout(impatience);
      resolve(true);
    });
    child.kill(signal);
  });
}
