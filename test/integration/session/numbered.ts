import { setTimeout as pause } from "node:timers/promises";
import { expect } from "vitest";
import type { MeshStream } from "../../../src/index.ts";
import { until } from "../until.ts";

/** Time between two messages of a numbered stream, ms. */
const STEP_MS = 5;

const WAYS = ["there", "back"] as const;

/** Both directions of one stream, numbered from 0, and what has come of them. */
export class Numbered {
  readonly came: Record<"there" | "back", number[]> = { there: [], back: [] };
  sent = { there: 0, back: 0 };
  failure: unknown;
  #isOver = false;

  constructor(ours: MeshStream, theirs: MeshStream) {
    for (const [way, from, to] of [
      ["there", ours, theirs],
      ["back", theirs, ours],
    ] as const) {
      void this.#send(way, from).catch((error: unknown) => (this.failure ??= error));
      void this.#receive(way, to).catch((error: unknown) => (this.failure ??= error));
    }
  }

  /** Waits until what is sent from here on has come, both ways; returns how long that took, ms. */
  async recovery(): Promise<number> {
    const startedAt = performance.now();
    const { there, back } = this.sent;
    await until("messages pass again", () => this.came.there.length > there && this.came.back.length > back, 30_000);
    return performance.now() - startedAt;
  }

  /** Ends both directions; fails if any message is missing, there twice, or out of place. */
  async finish(): Promise<void> {
    this.#isOver = true;
    await until("everything has come", () => {
      if (this.failure !== undefined) throw this.failure;
      return WAYS.every((way) => this.came[way].length >= this.sent[way]);
    });
    for (const way of WAYS)
      expect(this.came[way]).toEqual(Array.from({ length: this.sent[way] }, (_, number) => number));
  }

  async #send(way: "there" | "back", stream: MeshStream): Promise<void> {
    while (!this.#isOver) {
      await stream.send(`${this.sent[way]++} ${"x".repeat(200)}`);
      await pause(STEP_MS);
    }
    stream.end();
  }

  async #receive(way: "there" | "back", stream: MeshStream): Promise<void> {
    const decoder = new TextDecoder();
    for await (const message of stream) this.came[way].push(Number.parseInt(decoder.decode(message), 10));
  }
}
