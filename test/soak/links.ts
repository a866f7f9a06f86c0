/**
 * Goal: links that come and go leave nothing behind. Method: one end stays while peers open and end a link with it
 * again and again, now in good order, now by vanishing; objects on the heap and resident memory are taken after full
 * collections, and the last third of the run is compared with the first. Code that V8 compiles meanwhile is told apart: it
 * goes on for thousands of cycles, and heap snapshots show that it is what grows.
 *
 * What an agent keeps on purpose must not look like a leak: letters are remembered for minutes against replays, keys and
 * tokens of peers for as long as there is room. So the clock is moved on between cycles, and the peers are ten members that
 * restart again and again: after the first round of them nothing that is kept on purpose grows.
 *
 *     npm run soak:links -- [CYCLES] [native|werift]
 */

import { join } from "node:path";
import { getHeapSpaceStatistics } from "node:v8";
import { type LocalCluster, openLocalCluster } from "../../examples/local-cluster.ts";
import { Connections } from "../../src/agent/connections.ts";
import { Paths } from "../../src/agent/paths.ts";
import { customStacks } from "../../src/agent/stacks.ts";
import { Trust } from "../../src/agent/trust.ts";
import { nodeCrypto } from "../../src/drivers/crypto.ts";
import { systemRandom } from "../../src/drivers/entropy.ts";
import { chooseStack } from "../../src/drivers/rtc.auto.ts";
import { readClusterFiles } from "../../src/drivers/state/cluster-files.ts";
import { createTokenVerifier } from "../../src/drivers/tokens.ts";
import { issuersOf, openMint } from "../../src/issuer/mint.ts";
import type { PeerId } from "../../src/proto/peer-id.ts";

/** One round of all peers. */
const WARM_UP = 100;
const CYCLES_EACH = 10;
const PEERS = 10;
/** A round of all peers takes longer than their letters are remembered. */
const MOVE_ON_MS = 5_000;
const cycles = Number(process.argv[2] ?? 1_000);
const stackName = process.argv[3] === "werift" ? "werift" : "native";
const collect = globalThis.gc;
if (!collect) throw new Error("run with --expose-gc");
if (!Number.isSafeInteger(cycles) || cycles < 20) throw new Error("at least 20 cycles");

interface Side {
  readonly id: PeerId;
  readonly boxKey: Uint8Array;
  readonly connections: Connections;
  other: Side | undefined;
  changed: () => void;
}

/** One end: everything of an agent that has to do with links, letters carried by hand. */
async function openSide(
  cluster: LocalCluster,
  stack: Awaited<ReturnType<typeof chooseStack>>,
  seed: Uint8Array,
): Promise<Side> {
  const folder = join(cluster.directory, "cluster");
  const facts = await readClusterFiles(folder, crypto);
  if (!facts) throw new Error("no cluster");
  const issuers = issuersOf(facts, crypto);
  const keyFile = join(folder, "issuing.key");
  const mint = await openMint({ keyFile, clusterId: facts.clusterId, issuers: () => issuers, crypto });
  const identity = crypto.nodeIdentity(seed);
  const trust = new Trust({ decrees: [], identity, crypto, cluster: facts, verifier: createTokenVerifier(), now });
  const issued = await mint.issueMemberToken({ subject: identity.id }, now());
  if (!issued.ok || (await trust.holdToken(issued.token)) !== undefined) throw new Error("no token");
  const side: Side = {
    id: identity.id,
    boxKey: trust.box.publicKey,
    other: undefined,
    changed: () => undefined,
    connections: new Connections({
      trust,
      paths: new Paths(
        {
          trust,
          random: systemRandom(),
          stacks: customStacks(stack),
          iceServers: [],
          network: { extraAddresses: ["127.0.0.1"] },
          now,
        },
        { ask: () => undefined, renew: () => undefined },
      ),
      random: systemRandom(),
      now,
      log: { debug() {}, info() {}, warn() {}, error() {} },
      listener: {
        linkUp: () => side.changed(),
        linkDown: () => side.changed(),
        message: () => undefined,
        dialFailed: (_peer, failure) => {
          throw new Error(`a dial failed: ${JSON.stringify(failure)}`);
        },
        handler: () => undefined,
        fault: (_peer, fault) => {
          throw new Error(`a fault: ${fault}`);
        },
        post: (_to, letter) => queueMicrotask(() => side.other?.connections.letter(letter)),
        boxKeyOf: () => side.other?.boxKey,
        isOut: () => false,
        redial: () => undefined,
      },
    }),
  };
  return side;
}

let movedMs = 0;
const now = (): number => Date.now() + movedMs;
const crypto = nodeCrypto();
await using cluster = await openLocalCluster();
const stack = await chooseStack(stackName);
const one = await openSide(cluster, stack, crypto.generateNodeKey());
const seeds = Array.from({ length: PEERS }, () => crypto.generateNodeKey());
let two = one;

/** Another peer in place of the old one: the end that stays takes a bounded number of letters from each sender in a while. */
async function replacePeer(turn: number): Promise<void> {
  if (two !== one) two.connections.close();
  two = await openSide(cluster, stack, seeds[turn % PEERS] as Uint8Array);
  one.other = two;
  two.other = one;
  // What its new record does in an agent: letters are sealed for its new key from here on.
  one.connections.memberChanged(two.id);
}

/** Resolves when both ends say that the link is, or is not, there. */
function settled(up: boolean): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      const ends = [one.connections.link(two.id), two.connections.link(one.id)];
      if (ends.every((link) => (link !== undefined) === up)) resolve();
    };
    one.changed = look;
    two.changed = look;
    look();
  });
}

async function cycle(index: number): Promise<void> {
  if (index % CYCLES_EACH === 0) await replacePeer(index / CYCLES_EACH);
  const [dialer, answerer] = index % 4 < 2 ? [one, two] : [two, one];
  const up = settled(true);
  dialer.connections.dial(answerer.id);
  await up;
  const down = settled(false);
  if (index % 5 === 0) dialer.connections.drop(answerer.id, "unwanted");
  else dialer.connections.link(answerer.id)?.abandon("vanished");
  await down;
  movedMs += MOVE_ON_MS;
}

/** Where V8 keeps compiled code and what belongs to it. */
const CODE_SPACES: ReadonlySet<string> = new Set([
  "code_space",
  "code_large_object_space",
  "trusted_space",
  "trusted_large_object_space",
]);

interface Sample {
  /** Bytes of objects. */
  readonly heap: number;
  /** Bytes of compiled code. */
  readonly code: number;
  readonly rss: number;
}

async function sample(): Promise<Sample> {
  // What ended a moment ago is let go of over several turns.
  for (let turn = 0; turn < 5; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    collect?.();
  }
  let heap = 0;
  let code = 0;
  for (const { space_name: space, space_used_size: bytes } of getHeapSpaceStatistics()) {
    if (CODE_SPACES.has(space)) code += bytes;
    else heap += bytes;
  }
  return { heap, code, rss: process.memoryUsage.rss() };
}

const samples: Sample[] = [];
const every = Math.max(1, Math.floor(cycles / 10));
for (let index = 0; index < WARM_UP + cycles; index++) {
  await cycle(index);
  if (index >= WARM_UP && (index - WARM_UP + 1) % every === 0) samples.push(await sample());
}
one.connections.close();
two.connections.close();
await stack.close();

/** Mean of the last third less that of the first, per cycle between them. */
function growthPerCycle(of: (sample: Sample) => number): number {
  const third = Math.floor(samples.length / 3);
  const mean = (part: readonly Sample[]): number => part.reduce((sum, sample) => sum + of(sample), 0) / part.length;
  const distance = (samples.length - third) * every;
  return Math.round((mean(samples.slice(-third)) - mean(samples.slice(0, third))) / distance);
}

/** What the optimiser notes beside the objects that its code depends on, 100 bytes or so per cycle as measured, and as much for luck. */
const MOST_HEAP_BYTES_PER_CYCLE = 256;

const heapBytesPerCycle = growthPerCycle(({ heap }) => heap);
const codeBytesPerCycle = growthPerCycle(({ code }) => code);
const rssBytesPerCycle = growthPerCycle(({ rss }) => rss);
process.stdout.write(
  `${JSON.stringify({ cycles, stack: stackName, heapBytesPerCycle, codeBytesPerCycle, rssBytesPerCycle, samples })}\n`,
);
process.exitCode = heapBytesPerCycle <= MOST_HEAP_BYTES_PER_CYCLE ? 0 : 1;
