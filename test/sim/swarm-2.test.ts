/** A quarter of the swarm: 200 seeds, each with its own mix of faults, over whole meshes of 50 (`swarm-share.ts`). */
import { testShare } from "./swarm-share.ts";

testShare(2);
