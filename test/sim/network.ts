import { fraction, type Random } from "../../src/proto/random.ts";

/** What a healthy network does. */
export interface NetworkOptions {
  /** One-way latency of the nearest and the farthest pair, ms: fixed per pair by where both stand on a plane. Default 5 and 80. */
  readonly minLatencyMs?: number;
  readonly maxLatencyMs?: number;
  /** Each packet is late by up to this, uniformly, ms. Default 2. */
  readonly jitterMs?: number;
  /** Share of packets lost everywhere, 0 to 1. Default 0. */
  readonly loss?: number;
  /** What a node can send on one link, bytes per ms; infinite by default. */
  readonly bytesPerMs?: number;
  /** Share of pairs that can never connect, 0 to 1. Default 0. */
  readonly unconnectable?: number;
  /** Share of pairs whose NATs let them meet only at a relay, which stands in the middle, 0 to 1. Default 0. */
  readonly relayed?: number;
}

/**
 * The conditions between nodes: how far they are apart, what is lost, who cannot reach whom. Links (`links.ts`) ask it;
 * faults (`faults.ts`) change it through the world, which tells the links.
 */
export class Network {
  readonly jitterMs: number;
  readonly bytesPerMs: number;
  readonly #loss: number;
  #addedLoss = 0;
  #stretch = 1;
  readonly #minMs: number;
  readonly #spanMs: number;
  readonly #unconnectable: number;
  readonly #relayed: number;
  readonly #x: Float64Array;
  readonly #y: Float64Array;
  /** Nodes in different groups cannot reach each other. */
  readonly #group: Int32Array;
  /** Loss on the access line of a node, both ways and outwards. */
  readonly #lineLoss: Float64Array;
  readonly #egressLoss: Float64Array;
  /** Nodes that receive nothing: 1. */
  readonly #deaf: Uint8Array;
  /** Directed pairs that lose everything, `from * count + to`. */
  readonly #blocked = new Set<number>();

  constructor(count: number, random: Random, options: NetworkOptions) {
    this.#minMs = options.minLatencyMs ?? 5;
    this.#spanMs = (options.maxLatencyMs ?? 80) - this.#minMs;
    this.jitterMs = options.jitterMs ?? 2;
    this.bytesPerMs = options.bytesPerMs ?? Number.POSITIVE_INFINITY;
    this.#loss = options.loss ?? 0;
    this.#unconnectable = options.unconnectable ?? 0;
    this.#relayed = options.relayed ?? 0;
    this.#x = Float64Array.from({ length: count }, () => fraction(random));
    this.#y = Float64Array.from({ length: count }, () => fraction(random));
    this.#group = new Int32Array(count);
    this.#lineLoss = new Float64Array(count);
    this.#egressLoss = new Float64Array(count);
    this.#deaf = new Uint8Array(count);
  }

  /** One-way latency without jitter, ms. */
  latencyMs(a: number, b: number): number {
    const [ax, ay] = [this.#x[a] as number, this.#y[a] as number];
    const [bx, by] = [this.#x[b] as number, this.#y[b] as number];
    const way = this.#meetsAtRelay(a, b)
      ? distance(ax, ay, MIDDLE, MIDDLE) + distance(MIDDLE, MIDDLE, bx, by)
      : distance(ax, ay, bx, by);
    // The diagonal of the plane is the farthest.
    return this.#stretch * (this.#minMs + (this.#spanMs * way) / Math.SQRT2);
  }

  /** The probability that a packet from `a` to `b` is lost. */
  lossBetween(a: number, b: number): number {
    const lines = (this.#lineLoss[a] as number) + (this.#lineLoss[b] as number) + (this.#egressLoss[a] as number);
    return Math.min(1, this.#loss + this.#addedLoss + lines);
  }

  /** Whether packets from `a` to `b` arrive at all. */
  reaches(a: number, b: number): boolean {
    if (this.#group[a] !== this.#group[b] || this.#deaf[b] === 1) return false;
    return !this.#blocked.has(a * this.#group.length + b);
  }

  /** Whether the NATs of `a` and `b` ever let them connect, directly or at a relay: a fixed property of the pair. */
  connectable(a: number, b: number): boolean {
    return this.#unconnectable === 0 || pairShare(a, b) >= this.#unconnectable;
  }

  /** By node, its group: nodes of different groups do not reach each other. */
  setGroups(groups: readonly number[]): void {
    this.#group.set(groups);
  }

  /** What is lost everywhere beyond the usual. */
  setAddedLoss(share: number): void {
    this.#addedLoss = share;
  }

  /** What is lost on the access line of a node, both ways. */
  setLineLoss(node: number, share: number): void {
    this.#lineLoss[node] = share;
  }

  /** What is lost of what a node sends. */
  setEgressLoss(node: number, share: number): void {
    this.#egressLoss[node] = share;
  }

  /** Whether a node receives nothing, though what it sends arrives. */
  setDeaf(node: number, deaf: boolean): void {
    this.#deaf[node] = deaf ? 1 : 0;
  }

  /** Multiplies all latencies. */
  setStretch(factor: number): void {
    this.#stretch = factor;
  }

  setBlocked(from: number, to: number, blocked: boolean): void {
    if (blocked) this.#blocked.add(from * this.#group.length + to);
    else this.#blocked.delete(from * this.#group.length + to);
  }

  /** Everybody reaches everybody again, and no line is worse than another. */
  heal(): void {
    this.#group.fill(0);
    this.#lineLoss.fill(0);
    this.#egressLoss.fill(0);
    this.#deaf.fill(0);
    this.#blocked.clear();
  }

  #meetsAtRelay(a: number, b: number): boolean {
    return this.#relayed > 0 && pairShare(a, b) < this.#unconnectable + this.#relayed && this.connectable(a, b);
  }
}

/** Where relays stand on the plane. */
const MIDDLE = 0.5;

function distance(ax: number, ay: number, bx: number, by: number): number {
  return Math.sqrt((ax - bx) * (ax - bx) + (ay - by) * (ay - by));
}

/** A number in [0, 1) that belongs to a pair, as if drawn. */
function pairShare(a: number, b: number): number {
  const low = Math.min(a, b);
  const high = Math.max(a, b);
  let mixed = Math.imul(low ^ Math.imul(high, 0x9e3779b9), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0xc2b2ae35);
  return ((mixed ^ (mixed >>> 13)) >>> 0) / 4294967296;
}
