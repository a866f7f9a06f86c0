/**
 * A counter that several agents count up and all can read: `npm run example:counter`.
 *
 * A bucket is last-writer-wins: if all wrote one key, of two concurrent writes one would be lost. So each agent counts
 * under a key of its own, which nobody else writes, and the sum is the counter.
 */
import type { Agent } from "../src/index.ts";
import { openLocalCluster } from "./local-cluster.ts";

const NAMES = ["alice", "bob", "carol"];
const COUNTS_EACH = 5;

await using cluster = await openLocalCluster();
const agents = await Promise.all(NAMES.map((name) => cluster.join(name)));

await Promise.all(
  agents.map(async (agent) => {
    for (let count = 1; count <= COUNTS_EACH; count++) await agent.bucket("counter").put(agent.id, String(count));
  }),
);

async function total(agent: Agent): Promise<number> {
  const entries = await agent.bucket("counter").list();
  return entries.reduce((sum, entry) => sum + Number(entry.text()), 0);
}

/** Waits until `agent` has read all counts. */
async function settled(agent: Agent): Promise<void> {
  for await (const _change of agent.bucket("counter").watch({ initial: true })) {
    if ((await total(agent)) === NAMES.length * COUNTS_EACH) return;
  }
}

for (const agent of agents) {
  await settled(agent);
  console.log(`${agent.name} reads ${await total(agent)}`);
}
