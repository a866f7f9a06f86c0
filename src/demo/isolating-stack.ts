import type { RtcConnection, RtcEvent, RtcOptions } from "../proto/negotiation/rtc.ts";
import type { RtcStack } from "../rtc.ts";
import { WrappedConnection } from "./wrapped-connection.ts";

/**
 * A WebRTC stack that can be cut off from the world, for demonstrations: while isolated, every frame is lost in both
 * directions and nothing new opens, yet no connection notices; as if a cable had been pulled.
 */
export class IsolatingStack implements RtcStack {
  readonly name: string;
  readonly maxFrameBytes: number;
  isolated = false;
  readonly #inner: RtcStack;

  constructor(inner: RtcStack) {
    this.#inner = inner;
    this.name = inner.name;
    this.maxFrameBytes = inner.maxFrameBytes;
  }

  connect(options: RtcOptions, notify: (event: RtcEvent) => void): RtcConnection {
    const connection = this.#inner.connect(options, (event) => {
      const lost = event.type === "frame" || event.type === "candidate" || event.type === "open";
      if (!(this.isolated && lost)) notify(event);
    });
    return new IsolatingConnection(connection, this);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}

class IsolatingConnection extends WrappedConnection {
  readonly #stack: IsolatingStack;

  constructor(inner: RtcConnection, stack: IsolatingStack) {
    super(inner);
    this.#stack = stack;
  }

  override send(frame: Uint8Array): boolean {
    return this.#stack.isolated || super.send(frame);
  }
}
