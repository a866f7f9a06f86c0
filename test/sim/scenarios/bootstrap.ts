/**
 * Goal: a cluster that starts all at once comes together in seconds, and its signaling server is asked a few times by each
 * member, however many there are.
 *
 * Method: everybody starts in the same instant, knowing nobody. Each logs in at the signaling server, is told of eight others
 * that have presented themselves, and dials some of them. Once a second it is looked whether everybody holds all for alive and
 * has all links that it wants. Counted is what the server was sent until then: hellos, logins, presentations, introductions,
 * questions for the time, and the offers, answers and asks of all dials, which agents would send through the mesh as soon as they can.
 */
import { MeshRun } from "../mesh-run.ts";
import { isLinked, isTogether, runUntil } from "../settle.ts";
import type { Scenario } from "./scenario.ts";

const FEW_NODES = 2_000;
const FEW_MS = 15_000;
const MANY_MS = 30_000;
/** Then it is given up. */
const LONGEST_MS = 120_000;
/** About ten to log in, be introduced and stay, and up to six for each of the sixteen dials that concern a member. */
const MOST_REQUESTS = 100;

export const bootstrap: Scenario = {
  name: "bootstrap",
  summary: "everybody starts at once: when do all know all, and what is the signaling server asked?",
  nodes: 300,
  run({ nodes, seed }) {
    const run = new MeshRun({ nodes, seed, network: { minLatencyMs: 10, maxLatencyMs: 50 } });
    const { world } = run;
    for (let index = 0; index < nodes; index++) world.start(index);
    let knownMs: number | undefined;
    const isDone = (): boolean => {
      if (knownMs === undefined && isTogether(run)) knownMs = world.elapsedMs;
      return knownMs !== undefined && isTogether(run) && isLinked(run);
    };
    const togetherMs = runUntil(run, LONGEST_MS, isDone) ?? Number.POSITIVE_INFINITY;
    const { messages, bytes, dials } = world.stats;
    const { server } = world.signaling;
    const requests = server.messages / nodes;
    const mostMs = nodes <= FEW_NODES ? FEW_MS : MANY_MS;
    const failures: string[] = [];
    if (togetherMs > mostMs) failures.push(`everybody knows everybody and has all links after ${togetherMs} ms only`);
    if (requests > MOST_REQUESTS)
      failures.push(`${Math.round(requests)} messages to the signaling server for each member`);
    const figures = {
      togetherMs,
      knownMs: knownMs ?? -1,
      signalingMessages: server.messages,
      signalingMessagesPerNode: Math.round(requests * 10) / 10,
      signalsPerNode: Math.round((server.counters.signals / nodes) * 10) / 10,
      loginsPerNode: Math.round((server.counters.logins / nodes) * 10) / 10,
      dialsPerNode: Math.round((dials / nodes) * 10) / 10,
      messagesPerNode: Math.round(messages / nodes),
      kibPerNode: Math.round(bytes / nodes / 1_024),
    };
    return { simulatedMs: world.elapsedMs, digest: world.digest, failures, figures };
  },
};
