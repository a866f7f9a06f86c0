import { assert } from "../proto/assert.ts";
import type { CandidatePair, RtcConnection, RtcEvent, RtcOptions } from "../proto/negotiation/rtc.ts";
import type { RtcStack } from "../rtc.ts";
import { RtcOutlet, reasonOf } from "./rtc-outlet.ts";

/**
 * A stack that is loaded when it is first asked for a connection: werift costs a third of a second and 30 MiB, and an agent whose
 * UDP passes never needs it beside the native one. What a connection is told meanwhile is done as soon as the stack is there.
 */
export function lazyStack(name: string, maxFrameBytes: number, load: () => Promise<RtcStack>): LazyStack {
  return new LazyStack(name, maxFrameBytes, load);
}

class LazyStack implements RtcStack {
  readonly name: string;
  readonly maxFrameBytes: number;
  readonly #load: () => Promise<RtcStack>;
  #loading: Promise<RtcStack> | undefined;

  constructor(name: string, maxFrameBytes: number, load: () => Promise<RtcStack>) {
    this.name = name;
    this.maxFrameBytes = maxFrameBytes;
    this.#load = load;
  }

  connect(options: RtcOptions, notify: (event: RtcEvent) => void): RtcConnection {
    return new LazyConnection(this.#loaded(), options, notify);
  }

  /** Loads the stack, as it will probably be needed soon. */
  warm(): void {
    this.#loaded().catch(() => undefined);
  }

  #loaded(): Promise<RtcStack> {
    this.#loading ??= this.#load();
    return this.#loading;
  }

  async close(): Promise<void> {
    const stack = await this.#loading?.catch(() => undefined);
    await stack?.close();
  }
}

class LazyConnection implements RtcConnection {
  readonly #outlet: RtcOutlet;
  #inner: RtcConnection | undefined;
  #waiting: ((connection: RtcConnection) => void)[] = [];
  #lowWaterMark = 0;

  constructor(loading: Promise<RtcStack>, options: RtcOptions, notify: (event: RtcEvent) => void) {
    this.#outlet = new RtcOutlet(notify);
    loading.then(
      (stack) => {
        if (!this.#outlet.ended) this.#begin(stack.connect(options, (event) => this.#event(event)));
      },
      (error: unknown) => this.#outlet.end(reasonOf(error)),
    );
  }

  offer(): void {
    this.#do((connection) => connection.offer());
  }

  answer(offer: string): void {
    this.#do((connection) => connection.answer(offer));
  }

  accept(answer: string): void {
    this.#do((connection) => connection.accept(answer));
  }

  candidate(candidate: string, mid: string): void {
    this.#do((connection) => connection.candidate(candidate, mid));
  }

  send(frame: Uint8Array): boolean {
    return this.#inner?.send(frame) ?? false;
  }

  get bufferedAmount(): number {
    return this.#inner?.bufferedAmount ?? 0;
  }

  get lowWaterMark(): number {
    return this.#lowWaterMark;
  }

  set lowWaterMark(bytes: number) {
    this.#lowWaterMark = bytes;
    if (this.#inner !== undefined) this.#inner.lowWaterMark = bytes;
  }

  remoteFingerprint(): Uint8Array | undefined {
    return this.#inner?.remoteFingerprint();
  }

  selectedPair(): CandidatePair | undefined {
    return this.#inner?.selectedPair();
  }

  close(): void {
    if (this.#inner !== undefined) this.#inner.close();
    else this.#outlet.end("closed here");
  }

  #begin(connection: RtcConnection): void {
    assert(this.#inner === undefined, "a stack is loaded once");
    this.#inner = connection;
    connection.lowWaterMark = this.#lowWaterMark;
    for (const step of this.#waiting.splice(0)) step(connection);
  }

  #event(event: RtcEvent): void {
    if (event.type === "closed") this.#outlet.end(event.reason);
    else this.#outlet.emit(event);
  }

  #do(step: (connection: RtcConnection) => void): void {
    if (this.#inner !== undefined) step(this.#inner);
    else if (!this.#outlet.ended) this.#waiting.push(step);
  }
}
