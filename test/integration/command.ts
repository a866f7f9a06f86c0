import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { until } from "./until.ts";

/** Runs programs as a person at a shell would, and sees to it that nothing outlives the tests of a file. */

export const ROOT = join(import.meta.dirname, "../..");
export const STARLING = join(ROOT, "src/cli/starling.js");

const folders: string[] = [];
const programs: Program[] = [];

afterAll(async () => {
  await Promise.all(programs.map((program) => program.kill()));
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

/** A folder that is gone after the tests of this file. */
export async function freshFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "starling-test-"));
  folders.push(folder);
  return folder;
}

/** How a program ended, and what it said. */
export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** What it reads on stdin; default: nothing. */
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** After so long it is killed, ms. Default 20,000. */
  readonly timeoutMs?: number;
}

/** A program that was started. */
export class Program {
  readonly ended: Promise<Outcome>;
  stdout = "";
  stderr = "";
  readonly #child: ChildProcess;

  constructor(file: string, args: readonly string[], options: RunOptions = {}) {
    const { input, env = {}, cwd = ROOT, timeoutMs } = options;
    this.#child = spawn(file, args, {
      cwd,
      env: { ...plainEnvironment(), ...env },
      stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    });
    this.#child.stdin?.end(input);
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    const patience = timeoutMs === undefined ? undefined : setTimeout(() => this.#child.kill("SIGKILL"), timeoutMs);
    this.ended = new Promise((resolve, reject) => {
      this.#child.once("error", reject);
      this.#child.once("close", (code, signal) => {
        clearTimeout(patience);
        resolve({ code, signal, stdout: this.stdout, stderr: this.stderr });
      });
    });
    programs.push(this);
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** The line of stdout with this number, once it is complete. */
  line(index = 0): Promise<string> {
    return until(`line ${index} of stdout (stderr: ${this.stderr})`, () => {
      const lines = this.stdout.split("\n");
      if (lines.length <= index + 1 && !this.running) throw new Error(`it has ended: ${this.stderr}`);
      return lines.length > index + 1 ? (lines[index] ?? "") : undefined;
    });
  }

  async kill(): Promise<void> {
    if (this.running) this.#child.kill("SIGKILL");
    await this.ended.catch(() => undefined);
  }
}

/** Runs `starling …` to its end. */
export function starling(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return run(process.execPath, [STARLING, ...args], options);
}

/** Starts `starling …`. */
export function startStarling(args: readonly string[], options: RunOptions = {}): Program {
  return new Program(process.execPath, [STARLING, ...args], options);
}

/** Runs any program to its end. */
export function run(file: string, args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return new Program(file, args, { timeoutMs: 20_000, ...options }).ended;
}

// Nothing that the developer has set for agents of their own.
function plainEnvironment(): Record<string, string> {
  const kept = Object.entries(process.env).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined &&
      !/^(STARLING_|XDG_|NO_COLOR$|FORCE_COLOR$|VITEST|NODE_OPTIONS$|NODE_ENV$)/.test(entry[0]),
  );
  return Object.fromEntries(kept);
}

/** Starts a member that says when it is up, and nothing else. */
export function startMember(member: {
  readonly state: string;
  readonly name: string;
  readonly url: string;
  readonly invite: string;
}): ReturnType<typeof startStarling> {
  const { state, name, url, invite } = member;
  const where = ["--state", state, "--name", name, "--signaling", url];
  return startStarling(["up", ...where, "--json", "--log", "silent", "--invite-file", "-"], { input: invite });
}
