import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

/** The processes that `turn.ts` measures, and what the kernel says of them. Linux only: it reads /proc. */

export const CREDENTIAL = { username: "north", password: "a password of the bench", realm: "bench" };
export const HAS_COTURN = spawnSync("turnserver", ["--help"]).error === undefined;

const folder = mkdtempSync(join(tmpdir(), "starling-turn-"));
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export interface Subject {
  readonly name: "ours" | "coturn" | "bare";
  readonly pid: number;
  readonly port: number;
  stop(): Promise<void>;
}

export async function startOurs(port: number, flags: readonly string[] = []): Promise<Subject> {
  const users = join(folder, "users");
  writeFileSync(users, `${CREDENTIAL.username}:${CREDENTIAL.password}\n`, { mode: 0o600 });
  const child = start(process.execPath, [
    join(import.meta.dirname, "../../src/cli/starling.js"),
    "stun",
    `--listen=127.0.0.1:${port}`,
    `--realm=${CREDENTIAL.realm}`,
    `--user-file=${users}`,
    "--user-allocations=10000",
    "--allow-peer=127.0.0.0/8",
    "--log=silent",
    ...flags,
  ]);
  await ready(child);
  return subject("ours", child, port);
}

export async function startBare(mode: "echo" | "relay", port: number, peerPort = 0): Promise<Subject> {
  const child = start(process.execPath, [join(import.meta.dirname, "turn-bare.ts"), mode, `${port}`, `${peerPort}`]);
  await ready(child);
  return subject("bare", child, port);
}

export async function startCoturn(port: number): Promise<Subject> {
  const child = start("turnserver", [
    "-n",
    "--no-cli",
    "--no-tls",
    "--no-dtls",
    "--lt-cred-mech",
    "--listening-ip=127.0.0.1",
    "--relay-ip=127.0.0.1",
    `--listening-port=${port}`,
    "--allow-loopback-peers",
    `--realm=${CREDENTIAL.realm}`,
    `--user=${CREDENTIAL.username}:${CREDENTIAL.password}`,
    `--pidfile=${join(folder, "pid")}`,
    `--log-file=${join(folder, "log")}`,
    `--userdb=${join(folder, "db")}`,
  ]);
  for (let attempt = 0; attempt < 100 && !(await accepts(port)); attempt++) await pause(50);
  return subject("coturn", child, port);
}

/** CPU time that a process has used, in seconds; the kernel counts in hundredths. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Resident memory, bytes. */
export function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1_024;
}

export function openSockets(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith("socket:");
    } catch {
      return false;
    }
  }).length;
}

function start(file: string, args: readonly string[]): ChildProcess {
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
  running.add(child);
  child.once("exit", () => running.delete(child));
  child.stdout?.resume();
  return child;
}

function ready(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.stdout?.once("data", () => resolve());
    child.once("exit", (code) => reject(new Error(`it ended with ${code}`)));
  });
}

function subject(name: Subject["name"], child: ChildProcess, port: number): Subject {
  return {
    name,
    pid: child.pid ?? -1,
    port,
    stop: () =>
      new Promise((resolve) => {
        child.once("exit", () => resolve());
        child.kill("SIGKILL");
      }),
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createConnection(port, "127.0.0.1");
    probe.once("connect", () => resolve(true)).once("error", () => resolve(false));
    probe.unref();
  });
}
