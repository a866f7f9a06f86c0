/**
 * The link alone, on one core: `node test/bench/link.ts`.
 *
 * Both ends run in this process and every figure includes both: queueing, packing, the copy into frames, parsing,
 * messages out, acknowledgements back. "pure" hands frames over at once with a clock that stands; "pipe" hands them
 * over by `setImmediate` with the real clock, so pacing, acknowledgement delays and credit take part. Each figure is
 * the best of three rounds after one to warm up; the machine is shared.
 */

import type { LinkInput, LinkOutput } from "../../src/proto/streams/events.ts";
import { Lane } from "../../src/proto/streams/lanes.ts";
import { Link } from "../../src/proto/streams/link.ts";

const ROUNDS = 4;
const ROUND_SECONDS = 0.5;

interface Figure {
  readonly messages: number;
  readonly bytes: number;
  readonly seconds: number;
}

/** Two links whose frames are handed over at once, at a standing clock. */
class PurePair {
  readonly dialer = new Link("dialer");
  readonly answerer = new Link("answerer");
  received = 0;
  stream = 0;
  now = 1_000;

  /** Flushes both until neither has more. */
  settle(): void {
    this.now += 0.01;
    for (;;) {
      const moved = this.#carry(this.dialer, this.answerer) + this.#carry(this.answerer, this.dialer);
      if (moved > 0) continue;
      if (this.dialer.outstandingBytes === 0 && this.dialer.queuedBytes(this.stream || Lane.data) === 0) return;
      // Time passes only for the last acknowledgement.
      this.now += 2;
    }
  }

  #carry(from: Link, to: Link): number {
    let frames = 0;
    for (const output of from.handle({ type: "flush", bufferedBytes: 0 }, this.now)) {
      if (output.type !== "frame") continue;
      frames++;
      for (const result of to.handle({ type: "frame", bytes: output.bytes }, this.now)) this.#take(to, result);
    }
    return frames;
  }

  #take(at: Link, output: LinkOutput): void {
    if (output.type === "message") {
      this.received++;
      if (output.stream >= 8)
        at.handle({ type: "consumed", stream: output.stream, messages: 1, bytes: output.bytes.length }, this.now);
    } else if (output.type === "opened") at.handle({ type: "accept", stream: output.stream }, this.now);
    else if (output.type === "fault" || output.type === "dead" || output.type === "dropped")
      throw new Error(`unexpected ${JSON.stringify(output)}`);
  }

  open(): void {
    for (const output of this.dialer.handle({ type: "open", protocol: "bench/1", priority: "bulk" }, this.now))
      if (output.type === "opening") this.stream = output.stream;
    this.settle();
  }
}

function pure(messageBytes: number, seconds: number, onStream: boolean): Figure {
  const pair = new PurePair();
  if (onStream) pair.open();
  const input: LinkInput = {
    type: "send",
    stream: onStream ? pair.stream : Lane.data,
    bytes: new Uint8Array(messageBytes).fill(7),
  };
  const perTurn = Math.max(1, Math.floor(524_288 / messageBytes / (messageBytes < 1_024 ? 8 : 1)));
  const startedAt = performance.now();
  let sent = 0;
  while (performance.now() - startedAt < seconds * 1_000) {
    for (let index = 0; index < perTurn; index++) pair.dialer.handle(input, pair.now);
    sent += perTurn;
    pair.settle();
  }
  const elapsed = (performance.now() - startedAt) / 1_000;
  if (pair.received !== sent) throw new Error(`sent ${sent}, received ${pair.received}`);
  return { messages: sent, bytes: sent * messageBytes, seconds: elapsed };
}

/** One end of an in-process pipe: frames arrive by `setImmediate`, a flush ends each turn. */
class PipeEnd {
  readonly link: Link;
  peer: PipeEnd | undefined;
  onOutput: (output: LinkOutput) => void = () => {};
  onTurn: () => void = () => {};
  #inbox: Uint8Array[] = [];
  #scheduled = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(role: "dialer" | "answerer") {
    this.link = new Link(role);
  }

  wake(): void {
    if (this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    setImmediate(() => this.#turn());
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #turn(): void {
    this.#scheduled = false;
    if (this.#closed) return;
    const frames = this.#inbox;
    this.#inbox = [];
    for (const bytes of frames) this.#carry(this.link.handle({ type: "frame", bytes }, performance.now()));
    this.onTurn();
    const deadline = this.link.deadline();
    const now = performance.now();
    if (deadline !== undefined && deadline <= now)
      this.#carry(this.link.handle({ type: "flush", bufferedBytes: 0 }, now));
    const next = this.link.deadline();
    clearTimeout(this.#timer);
    if (next === undefined) return;
    if (next <= now) this.wake();
    else this.#timer = setTimeout(() => this.wake(), next - now);
  }

  #carry(outputs: readonly LinkOutput[]): void {
    for (const output of outputs) {
      if (output.type !== "frame") this.onOutput(output);
      else if (this.peer !== undefined) {
        this.peer.#inbox.push(output.bytes);
        this.peer.wake();
      }
    }
  }
}

function pipe(messageBytes: number, seconds: number): Promise<Figure> {
  const dialer = new PipeEnd("dialer");
  const answerer = new PipeEnd("answerer");
  dialer.peer = answerer;
  answerer.peer = dialer;
  const payload = new Uint8Array(messageBytes).fill(7);
  let stream = 0;
  let received = 0;
  answerer.onOutput = (output) => {
    const now = performance.now();
    if (output.type === "opened") answerer.link.handle({ type: "accept", stream: output.stream }, now);
    if (output.type !== "message") return;
    received++;
    answerer.link.handle({ type: "consumed", stream: output.stream, messages: 1, bytes: output.bytes.length }, now);
  };
  dialer.onTurn = () => {
    const input: LinkInput = { type: "send", stream, bytes: payload };
    const now = performance.now();
    while (stream > 0 && dialer.link.writable(stream)) dialer.link.handle(input, now);
  };
  for (const output of dialer.link.handle({ type: "open", protocol: "bench/1", priority: "bulk" }, performance.now()))
    if (output.type === "opening") stream = output.stream;
  dialer.wake();
  const startedAt = performance.now();
  return new Promise((resolve) => {
    setTimeout(() => {
      const elapsed = (performance.now() - startedAt) / 1_000;
      dialer.close();
      answerer.close();
      resolve({ messages: received, bytes: received * messageBytes, seconds: elapsed });
    }, seconds * 1_000);
  });
}

async function best(name: string, run: () => Figure | Promise<Figure>): Promise<void> {
  let messages = 0;
  let bytes = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const figure = await run();
    if (round === 0) continue;
    messages = Math.max(messages, figure.messages / figure.seconds);
    bytes = Math.max(bytes, figure.bytes / figure.seconds);
  }
  console.log(
    `${name.padEnd(34)} ${Math.round(messages / 1_000)
      .toString()
      .padStart(7)} k messages/s ${(bytes / 1e6).toFixed(0).padStart(7)} MB/s`,
  );
}

await best("pure, lane, 100 B", () => pure(100, ROUND_SECONDS, false));
await best("pure, stream, 100 B", () => pure(100, ROUND_SECONDS, true));
await best("pure, lane, 64 KiB", () => pure(65_536, ROUND_SECONDS, false));
await best("pure, stream, 64 KiB", () => pure(65_536, ROUND_SECONDS, true));
await best("pipe, stream, 100 B", () => pipe(100, ROUND_SECONDS));
await best("pipe, stream, 1 KiB", () => pipe(1_024, ROUND_SECONDS));
await best("pipe, stream, 64 KiB", () => pipe(65_536, ROUND_SECONDS));
