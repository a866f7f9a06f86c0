import { type ChildProcess, execFile, type SpawnOptions, spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";

/** Network namespaces of this process, and programs in them. All are called `starling-PID-…`, so that what a crash leaves can be found. */

const NAME = /^starling-(\d+)-/;
const RUNTIME = "/run/netns";

/** Runs a program to its end; rejects with what it said on standard error. */
export function runTool(file: string, args: readonly string[], input = ""): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(file, args, { encoding: "utf8" }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${file} ${args.join(" ")}: ${stderr.trim() || error.message}\n${input}`));
      else resolve(stdout);
    });
    // A program that ends without reading has its reasons, and its exit status tells.
    child.stdin?.on("error", () => undefined).end(input);
  });
}

export class Namespace {
  readonly name: string;
  readonly #children = new Set<ChildProcess>();

  private constructor(name: string) {
    this.name = name;
  }

  /** A namespace of its own network: loopback, no IPv6, nothing forwarded. */
  static async create(label: string): Promise<Namespace> {
    const namespace = new Namespace(`starling-${process.pid}-${label}`);
    await runTool("ip", ["netns", "add", namespace.name]);
    await namespace.ip("link set lo up");
    const settings = {
      "ipv4/conf/all/rp_filter": 0,
      "ipv4/conf/default/rp_filter": 0,
      "ipv4/conf/all/arp_ignore": 1,
      "ipv6/conf/all/disable_ipv6": 1,
      "ipv6/conf/default/disable_ipv6": 1,
      // Frames between two ports of a bridge are no business of the router's rules.
      "bridge/bridge-nf-call-iptables": 0,
    };
    await namespace.set(settings);
    return namespace;
  }

  /** Commands of `ip`, one a line. */
  async ip(...lines: readonly string[]): Promise<void> {
    await runTool("ip", ["-n", this.name, "-batch", "-"], lines.join("\n"));
  }

  async nft(rules: string): Promise<void> {
    await runTool("ip", ["netns", "exec", this.name, "nft", "-f", "-"], rules);
  }

  /** Kernel settings below `/proc/sys/net`; those that this kernel does not have are left out. */
  async set(settings: Readonly<Record<string, number>>): Promise<void> {
    const lines = Object.entries(settings).map(([key, value]) => {
      const path = `/proc/sys/net/${key}`;
      return `if [ -e ${path} ]; then echo ${value} > ${path}; fi`;
    });
    await runTool("ip", ["netns", "exec", this.name, "sh", "-e"], lines.join("\n"));
  }

  /** Starts a program in here; its process id is the child's. */
  spawn(file: string, args: readonly string[], options: SpawnOptions): ChildProcess {
    const child = spawn("ip", ["netns", "exec", this.name, file, ...args], options);
    this.#children.add(child);
    child.once("exit", () => this.#children.delete(child));
    return child;
  }

  /** Ends what runs in here, and the namespace. */
  async remove(): Promise<void> {
    for (const child of this.#children) child.kill("SIGKILL");
    await removeNamespace(this.name);
  }
}

async function removeNamespace(name: string): Promise<void> {
  const isThere = (): boolean => existsSync(`${RUNTIME}/${name}`);
  if (!isThere()) return;
  try {
    for (const pid of (await runTool("ip", ["netns", "pids", name])).split("\n").filter(Boolean))
      endProcess(Number(pid));
    await runTool("ip", ["netns", "del", name]);
  } catch (error) {
    // Somebody else who takes the lab down may have come first.
    if (isThere()) throw error;
  }
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has just ended by itself.
  }
}

/** Removes the namespaces of this process, and those of earlier runs that ended without doing so. Returns their names. */
export async function sweepNamespaces(which: "stale" | "own"): Promise<readonly string[]> {
  const names = existsSync(RUNTIME) ? readdirSync(RUNTIME) : [];
  const swept = names.filter((name) => {
    const pid = Number(NAME.exec(name)?.[1]);
    if (!(pid > 0)) return false;
    return which === "own" ? pid === process.pid : !existsSync(`/proc/${pid}`);
  });
  for (const name of swept) await removeNamespace(name);
  return swept;
}
