import { MAX_STREAM_MESSAGE_BYTES } from "../limits.ts";
import type { StreamPriority } from "./events.ts";
import { Inbox } from "./inbox.ts";
import { EARLY_CREDIT_BYTES, STREAM_QUEUE_BYTES } from "./limits.ts";
import { Outbox } from "./outbox.ts";
import { ReceiveWindow, type WindowBudget } from "./receive-window.ts";
import { streamClass } from "./scheduler.ts";

/** Where the opening of a stream stands. */
export type StreamPhase =
  /** We have opened it and wait for the peer's word. */
  | "offered"
  /** The peer has opened it and waits for ours. */
  | "asked"
  | "open";

/** One application stream: an outbox, an inbox, and the window between them and the application. */
export class AppStream {
  readonly id: number;
  readonly outbox: Outbox;
  readonly inbox = new Inbox(MAX_STREAM_MESSAGE_BYTES);
  readonly window: ReceiveWindow;
  phase: StreamPhase;
  /** Whether the peer may still send. */
  receiving = true;

  /** @param creditBytes what the peer takes already: the early credit, or what its open states. */
  constructor(id: number, phase: StreamPhase, priority: StreamPriority, creditBytes: number, budget: WindowBudget) {
    this.id = id;
    this.phase = phase;
    this.outbox = new Outbox(id, streamClass(priority), STREAM_QUEUE_BYTES, creditBytes);
    this.window = new ReceiveWindow(budget);
  }

  /** One that we open. */
  static offer(id: number, priority: StreamPriority, budget: WindowBudget): AppStream {
    return new AppStream(id, "offered", priority, EARLY_CREDIT_BYTES, budget);
  }

  /** One that the peer has opened, taking `creditBytes` from us. */
  static asked(id: number, priority: StreamPriority, creditBytes: number, budget: WindowBudget): AppStream {
    return new AppStream(id, "asked", priority, creditBytes, budget);
  }

  /** Whether both directions have ended. */
  get over(): boolean {
    return !this.receiving && this.outbox.ended;
  }
}
