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
  /** Share of pairs that can never connect directly, 0 to 1. Default 0. */
  readonly unconnectable?: number;
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
  readonly #x: Float64Array;
  readonly #y: Float64Array;
  /** Nodes in different groups cannot reach each other. */
  readonly #group: Int32Array;
  /** Loss on the access line of a node. */
  readonly #lineLoss: Float64Array;
  /** Directed pairs that lose everything, `from * count + to`. */
  readonly #blocked = new Set<number>();

  constructor(count: number, random: Random, options: NetworkOptions) {
    this.#minMs = options.minLatencyMs ?? 5;
    this.#spanMs = (options.maxLatencyMs ?? 80) - this.#minMs;
    this.jitterMs = options.jitterMs ?? 2;
    this.bytesPerMs = options.bytesPerMs ?? Number.POSITIVE_INFINITY;
    this.#loss = options.loss ?? 0;
    this.#unconnectable = options.unconnectable ?? 0;
    this.#x = Float64Array.from({ length: count }, () => fraction(random));
    this.#y = Float64Array.from({ length: count }, () => fraction(random));
    this.#group = new Int32Array(count);
    this.#lineLoss = new Float64Array(count);
  }

  /** One-way latency without jitter, ms. */
  latencyMs(a: number, b: number): number {
    const x = (this.#x[a] as number) - (this.#x[b] as number);
    const y = (this.#y[a] as number) - (this.#y[b] as number);
    // The diagonal of the plane is the farthest.
    return this.#stretch * (this.#minMs + (this.#spanMs * Math.sqrt(x * x + y * y)) / Math.SQRT2);
  }

  /** The probability that a packet from `a` to `b` is lost. */
  lossBetween(a: number, b: number): number {
    return Math.min(1, this.#loss + this.#addedLoss + (this.#lineLoss[a] as number) + (this.#lineLoss[b] as number));
  }

  /** Whether packets from `a` to `b` arrive at all. */
  reaches(a: number, b: number): boolean {
    return this.#group[a] === this.#group[b] && !this.#blocked.has(a * this.#group.length + b);
  }

  /** Whether the NATs of `a` and `b` ever let them connect directly: a fixed property of the pair. */
  connectable(a: number, b: number): boolean {
    if (this.#unconnectable === 0) return true;
    const low = Math.min(a, b);
    const high = Math.max(a, b);
    let mixed = Math.imul(low ^ Math.imul(high, 0x9e3779b9), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0xc2b2ae35);
    return ((mixed ^ (mixed >>> 13)) >>> 0) / 4294967296 >= this.#unconnectable;
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
    this.#blocked.clear();
  }
}
