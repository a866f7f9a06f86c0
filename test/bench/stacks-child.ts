import { bareEnd } from "./stacks-bare.ts";
import type { BenchEnd, BenchSignal } from "./stacks-end.ts";
import { ourEnd } from "./stacks-ours.ts";
import { throughPath } from "./stacks-path.ts";

/**
 * One end in a process of its own, so that no two ends share an event loop: `stacks-child.ts`, started by `stacks.ts` with an
 * IPC channel. It does what it is told, one request after another; signals for the other end go by way of the parent.
 */
export interface ChildOptions {
  readonly api: "ours" | "bare";
  readonly stack: "native" | "werift";
  /** Of the cluster that both ends of ours belong to. */
  readonly directory: string;
  readonly initiator: boolean;
  readonly pathPort: number | undefined;
}

export type ChildRequest =
  | { readonly type: "start"; readonly options: ChildOptions }
  /** Answers how long it took, ms. */
  | { readonly type: "open" }
  | { readonly type: "close" }
  /** Sends until `stop`; with a probe every 20 ms if asked. */
  | { readonly type: "pump"; readonly bytes: number; readonly probes: boolean }
  /** Answers {@link Probe}s. */
  | { readonly type: "stop" }
  /** Answers when it began. */
  | { readonly type: "queue"; readonly bytes: number; readonly count: number }
  /** Answers a {@link Count}. */
  | { readonly type: "count" }
  /** Answers a {@link Count}, when so many messages have come in all, or after `limitMs`. */
  | { readonly type: "await"; readonly messages: number; readonly limitMs: number }
  /** Answers the round trips, ms. */
  | { readonly type: "echoes"; readonly bytes: number; readonly count: number }
  | { readonly type: "exit" };

/** When a probe was sent (as {@link Count.at}) and how long it took, ms. */
export interface Probe {
  readonly sentAt: number;
  readonly tripMs: number;
}

/** What has come in, when (ms, alike in all processes of the machine), and the CPU time of this process so far, ms. */
export interface Count {
  readonly messages: number;
  readonly bytes: number;
  readonly at: number;
  readonly cpuMs: number;
}

export type ToChild =
  | { readonly type: "request"; readonly id: number; readonly request: ChildRequest }
  | { readonly type: "signal"; readonly signal: BenchSignal };

export type FromChild =
  | { readonly type: "answer"; readonly id: number; readonly value: unknown }
  | { readonly type: "failed"; readonly id: number; readonly reason: string }
  | { readonly type: "signal"; readonly signal: BenchSignal };

const PROBE_INTERVAL_MS = 20;

let end: BenchEnd | undefined;
let pathPort: number | undefined;
const early: BenchSignal[] = [];
let running = false;
let pumping: Promise<void> = Promise.resolve();
let probing: Promise<Probe[]> = Promise.resolve([]);

process.on("message", (message: ToChild) => {
  if (message.type === "signal") take(message.signal);
  else
    serve(message.request).then(
      (value) => tell({ type: "answer", id: message.id, value }),
      (error) =>
        tell({ type: "failed", id: message.id, reason: error instanceof Error ? String(error.stack) : `${error}` }),
    );
});
process.on("disconnect", () => process.exit());

function tell(message: FromChild): void {
  process.send?.(message);
}

function take(signal: BenchSignal): void {
  if (end === undefined) {
    early.push(signal);
    return;
  }
  if (signal.type === "candidate" && pathPort !== undefined) {
    const candidate = throughPath(signal.candidate, pathPort);
    if (candidate !== undefined) end.signal({ ...signal, candidate });
  } else end.signal(signal);
}

function now(): number {
  return performance.timeOrigin + performance.now();
}

function count(): Count {
  const { user, system } = process.cpuUsage();
  const { messages, bytes } = (end as BenchEnd).received;
  return { messages, bytes, at: now(), cpuMs: (user + system) / 1_000 };
}

async function serve(request: ChildRequest): Promise<unknown> {
  if (request.type === "start") return start(request.options);
  if (end === undefined) throw new Error("not started");
  switch (request.type) {
    case "open": {
      const beganAt = performance.now();
      await end.open();
      return performance.now() - beganAt;
    }
    case "close":
      return end.close();
    case "pump":
      running = true;
      pumping = end.pump(Buffer.alloc(request.bytes), () => running);
      if (request.probes) probing = probe(end);
      return undefined;
    case "stop":
      running = false;
      await pumping;
      return probing;
    case "queue": {
      const beganAt = now();
      end.queue(Buffer.alloc(request.bytes), request.count);
      return beganAt;
    }
    case "count":
      return count();
    case "await":
      return arrival(request.messages, request.limitMs);
    case "echoes": {
      const tripsMs: number[] = [];
      for (let index = 0; index < request.count; index++) tripsMs.push(await end.echo(request.bytes));
      return tripsMs;
    }
    case "exit":
      process.exit();
  }
}

async function start({ api, stack, directory, initiator, pathPort: port }: ChildOptions): Promise<void> {
  pathPort = port;
  const options = { initiator, pathPort: port, send: (signal: BenchSignal) => tell({ type: "signal", signal }) };
  end = api === "ours" ? await ourEnd(stack, directory, options) : await bareEnd(stack, options);
  for (const signal of early.splice(0)) take(signal);
}

/** Probes side by side: a late one must not keep the next from being sent. */
async function probe(of: BenchEnd): Promise<Probe[]> {
  const pending: Promise<Probe>[] = [];
  while (running) {
    const sentAt = now();
    pending.push(of.probe().then((tripMs) => ({ sentAt, tripMs })));
    await new Promise((resolve) => setTimeout(resolve, PROBE_INTERVAL_MS));
  }
  return Promise.all(pending);
}

async function arrival(messages: number, limitMs: number): Promise<Count> {
  const limit = now() + limitMs;
  while ((end as BenchEnd).received.messages < messages && now() < limit)
    await new Promise((resolve) => setTimeout(resolve, 1));
  return count();
}
