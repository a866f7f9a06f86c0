import fc from "fast-check";
import type { LinkOutput, StreamPriority } from "../../../src/proto/streams/events.ts";
import { Lane } from "../../../src/proto/streams/lanes.ts";
import { content, other, Pipe, type Side } from "./pipe.ts";

export const side = fc.constantFrom<Side>("dialer", "answerer");
const priority = fc.constantFrom<StreamPriority>("interactive", "normal", "bulk");
const length = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 300 }) },
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 40_000 }) },
  { weight: 1, arbitrary: fc.constantFrom(16_372, 16_375, 16_383, 16_384, 65_536, 262_144) },
);

/** What applications and the pipe do. */
export type Step =
  | { readonly do: "open"; readonly side: Side; readonly priority: StreamPriority }
  | { readonly do: "send"; readonly side: Side; readonly pick: number; readonly length: number }
  | { readonly do: "end" | "reset" | "consume"; readonly side: Side; readonly pick: number }
  | { readonly do: "flush"; readonly side: Side }
  | { readonly do: "deliver"; readonly side: Side; readonly count: number }
  | { readonly do: "wait"; readonly ms: number };

const pick = fc.nat({ max: 1_000 });
export const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ do: fc.constant("open"), side, priority }) },
  { weight: 12, arbitrary: fc.record({ do: fc.constant("send"), side, pick, length }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("end", "reset"), side, pick }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("consume"), side, pick }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("flush"), side }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("deliver"), side, count: fc.integer({ min: 1, max: 8 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("wait"), ms: fc.double({ min: 0, max: 50, noNaN: true }) }) },
);

/** The reference: per direction and stream, the messages sent, in order, and how many of them have come. */
export class Model {
  readonly pipe: Pipe;
  readonly sent = new Map<string, { readonly length: number; readonly seed: number }[]>();
  readonly came = new Map<string, number>();
  readonly live: Record<Side, Set<number>> = { dialer: new Set(), answerer: new Set() };
  readonly resets = new Set<number>();
  readonly unconsumed: Record<Side, Map<number, { messages: number; bytes: number }>> = {
    dialer: new Map(),
    answerer: new Map(),
  };
  seed = 1;

  constructor() {
    this.pipe = new Pipe((at, output) => this.output(at, output));
  }

  protected output(at: Side, output: LinkOutput): void {
    if (output.type === "fault" || output.type === "dead") throw new Error(`${at}: ${JSON.stringify(output)}`);
    if (output.type === "opening") this.live[at].add(output.stream);
    if (output.type === "opened") {
      this.live[at].add(output.stream);
      this.accepting.push([at, output.stream]);
    }
    if (output.type === "reset" || output.type === "closed") this.live[at].delete(output.stream);
    if (output.type === "message") this.#message(at, output.stream, output.bytes);
  }

  readonly accepting: [Side, number][] = [];

  /** Whether messages on `stream` may be missing by now. */
  mayLose(_stream: number): boolean {
    return false;
  }

  #message(at: Side, stream: number, bytes: Uint8Array): void {
    const key = `${other(at)} ${stream}`;
    const sent = this.sent.get(key) ?? [];
    let index = this.came.get(key) ?? 0;
    const isIt = () => {
      const expected = sent[index];
      return expected?.length === bytes.length && Buffer.compare(bytes, content(expected.length, expected.seed)) === 0;
    };
    // What a lane loses with its channel is lost; order holds all the same.
    if (this.mayLose(stream)) while (index < sent.length && !isIt()) index++;
    if (!isIt()) throw new Error(`${key}: not message ${index} of ${sent.length}`);
    this.came.set(key, index + 1);
    if (stream < 8) return;
    const held = this.unconsumed[at].get(stream) ?? { messages: 0, bytes: 0 };
    this.unconsumed[at].set(stream, { messages: held.messages + 1, bytes: held.bytes + bytes.length });
  }

  apply(action: Step): void {
    const { pipe } = this;
    const stream = "pick" in action ? this.#stream(action.side, action.pick) : 0;
    switch (action.do) {
      case "open":
        pipe.handle(action.side, { type: "open", protocol: "p/1", priority: action.priority });
        break;
      case "send":
        this.send(action.side, stream, action.length);
        break;
      case "end":
        pipe.handle(action.side, { type: "end", stream });
        break;
      case "reset":
        if (stream < 8) break;
        this.resets.add(stream);
        this.live[action.side].delete(stream);
        pipe.handle(action.side, { type: "reset", stream, code: 16 });
        break;
      case "consume":
        this.consume(action.side, stream);
        break;
      case "flush":
        pipe.flush(action.side);
        break;
      case "deliver":
        pipe.deliver(action.side, action.count);
        this.accept();
        break;
      case "wait":
        pipe.now += action.ms;
    }
  }

  /** A lane or a live stream of `at`. */
  #stream(at: Side, choice: number): number {
    const all = [Lane.probe, Lane.gossip, Lane.signal, Lane.data, ...this.live[at]];
    return all[choice % all.length] ?? 0;
  }

  send(at: Side, stream: number, size: number): void {
    if (!this.pipe.links[at].writable(stream)) return;
    const message = { length: size, seed: this.seed++ };
    const key = `${at} ${stream}`;
    this.sent.set(key, [...(this.sent.get(key) ?? []), message]);
    this.pipe.handle(at, { type: "send", stream, bytes: content(message.length, message.seed) });
  }

  consume(at: Side, stream: number): void {
    const held = this.unconsumed[at].get(stream);
    if (held === undefined) return;
    this.unconsumed[at].delete(stream);
    this.pipe.handle(at, { type: "consumed", stream, ...held });
  }

  accept(): void {
    for (const [at, stream] of this.accepting.splice(0)) this.pipe.handle(at, { type: "accept", stream });
  }

  /** Lets everything run out, with applications that consume. */
  finish(): void {
    this.pipe.settle(() => {
      this.accept();
      for (const at of ["dialer", "answerer"] as const)
        for (const stream of [...this.unconsumed[at].keys()]) this.consume(at, stream);
    });
  }
}
