import type { Instant } from "../../src/proto/machine.ts";
import { EPOCH_MS } from "./epoch.ts";
import type { SimInput, SimNode, SimOutput } from "./node.ts";

/** Has a {@link Recorder} ask these things of the world. */
export type Ask = { readonly type: "do"; readonly outputs: readonly SimOutput[] };

/** A node that remembers what it was told and when, and does what it is told to do: for tests of the world itself. */
export class Recorder implements SimNode<Ask> {
  /** What came, each with the second of the run to a tenth of a millisecond; commands are left out. */
  readonly log: { readonly atMs: number; readonly input: SimInput }[] = [];
  /** When it wants a time-out. */
  wakeAt: Instant | undefined;

  handle(input: SimInput | Ask, now: Instant): readonly SimOutput[] {
    if (input.type === "do") return input.outputs;
    if (input.type === "timeout" && this.wakeAt !== undefined && now >= this.wakeAt) this.wakeAt = undefined;
    this.log.push({ atMs: Math.round((now - EPOCH_MS) * 10) / 10, input });
    return [];
  }

  deadline(): Instant | undefined {
    return this.wakeAt;
  }

  /** The first byte of each message and when it came. */
  messages(): (readonly [atMs: number, byte: number | undefined])[] {
    return this.log.flatMap(({ atMs, input }) => (input.type === "message" ? [[atMs, input.bytes[0]] as const] : []));
  }

  /** Everything of this type, with its time. */
  told<Type extends SimInput["type"]>(type: Type): { atMs: number; input: Extract<SimInput, { type: Type }> }[] {
    return this.log.flatMap(({ atMs, input }) =>
      input.type === type ? [{ atMs, input: input as Extract<SimInput, { type: Type }> }] : [],
    );
  }
}
