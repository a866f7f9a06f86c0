import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sweepNamespaces } from "./namespace.ts";
import { Network } from "./network.ts";
import { Site } from "./site.ts";
import type { TurnWord } from "./turn-servers.ts";

/** A running lab: its network, and what stands on its server. One in a process at a time. */
export interface Lab {
  readonly network: Network;
  readonly site: Site;
  /** Ends every process of the lab, and removes its namespaces and files. */
  remove(): Promise<void>;
}

/** Builds a lab with this STUN and TURN server. What an earlier run left when it was killed goes first. */
export async function buildLab(turn: TurnWord = "starling"): Promise<Lab> {
  await sweepNamespaces("stale");
  const folder = await mkdtemp(join(tmpdir(), "starling-nat-"));
  const remove = async (): Promise<void> => {
    await sweepNamespaces("own");
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const network = await Network.create();
    return { network, site: await Site.create(network, folder, turn), remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
