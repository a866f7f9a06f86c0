/**
 * Goal: a cluster that starts all at once comes together in seconds, and its signaling server is asked a few times by each
 * member, however many there are.
 *
 * Method: everybody starts in the same instant, knowing nobody. Each logs in at the signaling server, is told of eight others
 * that have presented themselves, and dials them. Once a second it is looked whether everybody holds all for alive and
 * has all links that it wants. What the server is asked is counted: logins, presentations, introductions and, two for
 * each dial as long as it takes the server to carry them, offers and answers.
 */
import { MeshRun } from "../mesh-run.ts";
import { isTogether, runUntil } from "../settle.ts";
import type { Scenario } from "./scenario.ts";

const FEW_NODES = 2_000;
const FEW_MS = 15_000;
const MANY_MS = 30_000;
/** Then it is given up. */
const LONGEST_MS = 120_000;
/** Logins, presentations, introductions, and two for each of the dials that a member makes of its own accord. */
const MOST_REQUESTS = 100;

export const bootstrap: Scenario = {
  name: "bootstrap",
  summary: "everybody starts at once: when do all know all, and what is the signaling server asked?",
  nodes: 300,
  run({ nodes, seed }) {
    const run = new MeshRun({ nodes, seed, network: { minLatencyMs: 10, maxLatencyMs: 50 } });
    const { world } = run;
    for (let index = 0; index < nodes; index++) world.start(index);
    const togetherMs = runUntil(run, LONGEST_MS, () => isTogether(run)) ?? Number.POSITIVE_INFINITY;
    const { messages, bytes, dials } = world.stats;
    const requests = (world.bootstrap.requests + 2 * dials) / nodes;
    const mostMs = nodes <= FEW_NODES ? FEW_MS : MANY_MS;
    const failures: string[] = [];
    if (togetherMs > mostMs) failures.push(`everybody knows everybody after ${togetherMs} ms only`);
    if (requests > MOST_REQUESTS)
      failures.push(`${Math.round(requests)} requests to the signaling server for each member`);
    const figures = {
      togetherMs,
      signalingRequestsPerNode: Math.round(requests * 10) / 10,
      dialsPerNode: Math.round((dials / nodes) * 10) / 10,
      messagesPerNode: Math.round(messages / nodes),
      kibPerNode: Math.round(bytes / nodes / 1_024),
    };
    return { simulatedMs: world.elapsedMs, digest: world.digest, failures, figures };
  },
};
