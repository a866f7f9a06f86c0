import type { Ledger } from "./ledger.ts";
import type { MemberState } from "./member.ts";

/** What one node believes of another. */
export interface ViewEntry {
  /** Index of the member that is spoken of. */
  readonly member: number;
  readonly state: "alive" | "suspect" | "down" | "left";
  /** Boot count and incarnation of its newest record: together they only grow. */
  readonly boot: number;
  readonly incarnation: number;
}

/** A bounded collection of a node. */
export interface Level {
  readonly name: string;
  readonly size: number;
  readonly limit: number;
}

/**
 * What checkers see of a run: facts of the world, and of each node as much as its kind has. Nodes that do not run have
 * nothing.
 */
export interface Observation {
  /** How many nodes there are, running or not. */
  readonly size: number;
  readonly now: number;
  stateOf(index: number): MemberState;
  bootOf(index: number): number;
  /** The node's membership list. */
  view?(index: number): Iterable<ViewEntry>;
  /** The node's replicated buckets, each with a digest of its contents. */
  replicas?(index: number): Iterable<readonly [bucket: string, digest: string]>;
  /** How full the node's queues and tables are. */
  levels?(index: number): Iterable<Level>;
  /** The broadcasts of the run. */
  readonly ledger?: Ledger;
}

/** A property of every run. It returns what is wrong, in sentences; nothing when all is well. */
export interface Checker {
  readonly name: string;
  /** Holds at every moment; called at intervals. */
  during?(observation: Observation): readonly string[];
  /** Holds after the quiet tail. */
  after?(observation: Observation): readonly string[];
}

/** After the quiet tail, every node that runs is alive in the list of every other. */
export function everybodyIsUp(): Checker {
  return {
    name: "everybody is up",
    after(observation) {
      const failures: string[] = [];
      for (const index of running(observation)) {
        const states = new Map<number, string>();
        for (const { member, state } of observation.view?.(index) ?? []) states.set(member, state);
        for (const member of running(observation)) {
          const state = states.get(member) ?? "unknown";
          if (member !== index && state !== "alive")
            failures.push(`node ${index} takes running node ${member} for ${state}`);
        }
      }
      return failures;
    },
  };
}

/** After the quiet tail, no node takes one for alive that has been gone for long. */
export function nobodyDeadIsUp(): Checker {
  return {
    name: "nobody dead is up",
    after(observation) {
      const failures: string[] = [];
      for (const index of running(observation)) {
        for (const { member, state } of observation.view?.(index) ?? []) {
          if (observation.stateOf(member) === "crashed" && (state === "alive" || state === "suspect")) {
            failures.push(`node ${index} takes dead node ${member} for ${state}`);
          }
        }
      }
      return failures;
    },
  };
}

/** The newest record that one node, in one life, has shown of each member. */
interface Shown {
  readonly life: number;
  readonly boots: Float64Array;
  readonly incarnations: Float64Array;
}

/** In the list of a node that goes on running, no member's boot count and incarnation ever go back. */
export function incarnationsNeverGoBack(): Checker {
  const byNode = new Map<number, Shown>();
  return {
    name: "incarnations never go back",
    during(observation) {
      const failures: string[] = [];
      for (const index of running(observation)) {
        const life = observation.bootOf(index);
        let shown = byNode.get(index);
        if (shown?.life !== life) {
          const { size } = observation;
          shown = { life, boots: new Float64Array(size), incarnations: new Float64Array(size) };
          byNode.set(index, shown);
        }
        const { boots, incarnations } = shown;
        for (const { member, boot, incarnation } of observation.view?.(index) ?? []) {
          const [oldBoot, oldIncarnation] = [boots[member] as number, incarnations[member] as number];
          if (boot < oldBoot || (boot === oldBoot && incarnation < oldIncarnation)) {
            const from = `${oldBoot}.${oldIncarnation}`;
            failures.push(`node ${index} went from incarnation ${from} of node ${member} to ${boot}.${incarnation}`);
          }
          boots[member] = boot;
          incarnations[member] = incarnation;
        }
      }
      return failures;
    },
  };
}

/**
 * Every broadcast reaches every node exactly once that ran from the publication to the end, the publisher itself excepted;
 * never more than once even in a shorter life. If the publisher crashed, and nobody who still runs has it, it may be lost.
 */
export function broadcastsArriveOnce(): Checker {
  return {
    name: "broadcasts arrive once",
    after(observation) {
      const failures: string[] = [];
      for (const { key, by, times, boots } of observation.ledger?.publications ?? []) {
        const survivors = running(observation).filter((index) => boots[index] === observation.bootOf(index));
        const known = survivors.some((index) => index === by || times[index] !== 0);
        for (let index = 0; index < observation.size; index++) {
          const count = times[index] as number;
          if (index === by && count > 0) failures.push(`${key} came back to its publisher, node ${by}`);
          else if (count > 1) failures.push(`${key} of node ${by} reached node ${index} ${count} times`);
        }
        if (!known) continue;
        const missed = survivors.filter((index) => index !== by && times[index] === 0);
        if (missed.length > 0) failures.push(`${key} of node ${by} missed nodes ${missed.join(", ")}`);
      }
      return failures;
    },
  };
}

/**
 * After the quiet tail, all nodes that hold a bucket hold the same.
 *
 * @param everywhere buckets that every node must hold; none by default, because a bucket may have few replicas.
 */
export function replicasAreEqual(everywhere: readonly string[] = []): Checker {
  return {
    name: "replicas are equal",
    after(observation) {
      const first = new Map<string, readonly [number, string]>();
      const failures: string[] = [];
      for (const index of running(observation)) {
        const held = new Map(observation.replicas?.(index) ?? []);
        for (const bucket of everywhere) if (!held.has(bucket)) failures.push(`node ${index} lacks bucket ${bucket}`);
        for (const [bucket, digest] of held) {
          const other = first.get(bucket);
          if (other === undefined) first.set(bucket, [index, digest]);
          else if (other[1] !== digest)
            failures.push(`bucket ${bucket} differs between nodes ${other[0]} and ${index}`);
        }
      }
      return failures;
    },
  };
}

/** No queue or table of any node ever exceeds its limit. */
export function levelsStayWithinLimits(): Checker {
  return {
    name: "levels stay within limits",
    during(observation) {
      const failures: string[] = [];
      for (const index of running(observation)) {
        for (const { name, size, limit } of observation.levels?.(index) ?? []) {
          if (size > limit) failures.push(`node ${index} has ${size} in ${name}, more than ${limit}`);
        }
      }
      return failures;
    },
  };
}

/** The nodes that run, ascending. A frozen one runs as far as the others know, but has nothing to say. */
function running(observation: Observation): number[] {
  const indices: number[] = [];
  for (let index = 0; index < observation.size; index++) {
    if (observation.stateOf(index) === "running") indices.push(index);
  }
  return indices;
}
