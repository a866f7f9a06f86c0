import type { MeshEvent } from "./mesh-node.ts";
import type { MeshRun } from "./mesh-run.ts";

/** A member that runs, and was declared down all the same. */
export interface FalseDeath {
  readonly by: number;
  readonly of: number;
  readonly at: number;
}

/**
 * Who was declared down by whom and when. Faulty members are those that a scenario troubles: that they are declared down is no
 * error, and what they hold of others counts apart.
 */
export class Census {
  /** Deaths of healthy members that run, in the lists of anybody and of healthy members only. */
  readonly falseDeaths: FalseDeath[] = [];
  falseDeathsAtHealthy = 0;
  /** False: deaths that are told are of no interest, as while halves of the cluster do not see each other. */
  counting = true;
  readonly #run: () => MeshRun;
  readonly #faulty: ReadonlySet<number>;
  /** By member that was killed: when, and when each healthy member held it for down. */
  readonly #killed = new Map<number, { readonly at: number; readonly seen: Map<number, number> }>();

  constructor(run: () => MeshRun, faulty: ReadonlySet<number> = new Set()) {
    this.#run = run;
    this.#faulty = faulty;
  }

  /** Kills a member, to measure how soon the others know. */
  kill(index: number): void {
    const { world } = this.#run();
    world.crash(index);
    this.#killed.set(index, { at: world.now, seen: new Map() });
  }

  /** For {@link MeshRun}'s `witness`. */
  watch(by: number, event: MeshEvent): void {
    if (!this.counting || event.type !== "event" || event.event !== "down") return;
    const { world } = this.#run();
    const of = world.indexOf(event.peer);
    if (of === undefined) return;
    const killed = this.#killed.get(of);
    if (killed !== undefined) {
      if (!this.#faulty.has(by) && !killed.seen.has(by)) killed.seen.set(by, world.now - killed.at);
    } else if (world.stateOf(of) === "running" && !this.#faulty.has(of)) {
      this.falseDeaths.push({ by, of, at: world.now });
      if (!this.#faulty.has(by)) this.falseDeathsAtHealthy++;
    }
  }

  /** By member that was killed: how long until the first and until the last healthy member held it for down, ms. */
  detections(): { readonly firstMs: number; readonly lastMs: number; readonly missed: number }[] {
    const run = this.#run();
    return [...this.#killed].map(([of, { seen }]) => {
      let missed = 0;
      for (let index = 0; index < run.size; index++) {
        if (index !== of && !this.#faulty.has(index) && run.stateOf(index) === "running" && !seen.has(index)) missed++;
      }
      const times = [...seen.values()];
      return { firstMs: Math.min(...times), lastMs: Math.max(...times), missed };
    });
  }

  /** All times from a death to a healthy member's knowledge of it, ascending, ms. */
  detectionTimes(): number[] {
    return [...this.#killed.values()].flatMap(({ seen }) => [...seen.values()]).sort((a, b) => a - b);
  }
}

/** The value below which `share` of the ascending `values` lie; NaN of none. */
export function quantile(values: readonly number[], share: number): number {
  return values[Math.min(values.length - 1, Math.floor(share * values.length))] ?? Number.NaN;
}
