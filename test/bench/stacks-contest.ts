import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import type { ChildRequest, Count, FromChild, Probe, ToChild } from "./stacks-child.ts";
import { overflows, type PathShape, ShapedPath } from "./stacks-path.ts";

export type Api = "ours" | "bare";

const CHILD = join(import.meta.dirname, "stacks-child.ts");

/** How long a burst may take: bare werift's cost grows with its queue, and what has come by then is its figure. */
const BURST_LIMIT_MS = 6_000;

/** A child process and its requests. */
class Child {
  readonly #process: ChildProcess;
  readonly #answers = new Map<number, PromiseWithResolvers<unknown>>();
  #requests = 0;
  /** The child at the other end. */
  other: Child | undefined;

  constructor() {
    this.#process = fork(CHILD, { serialization: "advanced" });
    this.#process.on("message", (message: FromChild) => {
      if (message.type === "signal") {
        this.other?.tell(message);
        return;
      }
      const answer = this.#answers.get(message.id);
      this.#answers.delete(message.id);
      if (message.type === "answer") answer?.resolve(message.value);
      else answer?.reject(new Error(message.reason));
    });
    this.#process.on("exit", (code) => {
      for (const { reject } of this.#answers.values()) reject(new Error(`an end exited with ${code}`));
    });
  }

  tell(message: ToChild): void {
    if (this.#process.connected) this.#process.send(message);
  }

  ask(request: ChildRequest): Promise<unknown> {
    const answer = Promise.withResolvers<unknown>();
    const id = ++this.#requests;
    this.#answers.set(id, answer);
    this.tell({ type: "request", id, request });
    return answer.promise;
  }

  async numbers(request: ChildRequest): Promise<number[]> {
    const value = await this.ask(request);
    return Array.isArray(value) ? value.map(Number) : [];
  }

  async count(request: ChildRequest = { type: "count" }): Promise<Count> {
    return (await this.ask(request)) as Count;
  }

  end(): void {
    this.#process.disconnect();
    setTimeout(() => this.#process.kill("SIGKILL"), 2_000).unref();
  }
}

interface Pair {
  readonly sender: Child;
  readonly receiver: Child;
  readonly path: ShapedPath | undefined;
}

/** A pair of processes for each API, connected over the same kind of path; one measures while the other idles. */
export class Contest implements AsyncDisposable {
  readonly #pairs: Readonly<Record<Api, Pair>>;

  private constructor(pairs: Readonly<Record<Api, Pair>>) {
    this.#pairs = pairs;
  }

  static async open(options: {
    readonly rtc: "native" | "werift";
    readonly directory: string;
    readonly shape: PathShape | undefined;
  }): Promise<Contest> {
    const pairOf = async (api: Api): Promise<Pair> => {
      const path = options.shape && (await ShapedPath.open(options.shape));
      const sender = new Child();
      const receiver = new Child();
      sender.other = receiver;
      receiver.other = sender;
      const { rtc: stack, directory } = options;
      const start = (child: Child, initiator: boolean) =>
        child.ask({
          type: "start",
          options: { api, stack, directory, initiator, pathPort: path?.ports[initiator ? 0 : 1] },
        });
      await Promise.all([start(sender, true), start(receiver, false)]);
      await sender.ask({ type: "open" });
      return { sender, receiver, path };
    };
    return new Contest({ ours: await pairOf("ours"), bare: await pairOf("bare") });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { sender, receiver, path } of Object.values(this.#pairs)) {
      sender.end();
      receiver.end();
      path?.close();
    }
  }

  /** Bulk, and probes meanwhile. `warmMs`: before it counts. */
  async bulk(api: Api, bytes: number, seconds: number, warmMs = 1_000): Promise<Record<string, number>> {
    const { sender, receiver, path } = this.#pairs[api];
    const idle = (await sender.numbers({ type: "echoes", bytes: 32, count: 20 })).sort((a, b) => a - b);
    const droppedBefore = path?.dropped ?? 0;
    const overflowsBefore = overflows();
    const { probes, earlyProbes, ...figures } = await this.#pump(api, bytes, seconds, warmMs, true);
    await this.#settled(receiver);
    const idleMs = idle[idle.length >> 1] ?? 0;
    const delays = (of: readonly Probe[]) => of.map(({ tripMs }) => tripMs - idleMs).sort((a, b) => a - b);
    const beyond = delays(probes);
    return {
      value: figures.bytesPerSecond / 1e6,
      idleRttMs: idleMs,
      probeP50Ms: quantile(beyond, 0.5),
      probeP99Ms: quantile(beyond, 0.99),
      startP99Ms: quantile(delays(earlyProbes), 0.99),
      senderCpu: figures.senderCpu,
      receiverCpu: figures.receiverCpu,
      ...(path === undefined
        ? {}
        : { dropped: path.dropped - droppedBefore, overflowed: overflows() - overflowsBefore }),
    };
  }

  async small(api: Api, bytes: number, seconds: number): Promise<Record<string, number>> {
    const figures = await this.#pump(api, bytes, seconds, 1_000, false);
    await this.#settled(this.#pairs[api].receiver);
    return {
      value: figures.messagesPerSecond / 1_000,
      senderCpu: figures.senderCpu,
      receiverCpu: figures.receiverCpu,
    };
  }

  /** Messages handed over at once, until the last has come. */
  async burst(api: Api, bytes: number, count: number): Promise<Record<string, number>> {
    const { sender, receiver } = this.#pairs[api];
    const before = await receiver.count();
    const arrival = receiver.count({ type: "await", messages: before.messages + count, limitMs: BURST_LIMIT_MS });
    const beganAt = Number(await sender.ask({ type: "queue", bytes, count }));
    const after = await arrival;
    const arrived = after.messages - before.messages;
    if (arrived < count) await this.#reopen(api);
    return { value: arrived / (after.at - beganAt), arrived };
  }

  async echoes(api: Api, count: number): Promise<Record<string, number>> {
    const { sender } = this.#pairs[api];
    await sender.ask({ type: "echoes", bytes: 100, count: 200 });
    const tripsMs = (await sender.numbers({ type: "echoes", bytes: 100, count })).sort((a, b) => a - b);
    return { value: quantile(tripsMs, 0.5) * 1_000, p99: quantile(tripsMs, 0.99) * 1_000 };
  }

  async setup(api: Api): Promise<Record<string, number>> {
    const { sender, receiver } = this.#pairs[api];
    await Promise.all([sender.ask({ type: "close" }), receiver.ask({ type: "close" })]);
    return { value: Number(await sender.ask({ type: "open" })) };
  }

  async #pump(api: Api, bytes: number, seconds: number, warmMs: number, withProbes: boolean) {
    const { sender, receiver } = this.#pairs[api];
    await sender.ask({ type: "pump", bytes, probes: withProbes });
    await pause(warmMs);
    const [sentBefore, before] = await Promise.all([sender.count(), receiver.count()]);
    await pause(seconds * 1_000);
    const [sentAfter, after] = await Promise.all([sender.count(), receiver.count()]);
    const probes = (await sender.ask({ type: "stop" })) as Probe[];
    const ms = after.at - before.at;
    return {
      // The first ones belong to the search for the path's rate.
      earlyProbes: probes.filter(({ sentAt }) => sentAt < before.at),
      probes: probes.filter(({ sentAt }) => sentAt >= before.at && sentAt < after.at),
      bytesPerSecond: ((after.bytes - before.bytes) / ms) * 1_000,
      messagesPerSecond: ((after.messages - before.messages) / ms) * 1_000,
      senderCpu: (sentAfter.cpuMs - sentBefore.cpuMs) / (sentAfter.at - sentBefore.at),
      receiverCpu: (after.cpuMs - before.cpuMs) / ms,
    };
  }

  /** What is queued still comes; the next round begins on an empty path. */
  async #settled(receiver: Child): Promise<void> {
    for (let last = -1; ; ) {
      const { messages } = await receiver.count();
      if (messages === last) return;
      last = messages;
      await pause(400);
    }
  }

  async #reopen(api: Api): Promise<void> {
    const { sender, receiver } = this.#pairs[api];
    await Promise.all([sender.ask({ type: "close" }), receiver.ask({ type: "close" })]);
    await sender.ask({ type: "open" });
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
