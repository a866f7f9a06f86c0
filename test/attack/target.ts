/**
 * The server under attack: a real signaling server with its authority, in a process of its own, so that what is measured is its
 * alone. Told `{ clusterFolder }` it listens and says on which port; asked `measure` it says what the attacks have cost since it was last asked.
 *
 * A stall is a turn of the event loop that took that much *processor time* of the main thread: a machine that is busy with
 * others makes turns late, and those are not the server's fault.
 */
import { startSignalingService } from "../../signaling/main.ts";
import { nodeCrypto } from "../../src/drivers/crypto.ts";
import { readClusterFiles } from "../../src/drivers/state/cluster-files.ts";

export interface Measure {
  readonly counters: Readonly<Record<string, number>>;
  readonly connections: number;
  /** The longest turn of the event loop since the last measure, ms of processor time. */
  readonly longestTurnMs: number;
  /** After a collection, MiB: what JavaScript holds. */
  readonly heapMiB: number;
  readonly rssMiB: number;
  readonly logLines: number;
}

const TICK_MS = 5;
let logLines = 0;
let longestTurnMs = 0;
let lastAt = performance.now();
let lastCpu = process.threadCpuUsage();
setInterval(() => {
  const [at, cpu] = [performance.now(), process.threadCpuUsage()];
  const usedMs = (cpu.user - lastCpu.user + cpu.system - lastCpu.system) / 1_000;
  longestTurnMs = Math.max(longestTurnMs, Math.min(at - lastAt, usedMs));
  [lastAt, lastCpu] = [at, cpu];
}, TICK_MS).unref();

const [folder = "", issuingKeyFile = ""] = process.argv.slice(2);
const cluster = await readClusterFiles(folder, nodeCrypto());
if (cluster === undefined) throw new Error(`no cluster in ${folder}`);
const line = (): void => {
  logLines++;
};
const server = await startSignalingService({
  cluster,
  listen: { host: "127.0.0.1", port: 0 },
  issuingKeyFile,
  log: { debug() {}, info() {}, warn: line, error: line },
});
process.send?.({ port: server.port });
process.on("message", () => {
  globalThis.gc?.();
  const { heapUsed, rss } = process.memoryUsage();
  const measure: Measure = {
    counters: server.counters(),
    connections: server.connections,
    longestTurnMs,
    heapMiB: heapUsed / 1_048_576,
    rssMiB: rss / 1_048_576,
    logLines,
  };
  // The collection that was asked for is not the server's doing.
  [longestTurnMs, lastAt, lastCpu] = [0, performance.now(), process.threadCpuUsage()];
  process.send?.(measure);
});
process.on("disconnect", () => process.exit());
