import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
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
  /** Ours tells clients how their NAT behaves (RFC 5780); Debian's coturn does not. */
  readonly turn: TurnWord;
}

/** Builds a lab with this STUN and TURN server. What an earlier run left when it was killed goes first. */
export async function buildLab(turn: TurnWord = "starling"): Promise<Lab> {
  await sweepNamespaces("stale");
  await sweepFolders((pid) => !existsSync(`/proc/${pid}`));
  const folder = await mkdtemp(join(tmpdir(), `starling-nat-${process.pid}-`));
  try {
    const network = await Network.create();
    return { network, site: await Site.create(network, folder, turn), turn };
  } catch (error) {
    await removeLab();
    throw error;
  }
}

/** Ends every process of this process's lab, and removes its namespaces and files; also of one that is only half built. */
export async function removeLab(): Promise<void> {
  await sweepNamespaces("own");
  await sweepFolders((pid) => pid === process.pid);
}

async function sweepFolders(isToGo: (pid: number) => boolean): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = Number(/^starling-nat-(\d+)-/.exec(name)?.[1]);
    // What was killed may write for a moment.
    const options = { recursive: true, force: true, maxRetries: 10, retryDelay: 50 };
    if (pid > 0 && isToGo(pid)) await rm(join(tmpdir(), name), options);
  }
}
