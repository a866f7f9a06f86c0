import { setTimeout as pause } from "node:timers/promises";
import { below, SeededRandom } from "../../src/proto/random.ts";
import { RoutingLab } from "../integration/agent/routing-lab.ts";

/**
 * Ten agents outlive their signaling server: `node test/bench/routing-ten.ts [ROUNDS] [native|werift] [SEED]`.
 *
 * Goal: whatever connections are cut or fall silent, as long as every agent keeps one, all wanted links come back, signaled by
 * the mesh, and everybody is alive in the end. Method: ten agents in one process over real WebRTC on loopback are linked, the
 * server is stopped for good, and in each round two thirds of all connections are cut (one in six of those silently), one
 * agent being left with a single link. Prints one JSON object; exit 1 when a round does not end in a full set of links.
 */
const COUNT = 10;
const LIMIT_MS = 60_000;
const [rounds = "3", stack = "native", seed = "1"] = process.argv.slice(2);
const random = new SeededRandom(Number(seed));

const lab = await RoutingLab.open(COUNT, stack === "werift" ? "werift" : "native");
let downs = 0;
for (const agent of lab.agents) agent.addEventListener("memberdown", () => downs++);
await lab.cluster.stopSignaling();
await pause(500);

const report: { cut: number; frozen: number; healedMs: number | null; signaledBy: Record<string, number> }[] = [];
for (let round = 0; round < Number(rounds); round++) {
  const begin = Date.now();
  // A path through all agents stays, so that everybody keeps a way to everybody.
  const lonely = below(random, COUNT);
  let cut = 0;
  let frozen = 0;
  for (let a = 0; a < COUNT; a++) {
    for (let b = a + 1; b < COUNT; b++) {
      const isSpared = b === a + 1 ? lonely !== a || a === 0 : lonely !== a && lonely !== b && below(random, 3) === 0;
      if (isSpared || !lab.linked(a, b)) continue;
      if (below(random, 6) === 0) {
        lab.freeze(a, b);
        frozen++;
      } else {
        lab.cut(a, b);
        cut++;
      }
    }
  }
  await pause(300);
  const healed = await lab.healed(LIMIT_MS);
  const signaledBy: Record<string, number> = {};
  for (const path of lab.signaledBy(Date.now() - begin)) signaledBy[path] = (signaledBy[path] ?? 0) + 1;
  report.push({ cut, frozen, healedMs: healed ? Date.now() - begin : null, signaledBy });
}
// A member that is all but cut off may be declared down for a moment and come back: counted, not forbidden.
const ok = report.every(({ healedMs, signaledBy }) => healedMs !== null && !signaledBy["server"]);
process.stdout.write(`${JSON.stringify({ agents: COUNT, stack, seed: Number(seed), ok, downs, rounds: report })}\n`);
await lab[Symbol.asyncDispose]();
process.exitCode = ok ? 0 : 1;
