/**
 * A crowd of clients for `signaling.ts`, in a process of its own. Told by IPC: `connect` opens them all, {@link WINDOW} at a time; `stay` has those
 * that are about to be lost wait until they are called by another `connect`; `watch` says when those that are lost are back
 * by themselves.
 */
import { WebSocket } from "ws";
import { nodeCrypto } from "../../src/drivers/crypto.ts";
import { systemRandom } from "../../src/drivers/entropy.ts";
import { connectSignaling, type SignalingConnection, type SignalingEvent } from "../../src/drivers/signaling.ts";
import { readClusterFiles } from "../../src/drivers/state/cluster-files.ts";
import { issuersOf, openMint } from "../../src/issuer/mint.ts";
import type { Random } from "../../src/proto/random.ts";
import { instanceOf } from "../../src/proto/signaling/resumption.ts";

export interface CrowdOrder {
  readonly kind: "bare" | "ours";
  readonly port: number;
  readonly count: number;
  readonly folder: string;
  readonly issuingKeyFile: string;
}

export type CrowdReport =
  | { readonly type: "prepared" }
  | { readonly type: "staying" }
  | { readonly type: "connected"; readonly ms: number; readonly cpuMs: number; readonly failures: number }
  /** When, ms since the order, each lost client was ready again. */
  | { readonly type: "back"; readonly atMs: readonly number[] };

const WINDOW = 64;
const order = JSON.parse(process.argv[2] as string) as CrowdOrder;
const say = (report: CrowdReport): void => void process.send?.(report);

/** One client: comes when it is called, and is heard of when it is there. */
interface Client {
  come(): Promise<void>;
}

const clients: Client[] = [];
let onReady: (() => void) | undefined;

function bare(): Client {
  let socket: WebSocket | undefined;
  return {
    async come() {
      socket = new WebSocket(`ws://127.0.0.1:${order.port}`, { perMessageDeflate: false });
      const opening = socket;
      await new Promise((resolve, reject) => {
        opening.once("open", resolve);
        opening.once("error", reject);
      });
      opening.on("error", () => undefined);
    },
  };
}

const crypto = nodeCrypto();
const random = systemRandom();
/** Those that stay draw the longest wait each time: 0.5 s, 2 s, 8 s. */
let isStaying = false;
const jitter: Random = { u32: () => (isStaying ? 0xffff_ffff : random.u32()), fork: (label) => random.fork(label) };

async function ours(): Promise<Client[]> {
  const cluster = await readClusterFiles(order.folder, crypto);
  if (cluster === undefined) throw new Error("no cluster");
  const { clusterId } = cluster;
  const issuers = issuersOf(cluster, crypto);
  const mint = await openMint({ keyFile: order.issuingKeyFile, clusterId, issuers: () => issuers, crypto });
  const members: Client[] = [];
  for (let index = 0; index < order.count; index++) {
    const { id, sign } = crypto.nodeIdentity(crypto.generateNodeKey());
    const { publicKey, secretKey } = crypto.boxKeyPair();
    const share = { publicKey, agree: (other: Uint8Array) => crypto.agree(other, secretKey) };
    const issued = await mint.issueMemberToken({ subject: id }, Date.now());
    if (!issued.ok) throw new Error(issued.fault);
    const options = {
      url: `ws://127.0.0.1:${order.port}`,
      peer: id,
      cluster: clusterId,
      run: { instance: instanceOf(publicKey), share, startedAt: Date.now() },
      credential: { kind: "member", token: issued.token, expiresAt: issued.claims.expiresAt },
      keys: { sign, verify: () => false, askDesk: () => "none" },
      random: jitter,
      now: Date.now,
    } as const;
    let connection: SignalingConnection | undefined;
    let arrived: (() => void) | undefined;
    let isReady = false;
    const notify = ({ type }: SignalingEvent): void => {
      if (type === "offline") isReady = false;
      if (type !== "ready") return;
      isReady = true;
      arrived?.();
      onReady?.();
    };
    const come = (): Promise<void> =>
      new Promise((resolve) => {
        arrived = resolve;
        if (connection === undefined) connection = connectSignaling(options, notify);
        else if (isReady) resolve();
        else connection.command({ type: "nudge" });
      });
    members.push({ come });
  }
  return members;
}

/** All come, {@link WINDOW} at a time. */
async function come(): Promise<void> {
  const began = performance.now();
  const used = process.cpuUsage();
  let next = 0;
  let failures = 0;
  const worker = async (): Promise<void> => {
    for (let client = clients[next++]; client !== undefined; client = clients[next++]) {
      await client.come().catch(() => failures++);
    }
  };
  await Promise.all(Array.from({ length: WINDOW }, worker));
  const { user, system } = process.cpuUsage(used);
  say({ type: "connected", ms: performance.now() - began, cpuMs: (user + system) / 1_000, failures });
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

clients.push(...(order.kind === "bare" ? Array.from({ length: order.count }, bare) : await ours()));
process.on("message", (word) => {
  if (word === "connect") void come();
  else if (word === "stay") {
    isStaying = true;
    say({ type: "staying" });
  } else if (word === "watch") {
    isStaying = false;
    watch();
  } else process.exit();
});
process.on("disconnect", () => process.exit());
say({ type: "prepared" });
