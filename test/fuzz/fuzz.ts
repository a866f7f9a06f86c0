import { readFileSync } from "node:fs";
import { join } from "node:path";
import { below } from "../../src/proto/random.ts";
import { mutate } from "./mutate.ts";
import { fuzzRandom, type Target, targetOf } from "./targets.ts";

/** What a run has found. */
export interface FuzzReport {
  readonly target: string;
  readonly seed: number;
  readonly inputs: number;
  /** Inputs that threw, in base64, with what they threw; at most ten. */
  readonly crashes: readonly { readonly input: string; readonly error: string }[];
  /** The longest that one input took, ms of processor time. */
  readonly longestMs: number;
  readonly grownMiB: number;
}

const MAX_CRASHES = 10;
/** Inputs that taught something, kept for ever: by target, in base64. */
const KEPT = JSON.parse(readFileSync(join(import.meta.dirname, "../vectors/fuzz.json"), "utf8")) as Record<
  string,
  string[]
>;

/** Feeds `inputs` spoiled inputs to a target, those that are kept for it first. Equal seeds give equal inputs. */
export async function fuzz(name: string, inputs: number, seed: number): Promise<FuzzReport> {
  const target = targetOf(name) as Target;
  const random = fuzzRandom(name, seed);
  const kept = (KEPT[name] ?? []).map((input) => new Uint8Array(Buffer.from(input, "base64")));
  const seeds = [...target.corpus, ...kept];
  const crashes: { input: string; error: string }[] = [];
  let longestMs = 0;
  const before = process.memoryUsage().heapUsed;
  for (let index = 0; index < inputs && crashes.length < MAX_CRASHES; index++) {
    const input = kept[index] ?? mutate(seeds[below(random, seeds.length)] as Uint8Array, seeds, random);
    const copy = input.slice();
    const began = process.threadCpuUsage();
    try {
      await target.take(input);
    } catch (error) {
      crashes.push({
        input: Buffer.from(copy).toString("base64"),
        error: String(error instanceof Error ? error.stack : error),
      });
    }
    const { user, system } = process.threadCpuUsage(began);
    longestMs = Math.max(longestMs, (user + system) / 1_000);
  }
  globalThis.gc?.();
  const grownMiB = (process.memoryUsage().heapUsed - before) / 1_048_576;
  return { target: name, seed, inputs, crashes, longestMs, grownMiB };
}
