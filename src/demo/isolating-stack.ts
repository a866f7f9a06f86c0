import type { RtcConnection, RtcEvent, RtcOptions } from "../proto/negotiation/rtc.ts";
import type { RtcStack } from "../rtc.ts";

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

class IsolatingConnection implements RtcConnection {
  readonly #inner: RtcConnection;
  readonly #stack: IsolatingStack;

  constructor(inner: RtcConnection, stack: IsolatingStack) {
    this.#inner = inner;
    this.#stack = stack;
  }

  get bufferedAmount(): number {
    return this.#inner.bufferedAmount;
  }

  get lowWaterMark(): number {
    return this.#inner.lowWaterMark;
  }

  set lowWaterMark(bytes: number) {
    this.#inner.lowWaterMark = bytes;
  }

  send(frame: Uint8Array): boolean {
    return this.#stack.isolated || this.#inner.send(frame);
  }

  offer(): void {
    this.#inner.offer();
  }

  answer(offer: string): void {
    this.#inner.answer(offer);
  }

  accept(answer: string): void {
    this.#inner.accept(answer);
  }

  candidate(candidate: string, mid: string): void {
    this.#inner.candidate(candidate, mid);
  }

  remoteFingerprint(): Uint8Array | undefined {
    return this.#inner.remoteFingerprint();
  }

  selectedPair() {
    return this.#inner.selectedPair();
  }

  close(): void {
    this.#inner.close();
  }
}
