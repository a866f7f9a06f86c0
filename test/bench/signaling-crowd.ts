/**
 * A crowd of clients for `signaling.ts`, in a process of its own. Told by IPC: `connect` opens them all, `leave` closes them, `watch` says
 * when those that were lost are back, `end` closes.
 */
import { WebSocket } from "ws";
import { nodeCrypto } from "../../src/drivers/crypto.ts";
import { systemRandom } from "../../src/drivers/entropy.ts";
import { connectSignaling, type SignalingConnection } from "../../src/drivers/signaling.ts";
import { readClusterFiles } from "../../src/drivers/state/cluster-files.ts";
import { issuersOf, openMint } from "../../src/issuer/mint.ts";
import type { PeerId } from "../../src/proto/peer-id.ts";

export interface CrowdOrder {
  readonly kind: "bare" | "ours";
  readonly port: number;
  readonly count: number;
  readonly folder: string;
  readonly issuingKeyFile: string;
}

export type CrowdReport =
  | { readonly type: "prepared" }
  | { readonly type: "left" }
  | { readonly type: "connected"; readonly ms: number; readonly cpuMs: number; readonly failures: number }
  /** When, ms since the order, each lost client was ready again. */
  | { readonly type: "back"; readonly atMs: readonly number[] };

const WINDOW = 64;
const order = JSON.parse(process.argv[2] as string) as CrowdOrder;
const say = (report: CrowdReport): void => void process.send?.(report);

interface Client {
  ready: boolean;
  close(): Promise<void>;
}

const clients: Client[] = [];
let onReady: (() => void) | undefined;

async function bare(): Promise<Client> {
  const socket = new WebSocket(`ws://127.0.0.1:${order.port}`, { perMessageDeflate: false });
  await new Promise((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("error", reject);
  });
  const close = async (): Promise<void> => {
    socket.terminate();
    await new Promise((resolve) => socket.once("close", resolve));
  };
  return { ready: true, close };
}

const crypto = nodeCrypto();
const random = systemRandom();
const cluster = await readClusterFiles(order.folder, crypto);
if (cluster === undefined) throw new Error("no cluster");
const { clusterId } = cluster;
const issuers = issuersOf(cluster, crypto);
const mint = await openMint({ keyFile: order.issuingKeyFile, clusterId, issuers: () => issuers, crypto });
const members: {
  id: PeerId;
  sign: ReturnType<typeof crypto.nodeIdentity>["sign"];
  token: string;
  expiresAt: number;
}[] = [];
if (order.kind === "ours") {
  for (let index = 0; index < order.count; index++) {
    const identity = crypto.nodeIdentity(crypto.generateNodeKey());
    const issued = await mint.issueMemberToken({ subject: identity.id }, Date.now());
    if (!issued.ok) throw new Error(issued.fault);
    members.push({ id: identity.id, sign: identity.sign, token: issued.token, expiresAt: issued.claims.expiresAt });
  }
}

function ours(index: number): Promise<Client> {
  const { id, sign, token, expiresAt } = members[index] as (typeof members)[number];
  return new Promise((resolve) => {
    const client: Client = { ready: false, close: () => connection.close() };
    const connection: SignalingConnection = connectSignaling(
      {
        url: `ws://127.0.0.1:${order.port}`,
        peer: id,
        cluster: clusterId,
        run: { instance: crypto.randomBytes(16), startedAt: Date.now() },
        credential: { kind: "member", token, expiresAt },
        keys: { sign: (label, body) => sign(label, body), verify: () => false, askDesk: () => "none" },
        random,
        now: Date.now,
      },
      (event) => {
        if (event.type === "ready") {
          client.ready = true;
          onReady?.();
          resolve(client);
        } else if (event.type === "offline") client.ready = false;
      },
    );
  });
}

async function connect(): Promise<void> {
  const began = performance.now();
  const used = process.cpuUsage();
  let next = 0;
  let failures = 0;
  const worker = async (): Promise<void> => {
    while (next < order.count) {
      const index = next++;
      try {
        clients.push(await (order.kind === "bare" ? bare() : ours(index)));
      } catch {
        failures++;
      }
    }
  };
  await Promise.all(Array.from({ length: WINDOW }, worker));
  const { user, system } = process.cpuUsage(used);
  say({ type: "connected", ms: performance.now() - began, cpuMs: (user + system) / 1_000, failures });
}

/** Closes them all, and says so when the last socket is gone. */
async function leave(): Promise<void> {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  say({ type: "left" });
}

/** Says when all are back, once they have been lost. */
function watch(): void {
  const began = performance.now();
  const atMs: number[] = [];
  onReady = () => {
    atMs.push(performance.now() - began);
    if (atMs.length === order.count) say({ type: "back", atMs });
  };
}

process.on("message", (word) => {
  if (word === "connect") void connect();
  else if (word === "leave") void leave();
  else if (word === "watch") watch();
  else process.exit();
});
process.on("disconnect", () => process.exit());
say({ type: "prepared" });
