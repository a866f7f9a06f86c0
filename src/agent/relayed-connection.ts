import { StarlingError } from "../errors.ts";
import type { CandidatePair, RtcConnection, RtcEvent } from "../proto/negotiation/rtc.ts";
import type { Circuit } from "./relays.ts";

/**
 * A relayed channel as a connection, so that admission, link and streams run over it as over any other. It is open from the start:
 * what negotiation does for a WebRTC connection, the making of the channel has done.
 *
 * A record that does not open ends it, for nothing on the way loses or reorders anything (`sealed-channel.ts`).
 */
export class RelayedConnection implements RtcConnection {
  lowWaterMark = 0;
  readonly #circuit: Circuit;
  readonly #tampered: () => void;
  /** What came before there was a listener. */
  #held: RtcEvent[] = [];
  #listener: ((event: RtcEvent) => void) | undefined;
  #queuedBytes = 0;
  #closed = false;

  /** @param tampered somebody on the way has altered, dropped, repeated or invented something. */
  constructor(circuit: Circuit, tampered: () => void) {
    this.#circuit = circuit;
    this.#tampered = tampered;
    void this.#read();
  }

  /** Sets who hears of it from here on, what came meanwhile first; undefined keeps what comes. */
  listen(listener: ((event: RtcEvent) => void) | undefined): void {
    this.#listener = listener;
    if (listener === undefined) return;
    const held = this.#held;
    this.#held = [];
    for (const event of held) listener(event);
  }

  get bufferedAmount(): number {
    return this.#queuedBytes;
  }

  send(frame: Uint8Array): boolean {
    if (this.#closed) return false;
    const record = this.#circuit.sealed.seal(frame);
    this.#queuedBytes += record.length;
    const above = this.#queuedBytes > this.lowWaterMark;
    this.#circuit.side.stream.send(record).then(
      () => {
        this.#queuedBytes -= record.length;
        if (above && this.#queuedBytes <= this.lowWaterMark) this.#tell({ type: "drained" });
      },
      () => this.#end("the relay ended"),
    );
    return true;
  }

  remoteFingerprint(): undefined {
    return undefined;
  }

  selectedPair(): CandidatePair {
    const end = { kind: "relay", address: this.#circuit.via } as const;
    return { local: end, remote: end };
  }

  close(): void {
    this.#end("closed");
  }

  // Nothing is negotiated.
  offer(): void {}
  answer(): void {}
  accept(): void {}
  candidate(): void {}

  async #read(): Promise<void> {
    const { messages } = this.#circuit.side;
    try {
      for (let next = await messages.next(); !next.done; next = await messages.next()) {
        if (this.#closed) return;
        const bytes = this.#circuit.sealed.open(next.value);
        if (bytes === undefined) {
          this.#tampered();
          this.#end("tampered with");
          return;
        }
        this.#tell({ type: "frame", bytes });
      }
      this.#end("the relay ended");
    } catch (error) {
      if (!(error instanceof StarlingError)) throw error;
      this.#end("the relay ended");
    }
  }

  #end(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#circuit.side.stream.reset();
    this.#tell({ type: "closed", reason });
  }

  #tell(event: RtcEvent): void {
    if (this.#listener === undefined) this.#held.push(event);
    else this.#listener(event);
  }
}
