/**
 * The server of `signaling.ts`, in a process of its own: ours with admission, or a bare `ws` server. Asked anything, it says what it has used and
 * counted.
 */
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { WebSocketServer } from "ws";
import { type SignalingService, startSignalingService } from "../../signaling/main.ts";
import type { Counters } from "../../signaling/proto/counters.ts";
import { nodeCrypto } from "../../src/drivers/crypto.ts";
import { readClusterFiles } from "../../src/drivers/state/cluster-files.ts";
import { readTicketKeys, TICKET_KEYS_FILE, writeTicketKeys } from "../../src/drivers/state/ticket-key-file.ts";

/** What a server has used since its start, its memory after a collection. */
export interface ServerUsage {
  readonly rssMiB: number;
  readonly heapMiB: number;
  readonly cpuMs: number;
  /** Of its main thread alone. */
  readonly mainMs: number;
  readonly counters?: Readonly<Counters>;
}

const [kind, folder = "", port = "0"] = process.argv.slice(2);

/** All clients of a bench come from one address, which the limits are there to prevent. */
const UNLIMITED = { perSecond: 1e6, burst: 1e6 };

let service: SignalingService | undefined;

async function listen(): Promise<number> {
  if (kind === "bare") {
    const server = new WebSocketServer({
      host: "127.0.0.1",
      port: Number(port),
      perMessageDeflate: false,
      backlog: 511,
    });
    await new Promise((resolve) => server.once("listening", resolve));
    return (server.address() as AddressInfo).port;
  }
  const cluster = await readClusterFiles(folder, nodeCrypto());
  if (cluster === undefined) throw new Error("no cluster");
  const ticketsFile = join(folder, TICKET_KEYS_FILE);
  service = await startSignalingService({
    cluster,
    listen: { host: "127.0.0.1", port: Number(port) },
    limits: { connectionsPerAddress: 20_000, pendingPerAddress: 2_048, attemptsPerAddress: UNLIMITED },
    log: { debug() {}, info() {}, warn() {}, error() {} },
    ticketKeys: {
      kept: await readTicketKeys(ticketsFile),
      keep: (keys) => writeTicketKeys(ticketsFile, keys),
    },
  });
  return service.port;
}

process.send?.({ port: await listen() });
process.on("message", () => {
  globalThis.gc?.();
  const { user, system } = process.cpuUsage();
  const main = process.threadCpuUsage();
  const { rss, heapUsed } = process.memoryUsage();
  const usage: ServerUsage = {
    rssMiB: rss / 1_048_576,
    heapMiB: heapUsed / 1_048_576,
    cpuMs: (user + system) / 1_000,
    mainMs: (main.user + main.system) / 1_000,
    ...(service && { counters: service.counters() }),
  };
  process.send?.(usage);
});
process.on("disconnect", () => process.exit());
process.on("SIGTERM", () => process.exit());
