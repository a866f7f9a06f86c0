import { join } from "node:path";
import { Connections } from "../../src/agent/connections.ts";
import { Paths } from "../../src/agent/paths.ts";
import type { PeerLink } from "../../src/agent/peer-link.ts";
import { customStacks } from "../../src/agent/stacks.ts";
import type { MeshStream } from "../../src/agent/stream.ts";
import { Trust } from "../../src/agent/trust.ts";
import { WrappedConnection } from "../../src/demo/wrapped-connection.ts";
import { systemClock } from "../../src/drivers/clock.ts";
import { nodeCrypto } from "../../src/drivers/crypto.ts";
import { systemRandom } from "../../src/drivers/entropy.ts";
import { chooseStack } from "../../src/drivers/rtc.auto.ts";
import { readClusterFiles } from "../../src/drivers/state/cluster-files.ts";
import { createTokenVerifier } from "../../src/drivers/tokens.ts";
import { issuersOf, openMint } from "../../src/issuer/mint.ts";
import type { Instant } from "../../src/proto/machine.ts";
import type { RtcConnection } from "../../src/proto/negotiation/rtc.ts";
import { type PeerId, parsePeerId } from "../../src/proto/peer-id.ts";
import type { RtcStack } from "../../src/rtc.ts";
import type { BenchEnd, BenchEndOptions, BenchSignal } from "./stacks-end.ts";
import { throughPath } from "./stacks-path.ts";

/**
 * Our API: everything of an agent that has to do with links, letters carried by hand instead of by a signaling server. Opening
 * includes what the bare stacks have none of: sealed and signed signals, and admission with keys and tokens.
 */
class OurEnd implements BenchEnd {
  readonly received = { messages: 0, bytes: 0 };
  readonly #options: BenchEndOptions;
  readonly #id: PeerId;
  readonly #boxKey: Uint8Array;
  readonly #connections: Connections;
  #peer: { readonly id: PeerId; readonly boxKey: Uint8Array } | undefined;
  #changed: () => void = () => {};
  #load: MeshStream | undefined;
  #echo: MeshStream | undefined;
  #echoed: ((at: number) => void) | undefined;

  constructor(options: BenchEndOptions, trust: Trust, stack: RtcStack, now: () => Instant) {
    this.#options = options;
    this.#id = trust.id;
    this.#boxKey = trust.box.publicKey;
    this.#connections = new Connections({
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
      log: { debug() {}, info() {}, warn() {}, error: (...words) => console.error(...words) },
      listener: {
        linkUp: () => this.#changed(),
        linkDown: () => this.#changed(),
        message: () => {},
        dialFailed: (_peer, failure) => {
          throw new Error(`a dial failed: ${JSON.stringify(failure)}`);
        },
        handler: (protocol) => (protocol === "echo/1" ? (stream) => serve(stream) : (stream) => this.#count(stream)),
        fault: (_peer, fault) => {
          throw new Error(`a fault: ${fault}`);
        },
        post: (_to, bytes) => options.send({ type: "letter", bytes }),
        boxKeyOf: () => this.#peer?.boxKey,
        isOut: () => false,
        redial: () => undefined,
      },
    });
    this.#introduce();
  }

  async open(): Promise<void> {
    if (this.#peer === undefined) throw new Error("who is the other end?");
    const { id } = this.#peer;
    const up = this.#until(() => this.#connections.link(id) !== undefined);
    this.#connections.dial(id);
    await up;
    this.#load = await this.#link.open("load/1", "bulk");
    const echo = await this.#link.open("echo/1", "interactive");
    this.#echo = echo;
    void this.#hear(echo);
    await this.echo(100);
  }

  signal(signal: BenchSignal): void {
    if (signal.type === "letter") this.#connections.letter(signal.bytes);
    else if (signal.type === "peer") {
      const id = parsePeerId(signal.id);
      if (id !== undefined) this.#peer = { id, boxKey: signal.boxKey };
    }
  }

  async pump(message: Uint8Array, running: () => boolean): Promise<void> {
    const stream = this.#load;
    while (stream !== undefined && running()) {
      while (stream.offer(message));
      await stream.writable();
    }
  }

  queue(message: Uint8Array, count: number): void {
    for (let index = 0; index < count; index++) void this.#load?.send(message);
  }

  async echo(bytes: number): Promise<number> {
    const sentAt = performance.now();
    void this.#echo?.send(new Uint8Array(bytes));
    return new Promise((resolve) => {
      this.#echoed = (at) => resolve(at - sentAt);
    });
  }

  probe(): Promise<number> {
    return this.#link.ping();
  }

  async close(): Promise<void> {
    const peer = this.#peer;
    if (peer === undefined) return;
    const down = this.#until(() => this.#connections.link(peer.id) === undefined);
    this.#connections.drop(peer.id, "unwanted");
    await down;
  }

  get #link(): PeerLink {
    const link = this.#peer && this.#connections.link(this.#peer.id);
    if (link === undefined) throw new Error("no link");
    return link;
  }

  #introduce(): void {
    this.#options.send({ type: "peer", id: this.#id, boxKey: this.#boxKey });
  }

  #until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#changed = () => condition() && resolve();
      this.#changed();
    });
  }

  async #count(stream: MeshStream): Promise<void> {
    for await (const message of stream) {
      this.received.messages++;
      this.received.bytes += message.length;
    }
  }

  async #hear(stream: MeshStream): Promise<void> {
    try {
      for await (const _ of stream) this.#echoed?.(performance.now());
    } catch {
      // The link has ended, as it does between rounds.
    }
  }
}

async function serve(stream: MeshStream): Promise<void> {
  for await (const message of stream) await stream.send(message);
}

/** An end over our API. `directory`: of a cluster that `openLocalCluster` has made; both ends take the same. */
export async function ourEnd(
  stackName: "native" | "werift",
  directory: string,
  options: BenchEndOptions,
): Promise<BenchEnd> {
  const crypto = nodeCrypto();
  const now = systemClock();
  const folder = join(directory, "cluster");
  const facts = await readClusterFiles(folder, crypto);
  if (!facts) throw new Error("no cluster");
  const issuers = issuersOf(facts, crypto);
  const keyFile = join(folder, "issuing.key");
  const mint = await openMint({ keyFile, clusterId: facts.clusterId, issuers: () => issuers, crypto });
  const identity = crypto.nodeIdentity(crypto.generateNodeKey());
  const trust = new Trust({ decrees: [], identity, crypto, cluster: facts, verifier: createTokenVerifier(), now });
  const issued = await mint.issueMemberToken({ subject: identity.id }, now());
  if (!issued.ok || (await trust.holdToken(issued.token)) !== undefined) throw new Error("no token");
  const stack = await chooseStack(stackName);
  return new OurEnd(options, trust, options.pathPort === undefined ? stack : shaped(stack, options.pathPort), now);
}

/** The stack as it is where every peer is to be reached through the path at `port`. */
function shaped(stack: RtcStack, port: number): RtcStack {
  return {
    name: stack.name,
    maxFrameBytes: stack.maxFrameBytes,
    close: () => stack.close(),
    connect: (options, notify) => new Detour(stack.connect(options, notify), port),
  };
}

class Detour extends WrappedConnection {
  readonly #port: number;

  constructor(inner: RtcConnection, port: number) {
    super(inner);
    this.#port = port;
  }

  override answer(offer: string): void {
    super.answer(withoutCandidates(offer));
  }

  override accept(answer: string): void {
    super.accept(withoutCandidates(answer));
  }

  override candidate(candidate: string, mid: string): void {
    const shown = throughPath(candidate, this.#port);
    if (shown !== undefined) super.candidate(shown, mid);
  }
}

function withoutCandidates(sdp: string): string {
  return sdp.replaceAll(/^a=candidate:.*\r?\n/gm, "");
}
