/**
 * One random life of five replicas whose applications count: each reads a counter, and writes it one higher on the condition that it is
 * still what was read. Crashes, cut links, clocks that jump, disks that lose what was not synced. Goal: of members that mean the same
 * replicas no acknowledged step is ever lost, so that a counter ends at no less than the steps acknowledged, and no
 * version has two acknowledged successors.
 */
import { fromUtf8, utf8 } from "../../../src/proto/bytes.ts";
import { below, SeededRandom } from "../../../src/proto/random.ts";
import type { ReplicationOutput } from "../../../src/proto/replication/effects.ts";
import { DEFAULT_POLICY, encodePolicy, POLICY_BUCKET } from "../../../src/proto/replication/policy.ts";
import { Misfortunes } from "./misfortunes.ts";
import { type Node, World } from "./world.ts";

const NODES = 5;
const COPIES = 3;
const COUNTERS = 2;
const STEPS = 150;
const SETTLE_MS = 60_000;
const PLACED = "three";
const EVERYWHERE = "app";

interface Step {
  readonly bucket: string;
  readonly key: string;
  readonly over: string | null;
  readonly count: number;
}

/** What came of a history. */
export interface Outcome {
  /** What was wrong at its end. */
  readonly wrong: string[];
  readonly acknowledged: number;
  readonly conflicts: number;
  /** Versions with more than one acknowledged successor. */
  readonly forks: number;
}

/** Runs the history of one seed; with `churn` members are also given up by the others, and the replicas change. */
export function runConditions(seed: number, churn = false): Outcome {
  return new ConditionHistory(seed, churn).run();
}

class ConditionHistory {
  readonly #world: World;
  readonly #random: SeededRandom;
  readonly #misfortunes: Misfortunes;
  readonly #churn: boolean;
  readonly #steps = new Map<number, Step>();
  #request = 1_000_000;

  constructor(seed: number, churn: boolean) {
    this.#random = new SeededRandom(seed).fork("conditions");
    this.#churn = churn;
    this.#world = World.full(seed, NODES, true);
    this.#misfortunes = new Misfortunes(this.#world, this.#random, { outOf: 14, clocks: true, churn });
  }

  run(): Outcome {
    const world = this.#world;
    world.put(world.node(0), PLACED, encodePolicy({ ...DEFAULT_POLICY, replicas: COPIES }), POLICY_BUCKET);
    world.run(3_000);
    for (let step = 0; step < STEPS; step++) {
      this.#misfortunes.strike();
      for (let left = below(this.#random, 3); left > 0; left--) this.#step();
      world.run(below(this.#random, 300));
    }
    this.#misfortunes.end();
    world.run(SETTLE_MS);
    return this.#outcome();
  }

  /** One higher than what is read here, which may be old. */
  #step(): void {
    const node = this.#misfortunes.node();
    if (!node.isUp) return;
    const bucket = below(this.#random, 2) === 0 ? EVERYWHERE : PLACED;
    const key = `counter ${below(this.#random, COUNTERS)}`;
    const found = node.replication.get(bucket, key);
    const count = found?.value ? Number(fromUtf8(found.value)) + 1 : 1;
    const request = this.#request++;
    const over = found?.version ?? null;
    this.#steps.set(request, { bucket, key, over, count });
    const value = utf8(`${count}`);
    const timeoutMs = 1_000 + below(this.#random, 15_000);
    this.#world.input(node, { type: "put", request, bucket, key, value, ifVersion: over, timeoutMs });
    if (below(this.#random, 5) === 0) this.#interrupt(node);
  }

  /** The author ends, or is cut off from all, in the middle of its step: its write may come out of the drawer much later. */
  #interrupt(node: Node): void {
    const world = this.#world;
    world.run(30 + below(this.#random, 60));
    if (below(this.#random, 2) === 0) world.crash(node);
    else for (const other of world.nodes) if (node.links.has(other.id)) world.unlink(node, other);
  }

  #outcome(): Outcome {
    const { nodes } = this.#world;
    const wrong: string[] = [];
    const answers = nodes.flatMap(({ outputs }) => outputs.filter(isAnswer));
    const acknowledged = answers.filter(({ type }) => type === "acknowledged");
    const successors = new Map<string, number>();
    const most = new Map<string, number>();
    for (const { request } of acknowledged) {
      const step = this.#steps.get(request);
      if (step === undefined) continue;
      const { bucket, key, over, count } = step;
      const name = `${bucket}/${key} over ${over}`;
      successors.set(name, (successors.get(name) ?? 0) + 1);
      most.set(`${bucket}/${key}`, Math.max(most.get(`${bucket}/${key}`) ?? 0, count));
    }
    const forks = [...successors].filter(([, count]) => count > 1);
    if (!this.#churn) {
      for (const [name, count] of forks) wrong.push(`${name}: ${count} acknowledged`);
      for (const [name, count] of most) {
        const [bucket, key] = name.split("/") as [string, string];
        const there = nodes.map(({ replication }) => replication.get(bucket, key)).find((entry) => entry?.value);
        if (!(Number(fromUtf8(there?.value ?? new Uint8Array()) ?? 0) >= count)) wrong.push(`${name}: a step is lost`);
      }
    }
    wrong.push(...this.#differing(), ...this.#blamed());
    for (const request of this.#steps.keys()) {
      const count = answers.filter((answer) => answer.request === request).length;
      if (count > 1) wrong.push(`${request} was answered ${count} times`);
    }
    const conflicts = answers.filter(({ type }) => type === "conflict").length;
    return { wrong, acknowledged: acknowledged.length, conflicts, forks: forks.length };
  }

  #differing(): string[] {
    const wrong: string[] = [];
    for (let number = 0; number < COUNTERS; number++) {
      for (const bucket of [EVERYWHERE, PLACED]) {
        const key = `counter ${number}`;
        const holders = this.#world.nodes.filter(({ replication }) => replication.isMine(bucket, key));
        const versions = new Set(holders.map(({ replication }) => replication.get(bucket, key)?.version));
        if (versions.size > 1) wrong.push(`replicas of ${bucket}/${key} differ`);
      }
    }
    return wrong;
  }

  #blamed(): string[] {
    return this.#world.nodes.flatMap(({ number, outputs }) =>
      outputs.flatMap((output) =>
        output.type === "fault" && output.peer !== undefined ? [`${number} blames somebody: ${output.fault}`] : [],
      ),
    );
  }
}

type Answered = Extract<
  ReplicationOutput,
  { readonly type: "acknowledged" | "unacknowledged" | "refused" | "conflict" }
>;

function isAnswer(output: ReplicationOutput): output is Answered {
  return ["acknowledged", "unacknowledged", "refused", "conflict"].includes(output.type);
}
