import { concat } from "../../../src/proto/bytes.ts";
import type { SignedDecree } from "../../../src/proto/decrees/decree.ts";
import { DecreeSet } from "../../../src/proto/decrees/decree-set.ts";
import { Decrees } from "../../../src/proto/decrees/decrees.ts";
import type { DecreesInput, DecreesOutput } from "../../../src/proto/decrees/effects.ts";
import type { MessageId } from "../../../src/proto/gossip/messages.ts";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import { Lane } from "../../../src/proto/streams/lanes.ts";
import { encodeSecrets, Keychain, type Secrets } from "../../../src/proto/trust/keychain.ts";
import { NOW, peer, root, verify } from "./lab.ts";

/** A few members that hold decrees, links between some, and nothing else: a broadcast goes over all links. */

/** Random-looking keys: those of secrets are checked. */
export function key(seed: number): Uint8Array {
  return Uint8Array.from(
    { length: 32 },
    (_, index) => (index * 73 + seed * 151 + ((index * seed) ^ (seed << 3))) & 255,
  );
}

export const FIRST: Secrets = { epoch: 1, clusterKeys: [{ epoch: 1, key: key(1) }], keyring: [key(2)] };

export class Node {
  readonly id: PeerId;
  readonly set: DecreeSet;
  readonly keychain: Keychain;
  readonly machine: Decrees;
  readonly outputs: DecreesOutput[] = [];
  /** Messages of others that were heard, in order. */
  readonly heard: string[] = [];

  constructor(number: number, secrets: Secrets = FIRST) {
    this.id = peer(number);
    this.set = new DecreeSet(root.publicKey, verify);
    this.keychain = new Keychain(secrets);
    const label = new TextEncoder().encode(this.id);
    this.machine = new Decrees(this.set, this.keychain, {
      // Named for its recipient: whoever opens what was sealed for another fails.
      seal: (to, plain) => concat(new TextEncoder().encode(to), plain),
      open: (_from, sealed) =>
        label.every((byte, index) => byte === sealed[index]) ? sealed.slice(label.length) : undefined,
    });
  }

  of<Type extends DecreesOutput["type"]>(type: Type): Extract<DecreesOutput, { type: Type }>[] {
    return this.outputs.filter((output): output is Extract<DecreesOutput, { type: Type }> => output.type === type);
  }
}

export class World {
  readonly nodes = new Map<PeerId, Node>();
  readonly #links = new Set<string>();
  readonly #queue: {
    readonly from: Node;
    readonly to: Node;
    readonly bytes: Uint8Array;
    readonly broadcast: boolean;
  }[] = [];
  /** Everything that has travelled, in the order in which it was sent. */
  readonly wire: {
    readonly from: PeerId;
    readonly to: PeerId;
    readonly bytes: Uint8Array;
    readonly broadcast: boolean;
  }[] = [];
  now = NOW;

  add(node: Node): Node {
    this.nodes.set(node.id, node);
    return node;
  }

  link(a: Node, b: Node): void {
    this.#links.add(`${a.id} ${b.id}`).add(`${b.id} ${a.id}`);
    this.input(a, { type: "link-up", peer: b.id, rttMs: 10 });
    this.input(b, { type: "link-up", peer: a.id, rttMs: 10 });
  }

  cut(a: Node, b: Node): void {
    if (!this.#links.delete(`${a.id} ${b.id}`)) return;
    this.#links.delete(`${b.id} ${a.id}`);
    this.input(a, { type: "link-down", peer: b.id });
    this.input(b, { type: "link-down", peer: a.id });
  }

  linked(a: Node, b: Node): boolean {
    return this.#links.has(`${a.id} ${b.id}`);
  }

  proclaim(node: Node, decree: SignedDecree, secrets?: Secrets): void {
    this.input(node, { type: "decree", decree, ...(secrets && { secrets: encodeSecrets(secrets) }) });
  }

  input(node: Node, input: DecreesInput): void {
    for (const output of node.machine.handle(input, this.now)) this.#perform(node, output);
  }

  /** Delivers everything, `pick` chooses whose message is next; those of one link stay in order. */
  settle(pick: (count: number) => number = () => 0): void {
    for (let round = 0; this.#queue.length > 0; round++) {
      if (round > 100_000) throw new Error("it never comes to rest");
      const wanted = this.#queue[pick(this.#queue.length)] ?? this.#queue[0];
      const index = this.#queue.findIndex((one) => one.from === wanted?.from && one.to === wanted.to);
      const [next] = this.#queue.splice(index, 1);
      if (next === undefined || !this.linked(next.from, next.to)) continue;
      if (next.broadcast) {
        const known = next.to.of("decreed").length;
        this.input(next.to, { type: "delivered", from: next.from.id, id: "x" as MessageId, payload: next.bytes });
        // As broadcast does with what was accepted and is new.
        if (next.to.of("decreed").length > known) this.#spread(next.to, next.bytes);
      } else this.input(next.to, { type: "message", peer: next.from.id, lane: Lane.gossip, bytes: next.bytes });
    }
  }

  #perform(node: Node, output: DecreesOutput): void {
    node.outputs.push(output);
    if (output.type === "send") this.#send(node, this.nodes.get(output.peer), output.bytes, false);
    else if (output.type === "broadcast") this.#spread(node, output.payload);
    else if (output.type === "shut") {
      const other = this.nodes.get(output.peer);
      if (other) this.cut(node, other);
    }
  }

  #spread(node: Node, payload: Uint8Array): void {
    for (const other of this.nodes.values()) if (this.linked(node, other)) this.#send(node, other, payload, true);
  }

  #send(from: Node, to: Node | undefined, bytes: Uint8Array, broadcast: boolean): void {
    if (to === undefined) return;
    this.wire.push({ from: from.id, to: to.id, bytes, broadcast });
    this.#queue.push({ from, to, bytes, broadcast });
  }
}
