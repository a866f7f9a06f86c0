import { broadcastDeaths } from "./broadcast-deaths.ts";
import { broadcastSwarm } from "./broadcast-swarm.ts";
import { broadcastTree } from "./broadcast-tree.ts";
import { meshSwarm } from "./mesh-swarm.ts";
import { pulse } from "./pulse.ts";
import type { Scenario } from "./scenario.ts";

/** All scenarios, in the order of the list. */
export const scenarios: readonly Scenario[] = [pulse, broadcastTree, broadcastDeaths, broadcastSwarm, meshSwarm];
