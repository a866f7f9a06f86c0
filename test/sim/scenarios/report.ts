/**
 * Goal: one page of figures about a mesh under light trouble, to compare two builds by (`npm run sim:compare`).
 *
 * Method: a mesh that has long been one, over a network that loses one packet in a hundred. For a minute nothing happens: what
 * members send, and whether anybody is wrongly declared down. Then members change their records one after the other, others publish, and
 * others are killed: how soon everybody knows, how many copies a post costs, and how long the longest queue was.
 */
import { BroadcastKind } from "../../../src/proto/gossip/messages.ts";
import { pick, SeededRandom, shuffle } from "../../../src/proto/random.ts";
import { Lane } from "../../../src/proto/streams/lanes.ts";
import { Census, quantile } from "../census.ts";
import type { MeshEvent } from "../mesh-node.ts";
import { MeshRun } from "../mesh-run.ts";
import { beginSettled } from "../settle.ts";
import type { Scenario } from "./scenario.ts";
import { costOf, rounded } from "./traffic.ts";

const LOSS = 0.01;
const QUIET_MS = 60_000;
const CHANGES = 10;
const POSTS = 20;
const DEATHS = 5;
const CHANGE_EVERY_MS = 5_000;
const POST_EVERY_MS = 3_000;
const DEATH_EVERY_MS = 15_000;

export const report: Scenario = {
  name: "report",
  summary: "the figures of a mesh under light trouble, to compare builds by",
  nodes: 200,
  run({ nodes, seed }) {
    const random = new SeededRandom(seed).fork("report");
    const census = new Census(() => run);
    /** What is waited for, and when each node was told. */
    let awaited: {
      readonly isIt: (event: MeshEvent) => boolean;
      readonly at: number;
      readonly told: Map<number, number>;
    };
    let copies = 0;
    awaited = { isIt: () => false, at: 0, told: new Map() };
    const run: MeshRun = new MeshRun({
      nodes,
      seed,
      network: { loss: LOSS },
      tap: ({ lane, bytes }) => {
        if (lane === Lane.gossip && bytes[1] === BroadcastKind.payload) copies++;
      },
      witness: (index, event) => {
        census.watch(index, event);
        if (awaited.isIt(event) && !awaited.told.has(index)) awaited.told.set(index, run.now - awaited.at);
      },
    });
    const { world } = run;
    beginSettled(run);
    const { traffic } = costOf(run, () => world.run(QUIET_MS));
    const order = shuffle(
      random,
      Array.from({ length: nodes }, (_, index) => index),
    );
    const survivors = order.slice(DEATHS);
    const measure = (isIt: (event: MeshEvent) => boolean, act: () => void, forMs: number): number[] => {
      awaited = { isIt, at: run.now, told: new Map() };
      act();
      world.run(forMs);
      return [...awaited.told.values()].sort((a, b) => a - b);
    };

    const dissemination: number[] = [];
    let changesMissed = 0;
    for (let change = 0; change < CHANGES; change++) {
      const subject = pick(random, survivors) as number;
      const id = world.idOf(subject);
      const times = measure(
        (event) => event.type === "event" && event.event === "updated" && event.peer === id,
        () => world.command(subject, { type: "update", profile: { labels: [["change", String(change)]] } }),
        CHANGE_EVERY_MS,
      );
      changesMissed += nodes - times.length;
      dissemination.push(quantile(times, 0.9999));
    }

    const lasts: number[] = [];
    let redundancy = 0;
    let postsMissed = 0;
    for (let post = 0; post < POSTS; post++) {
      const author = pick(random, survivors) as number;
      const payload = Uint8Array.of(post, 0, 0, 0);
      copies = 0;
      const times = measure(
        (event) => event.type === "post" && event.post.payload[0] === post,
        () => world.command(author, { type: "publish", topic: "report", payload }),
        POST_EVERY_MS,
      );
      postsMissed += nodes - times.length;
      lasts.push(times.at(-1) ?? 0);
      redundancy += (copies - (nodes - 1)) / (nodes - 1) / POSTS;
    }

    for (const victim of order.slice(0, DEATHS)) {
      census.kill(victim);
      world.run(DEATH_EVERY_MS);
    }
    const detections = census.detectionTimes();
    const deathsMissed = census.detections().reduce((sum, { missed }) => sum + missed, 0);
    const failures: string[] = [];
    if (census.falseDeaths.length > 0) failures.push(`${census.falseDeaths.length} false deaths`);
    if (deathsMissed + postsMissed + changesMissed > 0) {
      failures.push(`missed: ${deathsMissed} deaths, ${postsMissed} posts, ${changesMissed} changes`);
    }
    const figures = {
      ...traffic,
      falseDeaths: census.falseDeaths.length,
      disseminationP50Ms: Math.round(
        quantile(
          dissemination.sort((a, b) => a - b),
          0.5,
        ),
      ),
      disseminationMostMs: Math.round(dissemination.at(-1) ?? 0),
      lastDeliveryP50Ms: Math.round(
        quantile(
          lasts.sort((a, b) => a - b),
          0.5,
        ),
      ),
      lastDeliveryMostMs: Math.round(lasts.at(-1) ?? 0),
      redundancy: rounded(redundancy),
      detectionP50Ms: Math.round(quantile(detections, 0.5)),
      detectionP99Ms: Math.round(quantile(detections, 0.99)),
      queuePeak: world.queuePeak,
    };
    return { simulatedMs: world.elapsedMs, digest: world.digest, failures, figures };
  },
};
