/**
 * Goal: half of the members die at once, in the middle of broadcasts, and the mesh repairs itself: whoever still has a link to others
 * that live has every message within two repairs, and whoever was left alone after the server has introduced it again.
 *
 * Method: everybody begins as a member of one mesh, on links of 10 to 50 ms. Members that will live publish; half a latency later half
 * of all are killed. A repair is the time until a death is known to everybody (6 s at the most) and other links are made. After
 * two of them everybody has every post, and soon everybody holds the same half for there.
 */
import { SeededRandom, shuffle } from "../../../src/proto/random.ts";
import { agreement } from "../agreement.ts";
import type { MeshEvent } from "../mesh-node.ts";
import { MeshRun } from "../mesh-run.ts";
import { runUntil } from "../settle.ts";
import type { Scenario } from "./scenario.ts";

const SETTLE_MS = 10_000;
const MESSAGES = 5;
/** The payloads are on their way, and few have arrived. */
const MID_BROADCAST_MS = 30;
const REPAIR_MS = 8_000;
const TOPIC = "half";
/** Then it is given up. An accusation waits for its turn (`OWN_ACCUSATION_RATE`), so that the last of a hundred deaths are agreed on after a minute. */
const LONGEST_MS = 120_000;

export const halfDeaths: Scenario = {
  name: "half-deaths",
  summary: "half of the members die at once, in the middle of broadcasts: the others repair the mesh and miss nothing",
  nodes: 200,
  run({ nodes, seed }) {
    const received = new Map<number, Set<string>>();
    const witness = (index: number, event: MeshEvent): void => {
      if (event.type !== "post") return;
      const posts = received.get(index) ?? new Set();
      posts.add(Buffer.from(event.post.payload).toString());
      received.set(index, posts);
    };
    const run: MeshRun = new MeshRun({ nodes, seed, network: { minLatencyMs: 10, maxLatencyMs: 50 }, witness });
    const { world } = run;
    const order = shuffle(new SeededRandom(seed).fork("deaths"), [...Array(nodes).keys()]);
    const survivors = order.slice(nodes >> 1);
    run.startAsOne();
    world.run(SETTLE_MS);
    for (let number = 0; number < MESSAGES; number++) {
      const payload = new TextEncoder().encode(`message ${number}`);
      world.command(survivors[number] as number, { type: "publish", topic: TOPIC, payload });
    }
    world.run(MID_BROADCAST_MS);
    for (const index of order.slice(0, nodes >> 1)) world.crash(index);
    const alone = survivors.filter((index) => world.linksOf(index) === 0).length;
    const missing = (): number => survivors.filter((index) => (received.get(index)?.size ?? 0) < MESSAGES).length;
    const heardMs = runUntil(run, LONGEST_MS, () => missing() === 0);
    const agreeMs = runUntil(run, LONGEST_MS, () => isHalf(run, survivors)) ?? Number.POSITIVE_INFINITY;
    const failures: string[] = [];
    if (heardMs === undefined) failures.push(`${missing()} survivors have not got every message`);
    else if (heardMs > 2 * REPAIR_MS) failures.push(`the last survivor had every message after ${heardMs} ms only`);
    if (agreeMs === Number.POSITIVE_INFINITY) failures.push("survivors do not agree who is left");
    const figures = { alone, heardMs: heardMs ?? -1, agreeMs: (heardMs ?? LONGEST_MS) + agreeMs };
    return { simulatedMs: world.elapsedMs, digest: world.digest, failures, figures };
  },
};

/** Whether all survivors hold the same list, and it is of those who live. */
function isHalf(run: MeshRun, survivors: readonly number[]): boolean {
  const { alive = 0, suspect = 0 } = run.mesh(survivors[0] as number)?.membership.statistics().members ?? {};
  return alive + suspect === survivors.length && agreement(run, survivors) === 1;
}
