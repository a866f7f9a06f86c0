import { blackout } from "./blackout.ts";
import { bootstrap } from "./bootstrap.ts";
import { broadcastDeaths } from "./broadcast-deaths.ts";
import { broadcastSwarm } from "./broadcast-swarm.ts";
import { broadcastTree } from "./broadcast-tree.ts";
import { detection } from "./detection.ts";
import { dissemination } from "./dissemination.ts";
import { falseDeaths } from "./false-deaths.ts";
import { halfDeaths } from "./half-deaths.ts";
import { hostile } from "./hostile.ts";
import { lifeguard } from "./lifeguard.ts";
import { partition } from "./partition.ts";
import { pulse } from "./pulse.ts";
import { rapid } from "./rapid.ts";
import { report } from "./report.ts";
import type { Scenario } from "./scenario.ts";
import { steady } from "./steady.ts";
import { meshHeals } from "./swarm.ts";

/** All scenarios, in the order of the list. */
export const scenarios: readonly Scenario[] = [
  pulse,
  broadcastTree,
  broadcastDeaths,
  halfDeaths,
  broadcastSwarm,
  meshHeals,
  lifeguard,
  rapid,
  partition,
  blackout,
  steady,
  hostile,
  report,
  bootstrap,
  detection,
  dissemination,
  falseDeaths,
];
