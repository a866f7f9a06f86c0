import type { MeshStream } from "../../src/agent/stream.ts";
import type { Agent } from "../../src/agent.ts";
import { parsePeerId } from "../../src/proto/peer-id.ts";

/** A stream of numbered messages, and a look at what came of it at the other end. */

const PROTOCOL = "numbers/1";
/** A pause between two messages that is worth a note, ms: several times that between two that are sent. */
const GAP_MS = 250;
/** Notes kept of each kind: a broken stream need not be described to its end. */
const MAX_NOTES = 64;

/** What the receiver saw. Times are Unix ms. */
export interface Received {
  readonly count: number;
  /** Messages that were not the one after the one before. */
  readonly faults: readonly string[];
  /** Pauses: when the message came that ended each, and how long it was. */
  readonly gaps: readonly { readonly endedAt: number; readonly ms: number }[];
  readonly lastAt: number;
  /** How the stream ended, if it has. */
  readonly end: string | null;
}

export interface Sent {
  readonly count: number;
  readonly failure: string | null;
}

export class Numbers {
  readonly #agent: Agent;
  readonly #faults: string[] = [];
  readonly #gaps: { endedAt: number; ms: number }[] = [];
  #count = 0;
  #lastAt = 0;
  #end: string | null = null;
  #sent = 0;
  #failure: string | null = null;
  #stream: MeshStream | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(agent: Agent) {
    this.#agent = agent;
    agent.handle(PROTOCOL, (stream) => this.#receive(stream));
  }

  /** Opens a stream to `peer` and sends a number on it every `everyMs`. */
  async start(peer: string, everyMs: number): Promise<void> {
    const id = parsePeerId(peer);
    if (!id) throw new Error(`${peer} is no peer`);
    const stream = await this.#agent.open(id, PROTOCOL);
    this.#stream = stream;
    this.#timer = setInterval(() => {
      // In order also where it waits for room: the stream keeps what waits.
      stream.send(`${this.#sent++}`).catch((error: unknown) => this.#failed(error));
    }, everyMs);
  }

  /** Sends no more, and ends the stream. */
  finish(): Sent {
    clearInterval(this.#timer);
    this.#stream?.end();
    return { count: this.#sent, failure: this.#failure };
  }

  received(): Received {
    return { count: this.#count, faults: this.#faults, gaps: this.#gaps, lastAt: this.#lastAt, end: this.#end };
  }

  async #receive(stream: MeshStream): Promise<void> {
    try {
      for await (const message of stream) this.#take(Number(Buffer.from(message).toString()));
      this.#end = "ended by the sender";
    } catch (error) {
      this.#end = String(error);
    }
  }

  #take(number: number): void {
    const now = Date.now();
    if (number !== this.#count && this.#faults.length < MAX_NOTES)
      this.#faults.push(`${number} in place of ${this.#count}`);
    this.#count = number + 1;
    const ms = now - this.#lastAt;
    if (this.#lastAt > 0 && ms > GAP_MS && this.#gaps.length < MAX_NOTES) this.#gaps.push({ endedAt: now, ms });
    this.#lastAt = now;
  }

  #failed(error: unknown): void {
    clearInterval(this.#timer);
    this.#failure ??= String(error);
  }
}
