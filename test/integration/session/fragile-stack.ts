import { WrappedConnection } from "../../../src/demo/wrapped-connection.ts";
import type { RtcConnection, RtcEvent, RtcOptions } from "../../../src/proto/negotiation/rtc.ts";
import type { RtcStack } from "../../../src/rtc.ts";

/** A WebRTC stack whose connections can be made to fail: in silence, as when a path dies, or at once. */
export class FragileStack implements RtcStack {
  readonly name: string;
  readonly maxFrameBytes: number;
  readonly #inner: RtcStack;
  readonly #connections = new Set<Fragile>();
  /** Connections made. */
  made = 0;
  /** No connection opens. */
  sealed = false;

  constructor(inner: RtcStack) {
    this.#inner = inner;
    this.name = inner.name;
    this.maxFrameBytes = inner.maxFrameBytes;
  }

  connect(options: RtcOptions, notify: (event: RtcEvent) => void): RtcConnection {
    this.made++;
    const connection: Fragile = new Fragile(
      this.#inner.connect(options, (event) => {
        if (event.type === "closed") this.#connections.delete(connection);
        const lost = connection.isMute || (this.sealed && event.type === "candidate");
        if (!lost || event.type === "closed") notify(event);
      }),
    );
    this.#connections.add(connection);
    return connection;
  }

  /** Every connection that stands loses all that passes, and says nothing of it. */
  mute(): void {
    for (const connection of this.#connections) connection.isMute = true;
  }

  /** Every connection that stands ends. */
  kill(): void {
    for (const connection of this.#connections) connection.close();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}

class Fragile extends WrappedConnection {
  isMute = false;

  override send(frame: Uint8Array): boolean {
    return this.isMute || super.send(frame);
  }
}
