/**
 * Goal: the world itself is fast. What the mesh machine adds is its own affair; this is the floor.
 *
 * Method: every node probes one of its eight neighbours each 500 ms and answers, for five minutes of virtual time, with one
 * packet in a thousand lost. The command prints how many times faster than real time that went.
 */
import { SeededRandom } from "../../../src/proto/random.ts";
import { PulseNode } from "../pulse-node.ts";
import { ringNeighbours } from "../topology.ts";
import { World } from "../world.ts";
import type { Scenario } from "./scenario.ts";

const FOR_MS = 300_000;

export const pulse: Scenario = {
  name: "pulse",
  summary: "probes and answers only: the speed of the world itself",
  nodes: 100,
  run({ nodes, seed }) {
    const world = new World({ nodes, seed, network: { loss: 0.001 }, create: (context) => new PulseNode(context) });
    for (let index = 0; index < nodes; index++) world.start(index);
    ringNeighbours(nodes, 4, new SeededRandom(seed).fork("topology")).forEach((others, index) => {
      for (const other of others) if (other > index) world.connect(index, other);
    });
    world.run(FOR_MS);
    const { events, messages, timeouts } = world.stats;
    // Each probe is answered, but for the few that are under way at the end.
    const expected = (2 * nodes * FOR_MS) / 500;
    const failures = messages > expected * 0.99 ? [] : [`${messages} messages arrived, not ${expected}`];
    return { simulatedMs: world.elapsedMs, digest: world.digest, failures, figures: { events, messages, timeouts } };
  },
};
