import { fraction, type Random } from "../../src/proto/random.ts";
import type { Checker, Observation } from "./checkers.ts";
import { plan, type Schedule } from "./faults.ts";
import type { Typed } from "./node.ts";
import type { World } from "./world.ts";

/** How long the phases of a run last, ms of virtual time. */
export interface Phases {
  /** All nodes start within this, each at a random moment. */
  readonly joinMs: number;
  /** Everybody finds everybody. */
  readonly settleMs: number;
  /** The schedule happens within this. */
  readonly faultsMs: number;
  /** Nothing goes wrong any more. */
  readonly tailMs: number;
}

export interface SwarmOptions {
  readonly phases: Phases;
  readonly schedule: Schedule;
  readonly checkers: readonly Checker[];
  readonly random: Random;
  /** How often the checkers look while the run goes on, ms. Default 1,000. */
  readonly lookEveryMs?: number;
  /** Called at each look but the last: the place for publications and writes. */
  readonly work?: (now: number) => void;
}

/** Failures after which a run stops looking for more. */
const ENOUGH_FAILURES = 20;

/**
 * Runs a world through join, faults and quiet tail under its checkers. Returns what was wrong, each with the name of its
 * checker and the second of the run; empty when all held.
 */
export function swarm<Command extends Typed, Event extends Typed>(
  world: World<Command, Event>,
  observation: Observation,
  options: SwarmOptions,
): string[] {
  const { joinMs, settleMs, faultsMs, tailMs } = options.phases;
  const failures: string[] = [];
  const begin = world.now;
  const report = (checker: Checker, found: readonly string[]): void => {
    for (const failure of found) {
      if (failures.length < ENOUGH_FAILURES)
        failures.push(`${checker.name}, ${(world.now - begin) / 1000} s: ${failure}`);
    }
  };
  for (let index = 0; index < world.size; index++) {
    world.after(joinMs * fraction(options.random), () => world.start(index));
  }
  world.after(joinMs + settleMs, () => plan(world, options.schedule));
  const end = begin + joinMs + settleMs + faultsMs + tailMs;
  while (world.now < end && failures.length < ENOUGH_FAILURES) {
    world.run(Math.min(options.lookEveryMs ?? 1_000, end - world.now));
    for (const checker of options.checkers) report(checker, checker.during?.(observation) ?? []);
    if (world.now < end) options.work?.(world.now - begin);
  }
  for (const checker of options.checkers) report(checker, checker.after?.(observation) ?? []);
  return failures;
}
