import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import type { Namespace } from "./namespace.ts";

/** A program of ours in a namespace, with what it has said. */
export class Child {
  readonly process: ChildProcess;
  readonly ended: Promise<number | null>;
  stdout = "";
  stderr = "";
  #wake = Promise.withResolvers<void>();

  constructor(process: ChildProcess) {
    this.process = process;
    process.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
      this.#stir();
    });
    process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr = (this.stderr + text).slice(-MAX_STDERR);
      this.#stir();
    });
    this.ended = new Promise((resolve, reject) => {
      process.once("error", reject);
      process.once("close", resolve);
    });
    this.ended.then(
      () => this.#stir(),
      () => this.#stir(),
    );
  }

  get running(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null;
  }

  /** The first whole line of stdout that contains `text`. */
  async line(text = "", withinMs = 20_000): Promise<string> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      const found = this.stdout
        .split("\n")
        .slice(0, -1)
        .find((line) => line.includes(text));
      if (found !== undefined) return found;
      if (!this.running) throw new Error(`a program of the lab has ended:\n${this.stderr}`);
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) throw new Error(`a program of the lab said nothing within ${withinMs} ms:\n${this.stderr}`);
      const patience = setTimeout(() => this.#stir(), leftMs);
      await this.#wake.promise;
      clearTimeout(patience);
    }
  }

  /** Ends it at once. */
  async stop(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (this.running) this.process.kill(signal);
    await this.ended.catch(() => undefined);
  }

  #stir(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers<void>();
  }
}

/** Log lines of one agent over minutes; what is older is of no interest. */
const MAX_STDERR = 1_048_576;

/** Nothing that the developer has set for agents of their own. */
function plainEnvironment(): Record<string, string> {
  const own = /^(STARLING_|XDG_|FORCE_COLOR$|VITEST|NODE_OPTIONS$|NODE_ENV$)/;
  const kept = Object.entries(process.env).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && !own.test(entry[0]),
  );
  return Object.fromEntries(kept);
}

/** Starts a TypeScript file of this folder, or another by a path from it. */
export function startChild(
  where: Namespace,
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Child {
  return startProgram(where, process.execPath, [join(import.meta.dirname, file), ...args], env);
}

/** Starts any program. */
export function startProgram(
  where: Namespace,
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Child {
  return new Child(
    where.spawn(file, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...plainEnvironment(), ...env } }),
  );
}

/** What a program says until it ends well. */
export async function output(child: Child): Promise<string> {
  const code = await child.ended;
  if (code !== 0) throw new Error(`a program of the lab ended with ${code}:\n${child.stderr}`);
  return child.stdout;
}
