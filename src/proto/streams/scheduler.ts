import type { StreamPriority } from "./events.ts";
import type { FrameWriter } from "./frame-writer.ts";
import { Lane } from "./lanes.ts";
import type { Outbox } from "./outbox.ts";

/**
 * Decides what goes into the next frame: strict priority between classes, turns within a class.
 *
 * The first class is *urgent*: controls (in the order in which they were made, so that streams open in sequence) and
 * then probes. It may be sent while the path is full; the other classes wait for the pacer. Strict priority means that
 * a class can starve those below it: the mesh must stay alive before an application is served, and the mesh is frugal.
 */

/** The class of each lane by number: probes, gossip, signals, replication. */
const LANE_CLASS: Readonly<Record<Lane, number>> = {
  [Lane.probe]: 0,
  [Lane.signal]: 1,
  [Lane.gossip]: 2,
  [Lane.data]: 3,
};

const STREAM_CLASS: Readonly<Record<StreamPriority, number>> = { interactive: 4, normal: 5, bulk: 6 };

const CLASSES = 7;

/** The class of a lane: 0 is served first. */
export function laneClass(lane: Lane): number {
  return LANE_CLASS[lane];
}

/** The class of an application stream. */
export function streamClass(priority: StreamPriority): number {
  return STREAM_CLASS[priority];
}

interface Control {
  readonly stream: number;
  readonly chunk: Uint8Array;
}

export class Scheduler {
  readonly #classes: readonly Outbox[][] = Array.from({ length: CLASSES }, () => []);
  readonly #linkControls: Uint8Array[] = [];
  readonly #streamControls: Control[] = [];
  #waiting = 0;
  readonly #probes: Outbox[];

  constructor() {
    this.#probes = this.#classes[0] as Outbox[];
  }

  /** Whether controls or probes wait. */
  get urgent(): boolean {
    return this.#streamControls.length > 0 || this.unnumbered;
  }

  /** Whether something urgent waits that does not count: controls of the link itself, or probes. */
  get unnumbered(): boolean {
    return this.#linkControls.length > 0 || this.#probes.length > 0;
  }

  /** Whether anything that the pacer decides over waits and could be sent. */
  get pending(): boolean {
    return this.#waiting > this.#probes.length;
  }

  /** Queues an encoded control chunk of `stream`. Bounded by those who cause them: streams, credits, replies. */
  control(stream: number, chunk: Uint8Array): void {
    if (stream === 0) this.#linkControls.push(chunk);
    else this.#streamControls.push({ stream, chunk });
  }

  /** Drops the controls of the link itself: they were about a channel that is gone. */
  dropLinkControls(): void {
    this.#linkControls.length = 0;
  }

  /** Puts `outbox` in line if it has something to send. */
  activate(outbox: Outbox): void {
    if (outbox.inLine || !outbox.sendable) return;
    outbox.inLine = true;
    this.#class(outbox).push(outbox);
    this.#waiting++;
  }

  /** Takes `outbox` out of line: its stream is gone. */
  remove(outbox: Outbox): void {
    if (!outbox.inLine) return;
    const line = this.#class(outbox);
    line.splice(line.indexOf(outbox), 1);
    outbox.inLine = false;
    this.#waiting--;
  }

  /**
   * Fills `frame` with controls and probes; false when some did not fit. Without `numbered` controls of streams wait, so that
   * the frame does not count. Outboxes that sent something and stopped are appended to `touched`, here and in {@link fill}:
   * they may be writable again, or ended.
   */
  fillUrgent(frame: FrameWriter, touched: Outbox[], numbered: boolean): boolean {
    const links = this.#linkControls;
    let sent = 0;
    while (sent < links.length && frame.control(0, links[sent] as Uint8Array)) sent++;
    drop(links, sent);
    if (links.length > 0) return false;
    const streams = this.#streamControls;
    for (sent = 0; numbered && sent < streams.length; sent++) {
      const { stream, chunk } = streams[sent] as Control;
      if (!frame.control(stream, chunk)) break;
    }
    drop(streams, sent);
    return (!numbered || streams.length === 0) && this.#fillClass(this.#probes, frame, touched);
  }

  /** Fills `frame` from the other classes. */
  fill(frame: FrameWriter, touched: Outbox[]): void {
    for (let index = 1; index < CLASSES; index++) {
      const line = this.#classes[index] as Outbox[];
      if (line.length > 0 && !this.#fillClass(line, frame, touched)) return;
    }
  }

  #fillClass(line: Outbox[], frame: FrameWriter, touched: Outbox[]): boolean {
    for (;;) {
      const outbox = line[0];
      if (outbox === undefined) return true;
      const filled = outbox.fill(frame);
      if (filled === "full") {
        touched.push(outbox);
        return false;
      }
      if (filled === "turn") {
        outbox.turn();
        if (line.length > 1) {
          line.shift();
          line.push(outbox);
        }
        continue;
      }
      touched.push(outbox);
      line.shift();
      outbox.inLine = false;
      this.#waiting--;
    }
  }

  #class(outbox: Outbox): Outbox[] {
    return this.#classes[outbox.priority] as Outbox[];
  }
}

/** Takes the first `count` items off. */
function drop(items: unknown[], count: number): void {
  if (count === items.length) items.length = 0;
  else if (count > 0) items.splice(0, count);
}
