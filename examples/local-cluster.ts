import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TurnOptions } from "../signaling/grants.ts";
import { startSignalingService } from "../signaling/main.ts";
import { nodeCrypto } from "../src/drivers/crypto.ts";
import { createCluster } from "../src/drivers/state/create-cluster.ts";
import { type Agent, type AgentOptions, createAgent } from "../src/index.ts";
import { issuersOf, openMint } from "../src/issuer/mint.ts";
import type { Logger } from "../src/options.ts";
import { encodeInvite } from "../src/proto/trust/invite.ts";

/**
 * A throw-away cluster on this machine, so that the examples run without arguments: what `starling init`, `starling signal`
 * and `starling invite` do, in this process and below one temporary folder. Disposing it leaves no file behind.
 */
export interface LocalCluster extends AsyncDisposable {
  /** The folder that everything is in. */
  readonly directory: string;
  /** The signaling server's URL. */
  readonly url: string;
  /** The invite that `join` uses: good for 1,000 agents. */
  readonly invite: string;
  /** Starts a member in a state directory of its own, named after it. It leaves when the cluster is disposed. */
  join(name: string, options?: AgentOptions): Promise<Agent>;
  /** Ends the signaling server; links and members stay. */
  stopSignaling(): Promise<void>;
}

const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** Makes a cluster and starts its signaling server. `turn`: relays that the server grants; `scopes`: of members. */
export async function openLocalCluster(
  options: { readonly turn?: TurnOptions; readonly scopes?: readonly string[] } = {},
): Promise<LocalCluster> {
  const { turn, scopes } = options;
  const crypto = nodeCrypto();
  const directory = await mkdtemp(join(tmpdir(), "starling-example-"));
  const { cluster, issuingKeyFile } = await createCluster(join(directory, "cluster"), { name: "example" }, crypto);
  const listen = { host: "127.0.0.1", port: 0 };
  const server = await startSignalingService({ cluster, listen, issuingKeyFile, log: SILENT, ...(turn && { turn }) });
  const issuers = issuersOf(cluster, crypto);
  const mint = await openMint({
    keyFile: issuingKeyFile,
    clusterId: cluster.clusterId,
    issuers: () => issuers,
    crypto,
  });
  const issued = await mint.issueJoinToken({ uses: 1_000, ...(scopes && { scopes }) }, Date.now());
  if (!issued.ok) throw new Error(`no invite: ${issued.fault}`);
  const url = `ws://127.0.0.1:${server.port}`;
  const token = { kind: "join", text: issued.token } as const;
  const invite = encodeInvite({ cluster: { ...cluster, signaling: [url] }, token });
  const agents: Agent[] = [];
  return {
    directory,
    url,
    invite,
    join: async (name, options) => {
      const agent = await createAgent({ invite, name, stateDirectory: join(directory, name), ...options });
      agents.push(agent);
      return agent;
    },
    stopSignaling: () => server.close(),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(agents.map((agent) => agent.leave()));
      await server.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
