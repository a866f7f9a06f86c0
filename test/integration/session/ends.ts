import { join } from "node:path";
import type { LocalCluster } from "../../../examples/local-cluster.ts";
import { Connections } from "../../../src/agent/connections.ts";
import { Paths } from "../../../src/agent/paths.ts";
import { customStacks } from "../../../src/agent/stacks.ts";
import { Trust } from "../../../src/agent/trust.ts";
import { nodeCrypto } from "../../../src/drivers/crypto.ts";
import { systemRandom } from "../../../src/drivers/entropy.ts";
import { readClusterFiles } from "../../../src/drivers/state/cluster-files.ts";
import { createTokenVerifier } from "../../../src/drivers/tokens.ts";
import type { MeshStream } from "../../../src/index.ts";
import { issuersOf, openMint } from "../../../src/issuer/mint.ts";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import type { RtcStack } from "../../../src/rtc.ts";
import { until } from "../until.ts";

/** Everything of an agent that has to do with links, without a mesh: letters go from one to the other by hand. */
export class End {
  readonly id: PeerId;
  readonly trust: Trust;
  readonly connections: Connections;
  /** What it was told, in order. */
  readonly told: string[] = [];
  readonly lane: number[] = [];
  other: End | undefined;
  /** Whether letters reach the other. */
  letters = true;
  isOut = false;
  accept: ((stream: MeshStream) => void) | undefined;

  constructor(trust: Trust, stack: RtcStack) {
    this.id = trust.id;
    this.trust = trust;
    const now = Date.now;
    const network = { extraAddresses: ["127.0.0.1"] };
    this.connections = new Connections({
      trust,
      paths: new Paths(
        { trust, random: systemRandom(), stacks: customStacks(stack), iceServers: [], network, now },
        { ask: () => undefined, renew: () => undefined },
      ),
      random: systemRandom(),
      now,
      log: { debug() {}, info() {}, warn() {}, error() {} },
      listener: {
        linkUp: () => this.told.push("up"),
        linkDown: (_peer, reason) => this.told.push(`down: ${reason}`),
        message: (_peer, _lane, bytes) => this.lane.push(new DataView(bytes.slice().buffer).getUint32(0)),
        dialFailed: (_peer, { stage, reason }) => this.told.push(`failed: ${stage} ${reason}`),
        handler: () => (stream) => this.accept?.(stream),
        fault: (_peer, fault) => this.told.push(`fault: ${fault}`),
        post: (_to, letter) => queueMicrotask(() => this.letters && this.other?.connections.letter(letter)),
        boxKeyOf: () => this.other?.trust.box.publicKey,
        isOut: () => this.isOut,
        redial: (peer) => this.connections.dial(peer),
      },
    });
  }

  /** The link to the other end. */
  get link() {
    return this.connections.link((this.other as End).id);
  }
}

/** Who an end is, apart from its process. */
export type Person = (stack: RtcStack) => Promise<End>;

/** Makes a member of `cluster`; each call of the result is another start of its process. */
export async function person(cluster: LocalCluster): Promise<Person> {
  const crypto = nodeCrypto();
  const folder = join(cluster.directory, "cluster");
  const facts = await readClusterFiles(folder, crypto);
  if (!facts) throw new Error("no cluster");
  const issuers = issuersOf(facts, crypto);
  const keyFile = join(folder, "issuing.key");
  const mint = await openMint({ keyFile, clusterId: facts.clusterId, issuers: () => issuers, crypto });
  const identity = crypto.nodeIdentity(crypto.generateNodeKey());
  const issued = await mint.issueMemberToken({ subject: identity.id }, Date.now());
  if (!issued.ok) throw new Error(issued.fault);
  return async (stack) => {
    const trust = new Trust({
      identity,
      crypto,
      cluster: facts,
      decrees: [],
      verifier: createTokenVerifier(),
      now: Date.now,
    });
    if ((await trust.holdToken(issued.token)) !== undefined) throw new Error("no token");
    return new End(trust, stack);
  };
}

/** Introduces two ends to each other and links them. */
export async function linked(one: End, two: End): Promise<void> {
  one.other = two;
  two.other = one;
  one.connections.dial(two.id);
  await until("they are linked", () => one.link && two.link);
}

/** A stream from `one` to `two`: both ends of it. */
export async function streamOf(one: End, two: End): Promise<readonly [MeshStream, MeshStream]> {
  const theirs = Promise.withResolvers<MeshStream>();
  two.accept = theirs.resolve;
  const ours = await one.link?.open("numbers/1", "normal");
  if (!ours) throw new Error("no link");
  return [ours, await theirs.promise];
}
