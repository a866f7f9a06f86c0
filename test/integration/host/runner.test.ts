import { createSocket } from "node:dgram";
import { once } from "node:events";
import { afterEach, expect, test } from "vitest";
import { Runner } from "../../../src/host/runner.ts";
import type { Instant, Machine } from "../../../src/proto/machine.ts";

const socket = createSocket("udp4");
afterEach(() => socket.close());

/** Judges at its deadline whether anything was heard. */
class Listener implements Machine<"heard" | "timeout", "alive" | "silent"> {
  #heard = false;
  #deadline: Instant | undefined;

  constructor(deadline: Instant) {
    this.#deadline = deadline;
  }

  deadline(): Instant | undefined {
    return this.#deadline;
  }

  handle(input: "heard" | "timeout"): readonly ("alive" | "silent")[] {
    if (input === "heard") this.#heard = true;
    if (input !== "timeout") return [];
    this.#deadline = undefined;
    return [this.#heard ? "alive" : "silent"];
  }
}

test("a loop that was held up past a deadline hears what has arrived meanwhile before it judges", async () => {
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  const now = () => performance.now();
  const verdict = await new Promise((resolve) => {
    const runner = new Runner(new Listener(now() + 5), now, () => "timeout" as const, resolve);
    socket.on("message", () => runner.input("heard"));
    socket.send("still here", socket.address().port, "127.0.0.1", () => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    });
  });
  expect(verdict).toBe("alive");
});
