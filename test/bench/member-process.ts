import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import type { LocalCluster } from "../../examples/local-cluster.ts";

/** What a member in a process of its own can be told. */
export type MemberCommand = { readonly id: number } & Order;
type Order =
  | { readonly do: "policy"; readonly bucket: string; readonly replicas: number }
  | { readonly do: "fill"; readonly bucket: string; readonly from: number; readonly to: number; readonly value: string }
  | { readonly do: "write"; readonly run: number }
  | { readonly do: "keys"; readonly bucket: string }
  | { readonly do: "watch" }
  | { readonly do: "watched" }
  | { readonly do: "status" };

export interface ProcessStatus {
  readonly bytes: number;
  readonly links: number;
  readonly alive: number;
  readonly keys: Readonly<Record<string, number>>;
  readonly digests: Readonly<Record<string, string>>;
}

type Said = { readonly down?: string; readonly acknowledged?: string; readonly answer?: number } & {
  readonly result?: unknown;
  readonly error?: string;
};

/** A member of a cluster on this machine, in a process of its own that can be killed and started again. */
export class MemberProcess {
  readonly name: string;
  /** Keys that it has been told are held by two. */
  readonly acknowledged: string[] = [];
  /** When each other member was declared down here, by name. */
  readonly downAt = new Map<string, number>();
  readonly #cluster: LocalCluster;
  readonly #answers = new Map<number, PromiseWithResolvers<unknown>>();
  #process: ChildProcess | undefined;
  #next = 0;

  constructor(cluster: LocalCluster, name: string) {
    this.#cluster = cluster;
    this.name = name;
  }

  /** Starts it; the first time it joins by the cluster's invite. */
  start(isFirst: boolean): void {
    const program = join(import.meta.dirname, "store-member.ts");
    const { directory, invite } = this.#cluster;
    const started = spawn(
      process.execPath,
      [program, join(directory, this.name), this.name, ...(isFirst ? [invite] : [])],
      {
        stdio: ["pipe", "pipe", "inherit"],
        // A start costs half as much where the code of an earlier one is kept.
        env: { ...process.env, NODE_COMPILE_CACHE: join(directory, "compiled") },
      },
    );
    this.#process = started;
    createInterface({ input: started.stdout as NodeJS.ReadableStream }).on("line", (line) =>
      this.#said(JSON.parse(line) as Said),
    );
  }

  #said({ down, acknowledged, answer, result, error }: Said): void {
    if (acknowledged !== undefined) this.acknowledged.push(acknowledged);
    if (down !== undefined) this.downAt.set(down, Date.now());
    if (answer === undefined) return;
    const waiting = this.#answers.get(answer);
    this.#answers.delete(answer);
    if (error === undefined) waiting?.resolve(result);
    else waiting?.reject(new Error(`${this.name}: ${error}`));
  }

  /** Has it do something; never settles when it is killed meanwhile. */
  tell(order: Order): Promise<unknown> {
    const id = this.#next++;
    const answer = Promise.withResolvers<unknown>();
    this.#answers.set(id, answer);
    this.#process?.stdin?.write(`${JSON.stringify({ id, ...order })}\n`);
    return answer.promise;
  }

  async status(): Promise<ProcessStatus> {
    return (await this.tell({ do: "status" })) as ProcessStatus;
  }

  /** The keys that it holds itself. */
  async keys(bucket: string): Promise<readonly string[]> {
    return (await this.tell({ do: "keys", bucket })) as readonly string[];
  }

  /** SIGKILL. Resolves when it is gone and what it had said has been read. */
  async kill(): Promise<void> {
    const ended = this.#process;
    this.#process = undefined;
    this.#answers.clear();
    if (ended === undefined || ended.exitCode !== null) return;
    const closed = once(ended, "close");
    ended.kill("SIGKILL");
    await closed;
  }
}

/** Waits until `holds`, asking twice a second; throws after `limitMs`. Returns the time that it took, ms. */
export async function waitFor(what: string, limitMs: number, holds: () => Promise<boolean>): Promise<number> {
  const began = Date.now();
  while (!(await holds())) {
    if (Date.now() - began > limitMs) throw new Error(`after ${limitMs} ms still not so: ${what}`);
    await sleep(250);
  }
  return Date.now() - began;
}
