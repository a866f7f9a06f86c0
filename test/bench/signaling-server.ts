/** The server of `signaling.ts`, in a process of its own: ours with admission, or a bare `ws` server. Asked `rss`, it says its MiB. */
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import { clusterAuthority } from "../../signaling/authority.ts";
import { startSignalingServer } from "../../signaling/server.ts";
import { nodeCrypto } from "../../src/drivers/crypto.ts";
import { systemRandom } from "../../src/drivers/entropy.ts";
import { readClusterFiles } from "../../src/drivers/state/cluster-files.ts";

const [kind, folder = "", port = "0"] = process.argv.slice(2);

/** All clients of a bench come from one address, which the limits are there to prevent. */
const UNLIMITED = { perSecond: 1e6, burst: 1e6 };

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
  const crypto = nodeCrypto();
  const cluster = await readClusterFiles(folder, crypto);
  if (cluster === undefined) throw new Error("no cluster");
  const server = await startSignalingServer({
    listen: { host: "127.0.0.1", port: Number(port) },
    authority: clusterAuthority({ cluster, crypto, now: Date.now }),
    random: systemRandom(),
    now: Date.now,
    limits: { connectionsPerAddress: 20_000, pendingPerAddress: 2_048, attemptsPerAddress: UNLIMITED },
  });
  return server.port;
}

process.send?.({ port: await listen() });
process.on("message", () => {
  globalThis.gc?.();
  const { user, system } = process.cpuUsage();
  const main = process.threadCpuUsage();
  process.send?.({
    rssMiB: process.memoryUsage().rss / 1_048_576,
    cpuMs: (user + system) / 1_000,
    mainMs: (main.user + main.system) / 1_000,
  });
});
process.on("disconnect", () => process.exit());
