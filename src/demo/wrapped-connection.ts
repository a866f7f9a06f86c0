import type { RtcConnection } from "../proto/negotiation/rtc.ts";

/** A connection that hands everything on to another one: for stacks that interfere with what passes, in demonstrations and tests. */
export class WrappedConnection implements RtcConnection {
  readonly #inner: RtcConnection;

  constructor(inner: RtcConnection) {
    this.#inner = inner;
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
    return this.#inner.send(frame);
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

  selectedPair(): ReturnType<RtcConnection["selectedPair"]> {
    return this.#inner.selectedPair();
  }

  close(): void {
    this.#inner.close();
  }
}
