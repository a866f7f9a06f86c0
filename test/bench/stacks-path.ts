import { createSocket, type Socket } from "node:dgram";
import { existsSync, readFileSync } from "node:fs";

/**
 * A path between two ends on one machine that is slow or long: a UDP proxy that forwards datagrams in order, at most at a given
 * rate, after a given delay. Each end is told the proxy's address in place of the other's, and the proxy learns where an end is
 * from the first datagram that comes from there.
 *
 * A user-space proxy rather than `tc`: it needs no rights and no kernel module (netem is missing in many kernels), and it
 * shapes alike everywhere. It takes part in the competition for two cores with up to 15,000 datagrams a second each way.
 */
export interface PathShape {
  /** Of each direction; Infinity does not limit. */
  readonly bytesPerMs: number;
  /** One way. */
  readonly delayMs: number;
  /**
   * How far the delay sways, slowly and without changing the order, as that of every real path of some length does. It
   * matters to native's SCTP, whose retransmission timer runs on while anything is in flight, and then takes for lost what
   * has been out for longer than the smoothed round trip and four deviations: where the delay is constant to the millisecond
   * that is one of the next hiccups of the machine, and each costs all of the window.
   */
  readonly swayMs: number;
  /** What waits at the bottleneck, each way; a datagram beyond is dropped. */
  readonly queueBytes: number;
}

/** IPv4 and UDP headers of a datagram: they take their share of a link's rate. */
const HEADER_BYTES = 28;

/**
 * Datagrams forwarded at once, then a millisecond of rest: a receive buffer of the usual 208 KiB holds about 90, and libjuice's
 * cannot be changed. Without it a path without losses would have some whenever this process was late.
 */
const MAX_BURST = 32;

const SOCKET_BUFFER_BYTES = 4 * 1_048_576;

/**
 * One swing of the delay there and back. Long beside a round trip, so that both ways sway together: at 132 ms they nearly
 * cancelled each other, the round trip was constant to 2 ms, and native's SCTP gave up its window every three seconds, at
 * this once in half a minute.
 */
const SWAY_PERIOD_MS = 620;

/** Where one side's datagrams come in, and where the other side's go out. */
interface Side {
  readonly socket: Socket;
  peerPort: number | undefined;
}

interface Parcel {
  readonly data: Buffer;
  readonly dueAt: number;
}

/** One direction: a bottleneck with a bounded queue, then a delay. */
class Direction {
  readonly #shape: PathShape;
  readonly #out: Side;
  #parcels: Parcel[] = [];
  #head = 0;
  #freeAt = 0;
  #lastDueAt = 0;
  #restsUntil = 0;
  dropped = 0;

  constructor(shape: PathShape, out: Side) {
    this.#shape = shape;
    this.#out = out;
  }

  take(data: Buffer, now: number): void {
    const startsAt = Math.max(this.#freeAt, now);
    if ((startsAt - now) * this.#shape.bytesPerMs > this.#shape.queueBytes) {
      this.dropped++;
      return;
    }
    this.#freeAt = startsAt + (data.length + HEADER_BYTES) / this.#shape.bytesPerMs;
    const { delayMs, swayMs } = this.#shape;
    const swayedMs = (swayMs / 2) * (1 + Math.sin((now / SWAY_PERIOD_MS) * 2 * Math.PI));
    this.#lastDueAt = Math.max(this.#lastDueAt, this.#freeAt + delayMs + swayedMs);
    this.#parcels.push({ data, dueAt: this.#lastDueAt });
  }

  /** Forwards what is due; returns when to look again. */
  forward(now: number): number {
    if (now < this.#restsUntil) return this.#parcels.length === 0 ? Number.POSITIVE_INFINITY : this.#restsUntil;
    let forwarded = 0;
    for (; this.#head < this.#parcels.length; this.#head++) {
      const parcel = this.#parcels[this.#head] as Parcel;
      if (parcel.dueAt > now) break;
      if (forwarded++ === MAX_BURST) {
        this.#restsUntil = now + 1;
        return this.#restsUntil;
      }
      if (this.#out.peerPort !== undefined) this.#out.socket.send(parcel.data, this.#out.peerPort, "127.0.0.1");
    }
    if (this.#head === this.#parcels.length || this.#head > 4_096) {
      this.#parcels = this.#parcels.slice(this.#head);
      this.#head = 0;
    }
    return this.#parcels[this.#head]?.dueAt ?? Number.POSITIVE_INFINITY;
  }
}

/** A running proxy. */
export class ShapedPath {
  readonly #sides: readonly [Side, Side];
  readonly #directions: readonly [Direction, Direction];
  #timer: NodeJS.Timeout | undefined;
  #wakeAt = Number.POSITIVE_INFINITY;

  private constructor(shape: PathShape, sides: readonly [Side, Side]) {
    this.#sides = sides;
    this.#directions = [new Direction(shape, sides[1]), new Direction(shape, sides[0])];
    for (const [index, side] of sides.entries()) {
      side.socket.on("message", (data, from) => {
        // An end may try from several addresses; the first that comes is its own from then on.
        side.peerPort ??= from.port;
        if (from.port !== side.peerPort) return;
        this.#directions[index]?.take(data, performance.now());
        this.#forward();
      });
    }
  }

  static async open(shape: PathShape): Promise<ShapedPath> {
    const side = (): Promise<Side> =>
      new Promise((resolve) => {
        const socket = createSocket("udp4");
        socket.bind(0, "127.0.0.1", () => {
          socket.setRecvBufferSize(SOCKET_BUFFER_BYTES);
          socket.setSendBufferSize(SOCKET_BUFFER_BYTES);
          resolve({ socket, peerPort: undefined });
        });
      });
    return new ShapedPath(shape, [await side(), await side()]);
  }

  /** The ports that stand for the second end (told to the first) and for the first (told to the second). */
  get ports(): readonly [number, number] {
    return [this.#sides[0].socket.address().port, this.#sides[1].socket.address().port];
  }

  /** Datagrams lost at the bottlenecks. */
  get dropped(): number {
    return this.#directions[0].dropped + this.#directions[1].dropped;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#wakeAt = Number.NEGATIVE_INFINITY;
    for (const { socket } of this.#sides) socket.close();
  }

  #forward(): void {
    const now = performance.now();
    const next = Math.min(this.#directions[0].forward(now), this.#directions[1].forward(now));
    if (next >= this.#wakeAt) return;
    this.#wakeAt = next;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#wakeAt = Number.POSITIVE_INFINITY;
      this.#forward();
    }, next - now);
  }
}

/** What the other end's candidate becomes on a shaped path: loopback by way of `port`; undefined for all others. */
export function throughPath(candidate: string, port: number): string | undefined {
  const fields = candidate.replace(/^a=/, "").split(" ");
  if (fields[2]?.toLowerCase() !== "udp" || fields[4] !== "127.0.0.1") return undefined;
  fields[5] = String(port);
  return fields.join(" ");
}

/**
 * Datagrams that sockets of this machine have lost for want of room since it started, where the kernel tells. libjuice's sockets
 * count as IPv6, whatever they carry.
 */
export function overflows(): number {
  let sum = 0;
  if (existsSync("/proc/net/snmp")) {
    const [names, values] = readFileSync("/proc/net/snmp", "utf8")
      .split("\n")
      .filter((line) => line.startsWith("Udp:"))
      .map((line) => line.split(" "));
    sum += Number(values?.[names?.indexOf("RcvbufErrors") ?? -1] ?? 0);
  }
  if (existsSync("/proc/net/snmp6"))
    sum += Number(/^Udp6RcvbufErrors\s+(\d+)/m.exec(readFileSync("/proc/net/snmp6", "utf8"))?.[1] ?? 0);
  return sum;
}
