/**
 * A small world for membership and overlay together: every node runs both machines; links have latency and order;
 * broadcast is a flood; signatures are hashes and checked at once. Deterministic from its seed.
 */
import { concat, equalBytes, utf8 } from "../../../src/proto/bytes.ts";
import { messageIdOf, Topic } from "../../../src/proto/gossip/messages.ts";
import { sha256 } from "../../../src/proto/hash.ts";
import type { Instant } from "../../../src/proto/machine.ts";
import type { MemberEvent, MembershipInput, MembershipOutput } from "../../../src/proto/membership/effects.ts";
import { Membership } from "../../../src/proto/membership/membership.ts";
import { RecordShelf } from "../../../src/proto/membership/record.ts";
import { Overlay, type OverlayInput } from "../../../src/proto/overlay/overlay.ts";
import { type PeerId, peerIdOf, publicKeyOf } from "../../../src/proto/peer-id.ts";
import { fraction, randomBytes, SeededRandom, shuffle } from "../../../src/proto/random.ts";
import { type Statement, signedBytes, type TokenFacts } from "../../../src/proto/signed.ts";
import type { Lane } from "../../../src/proto/streams/lanes.ts";

export const EPOCH = 1_700_000_000_000;

export interface WorldOptions {
  readonly seed: number;
  /** One way, ms, plus up to as much again. Default 2. */
  readonly latencyMs?: number;
  /** The share of frames that stall for a retransmission (1 s, then 2 s more, …). Default 0. */
  readonly stalls?: number;
  /** Whether envelopes are carried. Default false. */
  readonly routing?: boolean;
  /** How long a link takes to notice that its other end is gone. Default: it does not. */
  readonly noticeMs?: number;
}

export interface LoggedEvent extends MemberEvent {
  readonly at: Instant;
  readonly by: PeerId;
}

type Packet =
  | { readonly kind: "lane"; readonly lane: Lane; readonly bytes: Uint8Array }
  | { readonly kind: "flood"; readonly bytes: Uint8Array };

export class World {
  readonly random: SeededRandom;
  readonly nodes = new Map<PeerId, Node>();
  readonly events: LoggedEvent[] = [];
  readonly faults: string[] = [];
  readonly options: { -readonly [Option in keyof WorldOptions]-?: NonNullable<WorldOptions[Option]> };
  readonly shelf = new RecordShelf();
  now: Instant = EPOCH;
  frames = 0;
  bytes = 0;
  broadcasts = 0;
  /** Nodes of different sides do not hear each other. */
  side: (id: PeerId) => number = () => 0;
  readonly #queue: { at: Instant; order: number; run: () => void }[] = [];
  readonly #arrivals = new Map<string, Instant>();
  #order = 0;

  constructor(options: WorldOptions) {
    this.options = { latencyMs: 2, stalls: 0, routing: false, noticeMs: Number.POSITIVE_INFINITY, ...options };
    this.random = new SeededRandom(options.seed);
  }

  /** Adds a node; introduced to up to three that live, as a server would. */
  add(key = randomBytes(this.random, 32), boot = 1): Node {
    const node = new Node(this, peerIdOf(key), boot);
    const known = shuffle(
      this.random,
      this.living().filter((other) => other.id !== node.id),
    ).slice(0, 3);
    const old = this.nodes.get(node.id);
    this.nodes.set(node.id, node);
    if (old !== undefined) this.crash(old);
    node.wake();
    const records = known.flatMap((other) => other.membership.record(other.id) ?? []);
    node.membershipInput({ type: "introduced", standing: "present", records });
    return node;
  }

  /** `count` nodes, 20 ms apart, then time to settle. */
  grow(count: number, settleMs = 40_000): Node[] {
    const nodes: Node[] = [];
    for (let index = 0; index < count; index++) {
      nodes.push(this.add());
      this.run(20);
    }
    this.run(settleMs);
    return nodes;
  }

  /** The process is gone; nobody is told, except by links that notice. */
  crash(node: Node): void {
    node.alive = false;
    for (const peer of [...node.links]) {
      const other = this.#other(node, peer);
      node.links.delete(peer);
      if (other !== undefined && Number.isFinite(this.options.noticeMs))
        this.after(this.options.noticeMs, () => other.unlink(node.id, false));
    }
  }

  /** Links between the sides are given up. */
  sever(): void {
    for (const node of this.living()) {
      for (const peer of [...node.links]) if (this.side(peer) !== this.side(node.id)) node.unlink(peer, false);
    }
  }

  after(ms: number, run: () => void): void {
    push(this.#queue, { at: this.now + ms, order: this.#order++, run });
  }

  run(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      const next = this.#queue[0];
      if (next === undefined || next.at > until) break;
      pop(this.#queue);
      this.now = next.at;
      next.run();
    }
    this.now = until;
  }

  /** Over the link between the two, in order. */
  transmit(from: Node, to: PeerId, packet: Packet): void {
    this.frames++;
    this.bytes += packet.bytes.length;
    if (!from.links.has(to)) return;
    const name = `${from.id} ${to}`;
    let delay = this.#latency();
    for (let rto = 1_000; fraction(this.random) < this.options.stalls; rto *= 2) delay += rto;
    const at = Math.max(this.now + delay, this.#arrivals.get(name) ?? 0);
    this.#arrivals.set(name, at);
    this.after(at - this.now, () => {
      const node = this.nodes.get(to);
      if (node?.alive && node.links.has(from.id) && this.side(from.id) === this.side(to)) node.receive(from.id, packet);
    });
  }

  /** Without a link, as signals and envelopes travel; undefined behaviour of nobody: a lost one is lost. */
  carry(from: Node, to: PeerId, deliver: (node: Node) => void): void {
    this.after(this.#latency() * 2, () => {
      const node = this.nodes.get(to);
      if (node?.alive && this.side(from.id) === this.side(to)) deliver(node);
    });
  }

  dial(from: Node, to: PeerId): void {
    this.after(20 + 2 * this.#latency(), () => {
      const node = this.nodes.get(to);
      const reached = node?.alive === true && from.alive && this.side(from.id) === this.side(to);
      if (!reached) {
        this.after(1_000, () => from.overlayInput({ type: "dial-failed", peer: to, reason: "absent" }));
        return;
      }
      if (!this.connectable(from.id, to)) {
        from.overlayInput({ type: "dial-failed", peer: to, reason: "no-path" });
        return;
      }
      this.#arrivals.delete(`${from.id} ${to}`);
      this.#arrivals.delete(`${to} ${from.id}`);
      from.link(to);
      node.link(from.id);
    });
  }

  /** Whether two nodes can connect at all. */
  connectable: (a: PeerId, b: PeerId) => boolean = () => true;

  drop(from: Node, to: PeerId): void {
    from.unlink(to, true);
    this.nodes.get(to)?.unlink(from.id, true);
  }

  sign(signer: PeerId, label: Statement["label"], body: Uint8Array): Uint8Array {
    const digest = sha256(concat(publicKeyOf(signer), signedBytes(label, body)));
    return concat(digest, digest);
  }

  holds(statement: Statement): boolean {
    return equalBytes(this.sign(statement.signer, statement.label, statement.body), statement.signature);
  }

  facts(id: PeerId, token = "token"): TokenFacts | undefined {
    const expiresAt = token === "token" ? EPOCH + 365 * 86_400_000 : Number(token);
    const place = sha256(concat(utf8("place"), publicKeyOf(id))).slice(0, 16);
    return Number.isNaN(expiresAt) ? undefined : { subject: id, expiresAt, scopes: [], place };
  }

  living(): Node[] {
    return [...this.nodes.values()].filter((node) => node.alive);
  }

  #latency(): number {
    return this.options.latencyMs * (1 + fraction(this.random));
  }

  #other(node: Node, peer: PeerId): Node | undefined {
    const other = this.nodes.get(peer);
    return other === node ? undefined : other;
  }
}

export class Node {
  readonly world: World;
  readonly id: PeerId;
  readonly boot: number;
  readonly membership: Membership;
  readonly overlay: Overlay;
  readonly links = new Set<PeerId>();
  alive = true;
  /** What to do instead of handling what comes in. */
  #frozen: (() => void)[] | undefined;
  readonly #seen = new Map<string, { readonly bytes: Uint8Array; readonly at: Instant }>();
  readonly #refused = new Set<string>();
  #wakeAt = Number.POSITIVE_INFINITY;

  constructor(world: World, id: PeerId, boot: number) {
    this.world = world;
    this.id = id;
    this.boot = boot;
    const random = world.random.fork(`${id} ${boot}`);
    const exchangeKey = randomBytes(random, 32);
    const profile = { name: id.slice(0, 8), labels: [], protocols: { least: 1, most: 1 }, exchangeKey, capacity: 100 };
    const token = { token: "token", facts: world.facts(id) as TokenFacts };
    const { shelf } = world;
    const { routing } = world.options;
    this.membership = new Membership({ self: id, boot, profile, token, random, routing, shelf }, world.now);
    this.overlay = new Overlay(this.membership.seat, this.membership.rings, random);
  }

  /** How it holds another. */
  state(id: PeerId): string | undefined {
    return this.membership.member(id)?.state;
  }

  /** Stops the process; what comes in waits. */
  freeze(ms: number): void {
    this.#frozen = [];
    this.world.after(ms, () => {
      const waiting = this.#frozen ?? [];
      this.#frozen = undefined;
      for (const run of waiting) run();
      this.wake();
    });
  }

  receive(from: PeerId, packet: Packet): void {
    this.#when(() => {
      if (packet.kind === "lane")
        this.membershipInput({ type: "message", peer: from, lane: packet.lane, bytes: packet.bytes });
      else this.#flooded(from, packet.bytes);
    });
  }

  link(peer: PeerId): void {
    this.#when(() => {
      if (this.links.has(peer)) return;
      this.links.add(peer);
      this.membershipInput({ type: "link-up", peer, rttMs: this.world.options.latencyMs * 3 });
      this.overlayInput({ type: "link-up", peer });
      // As broadcast does: a new link is told of the last ten seconds.
      for (const [id, { bytes, at }] of this.#seen) {
        if (this.world.now - at < 10_000 && !this.#refused.has(id))
          this.world.transmit(this, peer, { kind: "flood", bytes });
      }
    });
  }

  unlink(peer: PeerId, deliberate: boolean): void {
    this.#when(() => {
      if (!this.links.delete(peer)) return;
      this.membershipInput({ type: "link-down", peer, deliberate });
      this.overlayInput({ type: "link-down", peer });
    });
  }

  membershipInput(input: MembershipInput): void {
    this.#when(() => {
      this.#carryOut(this.membership.handle(input, this.world.now));
      this.wake();
    });
  }

  overlayInput(input: OverlayInput): void {
    this.#when(() => {
      for (const output of this.overlay.handle(input, this.world.now)) {
        const { peer } = output;
        if (output.type === "dial") this.world.dial(this, peer);
        else if (output.type === "drop") this.world.drop(this, peer);
        else this.world.carry(this, peer, (node) => node.overlayInput({ type: "asked", peer: this.id }));
      }
      this.wake();
    });
  }

  flood(bytes: Uint8Array): void {
    this.world.broadcasts++;
    this.#seen.set(messageIdOf(Topic.membership, bytes), { bytes, at: this.world.now });
    for (const peer of this.links) this.world.transmit(this, peer, { kind: "flood", bytes });
  }

  wake(): void {
    const next = Math.min(this.membership.deadline() ?? Infinity, this.overlay.deadline() ?? Infinity);
    if (!this.alive || next >= this.#wakeAt || !Number.isFinite(next)) return;
    const at = Math.max(next, this.world.now);
    this.#wakeAt = at;
    this.world.after(at - this.world.now, () => {
      if (this.#wakeAt !== at) return;
      this.#wakeAt = Number.POSITIVE_INFINITY;
      if (this.#frozen !== undefined) return;
      const { now } = this.world;
      if ((this.membership.deadline() ?? Infinity) <= now) this.membershipInput({ type: "timeout" });
      if ((this.overlay.deadline() ?? Infinity) <= now) this.overlayInput({ type: "timeout" });
      this.wake();
    });
  }

  #when(run: () => void): void {
    if (!this.alive) return;
    if (this.#frozen !== undefined) this.#frozen.push(run);
    else run();
  }

  #flooded(from: PeerId, bytes: Uint8Array): void {
    const id = messageIdOf(Topic.membership, bytes);
    if (this.#seen.has(id)) return;
    this.#seen.set(id, { bytes, at: this.world.now });
    this.membershipInput({ type: "delivered", from, id, bytes });
  }

  #carryOut(outputs: readonly MembershipOutput[]): void {
    for (const output of outputs) this.#effect(output);
  }

  #effect(output: MembershipOutput): void {
    const { world } = this;
    switch (output.type) {
      case "send":
        world.transmit(this, output.peer, { kind: "lane", lane: output.lane, bytes: output.bytes });
        break;
      case "route":
        world.carry(this, output.to, (node) =>
          node.membershipInput({ type: "routed", from: this.id, bytes: output.bytes }),
        );
        break;
      case "broadcast":
        this.flood(output.bytes);
        break;
      case "verdict": {
        const bytes = this.#seen.get(output.id)?.bytes;
        if (bytes === undefined) break;
        if (output.verdict !== "accept") {
          this.#refused.add(output.id);
          break;
        }
        for (const peer of this.links) world.transmit(this, peer, { kind: "flood", bytes });
        break;
      }
      case "sign": {
        const signature = world.sign(this.id, output.label, output.body);
        this.membershipInput({ type: "signed", signature, resume: output.resume });
        break;
      }
      case "verify": {
        const facts =
          output.token === undefined ? undefined : world.facts(output.statements[0]?.signer as PeerId, output.token);
        if (
          !output.statements.every((statement) => world.holds(statement)) ||
          (output.token !== undefined && facts === undefined)
        )
          world.faults.push("forged");
        else this.membershipInput({ type: "verified", resume: output.resume, ...(facts && { token: facts }) });
        break;
      }
      case "event":
        world.events.push({ ...output, at: world.now, by: this.id });
        if (output.peer === this.id) break;
        if (output.event === "up") this.overlayInput({ type: "member-up", peer: output.peer });
        else if (output.event === "down" || output.event === "left")
          this.overlayInput({ type: "member-gone", peer: output.peer });
        break;
      case "introduced":
        this.overlayInput(output);
        break;
      case "retry":
        this.overlayInput({ type: "try", peer: output.peer });
        break;
      case "fault":
        world.faults.push(output.fault);
        break;
      default:
        break;
    }
  }
}

interface Queued {
  readonly at: Instant;
  readonly order: number;
}

function before(a: Queued, b: Queued): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

function push<T extends Queued>(heap: T[], item: T): void {
  let index = heap.push(item) - 1;
  while (index > 0) {
    const parent = (index - 1) >> 1;
    if (!before(item, heap[parent] as T)) break;
    heap[index] = heap[parent] as T;
    index = parent;
  }
  heap[index] = item;
}

function pop<T extends Queued>(heap: T[]): void {
  const last = heap.pop() as T;
  if (heap.length === 0) return;
  let index = 0;
  for (;;) {
    let child = index * 2 + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && before(heap[child + 1] as T, heap[child] as T)) child++;
    if (!before(heap[child] as T, last)) break;
    heap[index] = heap[child] as T;
    index = child;
  }
  heap[index] = last;
}
